"""Exports: which files are written, what they are called, and which are removed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from procezo_assets.datasets import Home, PartKey
from procezo_assets.errors import StoreError
from procezo_assets.stores.loads import StageInput
from procezo_assets.treatments.exportcsv import ExportcsvParameters, exportcsv

D1, D2, D3 = date(2026, 1, 25), date(2026, 1, 26), date(2026, 1, 27)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "a home [1]*'s")


def write_part(home, day, values, *, device="pil-90", dataset="GRACE", window="10s", stage=None):
    """Write `m0__raw__mean` of a device-day, ten seconds apart from 08:00 UTC on."""
    start = datetime(day.year, day.month, day.day, 8, tzinfo=UTC)
    frame = pl.DataFrame(
        {
            "ts": [start + timedelta(seconds=10 * i) for i in range(len(values))],
            "device": [device] * len(values),
            "m0__raw__mean": values,
        },
        schema_overrides={"ts": pl.Datetime("us", "UTC"), "device": pl.String},
    )
    path = PartKey(device, "bio_signal", window).path(folder_of(home, dataset, stage), day)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)
    return path


def folder_of(home, dataset, stage=None):
    return home.dataset(dataset).stage(stage or "40_aggregated")


def stage_input(home, *days, dataset="GRACE", stage="40_aggregated"):
    return StageInput(
        home=home,
        flow="valvometry",
        dataset=dataset,
        stage=stage.partition("_")[2],
        folder=folder_of(home, dataset, stage),
        output=home.dataset(dataset).stage("61_exportcsv"),
        days=days,
        step="exportcsv",
    )


def run(home, *days, dataset="GRACE", stage="40_aggregated", **params):
    (loaded,) = exportcsv(
        [stage_input(home, *days, dataset=dataset, stage=stage)],
        ExportcsvParameters.model_validate({"tz": "UTC", **params}),
    )
    return loaded


def exported(home, dataset="GRACE"):
    """The values of the files by their name, without the header and the times."""
    return {
        path.name: [line.partition(";")[2] for line in path.read_text().splitlines()[1:]]
        for path in sorted(home.dataset(dataset).stage("61_exportcsv").iterdir())
    }


def test_all_days_present_are_in_one_file_whatever_days_the_run_had(home):
    write_part(home, D1, [1])
    write_part(home, D2, [2, 3])
    write_part(home, D3, [4])

    loaded = run(home, D2)

    assert exported(home) == {
        "GRACE_pil-90_aggregated_10s_2026-01-25_2026-01-27.csv": ["1", "2", "3", "4"]
    }
    assert loaded.rows == {D2: 2}


def test_file_with_other_dates_is_removed_and_other_files_stay(home):
    write_part(home, D1, [1])
    write_part(home, D1, [5], device="pil-98")
    run(home, D1)
    output = home.dataset("GRACE").stage("61_exportcsv")
    others = [
        "GRACE_pil-90_aggregated_60s_2026-01-25_2026-01-25.csv",
        "GRACE_pil-90_clean_2026-01-25_2026-01-25.csv",
        "GRACE_pil-90_aggregated_10s_2026-01-25.csv",
        "OTHER_pil-90_aggregated_10s_2026-01-25_2026-01-25.csv",
        "notes.txt",
    ]
    for name in others:
        (output / name).write_text("Time;mine\n")

    write_part(home, D2, [2])
    run(home, D2)

    assert exported(home) == {name: [] for name in others} | {
        "GRACE_pil-90_aggregated_10s_2026-01-25_2026-01-26.csv": ["1", "2"],
        "GRACE_pil-98_aggregated_10s_2026-01-25_2026-01-25.csv": ["5"],
    }


def test_device_without_rows_has_no_file(home):
    write_part(home, D1, [1])
    vanishing = write_part(home, D1, [2], device="pil-98")
    emptied = write_part(home, D1, [3], device="pil-99")
    run(home, D1)
    assert len(exported(home)) == 3

    vanishing.unlink()
    assert emptied == write_part(home, D1, [], device="pil-99")
    loaded = run(home, D1)

    assert exported(home) == {"GRACE_pil-90_aggregated_10s_2026-01-25_2026-01-25.csv": ["1"]}
    assert loaded.rows == {D1: 1}


def test_rerun_writes_the_same_bytes(home):
    write_part(home, D1, [1, 2])
    run(home, D1)
    output = home.dataset("GRACE").stage("61_exportcsv")
    before = {path.name: path.read_bytes() for path in output.iterdir()}

    run(home, D1)

    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


def test_one_file_a_day(home):
    write_part(home, D1, [1])
    write_part(home, D2, [2])
    gone = write_part(home, D2, [3], device="pil-98")
    write_part(home, D3, [4])

    loaded = run(home, D1, D2, span="day")

    assert exported(home) == {
        "GRACE_pil-90_aggregated_10s_2026-01-25.csv": ["1"],
        "GRACE_pil-90_aggregated_10s_2026-01-26.csv": ["2"],
        "GRACE_pil-98_aggregated_10s_2026-01-26.csv": ["3"],
    }
    assert loaded.rows == {D1: 1, D2: 2}

    gone.unlink()
    write_part(home, D2, [20])
    run(home, D2, span="day")

    assert exported(home) == {
        "GRACE_pil-90_aggregated_10s_2026-01-25.csv": ["1"],
        "GRACE_pil-90_aggregated_10s_2026-01-26.csv": ["20"],
    }


def test_bounds_include_the_first_instant_and_exclude_the_last(home):
    write_part(home, D1, [1, 2, 3])
    write_part(home, D2, [4, 5, 6])

    loaded = run(home, D1, D2, **{"from": "2026-01-25T08:00:10", "to": "2026-01-26T09:00:10+01:00"})

    assert exported(home) == {
        "GRACE_pil-90_aggregated_10s_2026-01-25_2026-01-26.csv": ["2", "3", "4"]
    }
    assert loaded.rows == {D1: 2, D2: 1}


def test_column_that_some_days_lack_or_have_as_another_type(home):
    write_part(home, D1, [1, 2])
    write_part(home, D2, [0.5, None])
    path = write_part(home, D3, [9])
    pl.read_parquet(path, glob=False).select("ts", "device").write_parquet(path)

    run(home, D3, columns={"m0__raw__mean": "c0"})

    assert exported(home) == {
        "GRACE_pil-90_aggregated_10s_2026-01-25_2026-01-27.csv": ["1.0", "2.0", "0.5", "", ""]
    }


def test_stage_without_windows(home):
    write_part(home, D1, [1], window=None, stage="20_clean")

    run(home, D1, stage="20_clean")

    assert exported(home) == {"GRACE_pil-90_clean_2026-01-25_2026-01-25.csv": ["1"]}


def test_several_datasets_with_folders_and_devices_with_blanks(home):
    write_part(home, D1, [1], dataset="event 1/group_A", device="pil [9] *b")
    write_part(home, D1, [2], dataset="event 1/group_B", device="b")

    loaded = exportcsv(
        [
            stage_input(home, D1, dataset="event 1/group_A"),
            stage_input(home, D1, dataset="event 1/group_B"),
        ],
        ExportcsvParameters(),
    )

    assert [one.dataset for one in loaded] == ["event 1/group_A", "event 1/group_B"]
    assert exported(home, "event 1/group_A") == {
        "event 1-group_A_pil [9] *b_aggregated_10s_2026-01-25_2026-01-25.csv": ["1"]
    }
    assert exported(home, "event 1/group_B") == {
        "event 1-group_B_b_aggregated_10s_2026-01-25_2026-01-25.csv": ["2"]
    }


def test_window_that_is_not_there_is_warned_about_and_removes_nothing(home):
    write_part(home, D1, [1])
    run(home, D1)

    loaded = run(home, D1, aggregation="10 s")

    assert list(exported(home)) == ["GRACE_pil-90_aggregated_10s_2026-01-25_2026-01-25.csv"]
    (warning,) = loaded.warnings
    assert warning == (
        "nothing was exported: stage 'aggregated' has no files of domain 'bio_signal' "
        "and window '10 s' (it has 10s)"
    )


def test_unreadable_file_fails_its_device_only_and_leaves_the_older_export(home):
    write_part(home, D1, [1])
    write_part(home, D1, [2], device="pil-98")
    run(home, D1)
    write_part(home, D2, [3])
    write_part(home, D2, [4], device="pil-98").write_bytes(b"PAR1 no parquet at all")

    loaded = run(home, D2)

    assert exported(home) == {
        "GRACE_pil-90_aggregated_10s_2026-01-25_2026-01-26.csv": ["1", "3"],
        "GRACE_pil-98_aggregated_10s_2026-01-25_2026-01-25.csv": ["2"],
    }
    assert list(loaded.failed) == [D2]
    assert loaded.rows == {}
    assert "device 'pil-98' was not exported" in loaded.failed[D2]
    assert "pil-98__bio_signal__2026-01-26__10s.parquet" in loaded.failed[D2]


def test_folder_that_cannot_be_made_is_one_error(home):
    write_part(home, D1, [1])
    home.dataset("GRACE").stage("61_exportcsv").write_text("a file in the way")

    with pytest.raises(StoreError, match=r"cannot export into .*61_exportcsv"):
        run(home, D1)
