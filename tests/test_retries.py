"""Transient faults: what is tried again, and what is not."""

from __future__ import annotations

import errno
import fcntl
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from core_home import (
    AGGREGATE,
    CLEAN,
    D1,
    D2,
    D3,
    NORMALIZE,
    PARSE,
    RESAMPLE,
    CoreHome,
    done,
    failures,
)

from procezo_assets import day_lock, fits
from procezo_assets.fits import current_fit
from procezo_assets.raw import catalog_store, containers
from procezo_assets.raw.catalog import Catalog
from procezo_assets.raw.catalog_store import CatalogStore
from procezo_assets.retries import Waited, run_patiently
from procezo_assets.runs import RawScanned, Work

# fails as a full disk does, as long as there is a file `full` beside the treatments
FULL_DISK = '''
import errno
from pathlib import Path
import polars as pl
from procezo_assets.treatments import Parameters, PartAbout, treatment

@treatment(inputs=("20_clean",), output="22_disk")
def disk(frame: pl.DataFrame, params: Parameters, about: PartAbout) -> pl.DataFrame:
    """Write, where there is room."""
    if (Path(__file__).parent / f"full-{about.day}").exists():
        raise OSError(errno.ENOSPC, "No space left on device")
    return frame
'''


@pytest.fixture
def home(tmp_path):
    return CoreHome(tmp_path)


@contextmanager
def full_disk(home, *days):
    home.treatment("disk", FULL_DISK)
    marks = [home.home.treatments / f"full-{day}" for day in days]
    for mark in marks:
        mark.touch()
    yield marks


def patiently(home, flow, *days, waits=(5, 20), on_sleep=lambda: None, **fields):
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        on_sleep()

    work = Work(flow, flow.stages, {home.home.dataset("DS"): list(days)}, **fields)
    return list(run_patiently(work, waits=waits, sleep=sleep)), slept


def test_a_day_goes_on_where_it_was_stopped(home):
    home.raw_days(D1, D2)
    steps = [PARSE, CLEAN, {"treatment": "disk"}, {**RESAMPLE, "input": "22_disk"}, AGGREGATE]
    with full_disk(home, D2) as marks:
        flow = home.flow(*steps)
        events, slept = patiently(home, flow, D1, D2, on_sleep=marks[0].unlink)
    assert slept == [5]
    assert failures(events) == []
    told = [(event.stage.name, event.day) for event in events if hasattr(event, "files")]
    # each stage of each day once: what D2 had been through was not made again
    assert sorted(told) == sorted((stage.name, day) for stage in flow.stages for day in (D1, D2))
    (waited,) = [event for event in events if isinstance(event, Waited)]
    assert waited == Waited(5, 1, "OSError: [Errno 28] No space left on device (disk.py:11)")
    assert len([event for event in events if isinstance(event, RawScanned)]) == 1


def test_what_does_not_pass_is_told_of_once_at_the_end(home):
    home.raw_days(D1, D2)
    with full_disk(home, D2):
        events, slept = patiently(home, home.flow(PARSE, CLEAN, {"treatment": "disk"}), D1, D2)
    assert slept == [5, 20]
    (failed,) = failures(events)
    assert (failed.stage.name, failed.day) == ("disk", D2)
    assert ("disk", D1) in done(events)


def test_what_no_waiting_helps_is_not_tried_again(home):
    home.raw_days(D1)
    home.treatment("disk", FULL_DISK.replace("ENOSPC", "EACCES"))
    (home.home.treatments / f"full-{D1}").touch()
    events, slept = patiently(home, home.flow(PARSE, CLEAN, {"treatment": "disk"}), D1)
    assert slept == []
    assert len(failures(events)) == 1


def test_a_load_that_was_stopped_is_made_again_alone(home):
    home.raw_days(D1)
    away = {"treatment": "to_postgres", "input": "20_clean", "params": {"host": "127.0.0.1"}}
    away["params"]["port"] = 1  # nobody listens there
    events, slept = patiently(home, home.flow(PARSE, CLEAN, away), D1, waits=(3,))
    assert slept == [3]
    assert [(event.stage.name, event.day) for event in failures(events)] == [("postgres", D1)]
    assert len(done(events)) == 2


