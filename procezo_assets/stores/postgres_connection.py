"""Transactions on a PostgreSQL server through ADBC: retries, and errors to act on."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from procezo_assets.errors import StoreError, TransientStoreError
from procezo_assets.stores.postgres_faults import LOCKED, refusal_passes, state_passes
from procezo_assets.stores.postgres_silence import Waiting, unless_silent

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection, Cursor

T = TypeVar("T")

_ATTEMPTS = 4
_GIVE_UP_AFTER_S = 10
_SECRETS = frozenset(
    {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
)
# Where a password has an unescaped `@` or `/`, parts of it would be taken for host or database.
_UNAMBIGUOUS = re.compile(
    r"postgres(?:ql)?://(?:[^@/?:]*(?::[^@/]*)?@)?[^@/?]*(?:\?[^@]*|/[^@?]*(?:\?.*)?)?", re.DOTALL
)
_PORTS = re.compile(r"[0-9,]*")
_DEFAULTS = {
    "connect_timeout": "3",
    "client_encoding": "UTF8",
    "application_name": "procezo",
    # a server that vanishes in the middle of a load must not hold the run for hours
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
_IO = 10  # ADBC's status of everything that goes wrong on the wire
# values that the columns cannot hold, keys that repeat, limits of a row
_OF_THE_DATA = re.compile(r"22\w{3}|23\w{3}|54\w{3}")
_TOO_BIG = "54"

FEWER_COLUMNS = 'name fewer columns in sources, or use layout: "tidy" where it is "wide"'
"""What to do about a row that is larger than PostgreSQL's limits."""

_kept: ContextVar[dict[str, Connection] | None] = ContextVar("kept", default=None)


class DayRefusedError(StoreError):
    """The rows of one day cannot be held by their table; other days may be."""


class _RetryError(TransientStoreError):
    """What another attempt may mend."""


