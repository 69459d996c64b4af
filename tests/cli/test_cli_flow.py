"""`procezo flow`: what it runs, and what it says."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest
from small_home import BIN, CLEAN, DAYS, NORMALIZE, PARSE, RESAMPLE, SLOW, SmallHome, keys

NORMALIZE_CLEAN = {**NORMALIZE, "input": "20_clean"}


@pytest.fixture
def home(tmp_path):
    home = SmallHome(tmp_path / "home")
    home.write_flow(PARSE, CLEAN, RESAMPLE)
    home.write_raw(*DAYS)
    return home


def plans(home: SmallHome, *args: str):
    """What a run would do: first and last day, and what is stale with its reason."""
    ended = home.procezo("flow", "small", *args, "--dry-run", "--format", "json")
    assert ended.code == 0, ended.err
    return [
        (one["first"], one["last"], {(s["stage"], s["day"], s["reason"]) for s in one["stale"]})
        for one in ended.json
    ]


def ran_stages(home: SmallHome, *args: str) -> list[tuple[str, int]]:
    ended = home.procezo("flow", "small", "--format", "json", *args)
    assert ended.code == 0, ended.err
    return [(s["stage"], s["partitions"]) for run in ended.json for s in run["stages"]]


def test_a_flow_runs_all_stages_of_all_days_and_says_so(home):
    ended = home.procezo("flow", "small")
    assert ended.code == 0
    assert "removed by reason" in ended.out
    assert ended.err.splitlines()[0] == "small: DS-1, 2026-01-20 to 2026-01-22, 3 stages"
    for stage in ("parsed", "clean", "resampled"):
        assert re.search(rf"^ *{stage} +3 +6 ", ended.out, re.MULTILINE), ended.out
        assert home.materialized(stage) == keys(*DAYS)


def test_json_has_every_stage_with_its_counts(home):
    ended = home.procezo("flow", "small", "--format", "json", "--from", "2026-01-21")
    (run,) = ended.json
    assert (run["flow"], run["dataset"], run["success"]) == ("small", "DS-1", True)
    assert (run["first"], run["last"]) == ("2026-01-21", "2026-01-22")
    assert run["failure"] is None
    assert [stage["stage"] for stage in run["stages"]] == ["parsed", "clean", "resampled"]
    assert [stage["rows"] for stage in run["stages"]] == [120, 120, 120]
    with home.instance() as instance:
        assert instance.has_run(run["run_id"])


def test_steps_are_chosen_by_name_and_by_span(home):
    assert ran_stages(home, "--to-step", "clean") == [("parsed", 3), ("clean", 3)]
    assert ran_stages(home, "--step", "resample", "--to", "2026-01-20") == [("resampled", 1)]
    assert ran_stages(home, "--from-step", "20_clean", "--from", "2026-01-22") == [
        ("clean", 1),
        ("resampled", 1),
    ]


def test_a_dry_run_runs_nothing(home):
    ended = home.procezo("flow", "small", "--dry-run")
    assert ended.code == 0
    assert "asked for" in ended.out
    assert "parsed, clean, resampled" in ended.out
    assert plans(home) == [("2026-01-20", "2026-01-22", set())]
    assert home.digests() == {}
    assert not (home.path / "dagster.yaml").exists()


def test_far_apart_days_are_runs_of_their_own(home):
    home.write_raw(DAYS[0].replace(month=3))
    assert [plan[:2] for plan in plans(home)] == [
        ("2026-01-20", "2026-01-22"),
        ("2026-03-20", "2026-03-20"),
    ]


def test_last_runs_what_is_missing_or_changed_and_nothing_else(home):
    first, middle, last = map(str, DAYS)
    assert plans(home, "--last")[0][:2] == (first, last)
    assert home.procezo("flow", "small", "--last").code == 0
    again = home.procezo("flow", "small", "--last")
    assert (again.code, again.out) == (0, "")
    assert again.err == "nothing to do: everything is up to date\n"

    # a line more
    home.write_raw(DAYS[1], lines=31)
    assert plans(home, "--last") == [
        (middle, middle, {("parsed", middle, "raw lines changed")}),
    ]
    # the same rows under another name are the same partition
    home.write_raw(DAYS[1])
    old = home.raw_file(f"DS-1_pil-90_{middle}.csv")
    old.rename(old.with_name("DS-1_pil-90_2026-01-01.csv"))
    assert plans(home, "--last") == []
    # a file that somebody removed
    (path,) = home.stage("20_clean").glob(f"domain=bio_signal/day={last}/*.parquet")
    (other,) = home.stage("20_clean").glob(f"domain=environment/day={last}/*.parquet")
    content = path.read_bytes(), other.read_bytes()
    path.unlink()
    other.unlink()
    (plan,) = plans(home, "--last")
    assert plan[:2] == (last, last)
    assert ("clean", last, "missing") in plan[2]
    path.write_bytes(content[0])
    other.write_bytes(content[1])

    # parameters of the flow
    home.write_flow(PARSE, {**CLEAN, "params": {"drop_duplicates": False}}, RESAMPLE)
    (plan,) = plans(home, "--last")
    assert plan[:2] == (first, last)
    assert {(stage, reason) for stage, _, reason in plan[2] if stage == "clean"} == {
        ("clean", "parameters changed")
    }
    assert home.procezo("flow", "small", "--last").code == 0
    assert plans(home, "--last") == []


def test_last_with_a_day_removed_from_one_of_two_domains(home):
    assert home.procezo("flow", "small").code == 0
    (path,) = home.stage("20_clean").glob(f"domain=bio_signal/day={DAYS[2]}/*.parquet")
    path.unlink()
    found = plans(home, "--last")
    assert found, "a file of a stage is gone, and nothing would make it again"


def test_a_changed_treatment_of_the_user_makes_its_days_stale(home):
    source = (
        "import polars as pl\n"
        "from procezo_assets.treatments import Parameters, treatment\n"
        "@treatment(inputs=('20_clean',), output='22_own')\n"
        "def own(frame: pl.DataFrame, params: Parameters) -> pl.DataFrame:\n"
        "    return frame\n"
    )
    home.write_treatment("own", source)
    home.write_flow(PARSE, CLEAN, {"treatment": "own"})
    assert home.procezo("flow", "small").code == 0
    assert plans(home, "--last") == []
    home.write_treatment("own", source + "# better\n")
    (plan,) = plans(home, "--last")
    assert {(stage, reason) for stage, _, reason in plan[2]} == {("own", "treatment changed")}


def test_params_and_full_replace_and_refit(home):
    home.write_flow(PARSE, CLEAN, RESAMPLE, NORMALIZE, removed="drop")
    assert ran_stages(home)[-1] == ("normalized", 3)
    fits = home.stage("35_normalized") / "fits"
    before = (fits / "current").read_text()
    home.raw_file(f"DS-1_pil-90_{DAYS[0]}.csv").unlink()
    # the day without rows is run too, and left empty
    assert ran_stages(home, "--output-mode", "full-replace")[-1] == ("normalized", 3)
    assert not list(home.stage("20_clean").glob(f"domain=*/day={DAYS[0]}/*"))
    replaced = (fits / "current").read_text()
    assert replaced != before
    params = {"normalized": {"method": "minmax"}}
    ran_stages(home, "--refit", "--step", "normalize", "--params", json.dumps(params))
    assert (fits / "current").read_text() not in {before, replaced}


def test_a_fit_waits_for_a_day_that_a_fault_stopped_in_the_run_before(home, tmp_path):
    far = DAYS[-1] + timedelta(days=20)  # in a run of its own

    def fill(home):
        home.write_flow(PARSE, CLEAN, NORMALIZE_CLEAN)
        home.write_raw(far, level=900)

    fill(home)
    obstacle = home.stage("20_clean") / "domain=bio_signal" / f"day={far}"
    obstacle.parent.mkdir(parents=True)
    obstacle.touch()
    failed = home.procezo("flow", "small")
    assert f"{far} at clean: FileExistsError" in failed.error
    assert failed.error.endswith("go on with: procezo flow small --last")
    assert not home.stage("35_normalized").exists()
    refused = home.procezo("flow", "small", "--refit")
    assert refused.error.endswith("go on with: procezo flow small --last --refit")
    obstacle.unlink()
    assert home.procezo("flow", "small", "--last").code == 0
    undisturbed = SmallHome(tmp_path / "undisturbed")
    undisturbed.write_raw(*DAYS)
    fill(undisturbed)
    assert undisturbed.procezo("flow", "small").code == 0
    assert home.digests() == undisturbed.digests()


def test_last_tells_of_new_lines_that_are_no_rows_and_change_no_day(home):
    home.write_flow(PARSE, CLEAN)
    assert home.procezo("flow", "small").code == 0
    with home.raw_file(f"DS-1_pil-90_{DAYS[0]}.csv").open("a") as file:
        file.write("spoilt\n")
    ended = home.procezo("flow", "small", "--last")
    assert ended.code == 0
    assert ended.err.splitlines() == [
        (
            "warning: new or changed raw files have lines in quarantine (timestamp 1): "
            "procezo quarantine DS-1"
        ),
        "nothing to do: everything is up to date",
    ]


def test_a_fault_after_the_fit_is_made_stops_no_other_run(home):
    far = DAYS[-1] + timedelta(days=20)  # in a run of its own
    home.write_flow(PARSE, CLEAN, NORMALIZE_CLEAN)
    home.write_raw(far, level=900)
    obstacle = home.stage("35_normalized") / "domain=bio_signal" / f"day={DAYS[0]}"
    obstacle.parent.mkdir(parents=True)
    obstacle.touch()
    failed = home.procezo("flow", "small")
    assert f"{DAYS[0]} at normalized: FileExistsError" in failed.error
    assert home.materialized("normalized") == keys(*DAYS[1:], far)


def test_a_flow_without_days_has_nothing_to_do(home):
    home.write_flow(PARSE, name="idle", dataset="EMPTY")
    home.raw_file("x", dataset="EMPTY").parent.mkdir(parents=True, exist_ok=True)
    ended = home.procezo("flow", "idle")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "nothing to do: there are no days\n"
    assert home.procezo("flow", "idle", "--format", "json").json == []


def test_ctrl_c_is_one_line_and_the_next_run_goes_on(home):
    home.write_treatment("slow", SLOW)
    home.write_flow(PARSE, CLEAN, {"treatment": "slow"})
    process = subprocess.Popen(
        # a shell may have told its background processes to ignore it
        ["env", "--default-signal=INT", BIN / "procezo", "flow", "small"],
        env=home.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(home.path.glob("datasets/DS-1/20_clean/domain=*/day=*/*.parquet")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    # click ends the line that a terminal shows ^C in
    lines = [line for line in err.splitlines() if line and not line.startswith("small: ")]
    assert lines == [
        "procezo: interrupted; what was finished stays: run again, a flow with --last, to go on"
    ], err
    with home.instance() as instance:
        assert [run.is_finished for run in instance.get_runs()] == [True]
    left = [p.name for p in home.path.rglob("*") if "tmp" in p.name or p.suffix == ".part"]
    assert left == []
    home.write_treatment("slow", SLOW.replace("sleep(2)", "sleep(0)"))
    assert home.procezo("flow", "small", "--last").code == 0
    assert home.materialized("slow") == keys(*DAYS)


def test_times_in_json_are_utc_with_z():
    from procezo_assets.cli.output import _plain  # noqa: PLC0415

    assert _plain(datetime(2026, 1, 20, 10, tzinfo=UTC)) == "2026-01-20T10:00:00Z"
    assert _plain(datetime(2026, 1, 20, 10, 0, 0, 500000, tzinfo=UTC)) == (
        "2026-01-20T10:00:00.500000Z"
    )
    assert _plain(DAYS[0]) == "2026-01-20"


def test_what_cannot_be_read_is_no_reason_to_say_that_all_is_well(home):
    assert home.procezo("flow", "small").code == 0
    lost = home.raw_file(f"DS-1_pil-90_{DAYS[0]}.csv")
    lost.unlink()
    lost.symlink_to(home.path / "not-mounted.csv")
    ended = home.procezo("flow", "small", "--last")
    assert ended.code == 1
    assert lost.name in ended.error

    home.write_raw(DAYS[2], device="pil-91")  # what can be read goes on
    again = home.procezo("flow", "small", "--last")
    assert (again.code, again.error) == (1, ended.error)
    assert list(home.stage("25_resampled").rglob("pil-91*"))
