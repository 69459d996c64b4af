"""Dagster's storage, locked or away for a while: what is waited for, and one line for the rest."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from alembic.util import CommandError
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from procezo_assets.disks import remedy
from procezo_assets.errors import StoreError, TransientStoreError
from procezo_assets.stores.postgres_faults import refusal_passes, state_passes

P = ParamSpec("P")
T = TypeVar("T")

_LOCKED = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")
_OF_THE_DISK = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")

WAIT_S = 60.0
"""How long, in seconds, a run waits for the storage to take what it has to say."""


def patiently(tell: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Store something, again where the storage is locked or away.

    What was stored although that could not be told is stored twice, which changes nothing.

    Args:
        tell: What stores it.
        args: What it is given.
        named: What it is given by name.
    """
    attempts = Retrying(
        stop=stop_after_delay(WAIT_S),
        wait=wait_exponential(multiplier=0.2, max=5),
        retry=retry_if_exception(lambda error: _is_storage_fault(error) and _passes(error)),
        reraise=True,
    )
    return attempts(tell, *args, **named)


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """Say in one line what is wrong with the storage.

    Raises:
        TransientStoreError: Where the block fails for a storage that is locked or away.
        StoreError: Where it fails for another fault of the storage.
    """
    try:
        yield
    except Exception as error:
        if not _is_storage_fault(error):
            raise
        problem = f"Dagster's storage cannot be used: {without_statement(str(error))}"
        if _passes(error):
            raise TransientStoreError(
                problem,
                "another process may hold it, or its server is away: run again when it is back",
            ) from None
        raise StoreError(problem, _what_to_do(error, Path(os.environ["DAGSTER_HOME"]))) from None


def _what_to_do(error: BaseException, home: Path) -> str:
    if _is_of_the_disk(error):
        return remedy(home / "history")
    if _is_damaged(error):
        folders = f"{home / 'history'} and {home / 'schedules'}"
        return f"bring {folders} back from a backup, or move both away to begin without their runs"
    return ""


def without_statement(message: str) -> str:
    """An error in one line, without the statement and the values that SQLAlchemy quotes."""
    return " ".join(message.partition("\n[SQL: ")[0].split())


def _is_storage_fault(error: BaseException) -> bool:
    known = isinstance(error, OperationalError | InterfaceError)
    return known or _is_damaged(error) or _is_of_dagster_postgres(error)


def _is_damaged(error: BaseException) -> bool:
    """Whether it is no database, or one of no version that can be known."""
    # the other subclasses of DatabaseError are mistakes of a program
    return type(error) is DatabaseError or isinstance(error, CommandError)


def _is_of_dagster_postgres(error: BaseException) -> bool:
    # it is imported only where it is asked for
    return type(error).__name__ == "DagsterPostgresException"


def _passes(error: BaseException) -> bool:
    """Whether a fault of the storage is one that waiting may mend: it is locked, or away."""
    if _is_damaged(error):
        return False
    if not isinstance(error, OperationalError | InterfaceError):
        return error.__cause__ is None or _passes(error.__cause__)
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_name(error).startswith(_LOCKED)
    if state := getattr(error.orig, "pgcode", None):
        return state_passes(state)
    return refusal_passes(str(error))


def _is_of_the_disk(error: BaseException) -> bool:
    """Whether SQLite could not open or write its file."""
    return _sqlite_name(error).startswith(_OF_THE_DISK)


def _sqlite_name(error: BaseException) -> str:
    return getattr(getattr(error, "orig", None), "sqlite_errorname", "")
