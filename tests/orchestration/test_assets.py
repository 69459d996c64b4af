"""Flows as assets: single days, ranges, faults, subsets and run configuration."""

from __future__ import annotations

import dagster as dg
import polars as pl
import psycopg
import pytest
from small_home import (
    AGGREGATE,
    CLEAN,
    CSV,
    DAYS,
    DUCKDB,
    FAILS_ON_A_DAY,
    NORMALIZE,
    PARSE,
    POSTGRES,
    RESAMPLE,
    SmallHome,
    key,
    keys,
)

# a file whose first byte is an I/O error, for root as for anybody else
FAILS_TO_READ = "/proc/self/mem"

RANGE = f"{key(DAYS[0])}...{key(DAYS[-1])}"
ALL_STAGES = ("parsed", "clean", "resampled", "aggregated", "duckdb", "exportcsv")
WAREHOUSE = """
SELECT (SELECT count(*) FROM small.bio_signal_60s), (SELECT count(*) FROM small.environment_60s),
       (SELECT count(DISTINCT ts) FROM small.bio_signal_60s)"""


def runs_failure(home: SmallHome) -> str:
    """What the newest run says of its failure."""
    with home.instance() as instance:
        run_id = instance.get_runs(limit=1)[0].run_id
        (failed,) = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        return failed.dagster_event.step_failure_data.user_failure_data.description


def succeeded(home: SmallHome) -> bool:
    with home.instance() as instance:
        return instance.get_runs(limit=1)[0].status == dg.DagsterRunStatus.SUCCESS


