"""A PostgreSQL server that stops, restarts, refuses, falls silent, or drops the connection."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from pathlib import Path

import pytest
from core_home import AGGREGATE, CLEAN, D1, D2, PARSE, RESAMPLE, CoreHome, failures
from postgres_rows import NEXT, OURS, load, rows, run, tidy
from psycopg.conninfo import make_conninfo
from tcp_proxy import Proxy

from procezo_assets.errors import StoreError, TransientStoreError
from procezo_assets.retries import Waited, run_patiently
from procezo_assets.runs import Work
from procezo_assets.stores import embedded_postgres, postgres_connection, postgres_silence
from procezo_assets.stores.postgres_connection import (
    DayRefusedError,
    connections_kept,
    in_transaction,
)

COUNT = 20_000
BEFORE = tidy(m0=[7] * COUNT, m1=[0.5] * COUNT)
AFTER = tidy(m0=list(range(COUNT)), m1=[0.25] * COUNT)
CONTENT = "SELECT count(*), count(DISTINCT (device, ts)), sum(m0), sum(m1) FROM flow.t"
LOADED = {
    id(frame): [(COUNT, COUNT, frame["m0"].sum(), frame["m1"].sum())] for frame in (BEFORE, AFTER)
}


@pytest.fixture(scope="module")
def state():
    """The state folder of a server of our own, which no other test needs."""
    home = Path(tempfile.mkdtemp(prefix="procezo-tests-"))
    home.chmod(0o711)  # under root the server's user must pass through
    yield home / ".procezo"
    embedded_postgres.stop(home / ".procezo")
    shutil.rmtree(home)


@pytest.fixture
def server(state):
    """The server, up and with the rows of before."""
    url = embedded_postgres.start(state)
    run(url, "DROP SCHEMA IF EXISTS flow, f CASCADE")
    load(url, {"t": BEFORE})
    return url


def restart(state):
    embedded_postgres.stop(state)
    embedded_postgres.start(state)


def test_a_connection_that_is_cut_anywhere_is_made_again(server):
    for after in (20, 700, 300_000):
        load(server, {"t": BEFORE})
        with Proxy(server, after=after) as line:
            load(line.url, {"t": AFTER})
            assert line.left == 0
        assert rows(server, CONTENT) == LOADED[id(AFTER)], after


def test_a_commit_whose_answer_is_lost_makes_no_row_twice(server):
    with Proxy(server, after=b"COMMIT", answered=True) as line:
        load(line.url, {"t": AFTER})
        assert line.left == 0
    assert rows(server, CONTENT) == LOADED[id(AFTER)]


def test_a_connection_that_is_cut_again_and_again_changes_nothing(server, monkeypatch):
    monkeypatch.setattr(postgres_connection, "_ATTEMPTS", 2)
    with Proxy(server, after=300_000, times=99) as line:
        with pytest.raises(TransientStoreError, match="when the server is back") as caught:
            load(line.url, {"t": AFTER})
        assert line.connections >= 2
    assert "\n" not in str(caught.value)
    assert rows(server, CONTENT) == LOADED[id(BEFORE)]


def test_a_server_that_restarts_while_it_is_loaded_and_between_two_days(server, state):
    with Proxy(server, after=300_000, then=lambda: restart(state)) as line, connections_kept():
        load(line.url, {"t": AFTER})
        restart(state)
        load(line.url, {"t": tidy(m0=[1], m1=[1.0], day=NEXT)}, day=NEXT)
    assert rows(server, f"{CONTENT} WHERE ts < '{NEXT}'") == LOADED[id(AFTER)]
    assert rows(server, f"{CONTENT} WHERE ts >= '{NEXT}'") == [(1, 1, 1, 1.0)]


def test_a_server_that_is_down_for_long_is_waited_for_between_attempts(
    server, state, tmp_path, monkeypatch
):
    monkeypatch.setattr(postgres_connection, "_ATTEMPTS", 1)
    monkeypatch.setenv("PROCEZO_POSTGRES_URL", server)
    home = CoreHome(tmp_path)
    home.raw_days(D1, D2)
    flow = home.flow(PARSE, CLEAN, RESAMPLE, AGGREGATE, {"treatment": "to_postgres"})
    whole = "SELECT * FROM f.bio_signal_60s ORDER BY dataset, device, ts"
    home.run_well(flow, D1, D2)
    undisturbed = rows(server, whole)
    run(server, "DROP SCHEMA f CASCADE")

    embedded_postgres.stop(state)
    work = Work(flow, flow.stages, {home.home.dataset("DS"): [D1, D2]})
    waits = iter([lambda: None, lambda: embedded_postgres.start(state)])
    events = list(run_patiently(work, waits=(5, 20), sleep=lambda _: next(waits)()))

    assert failures(events) == []
    assert [event.seconds for event in events if isinstance(event, Waited)] == [5, 20]
    assert "cannot be reached" in next(e for e in events if isinstance(e, Waited)).reason
    assert rows(server, whole) == undisturbed


def test_a_server_that_has_too_many_clients_is_tried_again(server, state):
    reader = embedded_postgres.reader_url_if_running(state)
    run(server, "ALTER ROLE reader CONNECTION LIMIT 0")
    freed = threading.Timer(0.3, run, (server, "ALTER ROLE reader CONNECTION LIMIT -1"))
    freed.start()
    assert in_transaction(reader, lambda cursor: cursor.execute("SELECT 1")) is not None
    freed.join()


@pytest.mark.usefixtures("server")
def test_a_wrong_password_is_refused_at_once_and_not_shown(state):
    reader = embedded_postgres.reader_url_if_running(state)
    with (
        Proxy(reader) as line,
        pytest.raises(StoreError, match="password authentication failed") as caught,
    ):
        load(make_conninfo(line.url, password="s3cr3t"), {"t": AFTER})  # noqa: S106 - no one's
    assert type(caught.value) is StoreError
    assert "s3cr3t" not in repr(caught.value)
    assert line.connections == 1


def test_a_server_that_accepts_and_never_answers_is_given_up(server, monkeypatch):
    monkeypatch.setattr(postgres_connection, "_GIVE_UP_AFTER_S", 1)
    with Proxy(server) as line:
        line.open.clear()
        with pytest.raises(TransientStoreError, match="cannot be reached"):
            load(make_conninfo(line.url, connect_timeout=2), {"t": AFTER})
        assert line.connections == 1


def test_a_server_that_falls_silent_is_given_up_and_commits_nothing_later(server, monkeypatch):
    monkeypatch.setattr(postgres_silence, "LOOK_EVERY_S", 0.2)
    monkeypatch.setattr(postgres_silence, "SILENT_LOOKS", 1)
    monkeypatch.setattr(postgres_silence, "_ANSWER_WITHIN_S", 2)
    monkeypatch.setattr(postgres_silence, "_CANCEL_WITHIN_S", 0.1)
    monkeypatch.setattr(postgres_connection, "_GIVE_UP_AFTER_S", 1)
    with Proxy(server) as line:

        def work(cursor):
            cursor.execute("DELETE FROM flow.t")
            line.open.clear()
            cursor.execute("SELECT 1")

        with pytest.raises(TransientStoreError, match=r"has not answered for 0.\d seconds"):
            in_transaction(line.url, work)
        line.open.set()  # it answers after all
        deadline = time.monotonic() + 60
        ours = f"SELECT count(*) FROM pg_stat_activity WHERE {OURS}"
        while rows(server, ours) != [(0,)] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert rows(server, ours) == [(0,)]
    assert rows(server, CONTENT) == LOADED[id(BEFORE)]


def test_what_is_beyond_a_tables_limits_says_what_to_do_in_either_layout(server):
    columns = ", ".join(f"c{place} int" for place in range(1_601))
    with pytest.raises(DayRefusedError, match="name fewer columns in sources, or use layout"):
        in_transaction(server, lambda cursor: cursor.execute(f"CREATE TABLE wide ({columns})"))


def test_a_transaction_that_takes_for_ever_says_whether_the_day_may_be_loaded(server, monkeypatch):
    monkeypatch.setattr(postgres_silence, "LOOK_EVERY_S", 0.2)
    monkeypatch.setattr(postgres_silence, "LONGEST_S", 0.4)
    with pytest.raises(TransientStoreError, match=r"answers, but .* nothing of the day was"):
        in_transaction(server, lambda cursor: cursor.execute("SELECT pg_sleep(30)"))
    for statement in (
        (
            "CREATE FUNCTION flow.slow() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN PERFORM pg_sleep(30); RETURN NULL; END'"
        ),
        (
            "CREATE CONSTRAINT TRIGGER slow AFTER DELETE ON flow.t DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION flow.slow()"
        ),
    ):
        run(server, statement)
    with pytest.raises(TransientStoreError, match="the day is loaded or not: run again"):
        in_transaction(server, lambda cursor: cursor.execute("DELETE FROM flow.t"))
    run(
        server,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE {OURS} AND pid <> pg_backend_pid()",
    )
