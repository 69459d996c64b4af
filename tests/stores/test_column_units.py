"""Units of columns, in parquet fields and in the comments of database columns."""

from __future__ import annotations

from datetime import UTC, date, datetime

import duckdb
import polars as pl
import psycopg
import pytest

from procezo_assets.datasets import Home, PartKey
from procezo_assets.stores.column_units import read_units, unit_comment, units_of_files
from procezo_assets.stores.loads import StageInput
from procezo_assets.stores.parquet import Provenance, write_partition
from procezo_assets.stores.warehouse_tables import load
from procezo_assets.treatments.aggregate import AggregateParameters
from procezo_assets.treatments.normalize import NormalizeParameters
from procezo_assets.treatments.registry import load_registry
from procezo_assets.treatments.to_postgres import ToPostgres, to_postgres
from procezo_assets.treatments.transform import TransformParameters

DAY = date(2025, 3, 1)
FRAME = pl.DataFrame(
    {"ts": [datetime(2025, 3, 1, 10, tzinfo=UTC)], "temp": [20.5], "hum": [40.0]}
).cast({"ts": pl.Datetime("us", "UTC")})


def written(folder, units, device="a"):
    key = PartKey(device, "air", "1h")
    footer = Provenance("f", "s", "t", "1", "p", "i", 1)
    return write_partition(folder, DAY, {key: FRAME}, {key: footer}, {key: units})[key]


def given(tmp_path):
    home = Home(tmp_path)
    folder = home.dataset("DS").stage("40_aggregated")
    return StageInput(home, "f", "DS", "aggregated", folder, folder, (DAY,), "load")


def test_units_are_in_the_fields_and_frames_stay_the_same(tmp_path):
    file = written(tmp_path, {"temp": "°C"})

    assert read_units(file.path) == {"temp": "°C"}
    frame = pl.read_parquet(file.path, hive_partitioning=False, glob=False)
    assert frame.equals(FRAME.select("ts", pl.lit("a").alias("device"), "temp", "hum"))


def test_a_file_without_units_is_as_it_was(tmp_path):
    without, empty = written(tmp_path / "1", {}), written(tmp_path / "2", None)

    assert without.sha256 == empty.sha256
    assert read_units(without.path) == {}
    assert read_units(tmp_path / "none.parquet") == {}


def test_files_that_do_not_agree_give_both(tmp_path):
    paths = [written(tmp_path / unit, {"temp": unit}).path for unit in ("°C", "K")]
    assert units_of_files(paths) == {"temp": {"°C", "K"}}


@pytest.mark.parametrize(
    ("comment", "units", "said"),
    [
        (None, ["°C"], "°C"),
        ("°C", ["°C"], "°C"),
        ("°C", ["K"], "°C or K"),
        ("°C or K", ["K"], "°C or K"),
        ("", [], ""),
    ],
)
def test_a_comment_gathers_units(comment, units, said):
    assert unit_comment(comment, units) == said


def test_the_warehouse_says_the_units(tmp_path):
    source = given(tmp_path)
    written(source.folder, {"temp": "°C"})
    for _ in range(2):
        load([source])

    with duckdb.connect(str(source.home.warehouse)) as connection:
        said = connection.execute(
            "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'air_1h' "
            "AND comment IS NOT NULL"
        ).fetchall()
    assert said == [("temp", "°C")]


@pytest.mark.parametrize(
    ("layout", "table", "column"),
    [("tidy", "f.air_1h", "temp"), ("wide", 'public."DS__AGGREGATED__1H"', "a__temp")],
)
def test_postgres_says_the_units(tmp_path, postgres_url, layout, table, column):
    source = given(tmp_path)
    written(source.folder, {"temp": "°C"})
    for _ in range(2):
        (loaded,) = to_postgres([source], ToPostgres(url=postgres_url, layout=layout))
        assert not loaded.failed

    with psycopg.connect(postgres_url) as connection:
        said = connection.execute(
            "SELECT a.attname, col_description(a.attrelid, a.attnum) FROM pg_attribute a "
            "WHERE a.attrelid = %s::regclass AND col_description(a.attrelid, a.attnum) IS NOT NULL",
            [table],
        ).fetchall()
    assert said == [(column, "°C")]


@pytest.mark.parametrize(
    ("treatment", "params", "columns", "kept"),
    [
        ("clean", None, ["temp"], {"temp": "°C"}),
        ("resample", None, ["temp", "temp__is_interpolated"], {"temp": "°C"}),
        (
            "aggregate",
            AggregateParameters(),
            ["temp__raw__mean", "temp__raw__std", "temp__raw__count"],
            {"temp__raw__mean": "°C", "temp__raw__std": "°C"},
        ),
        (
            "transform",
            TransformParameters(transforms=[{"function": "log", "target": {"columns": ["temp"]}}]),
            ["temp", "temp__log"],
            {"temp": "°C"},
        ),
        (
            "transform",
            TransformParameters(
                transforms=[{"function": "log", "target": {"domain": "air"}, "mode": "replace"}]
            ),
            ["temp"],
            {},
        ),
        ("normalize", NormalizeParameters(domain="air"), ["temp"], {}),
        ("normalize", NormalizeParameters(domain="air", columns=["hum"]), ["temp"], {"temp": "°C"}),
        ("normalize", NormalizeParameters(domain="other"), ["temp"], {"temp": "°C"}),
    ],
)
def test_a_unit_stays_where_the_values_keep_it(tmp_path, treatment, params, columns, kept):
    found = load_registry(Home(tmp_path)).get(treatment)
    units = found.units_after(params or found.parameters(), "air", columns, {"temp": "°C"})
    assert units == kept
