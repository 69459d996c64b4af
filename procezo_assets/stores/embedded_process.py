"""The server process of the embedded PostgreSQL, as its data folder and the system know it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from procezo_assets.errors import StoreError
from procezo_assets.stores.embedded_account import OWN_SERVER

DATABASE = "procezo"
SUPERUSER = "procezo"


@dataclass(frozen=True)
class Running:
    """What `postmaster.pid` says of a server that is there."""

    pid: int
    port: int
    socket: str
    ready: bool

    @property
    def url(self) -> str:
        """Where the superuser connects, by the socket."""
        return f"postgresql://{SUPERUSER}@/{DATABASE}?host={quote(self.socket)}&port={self.port}"


def running_server(data: Path) -> Running | None:
    """Find the server of a data folder.

    Raises:
        StoreError: Where the folder is another user's.
    """
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise belongs_to_another(data) from None
    if not lines or not lines[0].isdigit() or not _is_server_of(int(lines[0]), data):
        return None
    lines += [""] * 8
    port = int(lines[3]) if lines[3].isdigit() else 0
    ready = lines[7].strip() == "ready" and port > 0
    return Running(int(lines[0]), port, lines[4], ready)


def _is_server_of(pid: int, data: Path) -> bool:
    # After a restart of the machine, or in a copy of the home, the number may be any process's.
    if not is_alive(pid):
        return False
    process = Path(f"/proc/{pid}")
    if not process.exists():
        return True  # no /proc here: PostgreSQL's own checks have to do
    try:
        return (process / "cwd").samefile(data)
    except PermissionError:  # root in a container may not look at other users' processes
        return os.fsencode(data) in (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


def last_words(log: Path) -> str:
    """The line of the server's log that says best why it ended."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
    except OSError:
        return "it wrote no log"
    telling = [line for line in lines if "FATAL" in line or "ERROR" in line]
    return (telling or lines or ["its log is empty"])[-1]


def belongs_to_another(path: Path) -> StoreError:
    """The error for what this user may not read."""
    return StoreError(
        f"the embedded PostgreSQL in {path} belongs to another user",
        f"run as that user, or {OWN_SERVER}",
    )
