"""Runs that load the same days at the same time, and files that are replaced meanwhile."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from core_home import AGGREGATE, CLEAN, D1, D2, PARSE, RESAMPLE, CoreHome, failures
from filelock import FileLock
from postgres_rows import OURS
from warehouse_parts import D1 as DAY
from warehouse_parts import TABLE, query, stage_input, write_part

from procezo_assets import day_lock
from procezo_assets.datasets import Home
from procezo_assets.errors import TransientStoreError
from procezo_assets.stores import exports, warehouse_tables
from procezo_assets.stores.loads import turn_to_load
from procezo_assets.stores.replacing import temporary_name
from procezo_assets.treatments.exportcsv import ExportcsvParameters, exportcsv

POSTGRES = {"treatment": "to_postgres"}
CSV = {
    "treatment": "exportcsv",
    "params": {"aggregation": "60s", "columns": {"m0__raw__mean": "a"}},
}
WAITING = f"SELECT count(*) FROM pg_stat_activity WHERE {OURS} AND wait_event_type = 'Lock'"


@pytest.fixture
def home(tmp_path):
    return CoreHome(tmp_path / "home")


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)


def test_a_run_never_loads_older_rows_over_those_of_a_later_one(home, postgres_url, monkeypatch):
    monkeypatch.setenv("PROCEZO_POSTGRES_URL", postgres_url)
    flow = home.flow(PARSE, CLEAN, RESAMPLE, AGGREGATE, POSTGRES)
    home.raw_days(D1, D2)
    home.run_well(flow, D1, D2, stages=["parsed", "clean", "resampled", "aggregated"])
    with (
        psycopg.connect(postgres_url) as other,
        psycopg.connect(postgres_url, autocommit=True) as observer,
        ThreadPoolExecutor(2) as pool,
    ):
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended('procezo:f', 0))")
        # it has read both days when it waits for its turn with the first
        first = pool.submit(home.run, flow, D1, D2, stages=["postgres"])
        wait_until(lambda: observer.execute(WAITING).fetchone() == (1,))
        home.raw_days(D2, level=500)
        written = home.digests()
        second = pool.submit(home.run, flow, D2)
        wait_until(lambda: home.digests() != written)
        wait_until(lambda: observer.execute(WAITING).fetchone() == (2,), seconds=1)
        other.rollback()
        assert failures([*first.result(60), *second.result(60)]) == []
        rows = observer.execute(
            'SELECT min("m0__raw__mean") > 400 FROM f.bio_signal_60s WHERE ts >= %s', [D2]
        ).fetchall()
    assert rows == [(True,)]


def test_a_load_alone_cleans_up_after_a_run_that_was_killed(home):
    flow = home.flow(PARSE, CLEAN, RESAMPLE, AGGREGATE, CSV)
    home.raw_days(D1)
    home.run_well(flow, D1)
    dataset = home.home.dataset("DS")
    folder = dataset.stage("40_aggregated") / f"domain=bio_signal/day={D1}"
    left = temporary_name(folder / "x.parquet")
    left.write_bytes(b"half")
    dataset.lock(D1).with_suffix(".unfinished").touch()

    home.run_well(flow, D1, stages=["exportcsv"])

    assert not left.exists()


def test_a_run_that_waited_exports_the_days_that_came_meanwhile(home):
    flow = home.flow(PARSE, CLEAN, RESAMPLE, AGGREGATE, CSV)
    export = home.home.dataset("DS").stage("61_exportcsv")
    files = ["parsed", "clean", "resampled", "aggregated"]
    home.raw_days(D1, D2)
    home.run_well(flow, D1)
    mine = replace(stage_input(home.home, dataset="DS"), output=export)
    with ThreadPoolExecutor(1) as pool:
        with turn_to_load([mine]):
            waiting = pool.submit(home.run, flow, D1, stages=["exportcsv"])
            time.sleep(0.2)
            home.run_well(flow, D2, stages=files)
        assert failures(waiting.result(60)) == []
    (name,) = [path.name for path in export.glob("*.csv")]
    assert name.endswith(f"_{D1}_{D2}.csv")


class _TwoDevices:
    """A day of two devices, each of which has one value in all rows of a run."""

    @pytest.fixture
    def home(self, tmp_path):
        home = Home(tmp_path / "home")
        self.write(home, 1)
        return home

    def write(self, home, value, devices=("a", "b")):
        beside = Home(home.path.with_name("beside"))
        for device in devices:
            made = write_part(beside, DAY, {"v": [value]}, device=device)
            path = home.path / made.relative_to(beside.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            made.replace(path)


class TestWarehouse(_TwoDevices):
    def values(self, home):
        return query(home, f"SELECT device, v FROM {TABLE} ORDER BY device")

    def test_half_of_a_partition_is_never_loaded(self, home):
        lock = home.dataset("GRACE").lock(DAY)
        lock.parent.mkdir(parents=True)
        with ThreadPoolExecutor(1) as pool:
            with FileLock(lock):  # as a run does that writes the day
                self.write(home, 2, ["a"])
                loading = pool.submit(warehouse_tables.load, [stage_input(home, DAY)])
                time.sleep(0.2)
                self.write(home, 2, ["b"])
            loading.result(60)
        assert self.values(home) == [("a", 2), ("b", 2)]

    def test_who_waits_for_a_day_lets_others_read_and_load(self, home, monkeypatch):
        warehouse_tables.load([stage_input(home, DAY)])
        write_part(home, DAY, {"v": [7]}, device="c", dataset="OTHER")
        asked = threading.Event()
        ask = day_lock._is_shared
        monkeypatch.setattr(day_lock, "_is_shared", lambda file: asked.set() or ask(file))
        with ThreadPoolExecutor(1) as pool:
            with FileLock(home.dataset("GRACE").lock(DAY)):
                loading = pool.submit(warehouse_tables.load, [stage_input(home, DAY)])
                assert asked.wait(20)
                lock = FileLock(home.state / "warehouse.lock")
                with lock.acquire(timeout=0):
                    assert self.values(home) == [("a", 1), ("b", 1)]
                warehouse_tables.load([stage_input(home, DAY, dataset="OTHER")])
                assert not loading.done()
            loading.result(60)
        assert self.values(home) == [("a", 1), ("b", 1), ("c", 7)]

    def test_who_waits_too_long_for_a_day_says_so(self, home, monkeypatch):
        monkeypatch.setattr(day_lock, "TURN_WAIT_S", 0.1)
        lock = home.dataset("GRACE").lock(DAY)
        lock.parent.mkdir(parents=True)
        with (
            FileLock(lock),
            pytest.raises(TransientStoreError, match="working on 2026-01-25 of dataset 'GRACE'"),
        ):
            warehouse_tables.load([stage_input(home, DAY)])
        assert not home.warehouse.exists()

    @pytest.mark.parametrize("gone", [False, True])
    def test_what_is_replaced_after_it_was_listed_is_loaded_again(self, home, monkeypatch, gone):
        self.meanwhile(home, monkeypatch, times=1, gone=gone)

        (loaded,) = warehouse_tables.load([stage_input(home, DAY)])

        assert loaded.failed == {}
        assert self.values(home) == ([("a", 2)] if gone else [("a", 2), ("b", 2)])

    def test_what_is_replaced_for_ever_is_said_so_and_changes_nothing(self, home, monkeypatch):
        warehouse_tables.load([stage_input(home, DAY)])
        self.meanwhile(home, monkeypatch, times=99)

        with pytest.raises(TransientStoreError, match="'GRACE' of 2026-01-25 are replaced"):
            warehouse_tables.load([stage_input(home, DAY)])

        assert self.values(home) == [("a", 1), ("b", 1)]

    def meanwhile(self, home, monkeypatch, *, times, gone=False):
        """Replace the day's files between the look at them and their loading."""
        original, left = warehouse_tables.batches_of, iter(range(times))

        def batches_of(connection, parts):
            batches = original(connection, parts)
            if (number := next(left, None)) is not None:
                self.write(home, 2 + number)
                if gone:
                    next(home.dataset("GRACE").path.rglob("b__*.parquet")).unlink()
            return batches

        monkeypatch.setattr(warehouse_tables, "batches_of", batches_of)


