"""The flow of the reference data makes the values of the established implementation.

The data is not part of the repository: PROCEZO_TEST_DATA names its folder, else `../shared/data`.
"""

from __future__ import annotations

import csv
import os
import shutil
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from procezo_assets.datasets import Home, PartKey, part_files
from procezo_assets.flow_files import load_flows
from procezo_assets.runs import DayFailed, RawScanned, Work, run
from procezo_assets.stores.parquet import read_part
from procezo_assets.treatments.registry import load_registry

_DATA = Path(
    os.environ.get("PROCEZO_TEST_DATA")
    or Path(__file__).resolve().parent.parent.parent / "shared" / "data"
)
REFERENCE = _DATA / "reference"
DATASET = "PREMANIP-GRACE"
DAYS = [date(2026, 1, 25), date(2026, 1, 26)]
STAGES = ["10_parsed", "20_clean", "25_resampled", "30_transform", "40_aggregated"]

pytestmark = pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"no reference data at {REFERENCE}")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("reference"))
    shutil.copytree(REFERENCE / "raw", home.dataset(DATASET).raw)
    shutil.copytree(REFERENCE / "flows", home.flows)
    flows = load_flows(home, load_registry(home))
    assert flows.problems == {}
    flow = flows.get("premanip-grace")
    events = list(run(Work(flow, flow.stages, {home.dataset(DATASET): DAYS})))
    assert not [event for event in events if isinstance(event, DayFailed)]
    return home.dataset(DATASET), events


def expected_parts(stage):
    """The expected files of a stage: `<experience>__<device>__<stage>__[<window>__]<day>`."""
    for path in sorted((REFERENCE / "expected" / stage).glob("domain=*/*.parquet")):
        _, device, _, *window, day = path.stem.split("__")
        key = PartKey(device, path.parent.name.removeprefix("domain="), *window)
        yield key, date.fromisoformat(day), pl.read_parquet(path, hive_partitioning=False)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_holds_the_expected_values(made, stage):
    dataset, _ = made
    expected = list(expected_parts(stage))
    assert len(expected) >= 8

    files = {(key, day) for day in DAYS for key in part_files(dataset.stage(stage), day)}
    assert files == {(key, day) for key, day, _ in expected}
    for key, day, frame in expected:
        found = read_part(key.path(dataset.stage(stage), day))
        wanted = frame.with_columns(pl.selectors.float().fill_nan(None))
        assert_frame_equal(
            found.select(wanted.columns).cast(
                {"ts": wanted.schema["ts"]}  # the established files may hold other time units
            ),
            wanted,
            check_dtypes=False,  # a column of integers with nulls is one of floats there
            check_exact=False,
            rel_tol=1e-9,
            abs_tol=0,
        )
        for column in wanted.columns[1:]:
            if wanted.schema[column].is_integer():
                assert found[column].to_list() == wanted[column].to_list()


def test_no_expected_value_is_missing_because_none_was_compared(made):
    dataset, _ = made
    values = sum(
        read_part(path).select(pl.exclude("ts").count()).sum_horizontal().sum()
        for stage in STAGES
        for day in DAYS
        for path in part_files(dataset.stage(stage), day).values()
    )

    assert values > 100_000


def cells(path):
    with path.open(newline="") as file:
        return list(csv.reader(file, delimiter=";"))


@pytest.mark.parametrize("device", ["pil-90", "pil-98"])
def test_the_exported_csv_is_the_expected_one(made, device):
    name = f"{DATASET}_{device}_aggregated_10s_2026-01-25_2026-01-26.csv"
    found = cells(made[0].stage("61_exportcsv") / name)
    wanted = cells(REFERENCE / "expected" / "61_exportcsv" / name)

    assert len(found) == len(wanted) > 100
    assert found[0] == wanted[0] == ["Time", "c0", "c1", "c2s"]
    for row, expected in zip(found[1:], wanted[1:], strict=True):
        assert row[:2] == expected[:2]
        for cell, other in zip(row[2:], expected[2:], strict=True):
            assert cell == other or float(cell) == pytest.approx(float(other), rel=1e-9)


def test_every_raw_line_is_in_one_place(made):
    (scanned,) = [event for event in made[1] if isinstance(event, RawScanned)]

    counted = list(scanned.source.files.values())
    assert len(counted) == 4
    assert all(one.balanced for one in counted)
    for one in counted:
        lines = (REFERENCE / "raw" / one.file.name).read_bytes().count(b"\n")
        assert one.lines == lines
    assert sum(sum(one.quarantined.values()) for one in counted) > 0
    assert sum(one.blank for one in counted) > 0
