"""Real logger files, in `inspect` and through a flow to the end.

The files are not part of the repository: PROCEZO_TEST_DATA names their folder, else
`../shared/data`.
"""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from procezo_assets.datasets import Home
from procezo_assets.errors import DialectError
from procezo_assets.flow_files import load_flows
from procezo_assets.raw.inspection import inspect_file
from procezo_assets.runs import DayFailed, Work, raw_source, run
from procezo_assets.treatments.registry import load_registry

_DATA = Path(
    os.environ.get("PROCEZO_TEST_DATA")
    or Path(__file__).resolve().parent.parent.parent.parent / "shared" / "data"
)
REAL = _DATA / "real"
MOST_DAYS = 90  # of files of years, the first ones take the same way as all
TRUTH = json.loads((REAL / "expected.json").read_text()) if REAL.is_dir() else {}

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=f"no real files at {REAL}")


def instant(text):
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("name", TRUTH)
def test_inspect_tells_the_truth(name):
    truth = TRUTH[name]

    found = inspect_file(REAL / name, truth["needs"])

    assert found.counts.rows == truth["rows"]
    assert found.counts.first == instant(truth["first_utc"])
    assert found.counts.last == instant(truth["last_utc"])
    assert found.counts.notes.get("out_of_order", 0) == truth["out_of_order"]
    assert found.duplicate_ts == truth["duplicate_ts"]
    assert found.counts.quarantined == {}
    assert found.counts.balanced


@pytest.mark.parametrize("name", [n for n, t in TRUTH.items() if "date_order" in t["needs"]])
def test_a_date_order_that_the_file_cannot_decide_is_refused(name):
    with pytest.raises(DialectError, match=r"could be .*; set date_order to one of") as refused:
        inspect_file(REAL / name, {})

    assert refused.value.reason == "date_order"


@pytest.mark.parametrize("name", TRUTH)
def test_what_inspect_shows_reads_the_file_again(name):
    """The shown parameters, put into a flow, say all that was sniffed."""
    found = inspect_file(REAL / name, TRUTH[name]["needs"])
    shown = {key: value for key, value in found.params.items() if value is not None}

    again = inspect_file(REAL / name, shown)

    assert again.counts.rows == found.counts.rows
    assert (again.counts.first, again.counts.last) == (found.counts.first, found.counts.last)
    assert again.columns == found.columns
    assert again.preview.equals(found.preview)


@pytest.mark.parametrize("name", TRUTH)
def test_a_flow_brings_every_row_to_the_end(name, tmp_path):
    truth = TRUTH[name]
    found = inspect_file(REAL / name, truth["needs"])
    home = Home(tmp_path)
    dataset = home.dataset("lab")
    dataset.raw.mkdir(parents=True)
    shutil.copyfile(REAL / name, dataset.raw / name)
    home.flows.mkdir()
    domains = {"values": {"columns": list(found.columns), "dtype": "float"}}
    parse = {"format": "csv", **truth["needs"], "domains": domains}
    steps = [
        {"treatment": "parse", "params": parse},
        {"treatment": "clean"},
        {"treatment": "resample", "params": {"freq": "1min"}},
        {"treatment": "aggregate", "params": {"windows": ["1h"]}},
        {"treatment": "to_duckdb"},
    ]
    text = json.dumps({"name": "lab", "dataset": "lab", "start": "2000-01-01", "steps": steps})
    (home.flows / "lab.json").write_text(text)
    flows = load_flows(home, load_registry(home))
    assert flows.problems == {}
    flow = flows.get("lab")
    source = raw_source(flow, dataset)
    source.scan()
    counted = next(iter(source.files.values()))
    days = source.days[:MOST_DAYS]

    events = list(run(Work(flow, flow.stages, {dataset: days})))

    assert [event for event in events if isinstance(event, DayFailed)] == []
    parsed = pl.read_parquet(dataset.path / "10_parsed" / "**/*.parquet", hive_partitioning=False)
    assert parsed.height == sum(counted.days[day] for day in days)
    assert sum(counted.days.values()) == truth["rows"]
    assert parsed["ts"].min() == instant(truth["first_utc"])
    if days == source.days:
        assert parsed["ts"].max() == instant(truth["last_utc"])
    assert set(parsed.columns) == {"ts", "device", *found.columns}
    assert counted.balanced
    assert (counted.rows, counted.quarantined) == (truth["rows"], {})
    with duckdb.connect(str(home.path / "warehouse.duckdb"), read_only=True) as warehouse:
        loaded = warehouse.execute("SELECT count(*), min(ts) FROM lab.values_1h").fetchone()
    hours = parsed.filter(pl.any_horizontal(pl.exclude("ts", "device").is_not_null()))[
        "ts"
    ].dt.truncate("1h")
    if not hours.is_empty():
        assert loaded[0] > 0
        assert loaded[1].astimezone(UTC) == hours.min()