def test_a_raw_folder_that_cannot_be_scanned_stops_no_other_dataset(home):
    for dataset in ("A", "B"):
        home.raw_days(D1, D2, dataset=dataset)
    flow = home.flow(PARSE, CLEAN, datasets=["A", "B"])
    home.run_well(flow, D1, D2, datasets=["A", "B"])
    for path in home.home.dataset("A").raw.iterdir():
        path.unlink()
    events = home.run(flow, D1, D2, datasets=["A", "B"])
    failed = failures(events)
    assert [(one.dataset, one.day, one.stage.name) for one in failed] == [
        ("A", D1, "parsed"),
        ("A", D2, "parsed"),
    ]
    assert "00_raw is empty, but there are results of 2 days" in failed[0].reason
    assert {(event.dataset, stage) for (stage, _), event in done(events).items()} == {
        ("B", "parsed"),
        ("B", "clean"),
    }


def test_a_catalog_that_is_locked_is_waited_for(home, monkeypatch):
    monkeypatch.setattr(catalog_store, "_BUSY_SECONDS", 0.1)
    home.raw_days(D1)
    flow = home.flow(PARSE, CLEAN)
    home.run_well(flow, D1)
    home.raw_days(D1, level=200)
    path = home.home.dataset("DS").catalog
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        events, slept = patiently(home, flow, D1, on_sleep=other.rollback)
    assert (slept, failures(events)) == ([5], [])
    assert set(done(events)) == {("parsed", D1), ("clean", D1)}
    (waited,) = [event for event in events if isinstance(event, Waited)]
    assert "catalog.sqlite has been locked for 0.1 s" in waited.reason


def scan_lock(dataset):
    return Catalog(CatalogStore(dataset.catalog), "f", dataset.name).lock


@pytest.mark.parametrize(
    ("lock_of", "stage", "doing"),
    [
        (lambda dataset: dataset.lock(D1), "parsed", "working on 2025-03-01"),
        (lambda dataset: dataset.fit_lock("35_normalized"), "normalized", "fitting"),
        (scan_lock, "parsed", "reading the raw files"),
    ],
)
def test_a_wait_for_a_turn_ends_and_is_tried_again(home, monkeypatch, lock_of, stage, doing):
    monkeypatch.setattr(day_lock, "TURN_WAIT_S", 0.1)
    home.raw_days(D1)
    lock = lock_of(home.home.dataset("DS"))
    lock.parent.mkdir(parents=True, exist_ok=True)
    flow = home.flow(PARSE, CLEAN, NORMALIZE)
    with closing(lock.open("ab")) as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        (failed,) = failures(home.run(flow, D1))
        events, slept = patiently(home, flow, D1, on_sleep=other.close)
    assert failed.stage.name == stage
    assert f"another run has been {doing}" in failed.reason
    assert "for 0.1 seconds" in failed.reason
    assert (slept, failures(events)) == ([5], [])


FITTED = (PARSE, CLEAN, {"treatment": "disk"}, {**NORMALIZE, "input": "22_disk"})


def undisturbed(home, path):
    """What the same raw files come to where nothing happens."""
    other = CoreHome(path)
    for file in home.home.dataset("DS").raw.iterdir():
        other.raw(file.name, file.read_bytes())
    other.treatment("disk", FULL_DISK)
    other.run_well(other.flow(*FITTED), D1, D2, D3)
    return other.digests()


@pytest.mark.parametrize("waits", [1, 2])
def test_a_fit_waits_for_the_days_that_a_fault_has_stopped(home, tmp_path, waits):
    for day, level in ((D1, 100), (D2, 300), (D3, 500)):
        home.raw_days(day, level=level)
    before = iter(range(1, waits))
    with full_disk(home, D1, D3) as (first, last):

        def make_room():
            first.unlink(missing_ok=True)  # the others wait for the last one
            if next(before, None) is None:
                last.unlink()

        events, slept = patiently(home, home.flow(*FITTED), D1, D2, D3, on_sleep=make_room)
    assert slept == [5, 20][:waits]
    assert failures(events) == []
    told = [(event.stage.name, event.day) for event in events if hasattr(event, "files")]
    assert len(told) == len(set(told)) == 4 * 3
    assert home.digests() == undisturbed(home, tmp_path / "other")


