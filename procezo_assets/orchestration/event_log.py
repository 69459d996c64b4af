"""Dagster's events in SQLite, written at a sixth of the cost.

Every Dagster process imports this module: it imports nothing that it does not need.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

# Dagster exports none of these.
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sqlite import create_db_conn_string
from dagster._core.storage.sqlite_storage import (
    DagsterSqliteStorage,
    _event_logs_directory,
    _runs_directory,
    _schedule_directory,
)
from dagster._serdes import ConfigurableClassData
from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, Insert, create_engine, event

TABLES_WAIT_S = 300.0
"""How long a process waits, in seconds, for another one that makes the tables of the storage."""

_BUSY_SECONDS = 30
# the index, and runs that are written or looked at
_ENGINES = 8


class SqliteStorage(DagsterSqliteStorage):
    """Dagster's own storage, but for events; made by one process at a time.

    On a fresh home several at once would each create its tables: some fail, or leave a database of
    two versions, which nobody can open any more. The databases of runs, made when they are first
    written, need no lock: Dagster tries again there, and they begin with one and the same version.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        with _alone(base_dir):
            super().__init__(base_dir, inst_data)
            self._event_log_storage = EventLog(_event_logs_directory(base_dir))
        # made as Dagster makes them, but that its five seconds are short for a busy disk
        self._run_storage = SqliteRunStorage(_address(_runs_directory(base_dir), "runs"))
        self._schedule_storage = SqliteScheduleStorage(
            _address(_schedule_directory(base_dir), "schedules")
        )


class EventLog(SqliteEventLogStorage):
    """Keeps what Dagster makes anew for each event: engine, connection, compiled statements.

    A commit does not wait for the disk either: after a power cut the last events may be missing,
    but the databases are whole. What is stale is told by files, not by events.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._has_columns = False
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _engine(self, shard: str) -> Engine:
        engine = self._engines.pop(shard, None)
        if engine is None:
            engine = create_engine(
                self.conn_string_for_shard(shard),
                pool_size=1,  # closing the last connection would write the log into the file
                max_overflow=4,  # while tables are made
                connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
            )
            event.listen(engine, "connect", _do_not_wait_for_the_disk)
        self._engines[shard] = engine
        if len(self._engines) > _ENGINES:
            _, oldest = self._engines.popitem(last=False)
            oldest.dispose()
        return engine

    def delete_events(self, run_id: str) -> None:
        """Remove the events of a run, and its file."""
        with self._db_lock:
            if engine := self._engines.pop(run_id, None):
                engine.dispose()
        super().delete_events(run_id)

    def dispose(self) -> None:
        """Close what is open."""
        with self._db_lock:
            for engine in self._engines.values():
                engine.dispose()
            self._engines.clear()
        super().dispose()

    def _has_asset_key_index_cols_on_connection(self, conn: Connection) -> bool:
        if not self._has_columns:  # they are not taken away again
            self._has_columns = super()._has_asset_key_index_cols_on_connection(conn)
        return self._has_columns

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store the events that a run begins with, one for each stage and partition, at once."""
        planned = [one for one in events if _is_planned(one) and one.run_id == events[0].run_id]
        for other in events:
            if not _is_planned(other) or other.run_id != events[0].run_id:
                self.store_event(other)
        if not planned:
            return
        inserts = [self.prepare_insert_event(one) for one in planned]
        with self.run_connection(planned[0].run_id) as connection:
            for insert in inserts:
                connection.execute(insert)
        with self.index_transaction() as connection:
            ids = [_inserted(connection, insert) for insert in inserts]
            self._store_asset_event_tags(connection, planned, ids)
            # of each asset, the last one is what is known of it
            last = {one.get_dagster_event().asset_key: at for at, one in enumerate(planned)}
            for at in last.values():
                self._store_asset_event(connection, planned[at], ids[at])


@contextmanager
def _alone(base_dir: str) -> Iterator[None]:
    lock = Path(base_dir, ".procezo", "dagster-storage.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(FileLock(lock, timeout=TABLES_WAIT_S))
        except Timeout:
            from procezo_assets.errors import TransientStoreError  # noqa: PLC0415

            raise TransientStoreError(
                f"another process has held {lock} for {TABLES_WAIT_S:g} seconds",
                "run again when it is done",
            ) from None
        yield


def _address(folder: str, name: str) -> str:
    return f"{create_db_conn_string(folder, name)}?timeout={_BUSY_SECONDS}"


def _is_planned(entry: EventLogEntry) -> bool:
    return entry.is_dagster_event and entry.get_dagster_event().is_asset_materialization_planned


def _inserted(connection: Connection, insert: Insert) -> int:
    (event_id,) = connection.execute(insert).inserted_primary_key or (0,)
    return int(event_id)


def _do_not_wait_for_the_disk(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")
