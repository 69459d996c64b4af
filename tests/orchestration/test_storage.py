"""Where runs and events are kept."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

import click
import dagster as dg
import psycopg
import pytest
from filelock import FileLock
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from small_home import CLEAN, DAYS, PARSE, SmallHome, key, keys
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

from procezo_assets.errors import StoreError, TransientStoreError
from procezo_assets.orchestration import event_log, storage, storage_faults
from procezo_assets.orchestration.event_log import EventLog, SqliteStorage
from procezo_assets.orchestration.storage import _MAKING_TABLES
from procezo_assets.orchestration.storage_faults import patiently, told_in_one_line
from procezo_assets.templates import place


def as_url(conninfo: str) -> str:
    """A libpq connection string as the URL that SQLAlchemy takes."""
    parts = conninfo_to_dict(conninfo)
    local = parts["host"].startswith("/")
    url = URL.create(
        "postgresql",
        username=parts.get("user"),
        password=parts.get("password"),
        host=None if local else parts["host"],
        port=None if local else int(parts.get("port", 5432)),
        database=parts["dbname"],
        query={"host": parts["host"], "port": parts.get("port", "5432")} if local else {},
    )
    return url.render_as_string(hide_password=False)


def test_runs_are_kept_in_sqlite_where_nothing_else_is_said(tmp_path):
    home = SmallHome(tmp_path / "home")
    home.write_flow(PARSE)
    home.write_raw(DAYS[0])
    outcome = home.launch(DAYS[0])
    assert (home.path / "dagster.yaml").is_file()
    with home.instance() as instance:
        assert instance.has_run(outcome.run_id)
    assert list((home.path / "history").rglob("runs.db"))
    assert not (home.path / ".telemetry").exists()


def open_with_others(home, barrier):
    """Open a home's storage as each process of Dagster does, in one of several at once."""
    os.environ.update(DAGSTER_HOME=home, PROCEZO_HOME=home)
    barrier.wait(60)
    with dg.DagsterInstance.get() as instance:
        instance.get_runs()


