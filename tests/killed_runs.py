"""Runs that are killed at any moment, and what may be there afterwards.

A home has results of yesterday's raw files; today's raw files differ. A run that is killed leaves
of each file, and of each table's rows of a day, yesterday's or today's and nothing in between. The
next run leaves what an undisturbed one would have.
"""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import signal
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path

import duckdb
import polars as pl
import psycopg
from small_home import DAYS, EVERY_STEP, Ended, SmallHome
from warm import run_command

STEPS = (*EVERY_STEP, {"treatment": "exportparquet", "params": {"aggregation": "60s"}})
FIRST_FIT = "first-fit"
COMMANDS = {
    "last": ("flow", "small", "--last"),
    FIRST_FIT: (
        "flow",
        "small",
        "--last",
    ),  # in a home whose fit and what was made with it are gone
    "full-replace": ("flow", "small", "--output-mode", "full-replace"),
}

# what Python tells of before it changes something on disk
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "sqlite3.connect"}

_FITTED = "35_normalized"

Contents = dict[str, dict[tuple[str, str], str]]


@dataclass(frozen=True)
class Changes:
    """Counts what a process changes on disk, and may kill it right before one of the changes.

    Args:
        told: Where the count is written to.
        last: Before which change, from 1; 0 for none.
        lag: Seconds between the count and the kill, in which that change is not made.
    """

    told: Path
    last: int = 0
    lag: float = 0

    def __call__(self) -> None:
        """Watch this process from now on."""
        file = os.open(self.told, os.O_WRONLY | os.O_CREAT, 0o600)
        count = 0

        def hook(event: str, args: tuple[object, ...]) -> None:
            nonlocal count
            flags = args[2] if event == "open" else 0
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
            if writes or event in _CHANGES:
                count += 1
                os.pwrite(file, f"{count:9}".encode(), 0)
                if count == self.last:
                    time.sleep(self.lag)
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)


@dataclass(frozen=True)
class State:
    """What can be seen of a home: result files and fits, and the rows of each table by day."""

    files: dict[str, str]
    duckdb: Contents
    postgres: Contents


@dataclass
class KilledRuns:
    """A home with yesterday's results, and what today's raw files make of it.

    Args:
        folder: A folder of its own.
        server: A PostgreSQL server's URL in which databases can be made.
        before: What is there before.
        after: What an undisturbed run makes of it, by command.
        seconds: How long that takes, by command.
        changes: How many changes on disk that takes, by command.
    """

    folder: Path
    server: str
    before: State = field(init=False)
    after: dict[str, State] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    changes: dict[str, int] = field(default_factory=dict)
    _trials: int = 0
    _yesterday: str = field(default_factory=lambda: f"yesterday_{uuid.uuid4().hex[:12]}")

    def __post_init__(self) -> None:
        self._make_template()
        for name, command in COMMANDS.items():
            home, database = self._copy(name)
            told = self.folder / f"changes-{name}"
            started = time.monotonic()
            ended = _command(home, command, prepare=Changes(told))
            assert ended.code == 0, ended.err
            self.seconds[name] = time.monotonic() - started
            self.changes[name] = _count(told)
            self.after[name] = state_of(home, self._url(database))
            assert self.after[name].files != self.before.files
            assert any(Path(file).parent.name == "fits" for file in self.after[name].files)
            self._drop(home, database)

    def survive(self, command: str, *, seconds: float = 0, change: int = 0) -> str:
        """Kill a run after some seconds or before one of its changes, and run again.

        Returns:
            What became of it: `killed`, or `ended` where it was faster.

        Raises:
            AssertionError: Where something is torn, lost, left behind or other than undisturbed.
        """
        home, database = self._copy(command)
        url = self._url(database)
        prepare = Changes(self.folder / "changes", change) if change else None
        ended = _command(home, COMMANDS[command], prepare=prepare, seconds=seconds or None)
        assert ended.code in {0, -signal.SIGKILL}, ended.err
        self._assert_old_or_new(state_of(home, url), command)
        self._assert_recovers(home, url, command)
        self._drop(home, database)
        return "killed" if ended.code else "ended"

    def survive_beside(self, command: str, *, change: int, lag: float) -> str:
        """Kill a run that another one waits for; that one does it all.

        Args:
            command: What both run.
            change: Before which change of the first one the second is started.
            lag: Seconds from then to the kill, in which the first one holds what it has locked.

        Returns:
            What became of the first: `killed` after all that the second had to do,
            `killed beside another` before, or `ended` where it made fewer changes.

        Raises:
            AssertionError: Where the second one fails, or anything is other than undisturbed.
        """
        home, database = self._copy(command)
        url, told = self._url(database), self.folder / f"changes-{database}"
        with ThreadPoolExecutor(2) as runs:
            prepare = Changes(told, change, lag)
            first = runs.submit(_command, home, COMMANDS[command], prepare=prepare)
            while not first.done() and _count(told) < change:
                time.sleep(0.02)
            second = runs.submit(home.command, "procezo", *COMMANDS[command])
            killed = first.result()
            outcome = "killed" if second.done() else "killed beside another"
        assert killed.code in {0, -signal.SIGKILL}, killed.err
        assert second.result().code == 0, second.result().err
        found, wanted = state_of(home, url), self.after[command]
        assert found == wanted, _differences(found, wanted)
        self._assert_recovers(home, url, command)
        self._drop(home, database)
        return outcome if killed.code else "ended"

    def _assert_recovers(self, home: SmallHome, url: str, command: str) -> None:
        """Run again, and find what an undisturbed run leaves and nothing else."""
        again = home.command("procezo", *COMMANDS[command])
        assert again.code == 0, again.err
        found, wanted = state_of(home, url), self.after[command]
        assert found == wanted, _differences(found, wanted)
        left = left_behind(home.path)
        assert left == [], f"left behind: {left}"
        nothing = home.procezo(*COMMANDS["last"])
        assert (nothing.code, "up to date" in nothing.err) == (0, True), nothing.err
        ledger = home.procezo("ledger", "DS-1")
        assert ledger.code == 0, ledger.out + ledger.err

    def _make_template(self) -> None:
        home = self._home("template", self._yesterday)
        home.write_flow(*STEPS)
        home.write_raw(*DAYS[:2])
        home.write_raw(*DAYS[:2], device="pil-91", odd=["not a line"])
        ended = home.command("procezo", "flow", "small")
        assert ended.code == 0, ended.err
        self.before = state_of(home, self._url(self._yesterday))
        home.write_raw(*DAYS, level=300, odd=["no line either"])
        home.raw_file(f"DS-1_pil-91_{DAYS[0]}.csv").unlink()
        home.write_flow(*STEPS, removed="drop")

    def _home(self, name: str, database: str) -> SmallHome:
        with psycopg.connect(self.server, autocommit=True) as connection:
            template = "" if database == self._yesterday else f"TEMPLATE {self._yesterday}"
            connection.execute(f"CREATE DATABASE {database} {template}")
        return SmallHome(self.folder / name, {"PROCEZO_POSTGRES_URL": self._url(database)})

    def _copy(self, command: str) -> tuple[SmallHome, str]:
        self._trials += 1
        name = f"trial_{self._trials}_of_{self._yesterday}"
        shutil.copytree(self.folder / "template", self.folder / name)
        home = self._home(name, name)
        if command == FIRST_FIT:
            shutil.rmtree(home.stage(_FITTED))
        return home, name

    def _url(self, database: str) -> str:
        return psycopg.conninfo.make_conninfo(self.server, dbname=database)

    def close(self) -> None:
        """Leave nothing on the server."""
        self._drop_database(self._yesterday)

    def _drop(self, home: SmallHome, database: str) -> None:
        self._drop_database(database)
        shutil.rmtree(home.path)

    def _drop_database(self, name: str) -> None:
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _assert_old_or_new(self, found: State, command: str) -> None:
        after = self.after[command]
        before = {
            path: digest
            for path, digest in self.before.files.items()
            if command != FIRST_FIT or _FITTED not in Path(path).parts
        }
        for path in {*found.files, *before, *after.files}:
            known = {before.get(path), after.files.get(path)}
            assert found.files.get(path) in known, f"{path} is neither yesterday's nor today's"
        for name in ("duckdb", "postgres"):
            old, new = getattr(self.before, name), getattr(after, name)
            for table in {*getattr(found, name), *old, *new}:
                days = getattr(found, name).get(table, {})
                for day in {*old.get(table, {}), *new.get(table, {}), *days}:
                    known = {old.get(table, {}).get(day), new.get(table, {}).get(day)}
                    assert days.get(day) in known, f"{name} {table} {day} is torn"


