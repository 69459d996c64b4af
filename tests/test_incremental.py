"""Incremental equals full: whatever comes when, the results are those of one run over all of it."""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from core_home import (
    AGGREGATE,
    CLEAN,
    D1,
    D2,
    D3,
    PARSE,
    RESAMPLE,
    CoreHome,
    done,
    failures,
    lines,
)
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from test_laws import LINES

from procezo_assets.datasets import part_files, stage_days
from procezo_assets.pipeline import StageKept
from procezo_assets.plans import Planner
from procezo_assets.raw.gone import GONE_FILE
from procezo_assets.runs import Work, run
from procezo_assets.stores.loads import read_record
from procezo_assets.stores.parquet import read_part

STEPS = [PARSE, CLEAN, AGGREGATE]
NAMES = ("a_pil-90_2025-03-01.csv", "deep/b_pil-90_2025-03-02.csv", "c_pil-98_2025-03-01.csv")
# a row a day that stays, so that the dataset is never empty
ANCHOR = "".join(f"{day}T12:00:00Z;m0:5\n" for day in (D1, D2))

STEP = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NAMES), LINES),
    st.tuples(st.just("append"), st.sampled_from(NAMES), LINES),
    st.tuples(st.just("copy"), st.sampled_from(NAMES), st.just("again")),
    st.tuples(st.just("move"), st.sampled_from(NAMES), st.just("moved")),
    st.tuples(st.just("delete"), st.sampled_from(NAMES), st.just(None)),
    st.tuples(st.just("touch"), st.sampled_from(NAMES), st.just(None)),
    st.tuples(st.just("lose the catalog"), st.just(""), st.just(None)),
    st.tuples(st.just("run"), st.just(""), st.just(None)),
)


def run_last(lab, flow, *, dataset="DS"):
    """What `procezo flow --last` does, without Dagster."""
    planner = Planner(
        flow=flow,
        dataset=lab.home.existing_dataset(dataset),
        stages=flow.stages,
        params={},
        refit=False,
        full_replace=False,
    )
    events = []
    for plan in planner.plans(None, None, only_stale=True):
        days = [plan.first + timedelta(days=n) for n in range((plan.last - plan.first).days + 1)]
        work = Work(flow, plan.stages, {lab.home.existing_dataset(dataset): days}, refit=plan.refit)
        events += run(work)
    assert [event.reason for event in failures(events)] == []
    return events


def carry_out(lab, what, name, value):
    raw = lab.home.dataset("DS").raw
    path = raw / name
    if what == "write":
        lab.raw(name, "".join(f"{line}\n" for line in value))
    elif what == "append":
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.writelines(f"{line}\n" for line in value)
    elif what == "lose the catalog":
        (lab.home.state / "catalog.sqlite").unlink(missing_ok=True)
    elif name and path.is_file():
        if what == "copy":
            lab.raw(f"{value}/{name}", path.read_bytes())
        elif what == "move":
            target = raw / value / name
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        elif what == "delete":
            path.unlink()
        elif what == "touch":
            os.utime(path)


def results(lab):
    """What was made of the raw files, without what is remembered of them."""
    return {
        name: digest
        for name, digest in lab.digests().items()
        if not name.startswith("quarantine") and not name.endswith(GONE_FILE)
    }


@given(st.lists(STEP, max_size=12))
@settings(deadline=None, max_examples=examples(10))
def test_runs_over_what_changed_make_the_bytes_of_one_run_over_all(steps):
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        lab, full = CoreHome(Path(first)), CoreHome(Path(second))
        flow = lab.flow(*STEPS, removed="drop")
        lab.raw("anchor_pil-90_2025-03-01.csv", ANCHOR)
        for what, name, value in steps:
            if what == "run":
                run_last(lab, flow)
            else:
                carry_out(lab, what, name, value)
        run_last(lab, flow)
        assert run_last(lab, flow) == []  # nothing is left to do

        shutil.copytree(lab.home.dataset("DS").raw, full.home.dataset("DS").raw)
        run_last(full, full.flow(*STEPS, removed="drop"))

        assert results(lab) == results(full)


@given(LINES, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=examples(6))
def test_lines_that_come_in_any_order_and_files_make_the_values_of_one_file(texts, random):
    texts = list({line.partition(";")[0]: line for line in texts}.values())  # no ties
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        lab, whole = CoreHome(Path(first)), CoreHome(Path(second))
        flow = lab.flow(*STEPS)
        lab.raw("anchor_pil-90_2025-03-01.csv", ANCHOR)
        shuffled = random.sample(texts, len(texts))
        for place in range(3):
            name = f"{random.randrange(100)}_pil-90_2025-03-0{place + 1}.csv"
            text = "".join(f"{line}\n" for line in shuffled[place::3])
            lab.raw(name, text)
            if random.random() < 0.5:
                lab.raw(f"repeated/{name}", text)
            if random.random() < 0.7:
                run_last(lab, flow)
        run_last(lab, flow)

        whole.raw("x_pil-90_2025-03-01.csv", ANCHOR + "".join(f"{line}\n" for line in texts))
        run_last(whole, whole.flow(*STEPS))

        for stage in flow.stages:
            for day in stage_days(whole.home.dataset("DS").stage(stage.output)):
                expected = whole.frames(stage.output, day)
                found = lab.frames(stage.output, day)
                assert found.keys() == expected.keys()
                for key, frame in expected.items():
                    assert_frame_equal(found[key], frame, check_exact=True)
        assert results(lab) == results(whole)


# days whose raw files are gone


@pytest.fixture
def lab(tmp_path):
    made = CoreHome(tmp_path)
    made.raw_days(D1, D2, D3)
    return made


