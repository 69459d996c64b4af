"""`list`, `describe`, `check` and `status`: what there is."""

from __future__ import annotations

import json

import pytest
from small_home import AGGREGATE, CLEAN, CSV, DAYS, DUCKDB, PARSE, RESAMPLE, SmallHome

from procezo_assets.templates import place
from procezo_assets.treatments.registry import built_in


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = SmallHome(tmp_path_factory.mktemp("home"))
    home.write_flow(PARSE, {**CLEAN, "name": "tidy up"}, description="Small.")
    home.write_flow(PARSE, name="groups", datasets=["event1/*"])
    home.write_raw(*DAYS)
    home.write_raw(DAYS[0], dataset="event1/group1")
    return home


@pytest.fixture
def other(tmp_path):
    return SmallHome(tmp_path / "home")


def test_flows(home):
    found = home.procezo("list", "flows", "--format", "json").json
    assert found[1] == {
        "flow": "small",
        "file": "small.json",
        "datasets": ["DS-1"],
        "stages": ["parsed", "clean"],
        "start": "2020-01-01",
        "description": "Small.",
    }
    assert "small.json" in home.procezo("list", "flows").out


def test_steps(home):
    found = home.procezo("list", "steps", "--flow", "small", "--format", "json").json
    assert [one["stage"] for one in found] == ["parsed", "clean"]
    assert found[1] == {
        "flow": "small",
        "stage": "clean",
        "name": "tidy up",
        "treatment": "clean",
        "input": "10_parsed",
        "output": "20_clean",
    }
    assert len(home.procezo("list", "steps", "--format", "json").json) == 3


def test_datasets(home):
    assert home.procezo("list", "datasets", "--format", "json").json == [
        {"dataset": "DS-1", "raw_files": 3, "flows": ["small"]},
        {"dataset": "event1/group1", "raw_files": 1, "flows": ["groups"]},
    ]


def test_treatments(home):
    found = home.procezo("list", "treatments", "--format", "json").json
    names = [one["treatment"] for one in found]
    assert names == sorted(names)
    assert {"parse", "clean", "resample", "transform", "normalize", "aggregate"} <= set(names)
    assert {"exportcsv", "exportnour", "exportparquet", "to_duckdb", "to_postgres"} <= set(names)
    assert all(one["does"] and one["from"] == "built in" for one in found)


@pytest.mark.parametrize("treatment", sorted(built_in()))
def test_describe_explains_every_parameter(home, treatment):
    found = home.procezo("describe", treatment, "--format", "json").json
    assert found["treatment"] == treatment
    assert found["does"]
    assert [one["name"] for one in found["parameters"] if not one["description"]] == []
    assert set(found["json_schema"]["properties"]) == {one["name"] for one in found["parameters"]}
    shown = home.procezo("describe", treatment)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith(f"{treatment}: ")


@pytest.mark.parametrize("what", ["flows", "treatments", "steps", "datasets"])
def test_lists_of_an_empty_home_are_empty(other, what):
    ended = other.procezo("list", what, "--format", "json")
    assert ended.code == 0
    assert ended.json == [] or what == "treatments"
    assert other.procezo("list", what).code == 0


def test_check_of_good_flows(home):
    ended = home.procezo("check")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "groups: 1 stages, right\nsmall: 2 stages, right\n"
    assert home.procezo("check", "small").out == "small: 2 stages, right\n"


def test_check_of_one_bad_flow_is_one_line(other):
    other.write_flow(PARSE, name="good")
    other.write_raw(DAYS[0])
    other.write_flow({**CLEAN, "input": "11_parsed"}, PARSE, name="bad", dataset="DS-2")
    ended = other.procezo("check")
    assert ended.code == 1
    assert ended.out == "good: 1 stages, right\n"
    assert ended.err == ended.error + "\n"
    assert ended.error == (
        "procezo: bad.json, step 'clean': nothing writes its input '11_parsed'; "
        "did you mean '10_parsed'?"
    )


def test_check_of_several_bad_files_names_each(other):
    other.write_flow(PARSE, {**CLEAN, "params": {"domans": {}}}, name="one")
    other.write_flow({"treatment": "prase"}, name="two", dataset="DS-2")
    (other.path / "flows" / "three.json").write_text("{")
    other.write_treatment("broken", "import nothing_of_that_name\n")
    ended = other.procezo("check")
    assert ended.code == 1
    for text in (
        "one.json, step 'clean': unknown parameter 'domans'; did you mean 'domains'?",
        "two.json, step 1 ('prase'): unknown treatment 'prase'; did you mean 'parse'?",
        "three.json is no JSON",
        "broken.py fails to import: ModuleNotFoundError",
    ):
        assert text in ended.err, text
    assert ended.error == "procezo: 4 files are wrong; correct them as said above"
    found = other.procezo("check", "--format", "json")
    assert found.code == 1
    assert len(found.json["problems"]) == 4


def test_check_warns_of_a_dagster_yaml_of_an_earlier_version(other):
    other.write_flow(PARSE)
    other.write_raw(DAYS[0])
    path = other.path / "dagster.yaml"
    place("dagster.yaml", path)
    assert other.procezo("check").err == ""
    path.write_text(path.read_text().replace("run_launcher:", "run_queues:"))
    ended = other.procezo("check")
    assert ended.code == 0
    assert "dagster.yaml has no run_launcher, as one of an earlier version; rename it" in ended.err


