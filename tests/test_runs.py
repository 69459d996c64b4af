"""Runs: many partitions, one's trouble never another's."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl
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
    TRANSFORM,
    CoreHome,
    done,
    failures,
    lines,
)

from procezo_assets.datasets import PartKey, part_files, stage_days
from procezo_assets.errors import FitError
from procezo_assets.fits import current_fit
from procezo_assets.harmless import steers
from procezo_assets.ledger import Ledger
from procezo_assets.runs import Work, run
from procezo_assets.stores.parquet import read_provenance

FULL = [PARSE, CLEAN, RESAMPLE, TRANSFORM, NORMALIZE, AGGREGATE]

FAILS_ONE_DAY = """
from procezo_assets.treatments import Parameters, treatment

@treatment(inputs=("20_clean",), output="22_fussy")
def fussy(frame, params, *, about):
    if str(about.day) == "2025-03-02":
        raise RuntimeError("no\\nSundays")
    return frame
"""


def event_dataset(event):
    return getattr(event, "dataset", None)


@pytest.fixture
def lab(tmp_path):
    made = CoreHome(tmp_path)
    made.raw_days(D1, D2, D3)
    return made


def test_all_stages_of_all_days(lab):
    flow = lab.flow(*FULL)

    events = lab.run_well(flow, D1, D2, D3)

    assert set(done(events)) == {(stage.name, day) for stage in flow.stages for day in (D1, D2, D3)}
    dataset = lab.home.dataset("DS")
    assert all(stage_days(dataset.stage(stage.output)) == [D1, D2, D3] for stage in flow.stages)
    one = done(events)["clean", D1]
    assert (one.ledger.rows_in, one.ledger.rows_out) == (60, 60)  # both domains
    assert [counted.file.name for counted in done(events)["parsed", D1].raw_files] == [
        "x_pil-90_2025-03-01.csv"
    ]


def test_files_name_what_they_hold_and_what_made_them(lab):
    lab.run_well(lab.flow(*FULL), D1)

    folder = lab.home.dataset("DS").stage("40_aggregated")
    path = folder / "domain=bio_signal/day=2025-03-01/pil-90__bio_signal__2025-03-01__60s.parquet"
    assert path in part_files(folder, D1).values()
    frame = pl.read_parquet(path, hive_partitioning=False)
    assert frame.columns[:2] == ["ts", "device"]
    assert frame["device"].unique().to_list() == ["pil-90"]
    made = read_provenance(path)
    assert (made.flow, made.stage, made.treatment) == ("f", "aggregated", "aggregate")
    fit = read_provenance(
        PartKey("pil-90", "bio_signal").path(lab.home.dataset("DS").stage("35_normalized"), D1)
    ).fit
    assert fit == current_fit(lab.home.dataset("DS").stage("35_normalized")).sha256


def test_the_footers_of_a_partition_add_up_to_its_ledger(lab):
    events = lab.run_well(lab.flow(*FULL), D1)

    dataset = lab.home.dataset("DS")
    for (stage, _), event in done(events).items():
        added = Ledger()
        for path in part_files(dataset.stage(event.stage.output), D1).values():
            counts = read_provenance(path).counts
            if counts:
                added.add(counts)
        if stage == "parsed":  # each domain of a device has all its rows
            assert (added.rows_in, event.ledger.rows_in) == (60, 30)
        else:
            assert added.counts() == event.ledger.counts()
        assert added.values_removed == event.ledger.values_removed


def test_a_run_of_days_makes_the_bytes_of_runs_of_one_day(lab, tmp_path):
    steps = [PARSE, CLEAN, RESAMPLE, TRANSFORM, AGGREGATE]
    lab.run_well(lab.flow(*steps), D1, D2, D3)
    other = CoreHome(tmp_path / "other")
    other.raw_days(D1, D2, D3)
    flow = other.flow(*steps)

    for day in (D3, D1, D2):
        other.run_well(flow, day)

    assert lab.digests() == other.digests() != {}


def test_a_run_over_what_is_there_changes_no_byte(lab):
    flow = lab.flow(*FULL)
    lab.run_well(flow, D1, D2)
    before = lab.digests()

    lab.run_well(flow, D2, D1)
    lab.run_well(flow, D1, stages=["transform", "aggregated"])

    assert lab.digests() == before


def test_stage_by_stage_from_disk_makes_the_bytes_of_one_run(lab, tmp_path):
    lab.run_well(lab.flow(*FULL), D1, D2)
    other = CoreHome(tmp_path / "other")
    other.raw_days(D1, D2, D3)
    flow = other.flow(*FULL)

    for stage in flow.stages:
        other.run_well(flow, D1, D2, stages=[stage.name])

    assert lab.digests() == other.digests()


def test_a_day_that_fails_stops_no_other_and_keeps_what_it_had(lab):
    lab.treatment("fussy", FAILS_ONE_DAY.replace("2025-03-02", "never"))
    fussy = {"treatment": "fussy"}
    flow = lab.flow(PARSE, CLEAN, fussy, {**AGGREGATE, "input": "22_fussy"})
    lab.run_well(flow, D1, D2, D3)
    before = lab.digests()
    for day in (D1, D2, D3):
        lab.raw(f"more_pil-90_{day}.csv", f"{day}T23:00:00Z;m0:7\n")
    lab.treatment("fussy", FAILS_ONE_DAY)
    flow = lab.flow(PARSE, CLEAN, fussy, {**AGGREGATE, "input": "22_fussy"})

    events = lab.run(flow, D1, D2, D3)

    (failed,) = failures(events)
    assert (failed.day, failed.stage.name, failed.dataset) == (D2, "fussy", "DS")
    assert failed.reason == "RuntimeError: no Sundays (fussy.py:7)"
    written = set(done(events))
    assert written == {
        (stage, day)
        for stage in ("parsed", "clean", "fussy", "aggregated")
        for day in (D1, D2, D3)
        if day != D2 or stage in {"parsed", "clean"}
    }
    after = lab.digests()
    for name, digest in before.items():
        kept = str(D2) in name and name.startswith(("22_", "40_"))
        assert (after[name] == digest) == kept, name


def test_what_an_exception_says_steers_no_log(lab):
    lab.treatment("fussy", FAILS_ONE_DAY.replace("no\\nSundays", "\\x1b]0;x\\x07" + "m0 " * 999))
    flow = lab.flow(PARSE, CLEAN, {"treatment": "fussy"})

    (failed,) = failures(lab.run(flow, D2))

    assert failed.reason.startswith(r"RuntimeError: \x1b]0;x\x07m0 m0")
    assert failed.reason.endswith("(fussy.py:7)")
    assert len(failed.reason) < 1100
    assert not steers(failed.trace.replace("\n", ""))


def test_an_unreadable_raw_file_fails_the_day_it_names(lab):
    obstacle = Path("/proc/self/mem")  # a file that nobody can read from its start
    if not obstacle.is_file():
        pytest.skip("needs Linux")
    flow = lab.flow(PARSE, CLEAN)
    lab.run_well(flow, D1, D2, D3)
    before = lab.digests()
    (lab.home.dataset("DS").raw / "x_pil-98_2025-03-02.csv").symlink_to(obstacle)

    events = lab.run(flow, D1, D2, D3)

    (failed,) = failures(events)
    assert (failed.day, failed.stage.name) == (D2, "parsed")
    assert "x_pil-98_2025-03-02.csv cannot be read" in failed.reason
    assert set(done(events)) == {(stage, day) for stage in ("parsed", "clean") for day in (D1, D3)}
    assert lab.digests() == before


def test_a_damaged_input_file_fails_its_day(lab):
    flow = lab.flow(PARSE, CLEAN)
    lab.run_well(flow, D1, D2)
    dataset = lab.home.dataset("DS")
    path = PartKey("pil-90", "environment").path(dataset.stage("10_parsed"), D1)
    path.write_bytes(path.read_bytes()[:50])
    clean = {name: d for name, d in lab.digests().items() if name.startswith("20_")}

    events = lab.run(flow, D1, D2, stages=["clean"])

    (failed,) = failures(events)
    assert failed.day == D1
    assert "cannot be read" in failed.reason
    assert "run the stage that writes it again" in failed.reason
    assert {name: d for name, d in lab.digests().items() if name.startswith("20_")} == clean


def test_a_folder_in_the_way_of_a_file_fails_its_day_and_leaves_no_traces(lab):
    flow = lab.flow(PARSE)
    path = PartKey("pil-90", "environment").path(lab.home.dataset("DS").stage("10_parsed"), D2)
    (path / "in the way").mkdir(parents=True)

    events = lab.run(flow, D1, D2, D3)

    (failed,) = failures(events)
    assert failed.day == D2
    assert not list(lab.home.datasets.rglob("*.tmp"))
    assert set(done(events)) == {("parsed", D1), ("parsed", D3)}


def test_rows_that_went_away_take_their_files_along(lab):
    lab.raw_days(D1, D2, device="pil-98")
    flow = lab.flow(PARSE, CLEAN, AGGREGATE, removed="drop")
    lab.run_well(flow, D1, D2)
    (lab.home.dataset("DS").raw / f"x_pil-98_{D1}.csv").unlink()

    lab.run_well(flow, D1, D2)

    assert {key.device for key in lab.frames("40_aggregated", D1)} == {"pil-90"}
    assert {key.device for key in lab.frames("40_aggregated", D2)} == {"pil-90", "pil-98"}


def test_a_fit_is_made_once_from_all_days_and_again_when_asked(lab):
    lab.raw_days(D2, level=300)
    flow = lab.flow(PARSE, CLEAN, NORMALIZE)
    folder = lab.home.dataset("DS").stage("35_normalized")

    lab.run_well(flow, D1)
    first = current_fit(folder)
    assert first.content["devices"]["pil-90"]["m0"] == {"low": 100, "high": 129, "count": 30}
    assert json.loads(first.path.read_text()) == first.content
    assert first.path.stem == first.sha256[:16]

    lab.run_well(flow, D1, D2)
    assert current_fit(folder) == first  # later runs apply what is there
    m0 = lab.frames("35_normalized", D2)[PartKey("pil-90", "bio_signal")]["m0"]
    assert m0.unique().to_list() == [1.0]

    lab.run_well(flow, D1, D2, refit=True)
    second = current_fit(folder)
    assert second.content["devices"]["pil-90"]["m0"]["high"] == 329
    assert second.sha256 != first.sha256


def test_without_a_fit_a_stage_says_so_and_other_datasets_go_on(lab):
    lab.raw_days(D1, dataset="B")
    flow = lab.flow(PARSE, CLEAN, {"treatment": "normalize"}, datasets=["DS", "B"])
    lab.run_well(flow, D1, dataset="B", refit=True)

    events = lab.run(flow, D1, datasets=["DS", "B"])

    (failed,) = failures(events)
    assert isinstance(failed.error, FitError)
    assert (failed.dataset, failed.stage.name) == ("DS", "normalized")
    assert "'normalized' of dataset 'DS' has no fit; make one with --refit" in failed.reason
    assert ("normalized", D1) in done(event for event in events if event_dataset(event) == "B")
    assert set(lab.frames("20_clean", D1)) == set(lab.frames("20_clean", D1, dataset="B"))


def test_run_parameters_are_over_all_others(lab):
    flow = lab.flow(PARSE, CLEAN, AGGREGATE)

    lab.run_well(flow, D1, run_params={"windows": ["5min"], "aggregated": {"metrics": ["count"]}})

    frame = lab.frames("40_aggregated", D1)[PartKey("pil-90", "bio_signal", "5min")]
    assert frame.columns == ["ts", "m0__raw__count", "m1__raw__count"]
    assert {key.window for key in lab.frames("40_aggregated", D1)} == {"5min"}


def test_several_datasets_each_with_its_overrides(lab):
    lab.raw_days(D1, dataset="lab/B")
    flow = lab.flow(
        PARSE,
        CLEAN,
        datasets=["DS", "lab/*"],
        overrides={"lab/[AB]": {"clean": {"domains": {"bio_signal": {"max_value": 110}}}}},
    )

    lab.run_well(flow, D1, datasets=["DS", "lab/B"])

    key = PartKey("pil-90", "bio_signal")
    assert lab.frames("20_clean", D1)[key]["m0"].max() == 129
    assert lab.frames("20_clean", D1, dataset="lab/B")[key]["m0"].max() == 110


def test_masks_go_through_the_stages_that_follow(lab):
    masked = {**RESAMPLE, "params": {**RESAMPLE["params"], "freq": "5s", "mask": True}}
    clean_again = {"treatment": "clean", "input": "25_resampled", "output": "26_clean_again"}
    flow = lab.flow(PARSE, CLEAN, masked, clean_again, TRANSFORM, AGGREGATE)

    events = lab.run_well(flow, D1)

    frame = lab.frames("26_clean_again", D1)[PartKey("pil-90", "bio_signal")]
    assert frame.schema["m0__is_interpolated"] == pl.Boolean
    assert "not_numeric" in done(events)["aggregated", D1].ledger.removed_by_reason()


def test_bad_lines_never_fail_a_day(lab):
    t = "2025-03-01T12:00:0"
    lab.raw(
        "x_pil-90_2025-03-01_b.csv",
        f"{t}0Z;m0:1e9999999999999999999;m1:9223372036854775807;outdoor_temp:1e400\n"
        f"{t}1Z;m0:0e99999999999999999999;m1:nan\n"
        f"{t}2Z;m0;m0:;m0:12.5;=:3\n\n\0\nrebooting\n{t}3Z\n".encode()
        + b"\xff\xfe;m0:1\n2999-01-01T00:00:00Z;m0:1\n",
    )
    integers = {"environment": {"columns": ["m1"], "dtype": "int"}, "b": {"columns": ["m0"]}}
    flow = lab.flow({**PARSE, "params": {"domains": integers}}, CLEAN, RESAMPLE, AGGREGATE)

    events = lab.run_well(flow, D1)

    parsed = done(events)["parsed", D1]
    assert parsed.ledger.removed_by_reason() == {"not_number": 2}
    assert any("without a colon" in warning for warning in parsed.warnings)
    assert any("repeated key" in warning for warning in parsed.warnings)
    assert any("= (1)" in warning for warning in parsed.warnings)
    quarantine = pl.read_parquet(
        lab.home.dataset("DS").quarantine("f") / "x_pil-90_2025-03-01_b.csv.parquet"
    )
    assert quarantine["reason"].to_list() == ["timestamp", "no_key_value", "timestamp", "future"]


def test_a_day_without_rows_has_no_files(lab):
    flow = lab.flow(PARSE, CLEAN)
    day = D3.replace(day=20)

    events = lab.run_well(flow, day)

    assert [event.files for event in done(events).values()] == [{}, {}]
    assert lab.digests() == {}


def test_the_flows_bounds_exclude(lab):
    flow = lab.flow(PARSE, params={"from": "2025-03-01T10:01:00Z", "to": "2025-03-02T00:00:00Z"})

    events = lab.run_well(flow, D1, D2)

    source = events[0].source
    assert {one.file.name[-14:-4]: one.excluded for one in source.files.values()} == {
        "2025-03-01": 6,
        "2025-03-02": 30,
        "2025-03-03": 30,
    }
    assert lab.frames("10_parsed", D1)[PartKey("pil-90", "bio_signal")].height == 24
    assert lab.frames("10_parsed", D2) == {}


def test_days_of_a_file_are_not_those_of_its_name(lab):
    lab.raw("x_pil-77_2025-03-01.csv", "".join([*lines(D2), *lines(D3)]))

    lab.run_well(lab.flow(PARSE), D1, D2, D3)

    devices = [{key.device for key in lab.frames("10_parsed", day)} for day in (D1, D2, D3)]
    assert devices == [{"pil-90"}, {"pil-77", "pil-90"}, {"pil-77", "pil-90"}]


def test_a_day_that_failed_does_not_go_on_after_the_others_were_fitted(lab):
    lab.treatment("fussy", FAILS_ONE_DAY)
    normalize = {**NORMALIZE, "input": "22_fussy"}
    flow = lab.flow(PARSE, CLEAN, {"treatment": "fussy"}, normalize)

    events = lab.run(flow, D1, D2, D3)

    assert [(one.stage.name, one.day) for one in failures(events)] == [("fussy", D2)]
    assert {day for stage, day in done(events) if stage == "normalized"} == {D1, D3}


def test_no_fit_is_made_without_a_day_that_a_fault_has_stopped(lab, tmp_path):
    lab.raw_days(D2, level=300)
    flow = lab.flow(PARSE, CLEAN, NORMALIZE)
    dataset = lab.home.dataset("DS")
    obstacle = dataset.stage("20_clean") / "domain=bio_signal" / f"day={D2}"
    obstacle.parent.mkdir(parents=True)
    obstacle.touch()

    failed = failures(lab.run(flow, D1, D2, D3))

    assert {(one.stage.name, one.day) for one in failed} == {
        ("clean", D2),
        ("normalized", D1),
        ("normalized", D3),
    }
    (reason,) = (one.reason for one in failed if one.day == D1)
    assert reason.startswith("the fit of stage 'normalized' of dataset 'DS' waits for 2025-03-02")
    assert current_fit(dataset.stage("35_normalized")) is None
    obstacle.unlink()
    lab.run_well(flow, D1, D2, D3)
    other = CoreHome(tmp_path / "other")
    other.raw_days(D1, D3)
    other.raw_days(D2, level=300)
    other.run_well(other.flow(PARSE, CLEAN, NORMALIZE), D1, D2, D3)
    assert lab.digests() == other.digests()


def test_the_footer_tells_of_every_change_of_the_raw_lines(lab):
    flow = lab.flow(PARSE, CLEAN)
    dataset = lab.home.dataset("DS")

    def inputs():
        lab.run_well(flow, D1)
        return [
            read_provenance(PartKey("pil-90", "environment").path(dataset.stage(stage), D1)).input
            for stage in ("10_parsed", "20_clean")
        ]

    before = inputs()
    assert inputs() == before
    # m0 is no column of this domain, but its partition was made from the line all the same
    lab.raw(f"x_pil-90_{D1}.csv", "".join(lines(D1)).replace("m0:100", "m0:101"))

    after = inputs()
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_an_unreadable_file_takes_nothing_that_an_earlier_run_had_from_it(lab):
    midnight = "".join(lines(D1)) + "".join(lines(D2, start=0))
    path = lab.raw(f"x_crossing_{D1}.csv", midnight)
    flow = lab.flow(PARSE)
    lab.run_well(flow, D1, D2, D3)
    before = lab.digests()
    path.unlink()
    path.symlink_to("/proc/self/mem")

    failed = failures(lab.run(flow, D1, D2, D3))

    assert {event.day for event in failed} == {D1, D2}
    assert all("x_crossing" in event.reason for event in failed)
    assert lab.digests() == before


def test_an_older_reading_never_overwrites_a_newer_one(lab):
    flow = lab.flow(PARSE)
    dataset = lab.home.dataset("DS")
    slow = run(Work(flow, flow.stages, {dataset: [D1]}))
    next(slow)  # has read the raw files, and written nothing yet
    lab.raw(f"x_pil-90_{D1}.csv", "".join(lines(D1, number=60)))
    lab.run_well(flow, D1)
    list(slow)

    assert lab.frames("10_parsed", D1)[PartKey("pil-90", "bio_signal")].height == 60


def test_rows_of_another_day_are_never_written(lab):
    lab.treatment(
        "late",
        "import polars as pl\n"
        "from procezo_assets.treatments import treatment\n"
        "@treatment(inputs=('10_parsed',), output='15_late')\n"
        "def late(frame: pl.DataFrame, params) -> pl.DataFrame:\n"
        "    return frame.with_columns(pl.col('ts') + pl.duration(days=1))\n",
    )
    (failed,) = failures(lab.run(lab.flow(PARSE, {"treatment": "late"}), D1))

    assert failed.stage.name == "late"
    assert "within 2025-03-01 UTC, 30 times" in failed.reason
    assert not lab.frames("15_late", D1)


def test_nan_of_a_treatment_is_null(lab):
    lab.treatment(
        "nothing",
        "import polars as pl\n"
        "from procezo_assets.treatments import treatment\n"
        "@treatment(inputs=('10_parsed',), output='15_nothing')\n"
        "def nothing(frame: pl.DataFrame, params) -> pl.DataFrame:\n"
        "    return frame.with_columns(pl.exclude('ts') * float('nan'))\n",
    )
    (event,) = [
        event
        for (stage, _), event in done(
            lab.run_well(lab.flow(PARSE, {"treatment": "nothing"}), D1)
        ).items()
        if stage == "nothing"
    ]

    frame = lab.frames("15_nothing", D1)[PartKey("pil-90", "bio_signal")]
    assert frame["m0"].null_count() == 30
    assert event.ledger.values_out == 0
    assert sum(event.ledger.removed_by_reason().values()) == event.ledger.values_in


def test_an_override_in_the_established_form_stands_where_the_built_in_did(lab):
    folder = lab.home.treatments / "clean"
    folder.mkdir(parents=True)
    (folder / "treatment.json").write_text('{"name": "clean", "params": {}}')
    (folder / "run.py").write_text(
        "import shutil\n"
        "def run(input_dir, output_dir, params):\n"
        "    shutil.copytree(input_dir, output_dir, dirs_exist_ok=True)\n"
    )
    flow = lab.flow(PARSE, CLEAN)
    lab.run_well(flow, D1)

    assert flow.stage("clean").treatment.kind == "folder"
    assert lab.frames("20_clean", D1) != {}


def test_summaries_of_summaries_of_several_windows_are_refused(lab):
    again = {
        "treatment": "aggregate",
        "input": "40_aggregated",
        "output": "45_daily",
        "params": {"windows": ["1d"]},
    }
    (failed,) = failures(lab.run(lab.flow(PARSE, AGGREGATE, again), D1))

    assert "from several windows of 40_aggregated" in failed.reason


def test_a_file_name_that_is_no_utf8_is_a_name_like_others(lab):
    raw = lab.home.dataset("DS").raw
    name = os.fsdecode(b"x_p\xe9l_" + str(D1).encode() + b".csv")
    (raw / f"x_pil-90_{D1}.csv").rename(raw / name)
    lab.run_well(lab.flow(PARSE), D1)

    (key, _) = lab.frames("10_parsed", D1)
    assert key.device == "p\ufffdl"


def test_failures_do_not_keep_the_frames_of_their_days(lab):
    lab.treatment(
        "boom",
        "from procezo_assets.treatments import treatment\n"
        "@treatment(inputs=('10_parsed',), output='15_boom')\n"
        "def boom(frame, params):\n"
        "    raise ValueError('no')\n",
    )
    (failed,) = failures(lab.run(lab.flow(PARSE, {"treatment": "boom"}), D1))

    assert failed.error.__traceback__ is None
    assert "in boom" in failed.trace
    assert failed.reason == "ValueError: no (boom.py:4)"