def part_days(home: SmallHome, folder: str) -> set[str]:
    return {path.parent.name for path in home.stage(folder).glob("domain=*/day=*/*.parquet")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A home that `dagster asset materialize` ran in twice: one day, then the range around it."""
    home = SmallHome(tmp_path_factory.mktemp("whole"))
    home.write_flow(PARSE, CLEAN, RESAMPLE, AGGREGATE, DUCKDB, CSV)
    home.write_raw(*DAYS)
    one = home.materialize("--partition", key(DAYS[1]))
    of_one_day = home.digests()
    ranged = home.materialize("--partition-range", RANGE)
    return home, one, of_one_day, ranged


def test_one_day_is_materialized_on_a_fresh_home(whole):
    _, one, of_one_day, _ = whole
    assert one.code == 0, one.err
    folders = {name.split("/")[1] for name in of_one_day}
    assert {"10_parsed", "20_clean", "25_resampled", "40_aggregated", "61_exportcsv"} <= folders
    assert {name.split("day=")[1][:10] for name in of_one_day if "day=" in name} == {str(DAYS[1])}


def test_a_range_materializes_every_day_of_every_stage(whole):
    home, _, _, ranged = whole
    assert ranged.code == 0, ranged.err
    for stage in ALL_STAGES:
        assert home.materialized(stage) == keys(*DAYS), stage
    # thirty lines from 10:00:00 to 10:04:50 are five minutes a day
    assert home.rows(WAREHOUSE) == [(15, 15, 15)]
    (csv,) = home.stage("61_exportcsv").glob("*.csv")
    lines = csv.read_text().splitlines()
    assert lines[0].startswith("Time;")
    assert len(lines) == 1 + 15
    assert lines[1].startswith("2026-01-20 11:00:00;")  # Paris


def test_a_day_is_the_same_bytes_alone_and_in_a_range(whole):
    home, _, of_one_day, _ = whole
    parts = {name: digest for name, digest in of_one_day.items() if "day=" in name}
    assert len(parts) == 8  # two domains in four stages
    after = home.digests()
    assert {name: after[name] for name in parts} == parts


def test_running_everything_again_changes_nothing(whole):
    home, *_ = whole
    before, rows = home.digests(), home.rows(WAREHOUSE)
    for _ in range(2):
        assert home.launch(DAYS[0], DAYS[-1]).success
    assert home.digests() == before
    assert home.rows(WAREHOUSE) == rows


def test_a_subset_of_stages_reads_its_input_from_disk(whole):
    home, *_ = whole
    before = home.digests()
    with home.instance() as instance:
        parsed = len(instance.fetch_materializations(dg.AssetKey(["small", "parsed"]), 100).records)
    ended = home.materialize("--select", 'key:"small/resampled"', "--partition", key(DAYS[0]))
    assert ended.code == 0, ended.err
    assert home.digests() == before
    with home.instance() as instance:
        ids = [run.run_id for run in instance.get_runs(limit=1)]
        touched = {
            event.dagster_event.asset_key.path[-1]
            for event in instance.all_logs(
                ids[0], of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
            )
        }
        again = len(instance.fetch_materializations(dg.AssetKey(["small", "parsed"]), 100).records)
    assert touched == {"resampled"}
    assert again == parsed


@pytest.fixture
def small(tmp_path):
    home = SmallHome(tmp_path / "home")
    home.write_raw(*DAYS)
    return home


def test_postgres_holds_the_same_rows_after_every_run(small, postgres_url):
    small.more["PROCEZO_POSTGRES_URL"] = postgres_url
    small.write_flow(PARSE, CLEAN, RESAMPLE, AGGREGATE, POSTGRES)
    ended = small.materialize("--partition-range", RANGE)
    assert ended.code == 0, ended.err

    def table():
        with psycopg.connect(postgres_url) as connection:
            return connection.execute(
                "SELECT dataset, device, ts, m0__raw__mean FROM small.bio_signal_60s ORDER BY ts"
            ).fetchall()

    rows = table()
    assert len(rows) == 15
    assert rows[0][0:2] == ("DS-1", "pil-90")
    assert rows[0][3] == 102.5  # of 100 to 105
    assert small.launch(DAYS[0], DAYS[-1]).success
    assert table() == rows
    assert small.materialized("postgres") == keys(*DAYS)


def test_a_treatment_that_raises_stops_only_its_own_day(small):
    small.write_treatment("picky", FAILS_ON_A_DAY.replace("is missing", r"is \x1b[2Jmissing"))
    after = {**AGGREGATE, "input": "22_picky"}
    small.write_flow(PARSE, CLEAN, {"treatment": "picky"}, after, DUCKDB)
    ended = small.materialize("--partition-range", RANGE)
    assert ended.code != 0
    assert small.materialized("parsed") == keys(*DAYS)
    assert small.materialized("clean") == keys(*DAYS)
    for stage in ("picky", "aggregated", "duckdb"):
        assert small.materialized(stage) == keys(DAYS[0], DAYS[2]), stage
    assert runs_failure(small) == (
        "DS-1 2026-01-21 at picky: ZeroDivisionError: the calibration of 21 January is "
        r"\x1b[2Jmissing (picky.py:10)"
    )
    assert r"the calibration of 21 January is \x1b[2Jmissing" in ended.err
    assert "\x1b[2J" not in ended.err
    days = small.rows("SELECT DISTINCT CAST(ts AS DATE) FROM small.bio_signal_60s ORDER BY 1")
    assert [day for (day,) in days] == [DAYS[0], DAYS[2]]
    assert part_days(small, "22_picky") == {f"day={DAYS[0]}", f"day={DAYS[2]}"}


def test_a_raw_file_that_cannot_be_read_stops_only_its_own_day(small):
    small.write_flow(PARSE, CLEAN)
    path = small.raw_file(f"DS-1_pil-90_{DAYS[1]}.csv")
    path.unlink()
    path.symlink_to(FAILS_TO_READ)
    outcome = small.launch(DAYS[0], DAYS[-1])
    assert not outcome.success
    assert path.name in outcome.failure
    assert str(DAYS[1]) in outcome.failure
    for stage in ("parsed", "clean"):
        assert small.materialized(stage) == keys(DAYS[0], DAYS[2])


def test_an_unreadable_file_that_never_had_a_row_stops_no_day(small):
    small.write_flow(PARSE)
    small.raw_file("loose.csv").symlink_to(FAILS_TO_READ)
    assert small.launch(DAYS[0], DAYS[-1]).success
    assert small.materialized("parsed") == keys(*DAYS)


def test_a_reversed_range_writes_nothing(small):
    small.write_flow(PARSE, CLEAN, RESAMPLE, AGGREGATE, DUCKDB)
    ended = small.materialize("--partition-range", f"{key(DAYS[2])}...{key(DAYS[0])}")
    assert ended.code != 0
    assert "a range whose start is not after its end" in ended.err
    assert small.digests() == {}
    assert not (small.path / "warehouse.duckdb").exists()
    assert small.materialized("parsed") == set()


def test_a_partition_of_an_unknown_dataset_is_refused(small):
    small.write_flow(PARSE)
    ended = small.materialize("--partition", "DS-9|2026-01-20")
    assert ended.code != 0
    assert "DS-9|2026-01-20" in ended.err.splitlines()[-1]
    assert small.digests() == {}


def test_without_dagster_home_the_error_says_what_to_set(small):
    small.write_flow(PARSE)
    small.more["DAGSTER_HOME"] = ""
    ended = small.materialize("--partition", key(DAYS[0]))
    assert ended.code != 0
    assert f"export DAGSTER_HOME={small.path}" in ended.err
    assert small.digests() == {}


def test_run_parameters_win_over_the_flow(small):
    small.write_flow(PARSE, {**CLEAN, "params": {"domains": {"bio_signal": {"max_value": 800}}}})
    narrow = {"domains": {"bio_signal": {"max_value": 109}}}
    assert small.launch(DAYS[0], params={"clean": narrow}).success
    (path,) = small.stage("20_clean").glob("domain=bio_signal/day=*/*.parquet")
    frame = pl.read_parquet(path, hive_partitioning=False)
    assert frame["m0"].to_list() == [*range(100, 110), *[None] * 20]
    assert frame["m1"].null_count() == 30


def test_an_unknown_run_parameter_fails_the_run_and_writes_nothing(small):
    small.write_flow(PARSE, CLEAN)
    outcome = small.launch(DAYS[0], params={"max_vlaue": 3})
    assert not outcome.success
    assert "max_vlaue" in outcome.failure
    assert small.digests() == {}


def current_fit(home: SmallHome) -> str:
    return (home.stage("35_normalized") / "fits" / "current").read_text()


def test_a_fit_is_kept_until_a_run_is_asked_to_refit(small):
    small.write_flow(PARSE, CLEAN, RESAMPLE, NORMALIZE)
    assert small.launch(DAYS[0], DAYS[-1]).success
    first, before = current_fit(small), small.digests()
    small.write_raw(DAYS[2], level=400)
    assert small.launch(DAYS[2]).success
    assert current_fit(small) == first
    assert small.launch(DAYS[0], DAYS[-1], refit=True).success
    assert current_fit(small) != first
    day = f"35_normalized/domain=bio_signal/day={DAYS[0]}/"
    changed = [n for n, d in small.digests().items() if day in n and before[n] != d]
    assert len(changed) == 1
