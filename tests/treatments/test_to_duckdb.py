"""`to_duckdb`: its parameters, and that they reach the warehouse."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime

import polars as pl
import pytest
from pydantic import ValidationError

from procezo_assets.datasets import Home, PartKey
from procezo_assets.stores.loads import StageInput
from procezo_assets.stores.warehouse import connect_readonly
from procezo_assets.treatments.model import marked_treatments
from procezo_assets.treatments.to_duckdb import ToDuckdbParameters, to_duckdb

DAY = date(2026, 1, 25)


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path)
    for folder, domain, window in [
        ("40_aggregated", "bio_signal", "10s"),
        ("40_aggregated", "bio_signal", "1h"),
        ("40_aggregated", "environment", "10s"),
        ("20_clean", "bio_signal", None),
        ("20_clean", "environment", None),
    ]:
        path = PartKey("pil-90", domain, window).path(made.dataset("GRACE").stage(folder), DAY)
        path.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(
            {"ts": [datetime(2026, 1, 25, 8, tzinfo=UTC)], "device": ["pil-90"], "a": [1]}
        ).write_parquet(path)
    return made


def run(home, **params):
    dataset = home.dataset("GRACE")
    stage_input = StageInput(
        home=home,
        flow="valvometry",
        dataset="GRACE",
        stage="aggregated",
        folder=dataset.stage("40_aggregated"),
        output=dataset.stage("50_duckdb"),
        days=(DAY,),
        step="to_duckdb",
    )
    (loaded,) = to_duckdb([stage_input], ToDuckdbParameters.model_validate(params))
    with connect_readonly(home) as connection:
        rows = connection.execute(
            "SELECT table_name FROM information_schema.tables ORDER BY ALL"
        ).fetchall()
    return loaded, [name for (name,) in rows]


def test_all_domains_windows_and_views_by_default(home):
    loaded, names = run(home)

    assert names == [
        "bio_signal_10s",
        "bio_signal_1h",
        "bio_signal_clean",
        "environment_10s",
        "environment_clean",
    ]
    assert loaded.rows == {DAY: 3}
    assert loaded.tables == (
        "valvometry.bio_signal_10s",
        "valvometry.bio_signal_1h",
        "valvometry.environment_10s",
    )


@pytest.mark.parametrize("windows", ["windows", "aggregations"])
def test_chosen_domains_and_windows(home, windows):
    _, names = run(home, domains=["bio_signal"], **{windows: ["1h"]})

    assert names == ["bio_signal_1h", "bio_signal_clean"]


def test_without_views(home):
    _, names = run(home, views=False)

    assert names == ["bio_signal_10s", "bio_signal_1h", "environment_10s"]


def test_parameters_by_their_names_in_python():
    assert ToDuckdbParameters(windows=["10s"]).windows == ["10s"]


@pytest.mark.parametrize("params", [{"domain": ["a"]}, {"domains": "a"}, {"views": "perhaps"}])
def test_wrong_parameters_are_refused(params):
    with pytest.raises(ValidationError):
        ToDuckdbParameters.model_validate(params)


def test_standard_folder():
    (made,) = marked_treatments(to_duckdb)
    assert (made.name, made.output, made.kind, made.inputs) == (
        "to_duckdb",
        "50_duckdb",
        "load",
        ("40_aggregated",),
    )


def test_importing_it_does_not_import_duckdb():
    code = "import sys, procezo_assets.treatments.to_duckdb; sys.exit('duckdb' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
