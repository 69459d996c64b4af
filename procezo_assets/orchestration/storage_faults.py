"""Dagster's storage, locked or away for a while: what is waited for, and one line for the rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from procezo_assets.disks import remedy
from procezo_assets.errors import TransientStoreError

P = ParamSpec("P")
T = TypeVar("T")

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
        retry=retry_if_exception(lambda error: _is_storage_fault(error) and not _is_full(error)),
        reraise=True,
    )
    return attempts(tell, *args, **named)


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """Say in one line what is wrong with the storage.

    Raises:
        TransientStoreError: Where the block fails for that.
    """
    try:
        yield
    except Exception as error:
        if not _is_storage_fault(error):
            raise
        storage = Path(os.environ["DAGSTER_HOME"], "history")
        elsewhere = "another process may hold it, or its server is away: run again when it is back"
        raise TransientStoreError(
            f"Dagster's storage cannot be used: {without_statement(str(error))}",
            remedy(storage) if _is_full(error) else elsewhere,
        ) from None


def without_statement(message: str) -> str:
    """An error in one line, without the statement and the values that SQLAlchemy quotes."""
    return " ".join(message.partition("\n[SQL: ")[0].split())


def _is_full(error: BaseException) -> bool:
    """Whether SQLite could not write, which it calls an I/O error, too."""
    return "disk is full" in str(error) or "disk I/O error" in str(error)


def _is_storage_fault(error: BaseException) -> bool:
    if isinstance(error, OperationalError | InterfaceError):
        return True
    # of dagster-postgres, which is imported only where it is asked for
    return type(error).__name__ == "DagsterPostgresException"