@pytest.mark.parametrize("trial", range(3))
def test_processes_that_open_a_fresh_home_at_once_all_have_its_storage(tmp_path, trial):
    home = SmallHome(tmp_path / f"home{trial}")
    place("dagster.yaml", home.path / "dagster.yaml")
    context = get_context("forkserver")
    barrier = context.Barrier(2)
    processes = [
        context.Process(target=open_with_others, args=(str(home.path), barrier)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    for database in ("history/runs.db", "history/runs/index.db", "schedules/schedules.db"):
        versions = sqlite3.connect(home.path / database).execute("SELECT * FROM alembic_version")
        assert len(versions.fetchall()) == 1, database
    with home.instance() as instance:
        assert instance.get_runs() == []


def test_tables_on_a_server_are_made_by_one_process_at_a_time(tmp_path, postgres_url):
    home = SmallHome(tmp_path / "home", {"PROCEZO_DAGSTER_POSTGRES_URL": as_url(postgres_url)})
    place("dagster.yaml", home.path / "dagster.yaml")

    def open_it():
        with dg.DagsterInstance.get() as instance:
            return instance.get_runs_count()

    with home.environment(), psycopg.connect(postgres_url) as other, ThreadPoolExecutor() as pool:
        other.execute("SELECT pg_advisory_lock(%s)", [_MAKING_TABLES])
        opening = pool.submit(open_it)
        waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        try:
            while not other.execute(waits).fetchall():
                assert not opening.done()
                time.sleep(0.01)
        finally:
            other.execute("SELECT pg_advisory_unlock(%s)", [_MAKING_TABLES])
        assert opening.result(60) >= 0


def test_tables_that_another_process_makes_for_very_long_are_told_of_in_one_line(
    tmp_path, postgres_url, monkeypatch
):
    home = SmallHome(tmp_path / "home", {"PROCEZO_DAGSTER_POSTGRES_URL": as_url(postgres_url)})
    place("dagster.yaml", home.path / "dagster.yaml")
    monkeypatch.setattr(storage, "TABLES_WAIT_S", 0.1)
    told = (
        r"^another process has been making tables .* for 0\.1 seconds; run again when it is done$"
    )
    with home.environment(), psycopg.connect(postgres_url) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [_MAKING_TABLES])
        with pytest.raises(click.ClickException, match=told):
            dg.DagsterInstance.get()


def test_a_storage_that_another_process_makes_for_very_long_is_told_of_in_one_line(
    tmp_path, monkeypatch
):
    home = SmallHome(tmp_path / "home")
    place("dagster.yaml", home.path / "dagster.yaml")
    monkeypatch.setattr(event_log, "TABLES_WAIT_S", 0.1)
    lock = home.path / ".procezo" / "dagster-storage.lock"
    lock.parent.mkdir(exist_ok=True)
    told = rf"^another process has held {lock} for 0\.1 seconds; run again when it is done$"
    with home.environment(), FileLock(lock), pytest.raises(click.ClickException, match=told):
        dg.DagsterInstance.get()


@pytest.mark.parametrize("taken", [".procezo", ".procezo/dagster-storage.lock", "history"])
@pytest.mark.parametrize("command", ["procezo flow small", "dagster run list"])
def test_a_storage_that_has_no_place_is_told_of_in_one_line(tmp_path, taken, command):
    home = SmallHome(tmp_path / "home", {"DAGSTER_HOME": str(tmp_path / "elsewhere")})
    home.write_flow(PARSE)
    home.write_raw(DAYS[0])
    place("dagster.yaml", tmp_path / "elsewhere" / "dagster.yaml")
    path = tmp_path / "elsewhere" / taken
    if taken.endswith(".lock"):
        path.mkdir(parents=True)
    else:
        path.write_text("")

    ended = home.command(*command.split())

    assert ended.code == 1
    assert "Traceback" not in ended.err
    (told,) = [line for line in ended.err.splitlines() if "Dagster's storage cannot be" in line]
    assert str(path) in told
    assert told.endswith("look at its disk and permissions")


def test_what_a_run_begins_with_is_stored_for_each_stage_and_partition(tmp_path):
    home = SmallHome(tmp_path / "home")
    home.write_flow(PARSE, CLEAN)
    home.write_raw(*DAYS)
    outcome = home.launch(DAYS[0], DAYS[-1])
    with home.instance() as instance:
        storage = instance.event_log_storage
        assert isinstance(storage, EventLog)
        planned = instance.all_logs(
            outcome.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        )
        assert sorted((one.dagster_event.asset_key.path[-1], one.dagster_event.partition)
                      for one in planned) == [
            (stage, key(day)) for stage in ("clean", "parsed") for day in DAYS
        ]  # fmt: skip
        for stage in ("clean", "parsed"):
            asset = dg.AssetKey(["small", stage])
            for day in DAYS:
                info = storage.get_latest_planned_materialization_info(asset, key(day))
                assert info.run_id == outcome.run_id
            (record,) = instance.get_asset_records([asset])
            last = record.asset_entry.last_materialization.dagster_event
            assert last.partition in keys(*DAYS)


def test_few_engines_are_kept(tmp_path):
    storage = EventLog(str(tmp_path))
    for run in range(20):
        with storage.run_connection(f"run-{run}") as connection:
            pragma = connection.exec_driver_sql("PRAGMA synchronous").scalar()
            assert pragma == 1  # NORMAL
    assert len(storage._engines) == 8


def test_dagster_home_may_lie_outside_the_home(tmp_path):
    dagster_home = tmp_path / "elsewhere"
    dagster_home.mkdir()
    home = SmallHome(tmp_path / "home", {"DAGSTER_HOME": str(dagster_home)})
    home.write_flow(PARSE)
    home.write_raw(DAYS[0])
    assert home.launch(DAYS[0]).success
    assert home.materialized("parsed") == keys(DAYS[0])
    assert not (home.path / "history").exists()
    assert not (home.path / "history").exists()


def test_without_dagster_home_the_command_takes_the_home(tmp_path):
    home = SmallHome(tmp_path / "home", {"DAGSTER_HOME": ""})
    home.write_flow(PARSE)
    home.write_raw(DAYS[0])
    assert home.procezo("flow", "small").code == 0
    there = SmallHome(home.path)
    assert there.materialized("parsed") == keys(DAYS[0])


def test_runs_are_kept_in_postgres_where_its_url_is_set(tmp_path, postgres_url):
    url = as_url(postgres_url)
    home = SmallHome(tmp_path / "home", {"PROCEZO_DAGSTER_POSTGRES_URL": url})
    home.write_flow(PARSE)
    home.write_raw(*DAYS)
    outcome = home.launch(DAYS[0], DAYS[-1])
    assert outcome.success, outcome.failure
    assert home.materialized("parsed") == keys(*DAYS)
    with psycopg.connect(postgres_url) as connection:
        (run,) = connection.execute("SELECT run_id, status FROM runs").fetchall()
        events = connection.execute(
            "SELECT count(*) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
        ).fetchone()
    assert run == (outcome.run_id, "SUCCESS")
    assert events == (3,)
    assert not list(home.path.rglob("*.db"))


def test_an_unreachable_postgres_for_runs_fails_in_one_line_and_shows_no_password(tmp_path):
    url = "postgresql://u:correct-horse@127.0.0.1:1/dagster"
    home = SmallHome(tmp_path / "home", {"PROCEZO_DAGSTER_POSTGRES_URL": url})
    home.write_flow(PARSE)
    home.write_raw(DAYS[0])
    ended = home.command("procezo", "flow", "small")
    assert ended.code == 1
    assert "127.0.0.1" in ended.error
    assert "correct-horse" not in ended.err
    assert home.digests() == {}


def test_runs_made_before_dagster_yaml_was_there_are_still_known(tmp_path):
    home = SmallHome(tmp_path / "home")
    home.write_flow(PARSE)
    home.write_raw(DAYS[0], DAYS[1])
    assert home.materialize("--partition", f"DS-1|{DAYS[0]}").code == 0
    assert home.materialized("parsed") == keys(DAYS[0])
    assert home.procezo("flow", "small", "--from", DAYS[1]).code == 0
    assert home.materialized("parsed") == keys(DAYS[0], DAYS[1])


def test_every_database_waits_while_another_process_writes(tmp_path):
    storage = SqliteStorage(str(tmp_path))
    for part in (storage.run_storage, storage.schedule_storage):
        with part.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
    with storage.event_log_storage.index_connection() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000


def test_a_database_that_is_locked_is_waited_for_and_then_told_of_in_one_line(
    tmp_path, monkeypatch
):
    home = SmallHome(tmp_path / "home")
    home.write_flow(PARSE)
    home.write_raw(DAYS[0])
    assert home.procezo("flow", "small").code == 0
    (path,) = home.path.rglob("runs.db")
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    freed = threading.Timer(0.5, other.execute, ("ROLLBACK",))
    freed.start()
    assert home.procezo("flow", "small").code == 0
    freed.join()

    monkeypatch.setattr(event_log, "_BUSY_SECONDS", 0.1)
    other.execute("BEGIN EXCLUSIVE")
    ended = home.procezo("flow", "small")
    other.close()
    assert ended.code == 1
    assert "database is locked; another process may hold it" in ended.error
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("fault", ["no such table", "unable to open database file", "readonly"])
def test_a_database_that_is_not_right_is_told_of_at_once(tmp_path, monkeypatch, fault):
    path = tmp_path / "runs.db"
    url = f"sqlite:///{path}"
    if fault.startswith("unable"):
        path.mkdir()
    elif fault == "readonly":
        sqlite3.connect(path).close()
        path.write_bytes(b"")
        url = f"sqlite:///file:{path}?mode=ro&uri=true"
    refused_at_once(url, "CREATE TABLE b (a)" if fault == "readonly" else "SELECT 1 FROM runs",
                    fault, monkeypatch, tmp_path)  # fmt: skip


def test_a_damaged_database_is_told_of_in_one_line_with_what_to_do(tmp_path):
    home = SmallHome(tmp_path / "home")
    home.write_flow(PARSE)
    home.write_raw(DAYS[0])
    assert home.procezo("flow", "small").code == 0
    (path,) = home.path.rglob("runs.db")
    path.write_bytes(b"no database at all" * 400)

    ended = home.procezo("flow", "small")

    assert ended.code == 1
    assert "file is not a database; bring " in ended.error
    assert "schedules back from a backup" in ended.error
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("command", ["procezo flow small", "dagster run list"])
def test_storage_of_two_versions_is_told_of_in_one_line_with_what_to_do(tmp_path, command):
    home = SmallHome(tmp_path / "home")
    home.write_flow(PARSE)
    home.write_raw(DAYS[0])
    assert home.procezo("flow", "small").code == 0
    (path,) = home.path.rglob("runs.db")
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO alembic_version VALUES ('5771160a95ad')")

    ended = home.command(*command.split())

    assert ended.code == 1
    assert "Traceback" not in ended.err
    (told,) = [line for line in ended.err.splitlines() if "more than one head" in line]
    assert f"bring {home.path / 'history'} and {home.path / 'schedules'} back" in told


def test_a_server_that_has_no_such_database_is_told_of_at_once(tmp_path, monkeypatch, postgres_url):
    wrong = make_conninfo(postgres_url, dbname="not_there")
    refused_at_once(as_url(wrong), "SELECT 1", "does not exist", monkeypatch, tmp_path)


def refused_at_once(url, statement, fault, monkeypatch, home):
    monkeypatch.setattr(storage_faults, "WAIT_S", 1)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    engine = create_engine(url)
    said = []

    def say():
        said.append("")
        with engine.connect() as connection:
            connection.execute(text(statement))

    with pytest.raises(StoreError, match=fault) as told, told_in_one_line():
        patiently(say)
    engine.dispose()
    assert len(said) == 1
    assert not isinstance(told.value, TransientStoreError)
    assert "another process" not in str(told.value)


def test_what_a_run_says_is_said_again_where_the_server_drops_it(postgres_url):
    engine = create_engine(as_url(postgres_url))
    said = []

    def say():
        said.append("")
        with engine.connect() as connection:
            if len(said) == 1:
                pid = connection.execute(text("SELECT pg_backend_pid()")).scalar()
                with psycopg.connect(postgres_url) as other:
                    other.execute("SELECT pg_terminate_backend(%s)", [pid])
            return connection.execute(text("SELECT 7")).scalar()

    assert patiently(say) == 7
    assert len(said) == 2
    engine.dispose()


def test_what_a_run_says_is_said_again_where_another_session_holds_the_table(postgres_url):
    engine = create_engine(as_url(postgres_url))
    said = []
    with psycopg.connect(postgres_url) as other:
        other.execute("CREATE TABLE held (a int)")
        other.commit()
        other.execute("LOCK TABLE held")

        def say():
            said.append("")
            if len(said) == 2:
                other.rollback()
            with engine.connect() as connection:
                connection.execute(text("SET lock_timeout = 50"))
                return connection.execute(text("SELECT count(*) FROM held")).scalar()

        assert patiently(say) == 0
    assert len(said) == 2
    engine.dispose()
