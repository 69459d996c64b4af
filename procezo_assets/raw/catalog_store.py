"""The database file of the catalog: its tables, its version, and what is done when it is damaged.

It is a cache. Lost, damaged or of another version, it is thrown away and filled again from the raw
files, without a word. SQLAlchemy Core, so that PostgreSQL can take SQLite's place.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.pool import NullPool, StaticPool

from procezo_assets.disks import remedy
from procezo_assets.errors import CatalogLostError, StoreError, TransientStoreError
from procezo_assets.faults import is_transient, sqlite_code

# raised whenever the tables or what they mean change
_VERSION = "4"
_BUSY_SECONDS = 30

_metadata = sa.MetaData()


def _source() -> sa.Column[int]:
    return sa.Column("source", sa.Integer, primary_key=True)


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String, primary_key=True)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String, nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


meta = sa.Table(
    "meta",
    _metadata,
    _key("name"),
    _text("value"),
)
# one flow's view of one dataset; every other table belongs to one
sources = sa.Table(
    "sources",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    _text("flow"),
    _text("dataset"),
    sa.UniqueConstraint("flow", "dataset"),
)
raw_files = sa.Table(
    "raw_files",
    _metadata,
    _source(),
    _key("path"),
    _count("size"),
    _count("mtime_ns"),
    _count("ctime_ns"),
    _text("sha256"),
    _text("content"),
    _text("reading"),
    _text("meaning"),
    _text("device"),
    _count("lines"),
    _count("rows"),
    sa.Column("quarantined", sa.JSON, nullable=False),
    _count("excluded"),
    _count("blank"),
    _count("header"),
    sa.Column("first", sa.String),
    sa.Column("last", sa.String),
    sa.Column("dialect", sa.JSON),
    sa.Column("refused", sa.String),
    sa.Column("more", sa.JSON, nullable=False),
    sa.Column("due", sa.String),
    sa.Column("kept", sa.Boolean, nullable=False),
    sa.Column("read_at", sa.Float, nullable=False),
    sa.Column("removed_at", sa.Float),
    sa.Index("raw_files_by_content", "source", "content"),
    sqlite_with_rowid=False,  # half the time to read all of a dataset
)
file_days = sa.Table(
    "file_days",
    _metadata,
    _source(),
    _key("day"),
    _key("path"),
    _count("rows"),
    sa.Index("file_days_by_path", "source", "path"),
    sqlite_with_rowid=False,
)
waiting = sa.Table(
    "waiting",
    _metadata,
    _source(),
    _key("path"),
    _count("size"),
    _count("mtime_ns"),
    sa.Column("first_seen", sa.Float, nullable=False),
    sa.Column("still_since", sa.Float, nullable=False),
)
touched_days = sa.Table(
    "touched_days",
    _metadata,
    _source(),
    _key("day"),
    _key("device"),
    _count("number"),
)
day_digests = sa.Table(
    "day_digests",
    _metadata,
    _source(),
    _key("day"),
    _text("identity"),
    sa.Column("digests", sa.JSON, nullable=False),
)


def _of_partitions(name: str) -> sa.Table:
    """What is known of a stage's partitions, as long as their files are the same."""
    return sa.Table(
        name,
        _metadata,
        _source(),
        _key("stage"),
        _key("day"),
        _text("files"),
        sa.Column("content", sa.JSON, nullable=False),
    )


partitions = _of_partitions("partitions")
footers = _of_partitions("footers")


