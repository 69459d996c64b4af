"""Which partitions a loading stage has loaded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from procezo_assets.datasets import Home, PartKey
from procezo_assets.stores.loads import load_digest, loaded_days, record_loaded
from procezo_assets.stores.parquet import Provenance, write_partition

DAY = date(2026, 1, 25)
KEY = PartKey("a", "bio", "1h")
MADE = Provenance("f", "aggregated", "aggregate", "1", "cafe", "f00d", 1)


def write(folder, made=MADE, key=KEY):
    frame = pl.DataFrame(
        {"ts": [datetime(2026, 1, 25, tzinfo=UTC)]},
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
    )
    write_partition(folder, DAY, {key: frame}, {key: made})


def test_days_are_recorded_and_read_back(tmp_path):
    home, folder = Home(tmp_path), tmp_path / "50_duckdb"
    assert loaded_days(folder) == {}

    record_loaded(home, folder, {DAY: "x"})
    record_loaded(home, folder, {date(2026, 1, 24): "y", DAY: "z"})

    assert loaded_days(folder) == {date(2026, 1, 24): "y", DAY: "z"}


@pytest.mark.parametrize("text", ["", "[]", '{"soon": "x"}', "\0"])
def test_a_damaged_record_counts_as_nothing_loaded(tmp_path, text):
    (tmp_path / "loaded.json").write_text(text)

    assert loaded_days(tmp_path) == {}


def test_runs_at_once_lose_no_day(tmp_path):
    days = [DAY + timedelta(days=number) for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        list(
            threads.map(lambda day: record_loaded(Home(tmp_path), tmp_path / "x", {day: "d"}), days)
        )

    assert sorted(loaded_days(tmp_path / "x")) == days


def test_the_digest_changes_with_what_would_be_loaded(tmp_path):
    write(tmp_path)
    first = load_digest(tmp_path, DAY, "params")
    write(tmp_path)
    assert load_digest(tmp_path, DAY, "params") == first

    others = [
        load_digest(tmp_path, DAY, "other"),
        load_digest(tmp_path, DAY.replace(day=1), "params"),
    ]
    write(tmp_path, replace(MADE, input="beef"))
    others.append(load_digest(tmp_path, DAY, "params"))
    write(tmp_path, key=PartKey("b", "bio", "1h"))
    others.append(load_digest(tmp_path, DAY, "params"))

    assert len({first, *others}) == 5
