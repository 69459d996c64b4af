"""Checks of stages: what passes, what warns, and what a defect of a treatment looks like."""

from __future__ import annotations

import dagster as dg
import pytest
from small_home import CLEAN, DAYS, PARSE, UNSORTED, SmallHome, key, keys

GARBAGE = b"\x00\xff\xfe garbage\nno time;m0:1\n\n2026-01-20T25:61:00Z;m0:1\n"


def verdicts(home: SmallHome) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    """The verdicts of the newest run, by stage and check."""
    with home.instance() as instance:
        run_id = instance.get_runs(limit=1)[0].run_id
        events = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = [event.dagster_event.asset_check_evaluation_data for event in events]
    return {(one.asset_key.path[-1], one.check_name): one for one in found}


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    """Two days; the first has a raw file of garbage beside a good one, and a key of no domain."""
    home = SmallHome(tmp_path_factory.mktemp("dirty"))
    home.write_flow(PARSE, CLEAN)
    home.write_raw(DAYS[0], odd=["2026-01-20T12:00:00Z;m0:7;humidity:55"])
    home.write_raw(DAYS[1])
    home.raw_file(f"DS-1_pil-98_{DAYS[0]}.csv").write_bytes(GARBAGE)
    assert home.launch(DAYS[0], DAYS[1]).success
    return home, verdicts(home)


def test_every_stage_that_makes_files_has_its_checks(dirty):
    _, found = dirty
    assert set(found) == {
        ("parsed", "schema"),
        ("parsed", "ledger"),
        ("parsed", "quality"),
        ("parsed", "quarantine"),
        ("clean", "schema"),
        ("clean", "ledger"),
        ("clean", "quality"),
    }


@pytest.mark.parametrize("stage", ["parsed", "clean"])
@pytest.mark.parametrize("check", ["schema", "ledger"])
def test_good_days_pass_schema_and_ledger(dirty, stage, check):
    verdict = dirty[1][stage, check]
    assert verdict.passed
    assert verdict.severity == dg.AssetCheckSeverity.ERROR
    assert verdict.metadata["partitions"].value == 2


def test_garbage_is_quarantined_and_told_of_while_the_day_goes_on(dirty):
    home, found = dirty
    verdict = found["parsed", "quarantine"]
    assert not verdict.passed
    assert verdict.severity == dg.AssetCheckSeverity.WARN
    assert verdict.metadata["lines"].value == 3
    (finding,) = verdict.metadata["first_findings"].value
    assert finding["dataset"] == "DS-1"
    assert finding["file"] == f"DS-1_pil-98_{DAYS[0]}.csv"
    assert (finding["lines"], finding["of"]) == (3, 4)
    assert sum(finding["reasons"].values()) == 3
    assert home.materialized("clean") == keys(DAYS[0], DAYS[1])
    devices = {path.name.partition("__")[0] for path in home.stage("20_clean").rglob("*.parquet")}
    assert devices == {"pil-90"}
    assert (home.stage("quarantine") / "small" / f"DS-1_pil-98_{DAYS[0]}.csv.parquet").is_file()


def test_keys_that_no_domain_takes_are_a_warning_with_their_day(dirty):
    verdict = dirty[1]["parsed", "quality"]
    assert not verdict.passed
    assert verdict.severity == dg.AssetCheckSeverity.WARN
    (finding,) = verdict.metadata["first_findings"].value
    assert finding["day"] == str(DAYS[0])
    assert "humidity (1)" in finding["warning"]


def test_a_run_of_other_days_does_not_warn_of_the_garbage_again(dirty):
    home, _ = dirty
    # the garbage file has no rows of any day, so that every run of the dataset tells of it
    assert home.launch(DAYS[1]).success
    found = verdicts(home)
    assert found["parsed", "quality"].passed


def test_a_frame_that_breaks_the_schema_fails_the_check_and_writes_nothing(tmp_path):
    home = SmallHome(tmp_path)
    home.write_raw(DAYS[0])
    home.write_treatment("backwards", UNSORTED)
    home.write_flow(PARSE, CLEAN, {"treatment": "backwards"})
    outcome = home.launch(DAYS[0])
    assert not outcome.success
    assert f"DS-1 {DAYS[0]} at backwards" in outcome.failure
    verdict = verdicts(home)["backwards", "schema"]
    assert not verdict.passed
    assert verdict.severity == dg.AssetCheckSeverity.ERROR
    (finding,) = verdict.metadata["first_findings"].value
    assert (finding["dataset"], finding["day"]) == ("DS-1", str(DAYS[0]))
    assert finding["column"] == "ts"
    assert "rising" in finding["check"] or "sorted" in finding["check"]
    assert finding["count"] == 29  # of 30 rows, all but the first
    assert len(finding["examples"]) == 5
    assert not home.stage("22_backwards").exists()
    assert home.materialized("backwards") == set()
    assert home.materialized("clean") == {key(DAYS[0])}
    assert verdicts(home)["clean", "schema"].passed
