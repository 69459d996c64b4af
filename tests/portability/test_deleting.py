"""Removing a dataset: everything of it goes, nothing else does, and it may be interrupted."""

from __future__ import annotations

import time

import psycopg
import pytest
from core_home import AGGREGATE, CLEAN, D1, D2, PARSE, RESAMPLE, CoreHome

from procezo_assets import dataset_use
from procezo_assets.errors import DatasetError, StoreError
from procezo_assets.pipeline import StageDone
from procezo_assets.portability import deleting
from procezo_assets.portability.deleting import (
    HIDDEN_RAW,
    plan_removal,
    removable_dataset,
    remove_dataset,
)
from procezo_assets.portability.exporting import export_dataset
from procezo_assets.raw.catalog import Catalog
from procezo_assets.raw.catalog_rows import FileEntry
from procezo_assets.raw.catalog_store import CatalogStore
from procezo_assets.raw.differences import Pace
from procezo_assets.runs import DayFailed, RawScanned, Work, raw_source, run
from procezo_assets.stores.warehouse import connect_readonly

TIDY = {"treatment": "to_postgres"}
WIDE = {"treatment": "to_postgres", "output": "61_wide", "params": {"layout": "wide"}}
DUCKDB = {"treatment": "to_duckdb"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("PROCEZO_POSTGRES_URL", raising=False)
    home = CoreHome(tmp_path)
    for dataset in ("ONE", "TWO"):
        home.raw_days(D1, D2, dataset=dataset)
    return home


def loaded_flow(home, *loads):
    flow = home.flow(PARSE, CLEAN, RESAMPLE, AGGREGATE, *loads, datasets=["ONE", "TWO"])
    home.run_well(flow, D1, D2, datasets=["ONE", "TWO"])
    return flow


def delete(home, flow, name="ONE", forget=lambda: None, **options):
    dataset = removable_dataset(home.home, name)
    remove_dataset(plan_removal(dataset, [flow], **options), forget)


def warehouse(home, query):
    with connect_readonly(home.home) as connection:
        return connection.execute(query).fetchall()


def postgres(url, query):
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


def counts(home, table="f.bio_signal_60s"):
    query = f"SELECT dataset, count(*) FROM {table} GROUP BY 1 ORDER BY 1"
    return dict(warehouse(home, query))


def test_a_plan_tells_what_would_go_and_touches_nothing(home):
    flow = loaded_flow(home, DUCKDB)
    before = home.digests(dataset="ONE")
    plan = plan_removal(home.home.dataset("ONE"), [flow])
    assert plan.folders["00_raw"].files == 2
    assert plan.folders["20_clean"].files == 4
    assert plan.rows["DuckDB f.bio_signal_60s"] == counts(home)["ONE"] > 0
    assert home.digests(dataset="ONE") == before


def test_all_of_it_goes_and_the_other_dataset_stays(home):
    flow = loaded_flow(home, DUCKDB)
    store = CatalogStore(home.home.state / "catalog.sqlite")
    entry = FileEntry("a", 1, 1, 1, "0", "0", "r", "m", "d", 1, 1, {}, 0, 0, 0, None, None, None,
                      None, {}, None, True, 1.0, None, {D1: 1})  # fmt: skip
    for name in ("ONE", "TWO"):
        Catalog(store, "f", name).store([entry])
    others, rows = home.digests(dataset="TWO"), counts(home)
    told = []
    delete(home, flow, forget=lambda: told.append(1))
    assert told == [1]
    assert home.home.dataset_names() == ["TWO"]
    assert not home.home.dataset("ONE").path.exists()
    assert not (home.home.state / "locks" / "ONE").exists()
    assert home.digests(dataset="TWO") == others
    assert counts(home) == {"TWO": rows["TWO"]}
    assert Catalog(store, "f", "ONE").known() == {}
    assert Catalog(store, "f", "TWO").known() != {}
    assert flow.path.is_file()
    # views read files, of which some are gone now
    assert counts(home, "f.bio_signal_clean") == {"TWO": 60}
    delete(home, flow, "TWO")
    assert home.home.dataset_names() == []
    views = "SELECT count(*) FROM duckdb_views() WHERE schema_name = 'f'"
    assert warehouse(home, views) == [(0,)]


def test_results_alone_can_go(home):
    flow = loaded_flow(home, DUCKDB)
    before = home.digests(dataset="ONE")
    delete(home, flow, keep_raw=True, forget=lambda: pytest.fail("the dataset stays"))
    assert [path.name for path in home.home.dataset("ONE").path.iterdir()] == ["00_raw"]
    assert counts(home).keys() == {"TWO"}
    home.run_well(flow, D1, D2, dataset="ONE")
    now = home.digests(dataset="ONE")
    assert {k: v for k, v in now.items() if k.endswith(".parquet")} == {
        k: v for k, v in before.items() if k.endswith(".parquet")
    }
    assert counts(home).keys() == {"ONE", "TWO"}


def test_rows_leave_postgres_in_both_layouts(home, postgres_url, monkeypatch):
    monkeypatch.setenv("PROCEZO_POSTGRES_URL", postgres_url)
    flow = loaded_flow(home, TIDY, WIDE)
    tidy = "SELECT DISTINCT dataset FROM f.bio_signal_60s ORDER BY 1"
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    assert postgres(postgres_url, tidy) == [("ONE",), ("TWO",)]
    names = [name for (name,) in postgres(postgres_url, tables)]
    with psycopg.connect(postgres_url) as connection:  # a person's own column in one of them
        connection.execute(f'ALTER TABLE "{names[0]}" ADD COLUMN note text')
        connection.execute(
            f'UPDATE "{names[0]}" SET note = \'look\' WHERE ts = (SELECT min(ts) FROM "{names[0]}")'
        )
    plan = plan_removal(home.home.dataset("ONE"), [flow])
    assert plan.rows[f"PostgreSQL public.{names[0]}"] > 0
    delete(home, flow)
    assert postgres(postgres_url, tidy) == [("TWO",)]
    left = [name for (name,) in postgres(postgres_url, tables)]
    assert left == [names[0], *(name for name in names if name.startswith("TWO"))]
    (row,) = postgres(postgres_url, f'SELECT * FROM "{names[0]}"')
    assert [value for value in row if value is not None][1:] == ["look"]
    assert not [key for key in plan_removal(home.home.dataset("TWO"), [flow]).rows if "ONE" in key]
    home.raw_days(D1, dataset="ONE")  # its tables may be filled again
    home.run_well(flow, D1, dataset="ONE")


def test_databases_out_of_reach_stop_it_unless_they_are_to_be_kept(home):
    flow = home.flow(
        PARSE,
        {**TIDY, "input": "10_parsed", "params": {"host": "127.0.0.1", "port": 1}},
        datasets=["ONE", "TWO"],
    )
    home.run_well(flow, D1, stages=["parsed"], dataset="ONE")
    with pytest.raises(StoreError):
        plan_removal(home.home.dataset("ONE"), [flow])
    delete(home, flow, keep_databases=True)
    assert home.home.dataset_names() == ["TWO"]


@pytest.mark.parametrize("call", range(6))
def test_interrupted_it_can_be_run_again(home, monkeypatch, call):
    flow = loaded_flow(home, DUCKDB)
    calls = 0
    remove = deleting._remove

    def interrupted(path):
        nonlocal calls
        calls += 1
        if calls > call:
            raise KeyboardInterrupt
        remove(path)

    monkeypatch.setattr(deleting, "_remove", interrupted)
    with pytest.raises(KeyboardInterrupt):
        delete(home, flow)
    monkeypatch.undo()
    if (home.home.dataset("ONE").path / HIDDEN_RAW).exists():
        assert home.home.dataset_names() == ["TWO"]
    delete(home, flow)
    assert not home.home.dataset("ONE").path.exists()
    assert counts(home).keys() == {"TWO"}


def test_a_dataset_that_a_run_works_on_is_refused(home, monkeypatch):
    monkeypatch.setattr(dataset_use, "_WAITS_SECONDS", 0.1)
    flow = home.flow(PARSE, CLEAN, datasets=["ONE", "TWO"])
    dataset = home.home.dataset("ONE")
    plan = plan_removal(dataset, [flow])
    events = run(Work(flow, flow.stages, {dataset: [D1, D2]}))
    assert isinstance(next(events), RawScanned)
    with pytest.raises(DatasetError, match="a run, a sensor or a command works on dataset 'ONE'"):
        plan_removal(dataset, [flow])
    with pytest.raises(DatasetError, match="works on dataset 'ONE'"):  # it began after the plan
        remove_dataset(plan, lambda: None)
    assert not [event for event in events if isinstance(event, DayFailed)]
    delete(home, flow)
    assert home.home.dataset_names() == ["TWO"]


def test_nobody_works_on_a_dataset_that_is_being_removed(home, monkeypatch):
    monkeypatch.setattr(dataset_use, "_WAITS_SECONDS", 0.1)
    flow = loaded_flow(home)
    dataset = home.home.dataset("ONE")
    store = CatalogStore(dataset.catalog)
    tried = []

    def meanwhile():
        told = "dataset 'ONE' is being deleted"
        with pytest.raises(DatasetError, match=told):
            raw_source(flow, dataset).scan_changes()
        with pytest.raises(DatasetError, match=told):
            export_dataset(dataset, [flow], home.home.path / "x.tar.gz")
        busy = raw_source(flow, dataset).scan_changes(Pace(deadline=time.monotonic() + 60))
        assert (busy.busy, busy.new, busy.days) == (True, (), ())
        other = home.home.dataset("TWO")
        events = list(run(Work(flow, flow.stages, {dataset: [D1], other: [D1]})))
        (failed,) = [event for event in events if isinstance(event, DayFailed)]
        assert (failed.dataset, told in failed.reason) == ("ONE", True)
        assert [event for event in events if isinstance(event, StageDone)]
        tried.append(1)

    delete(home, flow, forget=meanwhile)
    assert tried
    assert Catalog(store, "f", "ONE").known() == {}
    home.raw_days(D1, dataset="ONE")  # the name is free again
    home.run_well(flow, D1, dataset="ONE")


def test_what_links_point_to_stays(home, tmp_path):
    flow = loaded_flow(home)
    disk = tmp_path / "disk"
    raw = home.home.dataset("ONE").raw
    raw.rename(disk)
    raw.symlink_to(disk, target_is_directory=True)
    delete(home, flow)
    assert len(list(disk.iterdir())) == 2
    assert home.home.dataset_names() == ["TWO"]


def test_folders_above_go_where_nothing_else_is_in_them(home):
    for name in ("event/a", "event/b"):
        home.raw_days(D1, dataset=name)
    flow = home.flow(PARSE)
    delete(home, flow, "event/a")
    assert home.home.dataset_names() == ["ONE", "TWO", "event/b"]
    delete(home, flow, "event/b")
    assert not (home.home.datasets / "event").exists()
    with pytest.raises(DatasetError, match="there is no dataset 'event/b'"):
        removable_dataset(home.home, "event/b")