def test_a_fit_that_was_asked_for_waits_and_is_made_anew_once(home):
    home.raw_days(D1, D2)
    home.treatment("disk", FULL_DISK)
    flow = home.flow(*FITTED)
    home.run_well(flow, D1, D2)
    home.raw_days(D2, level=500)
    with full_disk(home, D2) as (mark,):
        events, slept = patiently(home, flow, D1, D2, on_sleep=mark.unlink, refit=True)
    assert (slept, failures(events)) == ([5], [])
    folder = home.home.dataset("DS").stage("35_normalized")
    assert current_fit(folder).content["devices"]["pil-90"]["m0"]["high"] == 529
    assert len(list((folder / "fits").glob("*.json"))) == 2


def test_a_fit_waits_for_a_day_that_no_waiting_helps(home):
    """A file stands where a folder of the day is to be: a fault, but none that passes."""
    home.raw_days(D1, D2, D3)
    flow = home.flow(PARSE, CLEAN, NORMALIZE)
    obstacle = home.home.dataset("DS").stage("20_clean") / f"domain=bio_signal/day={D2}"
    obstacle.parent.mkdir(parents=True)
    obstacle.touch()

    events, slept = patiently(home, flow, D1, D2, D3)

    assert slept == [5, 20]
    assert {(one.day, one.stage.name) for one in failures(events)} == {
        (D1, "normalized"), (D2, "clean"), (D3, "normalized"),
    }  # fmt: skip
    assert current_fit(home.home.dataset("DS").stage("35_normalized")) is None


def test_a_fit_waits_for_a_day_whose_raw_file_cannot_be_opened(home):
    home.raw_days(D1, D2, D3)
    flow = home.flow(PARSE, CLEAN, NORMALIZE)
    home.run_well(flow, D1, D2, D3, stages=["parsed"])
    path = home.home.dataset("DS").raw / f"x_pil-90_{D2}.csv"
    path.unlink()
    path.symlink_to(path.name)  # a link to itself

    events, _ = patiently(home, flow, D1, D2, D3)

    assert (D2, "parsed") in {(one.day, one.stage.name) for one in failures(events)}
    assert current_fit(home.home.dataset("DS").stage("35_normalized")) is None


def test_a_fault_while_a_fit_is_made_passes_like_any_other(home, monkeypatch):
    home.raw_days(D1, D2)
    write = fits.write_atomically

    def fail(path, _data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(fits, "write_atomically", fail)
    flow = home.flow(PARSE, CLEAN, NORMALIZE)

    def repair():
        monkeypatch.setattr(fits, "write_atomically", write)

    events, slept = patiently(home, flow, D1, D2, on_sleep=repair)
    assert (slept, failures(events)) == ([5], [])
    (waited,) = [event for event in events if isinstance(event, Waited)]
    assert waited.days == 2
    assert "'normalized' of dataset 'DS' cannot be fitted: OSError: [Errno 28]" in waited.reason


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux")
def test_a_raw_file_whose_disk_fails_for_a_while_is_waited_for(home, monkeypatch):
    monkeypatch.setattr(containers, "leads_out", lambda *_: False)
    home.raw_days(D1, D2)
    path = home.home.dataset("DS").raw / f"x_pil-98_{D2}.csv"
    path.symlink_to("/proc/self/mem")  # an I/O error from its first byte on

    def repair():
        path.unlink()
        home.raw_days(D2, device="pil-98", level=500)

    events, slept = patiently(
        home, home.flow(PARSE, CLEAN, NORMALIZE), D1, D2, waits=(5, 20, 60), on_sleep=repair
    )
    assert (slept, failures(events)) == ([5], [])
    fit = current_fit(home.home.dataset("DS").stage("35_normalized"))
    assert sorted(fit.content["devices"]) == ["pil-90", "pil-98"]
