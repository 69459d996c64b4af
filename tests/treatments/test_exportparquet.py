"""`exportparquet`: one parquet file a device."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from procezo_assets.datasets import Home, PartKey
from procezo_assets.stores.loads import StageInput
from procezo_assets.treatments.exportparquet import ExportparquetParameters, exportparquet
from procezo_assets.treatments.model import marked_treatments

D1, D2 = date(2026, 1, 25), date(2026, 1, 26)
NAME = "GRACE_pil-90_aggregated_10s_2026-01-25_2026-01-26.parquet"


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path)
    write_part(made, D1, {"a": [1, 2], "b": [0.5, float("nan")]})
    write_part(made, D2, {"a": [3, None], "c": [True, False]})
    return made


def times(day):
    start = datetime(day.year, day.month, day.day, 23, tzinfo=UTC)
    return [start, start + timedelta(seconds=10)]


def write_part(home, day, values):
    frame = pl.DataFrame({"ts": times(day), "device": "pil-90"} | values)
    path = PartKey("pil-90", "bio_signal", "10s").path(
        home.dataset("GRACE").stage("40_aggregated"), day
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)


def run(home, **params):
    dataset = home.dataset("GRACE")
    stage_input = StageInput(
        home=home,
        flow="valvometry",
        dataset="GRACE",
        stage="aggregated",
        folder=dataset.stage("40_aggregated"),
        output=dataset.stage("62_exportparquet"),
        days=(D1, D2),
        step="exportparquet",
    )
    (loaded,) = exportparquet([stage_input], ExportparquetParameters.model_validate(params))
    return loaded


def exported(home, name=NAME):
    return pl.read_parquet(home.dataset("GRACE").stage("62_exportparquet") / name)


def test_all_columns_under_their_names(home):
    loaded = run(home)

    expected = pl.DataFrame(
        {
            "ts": times(D1) + times(D2),
            "device": "pil-90",
            "a": [1, 2, 3, None],
            "b": [0.5, None, None, None],
            "c": [None, None, True, False],
        }
    )
    assert_frame_equal(exported(home), expected)
    assert loaded.rows == {D1: 2, D2: 2}
    assert loaded.tables == (f"62_exportparquet/{NAME}",)


def test_chosen_columns_are_renamed_and_cast(home):
    loaded = run(home, columns={"b": {"name": "x", "dtype": "int"}, "z": "y", "a": "b"})

    expected = pl.DataFrame(
        {
            "ts": times(D1) + times(D2),
            "device": "pil-90",
            "x": [0, None, None, None],
            "y": pl.Series([None] * 4, dtype=pl.Null),
            "b": [1, 2, 3, None],
        }
    )
    assert_frame_equal(exported(home), expected)
    assert loaded.warnings == ("column 'z' is missing from the data of pil-90: exported empty",)


def test_rerun_writes_the_same_bytes(home):
    run(home)
    path = home.dataset("GRACE").stage("62_exportparquet") / NAME
    before = path.read_bytes()

    run(home)

    assert path.read_bytes() == before


def test_one_file_a_day(home):
    run(home, span="day")

    assert exported(home, "GRACE_pil-90_aggregated_10s_2026-01-25.parquet").columns == [
        "ts",
        "device",
        "a",
        "b",
    ]
    assert exported(home, "GRACE_pil-90_aggregated_10s_2026-01-26.parquet")["a"].to_list() == [
        3,
        None,
    ]


@pytest.mark.parametrize("name", ["ts", "device"])
def test_names_of_its_own_columns_are_refused(name):
    with pytest.raises(ValidationError, match=re.escape(f"'a' cannot be named '{name}'")):
        ExportparquetParameters.model_validate({"columns": {"a": name}})


def test_has_no_zone_of_its_own():
    with pytest.raises(ValidationError, match="Extra inputs"):
        ExportparquetParameters.model_validate({"tz": "Europe/Paris"})


def test_standard_folder():
    (made,) = marked_treatments(exportparquet)
    assert (made.name, made.output, made.kind) == ("exportparquet", "62_exportparquet", "load")