@dataclass(frozen=True)
class Address:
    """Where a database is and how to log in.

    Args:
        settings: The settings of libpq; the password among them is never shown.
    """

    settings: Mapping[str, str] = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL or a `key=value` string of libpq; SQLAlchemy's driver suffix is dropped.

        Raises:
            StoreError: Where it is neither.
        """
        from psycopg import ProgrammingError  # noqa: PLC0415 - imported by every command
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - as above

        plain = re.sub(r"^(postgres(?:ql)?)\+\w+://", r"\1://", url.strip())
        try:
            read = conninfo_to_dict(plain)
        except ProgrammingError:  # its message may quote the password
            raise _unreadable() from None
        settings = {name: str(value) for name, value in read.items() if value is not None}
        is_url = plain.startswith(("postgresql://", "postgres://"))
        if is_url and not _UNAMBIGUOUS.fullmatch(plain):
            raise _unreadable()
        if not _PORTS.fullmatch(settings.get("port", "")):
            raise _unreadable()
        return cls(settings)

    @property
    def conninfo(self) -> str:
        """The settings as libpq takes them, with time limits where none are given."""
        from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - as above

        return make_conninfo("", **{**_DEFAULTS, **self.settings})

    def __str__(self) -> str:
        host = self.settings.get("host") or self.settings.get("hostaddr") or "the local socket"
        port = self.settings.get("port")
        database = self.settings.get("dbname") or self.settings.get("user") or "?"
        return f"{host}:{port}/{database}" if port else f"{host}/{database}"

    @property
    def shown(self) -> str:
        """The settings without what is secret of them, for people."""
        from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - as above

        hidden = {name: "***" for name in self.settings if name in _SECRETS}
        return make_conninfo("", **{**self.settings, **hidden})

    def masked(self, text: str) -> str:
        """Take what is secret out of a text."""
        for name in _SECRETS & self.settings.keys():
            if self.settings[name]:
                text = text.replace(self.settings[name], "***")
        return text


def _unreadable() -> StoreError:
    return StoreError(
        "the PostgreSQL URL cannot be read",
        "write postgresql://user:password@host:5432/database, with %-escapes in the "
        "password where it has other characters than letters and digits",
    )


def in_transaction(url: str, work: Callable[[Cursor], T]) -> T:
    """Do work in one transaction, again from its start where the connection fails.

    Args:
        url: The database.
        work: What to do; it may be called several times, each time on a fresh transaction.

    Returns:
        What the work returned, once it is committed.

    Raises:
        DayRefusedError: Where the server refuses the values.
        TransientStoreError: Where the server cannot be reached or is locked for too long.
        StoreError: Where it refuses anything else.
    """
    from tenacity import (  # noqa: PLC0415 - as above
        Retrying,
        retry_if_exception_type,
        stop_after_attempt,
        stop_after_delay,
        wait_exponential_jitter,
    )

    address = Address.parse(url)
    attempts = Retrying(
        stop=stop_after_attempt(_ATTEMPTS) | stop_after_delay(_GIVE_UP_AFTER_S),
        wait=wait_exponential_jitter(multiplier=0.5, max=4, jitter=0.5),
        retry=retry_if_exception_type(_RetryError),
        reraise=True,
    )
    try:
        for attempt in attempts:
            with attempt:
                return _attempt(address, work)
    except _RetryError as error:
        raise TransientStoreError(error.problem, error.hint) from None
    raise AssertionError  # the last attempt returns or raises


@contextlib.contextmanager
def connections_kept() -> Iterator[None]:
    """Let transactions in here follow each other on one connection to each database."""
    kept: dict[str, Connection] = {}
    before = _kept.set(kept)
    try:
        yield
    finally:
        _kept.reset(before)
        for connection in kept.values():
            _close(connection)


def _attempt(address: Address, work: Callable[[Cursor], T]) -> T:
    kept = _kept.get()

    def attempt(waiting: Waiting) -> T:
        connection = kept.pop(address.conninfo, None) if kept is not None else None
        if connection is not None:
            with contextlib.suppress(_RetryError):  # it was dropped meanwhile
                return _work_on(connection, address, work, kept, waiting)
        return _work_on(_connect(address), address, work, kept, waiting)

    return unless_silent(address.conninfo, str(address), attempt)


def _work_on(
    connection: Connection,
    address: Address,
    work: Callable[[Cursor], T],
    kept: dict[str, Connection] | None,
    waiting: Waiting,
) -> T:
    from adbc_driver_manager import Error  # noqa: PLC0415 - as above

    try:
        with connection.cursor() as cursor:
            waiting.works_with(cursor)
            result = work(cursor)
        waiting.begin_commit()
        connection.commit()
    except Error as error:
        _close(connection)
        raise _work_error(address, error) from None
    except BaseException:
        _close(connection)
        raise
    if kept is None:
        _close(connection)
    else:
        kept[address.conninfo] = connection
    return result


def _connect(address: Address) -> Connection:
    from adbc_driver_manager import Error  # noqa: PLC0415 - as above
    from adbc_driver_postgresql import dbapi  # type: ignore[import-untyped] # noqa: PLC0415

    try:
        connection: Connection = dbapi.connect(address.conninfo)
    except Error as error:
        raise _connect_error(address, _first_line(address.masked(str(error)))) from None
    return connection


def _close(connection: Connection) -> None:
    """Let go of a connection, and with it of what it has begun, without waiting for the server."""
    from adbc_driver_manager import Error  # noqa: PLC0415 - as above

    with contextlib.suppress(Error):  # what fails at that is not worth telling
        connection.close()


def _connect_error(address: Address, reason: str) -> StoreError:
    if not refusal_passes(reason):
        return StoreError(
            f"PostgreSQL at {address} refuses the connection: {reason}",
            "check user, password and database",
        )
    return _RetryError(
        f"PostgreSQL at {address} cannot be reached: {reason}",
        "check that the server runs and that its address is right, and try again",
    )


def _work_error(address: Address, error: Any) -> StoreError:  # noqa: ANN401 - untyped attributes
    state = error.sqlstate or ""
    reason = _first_line(address.masked(str(error)))
    problem = f"PostgreSQL at {address}: {reason}"
    if state == LOCKED:
        return TransientStoreError(problem, "another session holds the table: end it and try again")
    if state_passes(state) or (not state and error.status_code == _IO):
        return _RetryError(problem, "try again when the server is back")
    if state.startswith(_TOO_BIG):
        return DayRefusedError(problem, FEWER_COLUMNS)
    if _OF_THE_DATA.fullmatch(state):
        return DayRefusedError(problem, "see what the table's columns can hold")
    if state.startswith("42501"):
        owner = "make the user the table's owner: ALTER TABLE … OWNER TO …"
        create = "grant the user CREATE on the database and its schema"
        return StoreError(problem, owner if "must be owner" in reason else create)
    return StoreError(problem, "nothing of the day was changed")


def _first_line(message: str) -> str:
    """What the server said, without ADBC's preface and the text of the query."""
    message = message.partition("\n\nQuery was:")[0].partition(". SQLSTATE:")[0]
    said = re.search(r"(?:ERROR|FATAL|PANIC):  (.*)", message)
    if said and "FATAL" not in said.group(0):
        detail = re.search(r"DETAIL:  (.*)", message)
        return said.group(1) + (f" ({detail.group(1)})" if detail else "")
    return " ".join(message.replace("[libpq] ", "").split())