def test_check_warns_of_a_plain_password_without_showing_it(other):
    password = {"password": "correct-horse"}
    other.write_flow(PARSE, {"treatment": "to_postgres", "input": "10_parsed", "params": password})
    other.write_raw(DAYS[0])
    (other.path / "flows/small.json").chmod(0o644)
    ended = other.procezo("check")
    assert ended.code == 0
    assert "warning: small.json: steps[1].params.password is a secret" in ended.err
    assert '{"env": ' in ended.err
    assert "others on this machine can read" in ended.err
    (other.path / "flows/small.json").chmod(0o600)
    assert "others on this machine" not in other.procezo("check").err
    assert "correct-horse" not in ended.out + ended.err


def test_status_before_and_after_a_run(other):
    other.write_flow(PARSE, CLEAN, RESAMPLE, AGGREGATE, DUCKDB, CSV)
    other.write_raw(*DAYS)
    before = other.procezo("status", "--format", "json").json
    assert [one["stage"] for one in before] == [
        "raw",
        "parsed",
        "clean",
        "resampled",
        "aggregated",
        "duckdb",
        "exportcsv",
    ]
    raw = other.raw_file(f"DS-1_pil-90_{DAYS[0]}.csv").parent
    assert before[0]["files"] == 3
    assert before[0]["bytes"] == sum(path.stat().st_size for path in raw.iterdir())
    assert {one["days"] for one in before[1:]} == {0}
    assert other.launch(DAYS[0], DAYS[2]).success
    after = {one["stage"]: one for one in other.procezo("status", "--format", "json").json}
    for stage, files in (("parsed", 6), ("clean", 6), ("aggregated", 6), ("exportcsv", 1)):
        one = after[stage]
        assert (one["days"], one["first"], one["last"]) == (3, "2026-01-20", "2026-01-22"), stage
        assert one["files"] == files, stage
        assert one["stale"] == {}, stage
    other.write_flow(
        PARSE, {**CLEAN, "params": {"drop_duplicates": False}}, RESAMPLE, AGGREGATE, DUCKDB, CSV
    )
    stale = {one["stage"]: one["stale"] for one in other.procezo("status", "--format", "json").json}
    assert stale["clean"] == {"parameters changed": 3}
    assert stale["parsed"] == {}
    table = other.procezo("status", "small")
    assert (table.code, table.err) == (0, "")
    assert "3 parameters changed" in table.out


def test_status_counts_the_days_that_an_interrupted_run_left(other):
    other.write_flow(PARSE, CLEAN, RESAMPLE, AGGREGATE, DUCKDB)
    other.write_raw(*DAYS)
    assert other.launch(*DAYS[:2], stages=["parsed", "clean", "resampled", "aggregated"]).success
    assert other.launch(DAYS[2], stages=["parsed"]).success

    shown = other.procezo("status", "--format", "json").json

    assert {one["stage"]: one["stale"] for one in shown} == {
        "raw": {},
        "parsed": {},
        "clean": {"missing": 1},
        "resampled": {"reads what is stale": 1},
        "aggregated": {"reads what is stale": 1},
        "duckdb": {"not loaded": 2, "reads what is stale": 1},
    }


def test_status_shows_raw_files_as_they_are_known(other):
    other.write_flow(PARSE, CLEAN)
    other.write_raw(*DAYS, odd=["rebooting"])

    def raw_and_parsed():
        found = other.procezo("status", "--format", "json").json
        return [(one["stale"], one["remarks"]) for one in found[:2]]

    assert raw_and_parsed() == [({"new or changed": 3}, {}), ({}, {})]
    assert not (other.stage("quarantine")).exists()  # nothing was read
    assert other.procezo("ledger", "DS-1").code == 0
    assert raw_and_parsed() == [({}, {"lines quarantined": 3}), ({"missing": 3}, {})]
    assert other.launch(DAYS[0], DAYS[2]).success
    assert raw_and_parsed() == [({}, {"lines quarantined": 3}), ({}, {})]

    other.raw_file(f"DS-1_pil-90_{DAYS[0]}.csv").unlink()
    other.write_raw(DAYS[1], lines=40)
    remarks = {"lines quarantined": 2, "files gone": 1, "days kept": 1}
    assert raw_and_parsed() == [({"new or changed": 1}, remarks), ({}, {})]
    assert other.procezo("quarantine", "DS-1").code == 0
    assert raw_and_parsed()[1] == ({"raw files changed": 1}, {})
    assert other.procezo("ledger", "DS-1").code == 0  # reads the day's lines
    assert raw_and_parsed()[1] == ({"raw lines changed": 1}, {})
    assert "1 files gone, 1 days kept" in other.procezo("status").out


def test_status_of_a_home_without_data_says_how_to_begin(other):
    ended = other.procezo("status")
    assert (ended.code, ended.out) == (0, "")
    assert "procezo init DATASET" in ended.err
    assert json.loads(other.procezo("status", "--format", "json").out) == []
