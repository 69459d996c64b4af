"""Which runs a flow needs, and what must not be lost between them."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from core_home import AGGREGATE, CLEAN, D1, D2, D3, NORMALIZE, PARSE, CoreHome, failures

from procezo_assets.datasets import stage_days
from procezo_assets.errors import FlowError, PartitionError, RawFileError
from procezo_assets.fits import current_fit
from procezo_assets.plans import Planner, spans
from procezo_assets.runs import Work, run
from procezo_assets.stores.loads import read_record

FAR = D3 + timedelta(days=40)
DUCKDB = {"treatment": "to_duckdb"}
EXPORT = {
    "treatment": "exportcsv",
    "params": {"aggregation": "60s", "columns": {"m0__raw__mean": "c0"}},
}


@pytest.fixture
def lab(tmp_path):
    made = CoreHome(tmp_path)
    made.raw_days(D1, D2)
    return made


def plans(lab, flow, *, stale=False, first=None, last=None, **asked):
    planner = Planner(
        flow=flow,
        dataset=lab.home.existing_dataset("DS"),
        stages=flow.stages,
        params={},
        refit=asked.get("refit", False),
        full_replace=asked.get("full_replace", False),
    )
    return planner.plans(first, last, only_stale=stale)


def carry_out(lab, flow, found):
    for plan in found:
        days = [plan.first + timedelta(days=n) for n in range((plan.last - plan.first).days + 1)]
        dataset = lab.home.existing_dataset("DS")
        assert not failures(list(run(Work(flow, plan.stages, {dataset: days}, refit=plan.refit))))


def shape(found):
    return [(plan.first, plan.last, [stage.name for stage in plan.stages]) for plan in found]


def test_spans_are_bridged_across_short_gaps_only():
    assert spans([D1, D3, FAR], bridged=7) == [(D1, D3), (FAR, FAR)]
    assert spans([D1, D3]) == [(D1, D1), (D3, D3)]


@pytest.mark.parametrize("stale", [False, True])
def test_a_first_fit_sees_all_days_however_far_apart(lab, stale):
    lab.raw_days(FAR, level=300)
    flow = lab.flow(PARSE, CLEAN, NORMALIZE)

    found = plans(lab, flow, stale=stale)

    assert shape(found) == [
        (D1, D2, ["parsed", "clean"]),
        (FAR, FAR, ["parsed", "clean"]),
        (D1, D2, ["normalized"]),
        (FAR, FAR, ["normalized"]),
    ]
    carry_out(lab, flow, found)
    fit = current_fit(lab.home.dataset("DS").stage("35_normalized"))
    assert (fit.content["first"], fit.content["last"]) == (str(D1), str(FAR))
    assert plans(lab, flow, stale=True) == []


def test_days_that_an_interrupted_run_finished_are_not_made_again(lab):
    flow = lab.flow(PARSE, CLEAN, AGGREGATE, DUCKDB)
    lab.raw_days(D3)
    for stages, days in ((flow.stages[:3], [D1]), (flow.stages[:1], [D2])):
        assert not failures(list(run(Work(flow, stages, {lab.home.dataset("DS"): days}))))

    found = plans(lab, flow, stale=True)

    assert shape(found) == [
        (D1, D1, ["duckdb"]),
        (D2, D2, ["clean", "aggregated", "duckdb"]),
        (D3, D3, ["parsed", "clean", "aggregated", "duckdb"]),
    ]
    carry_out(lab, flow, found)
    assert plans(lab, flow, stale=True) == []


def test_days_that_differ_all_the_time_are_one_run(lab):
    flow = lab.flow(PARSE, CLEAN)
    days = [D1 + timedelta(days=n) for n in range(6)]
    lab.raw_days(*days)
    for stages, done in ((flow.stages, days), (flow.stages[:1], days[::2])):
        lab.raw_days(*done, level=200 if len(stages) == 1 else 100)
        assert not failures(list(run(Work(flow, stages, {lab.home.dataset("DS"): done}))))
    lab.raw_days(*days[1::2], level=300)

    assert shape(plans(lab, flow, stale=True)) == [(days[0], days[-1], ["parsed", "clean"])]


def test_asking_for_a_fit_makes_its_days_stale(lab):
    flow = lab.flow(PARSE, CLEAN, NORMALIZE, AGGREGATE)
    carry_out(lab, flow, plans(lab, flow))

    (plan,) = plans(lab, flow, stale=True, refit=True)

    assert shape([plan]) == [(D1, D2, ["normalized", "aggregated"])]
    assert plan.refit


def test_full_replace_fits_again_only_where_the_flow_fits(lab):
    fitting = lab.flow(PARSE, CLEAN, NORMALIZE)
    assert [plan.refit for plan in plans(lab, fitting, full_replace=True)] == [True]
    applying = lab.flow(PARSE, CLEAN, {"treatment": "normalize"})
    assert [plan.refit for plan in plans(lab, applying, full_replace=True)] == [False]


def test_full_replace_leaves_nothing_of_days_that_are_gone(lab):
    flow = lab.flow(PARSE, CLEAN, removed="drop")
    carry_out(lab, flow, plans(lab, flow))
    (lab.home.dataset("DS").raw / f"x_pil-90_{D1}.csv").unlink()

    carry_out(lab, flow, plans(lab, flow, full_replace=True))

    assert stage_days(lab.home.dataset("DS").stage("20_clean")) == [D2]


def test_a_day_that_is_gone_leaves_the_database_too(lab):
    flow = lab.flow(PARSE, AGGREGATE, DUCKDB, removed="drop")
    carry_out(lab, flow, plans(lab, flow))
    (lab.home.dataset("DS").raw / f"x_pil-90_{D1}.csv").unlink()
    dataset = lab.home.existing_dataset("DS")
    assert not failures(list(run(Work(flow, flow.stages[:2], {dataset: [D1, D2]}))))

    found = plans(lab, flow, stale=True)

    assert shape(found) == [(D1, D1, ["duckdb"])]
    carry_out(lab, flow, found)
    assert sorted(read_record(dataset.stage("50_duckdb")).days) == [D2]
    assert plans(lab, flow, stale=True) == []


@pytest.mark.parametrize("gone", ["warehouse.duckdb", "datasets/DS/61_exportcsv/*.csv"])
def test_what_was_loaded_into_must_still_be_there(lab, gone):
    flow = lab.flow(PARSE, AGGREGATE, DUCKDB, EXPORT)
    carry_out(lab, flow, plans(lab, flow))
    assert plans(lab, flow, stale=True) == []
    next(lab.home.path.glob(gone)).unlink()

    (plan,) = plans(lab, flow, stale=True)

    assert {one.reason for one in plan.stale} == {"what was loaded is gone"}
    carry_out(lab, flow, [plan])
    assert next(lab.home.path.glob(gone)).is_file()


def test_another_database_makes_its_loads_stale(lab, monkeypatch):
    flow = lab.flow(PARSE, AGGREGATE, {"treatment": "to_postgres"})
    monkeypatch.setenv("PROCEZO_POSTGRES_URL", "postgresql://me:secret@one.example/lab")
    stage = flow.stage("postgres")
    params = flow.parameters(stage, "DS")
    assert stage.treatment.target(params, lab.home) == "one.example:5432/lab"
    monkeypatch.setenv("PROCEZO_POSTGRES_URL", "postgresql://me:secret@two.example/lab")
    assert stage.treatment.target(params, lab.home) == "two.example:5432/lab"


def test_days_without_rows_are_refused_by_name(lab):
    flow = lab.flow(PARSE)
    with pytest.raises(PartitionError, match="no rows between 2025-04-12 and now"):
        plans(lab, flow, first=FAR)


def test_a_password_in_run_parameters_is_refused(lab):
    flow = lab.flow(PARSE, AGGREGATE, {"treatment": "to_postgres"})
    flow.check_run_params({"password": {"env": "PGPASSWORD"}})
    with pytest.raises(FlowError, match="kept in Dagster's database") as caught:
        flow.check_run_params({"password": "s3cret"})
    assert "s3cret" not in str(caught.value)


def test_a_dataset_of_which_no_line_is_a_row_says_why_and_loses_nothing(tmp_path):
    lab = CoreHome(tmp_path)
    lab.raw("x_a_2025-03-01.csv", "time,level\n2025-03-01T00:00:00Z,1\n")
    flow = lab.flow(PARSE)

    with pytest.raises(RawFileError, match=r"no line of the 1 raw files .*: timestamp 2; .*kv_csv"):
        plans(lab, flow)

    (kept,) = lab.home.dataset("DS").quarantine("f").glob("*.parquet")
    assert pl.read_parquet(kept)["raw"].to_list() == [b"time,level", b"2025-03-01T00:00:00Z,1"]


@pytest.mark.parametrize("stale", [False, True])
def test_a_raw_folder_that_lost_its_files_takes_no_results_with_it(lab, stale):
    flow = lab.flow(PARSE, CLEAN)
    carry_out(lab, flow, plans(lab, flow))
    before = lab.digests()
    for path in lab.home.dataset("DS").raw.iterdir():
        path.unlink()

    with pytest.raises(RawFileError, match="is empty, but there are results of 2 days"):
        plans(lab, flow, stale=stale)
    (failed,) = failures(lab.run(flow, D1))
    assert (failed.stage.name, "is empty" in failed.reason) == ("parsed", True)

    assert lab.digests() == before
