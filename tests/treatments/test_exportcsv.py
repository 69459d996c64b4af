"""`exportcsv`: the CSV files, to the byte, and the parameters that are refused."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from procezo_assets.datasets import Home, PartKey
from procezo_assets.stores.loads import StageInput
from procezo_assets.treatments.exportcsv import ExportcsvParameters, exportcsv
from procezo_assets.treatments.model import marked_treatments

DAY = date(2026, 1, 25)
REFERENCE = Path(
    os.environ.get("PROCEZO_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data")
)
REFERENCE = REFERENCE / "reference" if (REFERENCE / "reference").is_dir() else REFERENCE


def write_part(home, start, values, *, device="pil-90", dataset="GRACE", window="10s", step=10):
    """Write the file of the day that `start` is on, rows `step` seconds apart."""
    size = len(next(iter(values.values()), []))
    frame = pl.DataFrame(
        {"ts": [start + timedelta(seconds=step * i) for i in range(size)], "device": device}
        | values,
        schema_overrides={"ts": pl.Datetime("us", "UTC"), "device": pl.String},
    )
    folder = home.dataset(dataset).stage("40_aggregated")
    path = PartKey(device, "bio_signal", window).path(folder, start.date())
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)


def stage_input(home, *days, dataset="GRACE"):
    return StageInput(
        home=home,
        flow="valvometry",
        dataset=dataset,
        stage="aggregated",
        folder=home.dataset(dataset).stage("40_aggregated"),
        output=home.dataset(dataset).stage("61_exportcsv"),
        days=days,
        step="exportcsv",
    )


def run(home, *days, **params):
    (loaded,) = exportcsv([stage_input(home, *days)], ExportcsvParameters.model_validate(params))
    return loaded


def exported(home, dataset="GRACE"):
    folder = home.dataset(dataset).stage("61_exportcsv")
    return {path.name: path.read_bytes().decode() for path in sorted(folder.iterdir())}


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def test_default_is_integers_in_local_time(home):
    write_part(
        home,
        datetime(2026, 1, 25, 8, 0, tzinfo=UTC),
        {"m0__raw__mean": [1.5, 2.5, None], "m0__raw__std": [0.1, 0.2, 0.3], "m11__raw__mean": 7.0},
    )

    loaded = run(home, DAY)

    assert exported(home) == {
        "GRACE_pil-90_aggregated_10s_2026-01-25_2026-01-25.csv": (
            "Time;c0;c11\n"
            "2026-01-25 09:00:00;2;7\n"
            "2026-01-25 09:00:10;2;7\n"
            "2026-01-25 09:00:20;;7\n"
        )
    }
    assert loaded.rows == {DAY: 3}
    assert loaded.tables == ("61_exportcsv/GRACE_pil-90_aggregated_10s_2026-01-25_2026-01-25.csv",)
    assert loaded.warnings == ()


def test_columns_are_named_rounded_and_cast_in_declared_order(home):
    write_part(
        home,
        datetime(2026, 1, 25, 8, 0, tzinfo=UTC),
        {"a": [1.005, 2.125], "b": [3, None], "c": ["x;y", "z"], "d": [float("nan"), 0.5]},
    )

    run(
        home,
        DAY,
        columns={
            "d": "half",
            "b": {"dtype": "float"},
            "a": {"name": "rounded", "decimals": 2},
            "c": {"dtype": "str"},
        },
    )

    (text,) = exported(home).values()
    assert text == (
        "Time;half;b;rounded;c\n"
        '2026-01-25 09:00:00;;3.0;1.0;"x;y"\n'
        "2026-01-25 09:00:10;0.5;;2.12;z\n"
    )


def test_declared_column_that_is_missing_is_exported_empty_with_a_warning(home):
    write_part(home, datetime(2026, 1, 25, 8, tzinfo=UTC), {"a": [1]})

    loaded = run(home, DAY, columns={"b": {"name": "c1", "dtype": "int"}, "a": "c0"})

    assert list(exported(home).values()) == ["Time;c1;c0\n2026-01-25 09:00:00;;1\n"]
    assert loaded.warnings == ("column 'b' is missing from the data of pil-90: exported empty",)


def test_data_without_any_default_column_is_warned_about(home):
    write_part(home, datetime(2026, 1, 25, 8, tzinfo=UTC), {"outdoor_temp__raw__mean": [1.5]})

    loaded = run(home, DAY)

    assert list(exported(home).values()) == ["Time\n2026-01-25 09:00:00\n"]
    (warning,) = loaded.warnings
    assert warning == (
        "none of the columns that are exported by default are in the data of pil-90: "
        "set the parameter columns"
    )


def test_no_columns_are_all_columns(home):
    write_part(home, datetime(2026, 1, 25, 8, tzinfo=UTC), {"b": [1.5], "a": [1e-7]})

    run(home, DAY, columns={})

    assert list(exported(home).values()) == ["Time;b;a\n2026-01-25 09:00:00;1.5;1e-7\n"]


def test_values_that_do_not_fit_are_counted(home):
    write_part(
        home,
        datetime(2026, 1, 25, 8, tzinfo=UTC),
        {"a": [1.0, float("inf"), 1e30], "b": ["2.5", "two", None]},
    )

    loaded = run(home, DAY, columns={"a": {"dtype": "int"}, "b": {"dtype": "float"}})

    assert list(exported(home).values()) == [
        "Time;a;b\n2026-01-25 09:00:00;1;2.5\n2026-01-25 09:00:10;;\n2026-01-25 09:00:20;;\n"
    ]
    assert loaded.warnings == (
        "2 values of column 'a' do not fit its type: exported empty",
        "1 values of column 'b' do not fit its type: exported empty",
    )


def test_hour_is_repeated_where_clocks_go_back_and_skipped_where_they_go_forward(home):
    write_part(
        home, datetime(2026, 10, 25, 0, tzinfo=UTC), {"m0__raw__mean": [1.0, 2.0, 3.0]}, step=1800
    )
    write_part(
        home,
        datetime(2026, 3, 29, 0, 30, tzinfo=UTC),
        {"m0__raw__mean": [4.0, 5.0]},
        device="pil-98",
        step=1800,
    )

    run(home)

    assert exported(home) == {
        "GRACE_pil-90_aggregated_10s_2026-10-25_2026-10-25.csv": (
            "Time;c0\n2026-10-25 02:00:00;1\n2026-10-25 02:30:00;2\n2026-10-25 02:00:00;3\n"
        ),
        "GRACE_pil-98_aggregated_10s_2026-03-29_2026-03-29.csv": (
            "Time;c0\n2026-03-29 01:30:00;4\n2026-03-29 03:00:00;5\n"
        ),
    }


def test_dates_in_the_name_are_local(home):
    write_part(home, datetime(2026, 1, 25, 23, 30, tzinfo=UTC), {"m0__raw__mean": [1.0]})

    run(home, tz="America/New_York")
    assert list(exported(home)) == ["GRACE_pil-90_aggregated_10s_2026-01-25_2026-01-25.csv"]

    run(home)
    assert list(exported(home)) == ["GRACE_pil-90_aggregated_10s_2026-01-26_2026-01-26.csv"]


def test_what_a_spreadsheet_would_run_is_text(home):
    texts = {
        "=1+1": "'=1+1",
        "+cmd|'/C calc'!A0": "'+cmd|'/C calc'!A0",
        "-1+2": "'-1+2",
        "@SUM(1)": "'@SUM(1)",
        " =1": "' =1",
        "\t=1": "'\t=1",
        "\uff1d1": "'\uff1d1",
        "-1.5": "-1.5",
        "+5": "+5",
        "-.5e-3": "-.5e-3",
        "a=b": "a=b",
        "'=1": "'=1",
    }
    values = {"=HYPERLINK(1)": [-1.5] * len(texts), "-1.5": [-7] * len(texts), "said": [*texts]}
    write_part(home, datetime(2026, 1, 25, 8, tzinfo=UTC), values)
    columns = {key: {} for key in values} | {"said": {"name": "@said"}}

    run(home, DAY, columns=columns)

    (text,) = exported(home).values()
    header, *rows = text.splitlines()
    assert header == "Time;'=HYPERLINK(1);-1.5;'@said"
    assert [row.split(";")[1:] for row in rows] == [["-1.5", "-7", safe] for safe in texts.values()]


def test_two_columns_of_one_name_in_a_spreadsheet_are_refused(home):
    columns = {"=a": {}, "'=a": {}}
    write_part(home, datetime(2026, 1, 25, 8, tzinfo=UTC), {key: [1.0] for key in columns})

    failed = run(home, DAY, columns=columns).failed

    assert """columns '=a' and "'=a" would have one name""" in failed[DAY]
    assert not exported(home)


def test_delimiter(home):
    write_part(home, datetime(2026, 1, 25, 8, tzinfo=UTC), {"m0__raw__mean": [1.0]})

    run(home, delimiter=",")

    assert list(exported(home).values()) == ["Time,c0\n2026-01-25 09:00:00,1\n"]


def test_exportnour_is_the_same_with_a_folder_of_its_own():
    assert [(made.name, made.output, made.kind) for made in marked_treatments(exportcsv)] == [
        ("exportcsv", "61_exportcsv", "load"),
        ("exportnour", "61_exportnour", "load"),
    ]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"tz": "Europe/Pari"}, "'Europe/Pari' is no IANA time zone"),
        ({"columns": {"a": "x", "b": "x"}}, "'b' cannot be named 'x': so is 'a'"),
        ({"columns": {"a": "Time"}}, "'a' cannot be named 'Time': so is the export's own column"),
        ({"columns": {"Time": {"dtype": "int"}}}, "'Time' cannot be named 'Time'"),
        ({"columns": {"a": "b", "b": {"decimals": 1}}}, "'b' cannot be named 'b': so is 'a'"),
        ({"columns": {"a": {"dtype": "int", "decimals": 1}}}, "an int has no decimals"),
        ({"columns": {"a": {"dtype": "date"}}}, "'int', 'float' or 'str'"),
        ({"from": "2026-02-01", "to": "2026-01-01"}, "is not before"),
        ({"delimiter": ";;"}, "at most 1 character"),
        ({"delimiter": "0"}, "'0' cannot separate fields"),
        ({"span": "week"}, "'all' or 'day'"),
        ({"zone": "UTC"}, "Extra inputs"),
    ],
)
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        ExportcsvParameters.model_validate(params)


@pytest.mark.skipif(not (REFERENCE / "expected").is_dir(), reason="no reference data here")
def test_reference_is_met_to_the_byte(home):
    for path in (REFERENCE / "expected/40_aggregated").rglob("*.parquet"):
        _, device, _, window, day = path.stem.split("__")
        key = PartKey(device, path.parent.name.removeprefix("domain="), window)
        target = key.path(
            home.dataset("PREMANIP-GRACE").stage("40_aggregated"), date.fromisoformat(day)
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        pl.read_parquet(path).with_columns(
            pl.col(pl.Float64).fill_nan(None), device=pl.lit(device)
        ).write_parquet(target)
    flow = json.loads((REFERENCE / "flows/premanip-grace.json").read_text())
    params = next(step["params"] for step in flow["steps"] if step["treatment"] == "exportcsv")

    (loaded,) = exportcsv(
        [stage_input(home, DAY, date(2026, 1, 26), dataset="PREMANIP-GRACE")],
        ExportcsvParameters.model_validate(params),
    )

    expected = {
        path.name: path.read_bytes().decode()
        for path in (REFERENCE / "expected/61_exportcsv").iterdir()
    }
    assert len(expected) == 2
    assert exported(home, "PREMANIP-GRACE") == expected
    assert sum(loaded.rows.values()) == 418 + 423
