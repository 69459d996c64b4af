"""The catalog of raw files: a cache that may be lost, damaged, shared and of another version."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from datetime import date
from multiprocessing import get_context

import pytest
import sqlalchemy as sa

from procezo_assets.errors import CatalogLostError, StoreError, TransientStoreError
from procezo_assets.raw import catalog_store
from procezo_assets.raw.catalog import Catalog
from procezo_assets.raw.catalog_rows import DayFile, FileEntry, KnownFile, WaitingFile
from procezo_assets.raw.catalog_store import CatalogStore

D1, D2, D3 = (date(2025, 3, day) for day in (1, 2, 3))


def entry(path, days, **fields):
    values = {
        "size": 100,
        "mtime_ns": 5,
        "ctime_ns": 6,
        "sha256": "ab" * 32,
        "content": "ab" * 32,
        "reading": "r",
        "meaning": "m",
        "device": "pil-90",
        "lines": 10,
        "rows": sum(days.values()),
        "quarantined": {},
        "excluded": 0,
        "blank": 0,
        "header": 0,
        "first": None,
        "last": None,
        "dialect": {"format": "kv_csv"},
        "refused": None,
        "more": {"notes": {}},
        "due": None,
        "kept": True,
        "read_at": 1.5,
    }
    return FileEntry(path=path, days=days, **{**values, **fields})


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".procezo" / "catalog.sqlite"


@pytest.fixture(params=["file", "memory"])
def catalog(request, path):
    return Catalog(CatalogStore(path if request.param == "file" else None), "f", "DS")


def test_what_was_stored_comes_back(catalog):
    stored = entry("a/b.csv", {D1: 3, D2: 4}, quarantined={"timestamp": 3}, due="2999-01-01")

    assert catalog.store([stored]) == {D1, D2}

    assert list(catalog.entries()) == [stored]
    assert list(catalog.entries(["a/b.csv", "none.csv"])) == [stored]
    assert list(catalog.entries([])) == []
    assert catalog.known() == {
        "a/b.csv": KnownFile("a/b.csv", 100, 5, 6, "ab" * 32, "r", 1.5, None, "2999-01-01", True)
    }
    assert catalog.days() == {D1: 3, D2: 4}


def test_a_flow_and_dataset_know_nothing_of_others(path):
    store = CatalogStore(path)
    Catalog(store, "f", "DS").store([entry("a.csv", {D1: 1})])

    for flow, dataset in (("g", "DS"), ("f", "DS2")):
        other = Catalog(store, flow, dataset)
        assert (other.known(), other.days(), other.touched("").days) == ({}, {}, ())
        other.store([entry("a.csv", {D2: 1})])
    assert Catalog(store, "f", "DS").days() == {D1: 1}


def test_days_before_and_after_count_as_touched(catalog):
    catalog.store([entry("a.csv", {D1: 1}), entry("b.csv", {D3: 1})])
    first = catalog.touched("")
    assert first.days == (D1, D3)
    assert catalog.touched(first.mark).days == ()

    assert catalog.store([entry("a.csv", {D2: 1})]) == {D1, D2}

    second = catalog.touched(first.mark)
    assert second.days == (D1, D2)
    assert catalog.touched(second.mark) == (type(second)((), second.mark))
    assert catalog.touched("nonsense").days == (D1, D2, D3)
    assert catalog.devices_of(D1) == {"pil-90"}
    assert catalog.devices_of(date(2025, 4, 1)) == set()
    assert catalog.days() == {D2: 1, D3: 1}


def test_a_mark_of_a_catalog_that_is_lost_names_all_days(path):
    catalog = Catalog(CatalogStore(path), "f", "DS")
    catalog.store([entry("a.csv", {D1: 1})])
    mark = catalog.touched("").mark
    path.unlink()

    with pytest.raises(CatalogLostError):
        catalog.store([entry("a.csv", {D1: 1})])
    catalog.store([entry("a.csv", {D1: 1})])

    assert catalog.touched(mark).days == (D1,)


def test_files_of_days_with_those_that_are_gone(catalog):
    catalog.store([entry("b.csv", {D1: 1, D2: 2}), entry("a.csv", {D1: 3}, device="pil-98")])
    assert catalog.mark_removed(["b.csv"], 9.5, touch=False) == {D1, D2}

    b = DayFile("b.csv", 1, "pil-90", "ab" * 32, "m", 9.5)
    a = DayFile("a.csv", 3, "pil-98", "ab" * 32, "m", None)
    assert catalog.files_by_day() == {D1: [a, b], D2: [b._replace(rows=2)]}
    assert catalog.files_by_day([D2, D3]) == {D2: [b._replace(rows=2)]}
    assert catalog.days() == {D1: 3}
    mark = catalog.touched("").mark
    assert catalog.mark_returned(["b.csv"]) == {D1, D2}
    assert catalog.touched(mark).days == (D1, D2)
    assert catalog.days() == {D1: 4, D2: 2}


def test_a_forgotten_file_is_as_if_it_had_never_been_read(catalog):
    catalog.store([entry("a.csv", {D1: 1})])
    mark = catalog.touched("").mark

    assert catalog.forget(["a.csv"]) == {D1}

    assert (catalog.known(), catalog.days(), list(catalog.entries())) == ({}, {}, [])
    assert catalog.touched(mark).days == (D1,)
    assert catalog.devices_of(D1) == {"pil-90"}


def test_a_file_that_has_the_same_bytes_touches_nothing(catalog):
    catalog.store([entry("a.csv", {D1: 1}), entry("b.csv", {D1: 1})])
    mark = catalog.touched("").mark

    catalog.mark_same([("a.csv", 7, 8, 9.0)])
    catalog.mark_read_as(["a.csv"], "s")

    same = KnownFile("a.csv", 100, 7, 8, "ab" * 32, "s", 9.0, None, None, True)
    assert catalog.known()["a.csv"] == same
    assert catalog.touched(mark).days == ()


def test_a_file_whose_bytes_are_there_under_another_name_is_not_gone(catalog):
    catalog.store([entry(f"{name}.csv", {D1: 1}) for name in "abc"])
    catalog.store([entry("other.csv", {D1: 1}, device="pil-98")])
    catalog.mark_removed(["b.csv", "a.csv"], 3.0, touch=True)
    assert catalog.gone() == {}
    catalog.mark_removed(["c.csv"], 4.0, touch=True)
    assert catalog.gone() == {"a.csv": 3.0, "b.csv": 3.0, "c.csv": 4.0}
    catalog.mark_returned(["b.csv"])
    assert catalog.gone() == {}


def test_waiting_files_are_those_of_the_last_scan(catalog):
    catalog.set_waiting(
        {"a.csv": WaitingFile(1, 2, 3.0, 4.0), "b.csv": WaitingFile(1, 2, 3.0, 4.0)}
    )
    catalog.store([entry("b.csv", {})])
    assert catalog.waiting() == {"a.csv": WaitingFile(1, 2, 3.0, 4.0)}
    catalog.set_waiting({})
    assert catalog.waiting() == {}


def test_digests_and_counts_are_replaced(catalog):
    catalog.store_digests({D1: ("one", {"pil-90": "x"}), D2: ("two", {})})
    catalog.store_digests({D1: ("three", {"pil-90": "y"})})
    assert catalog.digests() == {D1: ("three", {"pil-90": "y"}), D2: ("two", {})}
    assert catalog.digests([D2]) == {D2: ("two", {})}
    catalog.store_partitions("clean", {D1: ("v", {"rows_in": 1})})
    catalog.store_partitions("clean", {D1: ("w", {"rows_in": 2})})
    assert catalog.partitions("clean") == {D1: ("w", {"rows_in": 2})}
    assert catalog.partitions("parsed") == {}


def test_more_files_than_a_statement_takes(catalog):
    number = 1300
    catalog.store([entry(f"{place}.csv", {D1: 1}) for place in range(number)])
    names = [f"{place}.csv" for place in range(number)]
    assert len(list(catalog.entries(names))) == number
    catalog.mark_removed(names, 1.0, touch=True)
    assert catalog.days() == {}
    catalog.forget(names[1:])
    assert list(catalog.known()) == ["0.csv"]


@pytest.mark.parametrize(
    "damage", ["text", "empty", "folder of tables", "version", "column", "truncated"]
)
def test_a_damaged_file_is_begun_anew_without_a_word(path, damage):
    catalog = Catalog(CatalogStore(path), "f", "DS")
    catalog.store([entry(f"{place}.csv", {D1: 1}) for place in range(200)])
    if damage in {"text", "empty"}:
        path.write_bytes(b"no database at all\n" * 100 if damage == "text" else b"")
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    else:
        with sqlite3.connect(path) as connection:
            if damage == "column":
                connection.execute("ALTER TABLE raw_files DROP COLUMN meaning")
            elif damage == "version":
                connection.execute("UPDATE meta SET value = '0' WHERE name = 'version'")
                connection.execute("ALTER TABLE raw_files RENAME COLUMN device TO logger")
            else:
                connection.execute("DROP TABLE file_days")
        connection.close()

    other = Catalog(CatalogStore(path), "f", "DS")
    try:
        other.store([entry("a.csv", {D1: 1})])
        days = other.days()
    except CatalogLostError:  # noticed late: what reads it scans again
        other.store([entry("a.csv", {D1: 1})])
        days = other.days()

    assert days == {D1: 1}
    assert list(other.known()) == ["a.csv"]


def test_a_file_damaged_under_way_is_empty_afterwards(path):
    catalog = Catalog(CatalogStore(path), "f", "DS")
    catalog.store([entry("a.csv", {D1: 1})])
    path.write_bytes(b"nothing" * 1000)

    with pytest.raises(CatalogLostError):
        catalog.known()

    assert catalog.known() == {}


def test_a_full_disk_passes_and_nothing_was_stored(path):
    store = CatalogStore(path)
    catalog = Catalog(store, "f", "DS")
    catalog.store([entry("a.csv", {D1: 3})])
    engine = store._engine

    @sa.event.listens_for(engine, "connect")
    def fill(connection, _record):
        connection.execute("PRAGMA max_page_count=1")  # no more than there are

    with pytest.raises(TransientStoreError, match="database or disk is full"):
        catalog.store([entry(f"{number}.csv", {D2: 3}) for number in range(1000)])
    sa.event.remove(engine, "connect", fill)
    assert [one.path for one in catalog.entries()] == ["a.csv"]


def test_a_lock_that_is_held_for_long_passes(path, monkeypatch):
    monkeypatch.setattr(catalog_store, "_BUSY_SECONDS", 0.1)
    catalog = Catalog(CatalogStore(path), "f", "DS")
    catalog.store([entry("a.csv", {D1: 3})])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TransientStoreError, match=r"has been locked for 0.1 s"):
            catalog.store([entry("b.csv", {D1: 3})])


def test_a_catalog_that_may_not_be_written_does_not_pass(path):
    store = CatalogStore(path)
    catalog = Catalog(store, "f", "DS")
    catalog.store([entry("a.csv", {D1: 3})])

    @sa.event.listens_for(store._engine, "connect")
    def protect(connection, _record):
        connection.execute("PRAGMA query_only=1")

    with pytest.raises(StoreError, match="readonly") as caught:
        catalog.store([entry("b.csv", {D1: 3})])
    assert not isinstance(caught.value, TransientStoreError)


def _store_many(path, worker):
    catalog = Catalog(CatalogStore(path), "f", "DS")
    for place in range(20):
        catalog.store([entry(f"{worker}-{place}.csv", {D1: 1})])
        catalog.known()
    return catalog.touched("").mark


def test_processes_write_at_once(path):
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as workers:
        marks = list(workers.map(_store_many, [path] * 4, range(4)))

    catalog = Catalog(CatalogStore(path), "f", "DS")
    assert catalog.days() == {D1: 80}
    assert catalog.touched("").mark.endswith(":80")
    assert len({mark.partition(":")[0] for mark in marks}) == 1