class CatalogStore:
    """A database file, made when it is first used.

    Args:
        path: The file; None keeps the tables in memory, for what is not of a home.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._engine = _engine(path)
        self._ready = False
        self._generation: str | None = None
        # SQLite in memory is one connection
        self._lock: contextlib.AbstractContextManager[Any] = (
            threading.RLock() if path is None else contextlib.nullcontext()
        )

    @contextlib.contextmanager
    def transaction(self, *, writes: bool) -> Iterator[sa.Connection]:
        """Open a short transaction.

        Raises:
            CatalogLostError: Where the file was damaged, or is not the one that was used before;
                it knows less now.
            TransientStoreError: Where it is locked, or its disk is full or fails.
            StoreError: Where it cannot be read or written otherwise: no permission.
        """
        with self._lock:
            self._prepare()
            try:
                with self._begin(writes=writes) as connection:
                    self._recognize(connection)
                    yield connection
            except sa.exc.DatabaseError as error:
                if not _is_damage(error):
                    raise self._refusal(error) from None
                self._throw_away()
                self._generation = None
                raise CatalogLostError(f"{self.path} was damaged", "run again") from None

    def _recognize(self, connection: sa.Connection) -> None:
        """Notice where a file has come in the place of the one that was used before."""
        found = connection.scalar(sa.select(meta.c.value).where(meta.c.name == "generation"))
        before, self._generation = self._generation, found
        if before not in {None, found}:
            raise CatalogLostError(f"{self.path} is not what it was", "run again")

    def _begin(self, *, writes: bool) -> contextlib.AbstractContextManager[sa.Connection]:
        return self._engine.execution_options(writes=writes).begin()

    def _prepare(self) -> None:
        if self._ready and (self.path is None or self.path.exists()):
            return
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                problem = f"{self.path.parent} cannot be made: {error.strerror}"
                if is_transient(error):
                    raise TransientStoreError(problem, remedy(self.path)) from None
                raise StoreError(problem, "free its path") from None
        try:
            self._create()
        except sa.exc.DatabaseError as error:
            if not _is_damage(error):
                raise self._refusal(error) from None
            self._throw_away()
        self._ready = True

    def _create(self) -> None:
        """Make the tables, anew where they are of another version."""
        if self.path is not None and self.path.exists():
            with self._begin(writes=False) as connection:
                if _is_whole(connection):
                    return
        with self._begin(writes=True) as connection:
            if _is_whole(connection):
                return  # another process was faster
            found = sa.MetaData()
            found.reflect(connection)
            found.drop_all(connection)
            _metadata.create_all(connection)
            content = {"version": _VERSION, "generation": uuid.uuid4().hex, "number": "0"}
            rows = [{"name": name, "value": value} for name, value in content.items()]
            connection.execute(sa.insert(meta), rows)

    def _throw_away(self) -> None:
        """Begin anew with an empty file, unless another process has done so."""
        if self.path is None:
            raise StoreError("the catalog in memory is damaged", "run again")
        with FileLock(self.path.with_name(f"{self.path.name}.lock")):
            try:
                self._create()
                with self._begin(writes=False) as connection:
                    sound = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar() == "ok"
            except sa.exc.DatabaseError:
                sound = False
            if not sound:
                for ending in ("", "-wal", "-shm"):
                    self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
                self._create()

    def _refusal(self, error: sa.exc.DatabaseError) -> StoreError:
        refusal = TransientStoreError if is_transient(error.orig) else StoreError
        if sqlite_code(error.orig) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return refusal(f"{self.path} has been locked for {_BUSY_SECONDS} s", "try again")
        hint = remedy(self.path) if self.path is not None else ""  # what is in memory has no disk
        return refusal(f"{self.path}: {error.orig}", hint)


def upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or replace those of the same primary key."""
    if not rows:
        return
    # the one statement that SQLAlchemy writes differently for each database
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table)
    keys = [column.name for column in table.primary_key]
    values = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(
        statement.on_conflict_do_update(index_elements=keys, set_=values), list(rows)
    )


def _engine(path: Path | None) -> sa.Engine:
    url = sa.URL.create("sqlite", database=str(path) if path else None)
    # a connection a transaction: nothing is open across forks and threads
    engine = sa.create_engine(
        url,
        poolclass=NullPool if path else StaticPool,
        connect_args={"check_same_thread": False, "timeout": _BUSY_SECONDS},
    )

    @sa.event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions begin as said below
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # a transaction that begins by reading could not wait for its turn to write
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _is_whole(connection: sa.Connection) -> bool:
    """Whether all tables are there with all their columns, and of this version."""
    try:
        for table in _metadata.sorted_tables:
            connection.execute(sa.select(table).where(sa.false()))
    except sa.exc.DatabaseError as error:
        if not _lacks_something(error):
            raise
        return False
    version = connection.scalar(sa.select(meta.c.value).where(meta.c.name == "version"))
    return bool(version == _VERSION)


def _is_damage(error: sa.exc.DatabaseError) -> bool:
    if sqlite_code(error.orig) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return True
    return _lacks_something(error)


def _lacks_something(error: sa.exc.DatabaseError) -> bool:
    text = str(error.orig)
    return "no such table" in text or "no such column" in text