class TestExport(_TwoDevices):
    def meanwhile(self, home, monkeypatch, *, times, gone=False):
        """Replace the day's files once the first device was looked at."""
        original, left = exports.joined, iter(range(times))

        def joined(paths):
            result = original(paths)
            if (number := next(left, None)) is not None:
                self.write(home, 2 + number)
                if gone:
                    next(home.dataset("GRACE").path.rglob("b__*.parquet")).unlink()
            return result

        monkeypatch.setattr(exports, "joined", joined)

    def export(self, home):
        (loaded,) = exportcsv(
            [stage_input(home, DAY)],
            ExportcsvParameters.model_validate({"tz": "UTC", "columns": {"v": "v"}}),
        )
        assert loaded.failed == {}
        return [
            (home.dataset("GRACE").path / name).read_text().split()[-1].split(";")[-1]
            for name in loaded.tables
        ]

    def test_no_half_of_a_partition_is_exported(self, home):
        lock = home.dataset("GRACE").lock(DAY)
        lock.parent.mkdir(parents=True)
        with ThreadPoolExecutor(1) as pool:
            with FileLock(lock):  # as a run does that writes the day
                exporting = pool.submit(self.export, home)
                time.sleep(0.2)
                self.write(home, 2)
            assert exporting.result(60) == ["2", "2"]

    @pytest.mark.parametrize("gone", [False, True])
    def test_what_is_replaced_meanwhile_is_exported_again(self, home, monkeypatch, gone):
        self.meanwhile(home, monkeypatch, times=1, gone=gone)
        assert self.export(home) == (["2"] if gone else ["2", "2"])

    def test_what_is_replaced_for_ever_is_said_so_and_changes_nothing(self, home, monkeypatch):
        self.export(home)
        before = self.exported(home)
        assert [text.split(";")[-1] for text in before.values()] == ["1\n", "1\n"]
        self.meanwhile(home, monkeypatch, times=99)
        with pytest.raises(TransientStoreError, match="'GRACE' of 2026-01-25 are replaced"):
            self.export(home)
        assert self.exported(home) == before

    def exported(self, home):
        return {path.name: path.read_text() for path in stage_input(home, DAY).output.iterdir()}
