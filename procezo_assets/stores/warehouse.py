"""The DuckDB file of a home: opening it, taking turns at it, quoting for it, telling what is ours.

What goes into it belongs to `warehouse_tables` and `warehouse_views`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
from filelock import FileLock, Timeout
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from procezo_assets.datasets import Home, identifier
from procezo_assets.day_lock import TURN_WAIT_S
from procezo_assets.errors import StoreError, TransientStoreError

BUSY_WAIT_S = 30.0
"""How long to wait, in seconds, for another program to close the file."""

MADE_BY = "procezo"
"""Marks, in their comments, the tables and views that may be changed and dropped."""

MEMORY_LIMIT = "2GB"
"""What DuckDB may keep in memory while it loads; its own limit is most of the machine's."""

THREADS = 4
"""How many threads may load; each holds a group of rows of all columns in memory."""

_HOLDER = re.compile(r"held in (?P<program>.+?) \(PID (?P<pid>\d+)\)")
_SAME_PROCESS = "different configuration than existing connections"


@contextmanager
def connect_readonly(
    home: Home, *, wait_s: float = BUSY_WAIT_S
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the warehouse for reading; leave the block soon, since no run can load meanwhile.

    Args:
        home: The home folder.
        wait_s: How long to wait for a run that is loading.

    Yields:
        A connection whose time zone is UTC.

    Raises:
        StoreError: Where there is no warehouse yet, or another program holds it.
    """
    if not home.warehouse.is_file():
        raise StoreError(
            f"there is no warehouse at {home.warehouse} yet",
            "run a flow that has a to_duckdb step",
        )
    connection = _open(home.warehouse, read_only=True, wait_s=wait_s)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def connect_for_loading(
    home: Home, *, busy_wait_s: float = BUSY_WAIT_S, turn_wait_s: float = TURN_WAIT_S
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the warehouse for writing once it is this run's turn.

    Args:
        home: The home folder.
        busy_wait_s: How long to wait for a program that has the file open.
        turn_wait_s: How long to wait for other runs.

    Yields:
        A connection whose time zone is UTC. What is not committed in the block is rolled back.

    Raises:
        TransientStoreError: Where another program holds the file, or another run loads.
        StoreError: Where DuckDB refuses what it is given.
    """
    lock = FileLock(home.state / "warehouse.lock")
    try:
        home.state.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=turn_wait_s)
    except Timeout:
        raise TransientStoreError(
            f"another run has been loading into {home.warehouse} for {turn_wait_s:g} seconds",
            "run again when it is done",
        ) from None
    except OSError as error:
        raise StoreError(
            f"cannot lock {lock.lock_file}: {error.strerror or error}",
            "make the home folder writable",
        ) from error
    try:
        connection = _open(home.warehouse, read_only=False, wait_s=busy_wait_s)
        try:
            connection.execute(f"SET memory_limit = {quote_literal(MEMORY_LIMIT)}")
            connection.execute(f"SET threads = {min(THREADS, os.cpu_count() or 1)}")
            yield connection
        except RuntimeError as error:
            if "interrupted" in str(error):  # DuckDB's way to say Ctrl-C
                raise KeyboardInterrupt from None
            raise
        except duckdb.Error as error:
            raise StoreError(
                f"DuckDB refused to load into {home.warehouse}: {first_line(error)}",
                "nothing was changed",
            ) from error
        finally:
            connection.close()
    finally:
        lock.release()


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit what the block does, or nothing of it."""
    connection.begin()
    try:
        yield
        connection.commit()
    except BaseException:
        with suppress(duckdb.Error):  # DuckDB has ended the transaction itself
            connection.rollback()
        raise


def schema_name(flow: str) -> str:
    """Name the schema of a flow: its name with everything outside `[A-Za-z0-9_]` as `_`."""
    return identifier(flow)


def is_identifier(name: str) -> bool:
    """Tell whether a text can be a name at all; quoting carries any but the empty and NUL."""
    return bool(name) and "\0" not in name


def quote_identifier(*names: str) -> str:
    """Quote a name, or a path of names (catalog, schema, table), for use in SQL.

    Raises:
        StoreError: Where a name is empty or has a NUL, which no quoting can carry.
    """
    for name in names:
        if not is_identifier(name):
            raise StoreError(f"{name!r} cannot be a name in DuckDB", "rename it")
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def quote_literal(text: str) -> str:
    """Quote a text for statements that DuckDB cannot prepare (views and comments)."""
    return "'" + text.replace("'", "''") + "'"


def parse_comment(comment: str | None) -> dict[str, Any] | None:
    """Read what a comment says about a table or view of ours; None for somebody else's."""
    try:
        about = json.loads(comment or "")
    except ValueError:
        return None
    return about if isinstance(about, dict) and about.get("made_by") == MADE_BY else None


def glob_of(path: Path) -> str:
    """Write a path so that DuckDB takes it, or begins a pattern with it, as that one path.

    The one limit is DuckDB's: its patterns reach no folder that has a backslash in its name.
    """
    return re.sub(r"([*?\[])", r"[\1]", path.as_posix())


def first_line(error: duckdb.Error) -> str:
    """The first line of a message of DuckDB, without the query that it quotes."""
    return str(error).strip().partition("\n")[0]


def _open(path: Path, *, read_only: bool, wait_s: float) -> duckdb.DuckDBPyConnection:
    retrying = Retrying(
        stop=stop_after_delay(wait_s),
        wait=wait_exponential(multiplier=0.05, max=1.0),
        retry=retry_if_exception(_is_busy),
        reraise=True,
    )
    try:
        connection = retrying(duckdb.connect, str(path), read_only=read_only)
    except duckdb.Error as error:
        raise _refusal(path, error, wait_s=wait_s) from error
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _is_busy(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, duckdb.Error) and (
        "Could not set lock" in text or "already open" in text or _SAME_PROCESS in text
    )


def _refusal(path: Path, error: duckdb.Error, *, wait_s: float) -> StoreError:
    if not _is_busy(error):
        return StoreError(
            f"cannot open {path}: {first_line(error)}",
            "move the file away to have it made afresh (full-replace loads everything again)",
        )
    holder = _HOLDER.search(str(error))
    if holder:
        who = f"{Path(holder['program']).name} (PID {holder['pid']})"
    elif _SAME_PROCESS in str(error):
        who = "this same process"
    else:
        who = "another program"
    return TransientStoreError(
        f"{path} has been held open by {who} for {wait_s:g} seconds",
        "close the connection there (in a notebook: connection.close()) and run again",
    )