def state_of(home: SmallHome, url: str) -> State:
    """What can be seen of a home; every parquet and CSV file is read to its end."""
    files: dict[str, str] = {}
    for path in home.digests():
        file = home.path / "datasets" / path
        if file.suffix == ".parquet":
            pl.read_parquet(file, glob=False, hive_partitioning=False)
        if file.suffix == ".csv":
            with file.open(newline="") as lines:
                assert len({len(row) for row in csv.reader(lines, delimiter=";")}) == 1, file
        if file.suffix in {".parquet", ".csv"} or file.parent.name == "fits":
            files[path] = home.digests()[path]
    return State(files, _duckdb(home.path / "warehouse.duckdb"), _postgres(url))


def left_behind(home: Path) -> list[str]:
    """Files of runs that were killed."""
    return [str(path.relative_to(home)) for path in home.rglob(".*") if path.name.endswith("tmp")]


def _duckdb(path: Path) -> Contents:
    with duckdb.connect(str(path)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        tables = connection.execute(
            "SELECT '\"' || schema_name || '\".\"' || table_name || '\"' FROM duckdb_tables()"
        ).fetchall()
        return {
            name: _by_day(connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall())
            for (name,) in tables
        }


def _postgres(url: str) -> Contents:
    with psycopg.connect(url, options="-c timezone=UTC") as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables "
            "WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        return {
            name: _by_day(connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3").fetchall())
            for (name,) in tables
        }


def _by_day(rows: list[tuple]) -> dict[tuple[str, str], str]:
    texts: dict[tuple[str, str], list[str]] = {}
    for dataset, device, ts, *values in rows:
        texts.setdefault((dataset, str(ts.date())), []).append(f"{device} {ts} {values}")
    return {
        day: hashlib.sha256("\n".join(lines).encode()).hexdigest() for day, lines in texts.items()
    }


def _differences(found: State, wanted: State) -> str:
    """Say where two states differ, by the names of files and tables."""
    return ", ".join(
        f"{what.name} {name}"
        for what in fields(State)
        for name in sorted({*getattr(found, what.name), *getattr(wanted, what.name)})
        if getattr(found, what.name).get(name) != getattr(wanted, what.name).get(name)
    )


def _count(told: Path) -> int:
    """How many changes a process has told of; none before it has begun."""
    return int((told.read_text() if told.exists() else "").strip() or 0)


def _command(
    home: SmallHome,
    args: tuple[str, ...],
    *,
    prepare: Changes | None = None,
    seconds: float | None = None,
) -> Ended:
    done = run_command("procezo", [*args], home.path, home.env, prepare=prepare, kill_after=seconds)
    return Ended(done.returncode, done.stdout, done.stderr)
