"""Transient faults: what is tried again, and what is not."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from core_home import AGGREGATE, CLEAN, D1, D2, PARSE, RESAMPLE, CoreHome, done, failures

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


def patiently(home, flow, *days, waits=(5, 20), on_sleep=lambda: None):
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        on_sleep()

    work = Work(flow, flow.stages, {home.home.dataset("DS"): list(days)})
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
