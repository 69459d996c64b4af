"""Which partitions a loading stage has loaded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from procezo_assets import day_lock
from procezo_assets.datasets import Home, PartKey
from procezo_assets.errors import TransientStoreError
from procezo_assets.stores.loads import (
    Loaded,
    LoadRecord,
    StageInput,
    digests_to_load,
    load_digest,
    read_record,
    record_loaded,
    turn_to_load,
)
from procezo_assets.stores.parquet import Provenance, write_partition

DAY = date(2026, 1, 25)
RESULT = Loaded("DS", {}, ())
KEY = PartKey("a", "bio", "1h")
MADE = Provenance("f", "aggregated", "aggregate", "1", "cafe", "f00d", 1)


def write(folder, made=MADE, key=KEY, day=DAY):
    frame = pl.DataFrame(
        {"ts": [datetime(2026, 1, 25, tzinfo=UTC)]},
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
    )
    write_partition(folder, day, {key: frame}, {key: made})


def given(home, *days):
    folder = home / "datasets" / "DS"
    return StageInput(
        home=Home(home),
        flow="f",
        dataset="DS",
        stage="aggregated",
        folder=folder / "40_aggregated",
        output=folder / "50_duckdb",
        days=days,
        step="duckdb",
    )


def remember(one, result=RESULT):
    """Load all of it, as far as the record goes."""
    with turn_to_load([one]):
        record_loaded(one, digests_to_load(one, "how"), result)


def test_days_are_remembered_while_they_have_files(tmp_path):
    one = given(tmp_path, DAY, DAY + timedelta(days=1))
    write(one.folder)
    assert read_record(one.output) == LoadRecord({})

    remember(one)

    digest = load_digest(one.folder, DAY, "how")
    assert read_record(one.output) == LoadRecord({DAY: digest})
    (path,) = one.parts(DAY).values()
    path.unlink()
    remember(one)
    assert read_record(one.output) == LoadRecord({})


def test_what_must_be_there_is_remembered(tmp_path):
    one = given(tmp_path)
    remember(one, Loaded("DS", {}, (), files=(tmp_path / "warehouse.duckdb",)))
    assert read_record(one.output).targets == ("warehouse.duckdb",)


def test_what_is_replaced_while_it_is_loaded_does_not_count_as_loaded(tmp_path):
    one = given(tmp_path, DAY)
    write(one.folder)
    with turn_to_load([one]):
        digests = digests_to_load(one, "how")
        write(one.folder, replace(MADE, input="beef"))
        record_loaded(one, digests, RESULT)

    assert read_record(one.output).days[DAY] != load_digest(one.folder, DAY, "how")


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "\0", "[" * 100_000),
        '{"days": {"soon": "x"}, "targets": []}',
        '{"days": {}, "targets": [5]}',
        '{"days": {}, "targets": ["a\\u0000b"]}',
        '{"days": {"2026-01-25": {}}, "targets": []}',
    ],
)
def test_a_damaged_record_counts_as_nothing_loaded(tmp_path, text):
    (tmp_path / "loaded.json").write_text(text)

    assert read_record(tmp_path) == LoadRecord({})


def test_runs_at_once_lose_no_day(tmp_path):
    days = [DAY + timedelta(days=number) for number in range(40)]
    one = given(tmp_path, *days)
    for day in days:
        write(one.folder, day=day)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda day: remember(given(tmp_path, day)), days))

    assert sorted(read_record(one.output).days) == days


def test_a_run_waits_for_its_turn_and_says_so_when_that_takes_too_long(tmp_path, monkeypatch):
    one = given(tmp_path, DAY)
    monkeypatch.setattr(day_lock, "TURN_WAIT_S", 0.1)
    with (
        turn_to_load([one]),
        pytest.raises(TransientStoreError, match="another run has been loading 'duckdb'"),
        turn_to_load([replace(one, dataset="A"), one]),
    ):
        pass
    with turn_to_load([one]):
        pass


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
