"""Where the embedded PostgreSQL listens: a private folder for its socket, and a port."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import tempfile
from pathlib import Path

from procezo_assets.errors import StoreError
from procezo_assets.stores.embedded_account import OWN_SERVER, Account, can_use

_FIRST_PORT = 15432
_PORTS = 4096
_SOCKET_PATH_LIMIT = 100


def socket_folder(known: str, account: Account) -> Path:
    """Find or make the folder of the socket, which only the server's user can enter.

    Args:
        known: The folder of the last start; empty where there was none.
        account: The server's user.

    Raises:
        StoreError: Where no temporary folder has a path short enough.
    """
    if known:
        folder = Path(known)
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700)
            os.chown(folder, account.uid, account.gid)
        if _is_private(folder, account):
            for left in folder.iterdir():  # the lock of a killed server may name a living process
                left.unlink()
            return folder
    for temp in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - made by mkdtemp
        room = len(os.fsencode(f"{temp}/procezo-12345678/.s.PGSQL.65535.lock"))
        plain = all(letter.isalnum() or letter in "/._-" for letter in temp)
        if room > _SOCKET_PATH_LIMIT or not plain or not can_use(Path(temp), account):
            continue
        try:
            made = Path(tempfile.mkdtemp(prefix="procezo-", dir=temp))
            os.chown(made, account.uid, account.gid)
        except OSError:
            continue
        return made
    raise StoreError("there is no short temporary folder for the server's socket", OWN_SERVER)


def _is_private(folder: Path, account: Account) -> bool:
    # The folder is in a place where anyone can write: a stranger's must not be taken for ours.
    try:
        found = folder.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == account.uid
        and stat.S_IMODE(found.st_mode) == stat.S_IRWXU
    )


def free_port(known: int, state: Path) -> int:
    """Find a port that is free on 127.0.0.1.

    Args:
        known: The port of the last start, taken where it is free; 0 where there was none.
        state: The state folder of the home.

    Raises:
        StoreError: Where none is.
    """
    # By the home's path, so that homes seldom meet and a dashboard's port stays what it was.
    offset = int.from_bytes(hashlib.sha256(os.fsencode(state)).digest()[:4]) % _PORTS
    spread = (_FIRST_PORT + (offset + step) % _PORTS for step in range(_PORTS))
    for port in [known, *spread] if known else spread:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise StoreError("no port is free on 127.0.0.1 for the embedded PostgreSQL", OWN_SERVER)