def raw_of(lab, day):
    return lab.home.dataset("DS").raw / f"x_pil-90_{day}.csv"


def test_a_day_whose_raw_file_is_gone_stays_whatever_runs(lab):
    flow = lab.flow(PARSE, CLEAN, AGGREGATE, {"treatment": "to_duckdb"})
    run_last(lab, flow)
    before = results(lab)
    raw_of(lab, D2).unlink()

    assert run_last(lab, flow) == []
    events = lab.run_well(flow, D1, D2, D3)

    (kept,) = [event for event in events if isinstance(event, StageKept)]
    assert (kept.stage.name, kept.day, kept.files) == ("parsed", D2, 2)
    assert kept.reason == f"raw file x_pil-90_{D2}.csv is gone"
    assert ("clean", D2) in done(events)  # later stages go on from what is kept
    assert results(lab) == before
    lab.run_well(flow, D2)
    (lab.home.state / "catalog.sqlite").unlink()  # nor when nothing remembers the file
    lab.run_well(flow, D1, D2, D3)
    assert run_last(lab, flow) == []
    assert results(lab) == before


def test_later_stages_of_a_kept_day_follow_the_flow(lab):
    run_last(lab, lab.flow(PARSE, CLEAN))
    raw_of(lab, D2).unlink()
    flow = lab.flow(PARSE, CLEAN, RESAMPLE)

    events = run_last(lab, flow)

    assert {day for stage, day in done(events) if stage == "resampled"} == {D1, D2, D3}


def test_a_kept_day_is_made_again_once_its_file_is_back_with_other_lines(lab):
    flow = lab.flow(*STEPS)
    run_last(lab, flow)
    text = raw_of(lab, D2).read_text()
    raw_of(lab, D2).unlink()
    assert run_last(lab, flow) == []

    raw_of(lab, D2).write_text(text)
    assert run_last(lab, flow) == []
    raw_of(lab, D2).write_text(text + f"{D2}T23:00:00Z;m0:9\n")
    assert {day for _, day in done(run_last(lab, flow))} == {D2}


def test_a_new_file_of_a_kept_day_waits_until_the_other_is_back(lab):
    flow = lab.flow(*STEPS)
    run_last(lab, flow)
    before = results(lab)
    text = raw_of(lab, D2).read_text()
    raw_of(lab, D2).unlink()
    lab.raw(f"late_pil-90_{D2}.csv", f"{D2}T23:00:00Z;m0:9\n")

    assert run_last(lab, flow) == []
    lab.run_well(flow, D2)
    assert results(lab) == before

    raw_of(lab, D2).write_text(text)
    assert ("parsed", D2) in done(run_last(lab, flow))
    (frame,) = [
        frame for key, frame in lab.frames("10_parsed", D2).items() if key.domain == "bio_signal"
    ]
    assert frame.height == 31


def test_a_kept_day_that_was_never_run_leaves_nothing(lab):
    flow = lab.flow(*STEPS)
    lab.run_well(flow, D1)
    raw_of(lab, D2).unlink()

    events = lab.run_well(flow, D2)

    assert [event.files for event in events if isinstance(event, StageKept)] == [0]
    assert done(events) == {}
    assert D2 not in {day for _, day in done(run_last(lab, flow))}


def test_a_kept_day_without_files_of_parse_keeps_what_comes_later(lab):
    flow = lab.flow(*STEPS, {"treatment": "to_duckdb"})
    run_last(lab, flow)
    raw_of(lab, D2).unlink()
    dataset = lab.home.dataset("DS")
    for path in part_files(dataset.stage("10_parsed"), D2).values():
        path.unlink()
    before = results(lab)

    lab.run_well(flow, D2)
    assert D2 not in {day for _, day in done(run_last(lab, flow))}

    assert results(lab) == before
    assert D2 in read_record(dataset.stage("50_duckdb")).days


def test_dropped_days_leave_stages_and_databases(lab):
    flow = lab.flow(*STEPS, {"treatment": "to_duckdb"}, removed="drop")
    run_last(lab, flow)
    raw_of(lab, D2).unlink()

    run_last(lab, flow)

    dataset = lab.home.dataset("DS")
    for stage in ("10_parsed", "20_clean", "40_aggregated"):
        assert stage_days(dataset.stage(stage)) == [D1, D3]
    assert sorted(read_record(dataset.stage("50_duckdb")).days) == [D1, D3]
    assert run_last(lab, flow) == []


def test_a_crash_between_results_and_catalog_costs_a_reading_and_no_row(lab):
    flow = lab.flow(*STEPS)
    run_last(lab, flow)
    stale = (lab.home.state / "catalog.sqlite").read_bytes()
    lab.raw(f"late_pil-90_{D2}.csv", f"{D2}T23:00:00Z;m0:9\n")
    run_last(lab, flow)
    before = results(lab)
    (lab.home.state / "catalog.sqlite").write_bytes(stale)

    assert run_last(lab, flow) == []
    assert results(lab) == before


def test_a_file_that_crosses_midnight_changes_two_days_and_no_other(lab):
    flow = lab.flow(*STEPS)
    run_last(lab, flow)
    lab.raw("late_pil-98_2025-03-01.csv", "".join(lines(D1, start=23)[:9] + lines(D2, start=0)[:9]))

    events = run_last(lab, flow)

    assert {day for _, day in done(events)} == {D1, D2}
    path = next(
        path
        for key, path in part_files(lab.home.dataset("DS").stage("10_parsed"), D2).items()
        if key.device == "pil-98"
    )
    assert read_part(path).height == 9
