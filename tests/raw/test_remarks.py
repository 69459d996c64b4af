"""What is told of raw files, wherever people look: short, one sentence a device and kind."""

from __future__ import annotations

import pytest
from core_home import D1, D2, PARSE, CoreHome, done

from procezo_assets.arrivals import Memory, look
from procezo_assets.balance import dataset_balance
from procezo_assets.orchestration.checks import StageFindings
from procezo_assets.orchestration.metadata import stage_metadata
from procezo_assets.raw.inspection import inspect_file
from procezo_assets.raw.remarks import device_remarks
from procezo_assets.runs import RawScanned, raw_source

ASSUMED = "the file names no time zone: UTC is assumed; set timezone"
BACK = "the clock jumps back"


@pytest.fixture
def lab(tmp_path):
    made = CoreHome(tmp_path)
    for day, back in ((D1, "09:00:00"), (D2, "09:30:00")):
        text = f"time,m0\n{day} 10:00:00,1\n{day} {back},2\n{day} 10:00:01,3\n"
        made.raw(f"x_pil-90_{day}.csv", text)
    made.raw(f"x_pil-98_{D1}.csv", f"time,m0\n{D1} 10:00:00,1\n{D1} 10:00:01,2\n")
    return made


@pytest.fixture
def flow(lab):
    return lab.flow({**PARSE, "params": {"format": "csv"}}, settle_seconds=0)


@pytest.fixture
def source(lab, flow):
    found = raw_source(flow, lab.home.dataset("DS"))
    found.scan()
    return found


def test_one_sentence_for_each_device_and_kind(source):
    first, second = f"x_pil-90_{D1}.csv", f"x_pil-98_{D1}.csv"

    assert device_remarks(source.files.values()) == [
        f"pil-90: {ASSUMED} ({first} and 1 more)",
        f"pil-90: {BACK} 2 times, at most by 1:00:00 ({first} and 1 more)",
        f"pil-98: {ASSUMED} ({second})",
    ]


def test_times_that_a_policy_settled_are_told(lab):
    texts = [f"2025-03-30 02:{minute}:00,1\n" for minute in (15, 30)]
    lab.raw("odd.csv", "time,m0\n" + "".join(texts) + "2025-03-30 04:00:00,1\n")
    params = {"format": "csv", "timezone": "Europe/Paris", "nonexistent": "shift"}
    source = raw_source(lab.flow({**PARSE, "params": params}), lab.home.dataset("DS"))
    source.scan()

    told = device_remarks([source.files["odd.csv"]])

    assert told == [
        "odd: 2 local times that do not exist were settled by the policy 'nonexistent' (odd.csv)"
    ]


def test_a_run_warns_of_the_files_of_its_days(flow, source):
    findings = StageFindings()

    findings.enter_scan(RawScanned(flow.stages[0], source, 0.0), {D2})

    assert findings.warnings == [
        {"dataset": "DS", "warning": f"pil-90: {ASSUMED} (x_pil-90_{D2}.csv)"},
        {
            "dataset": "DS",
            "warning": f"pil-90: {BACK} once, at most by 0:30:00 (x_pil-90_{D2}.csv)",
        },
    ]


def test_the_materialization_of_parsed_tells(lab, flow):
    shown = stage_metadata(done(lab.run_well(flow, D2))["parsed", D2], plot=False)

    (record,) = shown["raw_files"].records
    assert record.data["remarks"] == f"{ASSUMED}; {BACK} once, at most by 0:30:00"


def test_the_ledger_tells_file_by_file(lab, flow, source):
    files = dataset_balance(flow, lab.home.dataset("DS"), source).files

    assert [len(one.remarks) for one in files] == [2, 2, 1]
    assert files[-1].remarks == (ASSUMED,)


def test_a_sensor_tells_of_files_that_it_has_read(lab, flow):
    dataset = lab.home.dataset("DS")

    found = look(flow, dataset, Memory())

    assert f"DS: pil-98: {ASSUMED} (x_pil-98_{D1}.csv)" in found.notes
    assert look(flow, dataset, found.memory).notes == []


def test_repeats_are_counted_within_the_bounds_that_are_given(lab):
    path = lab.raw("x_y.csv", "time,m0\n" + "".join(f"{D1} 1{n}:00:00,1\n" for n in (3, 1, 1, 2)))

    found = inspect_file(path, {"to": f"{D1}T13:00:00Z"})

    assert (found.counts.rows, found.duplicate_ts) == (3, 1)
    # out of order within the bounds, and out of them on both sides
    path.write_text(path.read_text() + f"{D1} 10:30:00,1\n{D1} 11:00:00,1\n")
    found = inspect_file(path, {"from": f"{D1}T11:00:00Z", "to": f"{D1}T13:00:00Z"})
    assert (found.counts.rows, found.duplicate_ts) == (4, 2)
