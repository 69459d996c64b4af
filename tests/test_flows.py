"""Flow files to flows, and what is said of the wrong ones."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest
from core_home import CoreHome

from procezo_assets.datasets import Home
from procezo_assets.errors import FlowError, ParameterError, ProcezoError
from procezo_assets.flow_files import DEFAULT_START, load_flows
from procezo_assets.treatments.registry import load_registry

PARSE = {"treatment": "parse"}
CLEAN = {"treatment": "clean"}


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def write(home, file="f", text=None, **fields):
    """Write a flow file; a field that is ... is left out."""
    home.flows.mkdir(exist_ok=True)
    declared = {"name": file, "dataset": "DS", "steps": [PARSE, CLEAN]} | fields
    declared = {key: value for key, value in declared.items() if value is not ...}
    (home.flows / f"{file}.json").write_text(json.dumps(declared) if text is None else text)


def load(home):
    return load_flows(home, load_registry(home))


def flow_of(home, *steps, **fields):
    write(home, steps=list(steps) or [PARSE, CLEAN], **fields)
    flows = load(home)
    assert flows.problems == {}
    return flows.get("f")


def problem_of(home, **fields):
    write(home, **fields)
    write(home, "sound", dataset="OTHER")
    flows = load(home)
    assert list(flows.flows) == ["sound"]  # one bad file does not take the others down
    (problem,) = flows.problems.values()
    text = str(problem)
    assert isinstance(problem, ProcezoError)
    assert "\n" not in text
    return text


def outline(flow):
    return [(stage.name, stage.input, stage.output) for stage in flow.stages]


def test_a_step_takes_the_standard_folders_of_its_treatment(home):
    steps = [
        {"treatment": name}
        for name in [
            "parse",
            "clean",
            "resample",
            "transform",
            "normalize",
            "aggregate",
            "to_duckdb",
            "to_postgres",
            "exportcsv",
            "exportparquet",
            "exportnour",
        ]
    ]

    assert outline(flow_of(home, *steps)) == [
        ("parsed", "00_raw", "10_parsed"),
        ("clean", "10_parsed", "20_clean"),
        ("resampled", "20_clean", "25_resampled"),
        ("transform", "25_resampled", "30_transform"),
        ("normalized", "30_transform", "35_normalized"),
        ("aggregated", "35_normalized", "40_aggregated"),
        ("duckdb", "40_aggregated", "50_duckdb"),
        ("postgres", "40_aggregated", "60_postgres"),
        ("exportcsv", "40_aggregated", "61_exportcsv"),
        ("exportparquet", "40_aggregated", "62_exportparquet"),
        ("exportnour", "40_aggregated", "61_exportnour"),
    ]


def test_standard_inputs_are_those_that_earlier_steps_write(home):
    assert outline(flow_of(home, PARSE, {"treatment": "aggregate"}))[1][1] == "10_parsed"
    assert outline(flow_of(home, PARSE, CLEAN, {"treatment": "normalize"}))[2][1] == "20_clean"


def test_a_flow_is_a_graph(home):
    flow = flow_of(
        home,
        PARSE,
        CLEAN,
        {"treatment": "aggregate", "input": "10_parsed", "output": "41_aggregated_raw"},
        {"treatment": "aggregate", "input": "20_clean", "name": "second"},
        {"treatment": "exportcsv", "name": "export_raw", "input": "41_aggregated_raw"},
    )

    assert [stage.name for stage in flow.stages] == [
        "parsed",
        "clean",
        "aggregated_raw",
        "aggregated",
        "exportcsv",
    ]
    assert flow.input_of(flow.stage("exportcsv")).name == "aggregated_raw"
    assert flow.input_of(flow.stage("parsed")) is None


def test_steps_are_found_by_stage_name_output_or_treatment(home):
    flow = flow_of(
        home,
        PARSE,
        CLEAN,
        {"treatment": "aggregate", "name": "fine"},
        {"treatment": "aggregate", "output": "41_coarse", "input": "20_clean"},
    )

    found = {
        text: flow.stage(text).name for text in ("parsed", "parse", "20_clean", "fine", "coarse")
    }
    assert found == {
        "parsed": "parsed",
        "parse": "parsed",
        "20_clean": "clean",
        "fine": "aggregated",
        "coarse": "coarse",
    }
    with pytest.raises(FlowError, match="several steps with treatment 'aggregate'; name one: "):
        flow.stage("aggregate")
    with pytest.raises(FlowError, match="flow 'f' has no step 'parsd'; did you mean 'parsed'"):
        flow.stage("parsd")


def test_between(home):
    flow = flow_of(home, PARSE, CLEAN, {"treatment": "resample"}, {"treatment": "aggregate"})

    def names(first, last):
        return [stage.name for stage in flow.between(first, last)]

    assert names(None, None) == ["parsed", "clean", "resampled", "aggregated"]
    assert names("clean", "resampled") == ["clean", "resampled"]
    assert names("resample", None) == ["resampled", "aggregated"]
    with pytest.raises(FlowError, match="step 'resampled' comes after step 'clean' in flow 'f'"):
        names("resampled", "clean")


def test_the_name_of_the_file_is_the_flows_name(home):
    write(home, "my-flow", name=...)

    flow = load(home).get("my-flow")

    assert (flow.name, flow.identifier) == ("my-flow", "my_flow")


def test_an_unknown_flow_names_the_nearest(home):
    write(home, "valvometry")

    with pytest.raises(FlowError, match="no flow 'valvometri'; did you mean 'valvometry'"):
        load(home).get("valvometri")


def test_asking_for_a_wrong_flow_says_what_is_wrong_with_it(home):
    write(home, "f", steps=[{"treatment": "pars"}])

    with pytest.raises(FlowError, match="unknown treatment 'pars'; did you mean 'parse'"):
        load(home).get("f")


def test_other_fields(home):
    flow = flow_of(
        home,
        description="Mussels",
        labels=["valve", "sea"],
        schedule="0 3 * * *",
        start="2025-05-01",
    )

    assert (flow.description, flow.start) == ("Mussels", date(2025, 5, 1))
    assert flow.labels == {"valve": "", "sea": ""}
    assert (flow.schedule.cron, flow.schedule.timezone) == ("0 3 * * *", "UTC")
    flow = flow_of(home, labels={"a": "b"}, schedule={"cron": "@daily", "timezone": "Europe/Paris"})
    assert flow.labels == {"a": "b"}
    assert flow.schedule.timezone == "Europe/Paris"


@pytest.mark.parametrize(
    ("fields", "start"),
    [
        ({}, DEFAULT_START),
        ({"params": {"from": "2026-02-01T00:00:00Z"}}, date(2026, 2, 1)),
        ({"params": {"from": "2026-02-01T00:30:00+01:00"}}, date(2026, 1, 31)),
        ({"params": {"from": "2026-02-01"}, "start": "2025-01-01"}, date(2025, 1, 1)),
        ({"from": "2026-02-01"}, date(2026, 2, 1)),
        ({"params": {"from": None}}, DEFAULT_START),
        ({"params": {"from": ""}}, DEFAULT_START),
    ],
)
def test_the_first_day(home, fields, start):
    assert flow_of(home, **fields).start == start


def test_bounds_of_the_established_form_stand_at_the_top(home):
    flow = flow_of(home, **{"from": "2026-02-01", "to": "2026-03-01T00:00:00Z"})

    params = flow.parameters(flow.source, "DS")
    assert (params.from_, params.to) == (
        datetime(2026, 2, 1, tzinfo=UTC),
        datetime(2026, 3, 1, tzinfo=UTC),
    )
    flow = flow_of(home, **{"from": "2026-02-01", "params": {"from": "2026-02-02"}})
    assert flow.parameters(flow.source, "DS").from_.day == 2


def test_parameters_merge_lowest_first(home):
    flow = flow_of(
        home,
        PARSE,
        {"treatment": "aggregate", "params": {"metrics": ["mean"]}},
        dataset=...,
        datasets=["DS", "lab/*"],
        params={"windows": ["1h"], "metrics": ["min"]},
        overrides={
            "lab/*": {"aggregated": {"metrics": ["max"]}},
            "lab/A": {"aggregate": {"metrics": ["std"]}},
        },
    )
    stage = flow.stage("aggregated")

    def of(dataset, **run_params):
        found = flow.parameters(stage, dataset, run_params)
        return found.windows, found.metrics

    assert of("DS") == (("1h",), ("mean",))
    assert of("lab/B") == (("1h",), ("max",))
    assert of("lab/A") == (("1h",), ("std",))
    assert of("lab/A", metrics=["count"]) == (("1h",), ("count",))
    assert of("lab/A", aggregated={"metrics": ["median"]}, metrics=["count"]) == (
        ("1h",),
        ("median",),
    )
    assert flow.stage("parsed").params == {}  # windows are no parameter of parse
    assert flow.parameters(stage, "DS").decimals is None


def test_hashes_are_of_effective_parameters(home):
    flow = flow_of(
        home,
        PARSE,
        CLEAN,
        dataset=...,
        datasets=["DS", "B"],
        overrides={"B": {"clean": {"drop_duplicates": False}}},
    )
    stage = flow.stage("clean")

    hashes = [
        flow.parameters_hash(stage, "DS"),
        flow.parameters_hash(stage, "DS", {"drop_duplicates": True}),
        flow.parameters_hash(stage, "B"),
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_run_parameters_are_checked(home):
    flow = flow_of(home)

    flow.check_run_params({"drop_duplicates": False, "clean": {}})
    with pytest.raises(FlowError, match="'drop_duplicate'; did you mean 'drop_duplicates'"):
        flow.check_run_params({"drop_duplicate": False})
    with pytest.raises(ParameterError, match=r"f\.json, step 'clean': unknown parameter 'domain'"):
        flow.parameters(flow.stage("clean"), "DS", {"clean": {"domain": {}}})


def test_datasets_by_pattern(home):
    for name in ("PREMANIP-1", "PREMANIP-2", "event1/g1", "event1/deep/g1", "other"):
        home.dataset(name).raw.mkdir(parents=True)

    flow = flow_of(home, dataset=..., datasets=["PREMANIP-*", "event1/*"])

    assert flow.datasets(home) == ["PREMANIP-1", "PREMANIP-2", "event1/g1"]
    assert not flow.takes_dataset("event1/deep/g1")


MISTAKES = [
    ({"text": "{"}, "f.json is no JSON"),
    ({"text": ""}, "f.json is no JSON"),
    ({"text": "[" * 100_000}, "f.json is no JSON"),
    ({"text": '{"name": "\\ud800"}'}, "has half a character (a lone surrogate)"),
    ({"text": "[1]"}, "f.json is no flow; start with"),
    ({"[": 1}, "f.json: unknown parameter '['"),
    ({"str": 1}, "f.json: unknown parameter 'str'"),
    ({"steps": []}, "f.json: parameter 'steps'"),
    ({"steps": ...}, "f.json: parameter 'steps' is missing"),
    ({"steps": [{}]}, "f.json: parameter 'steps.0.treatment' is missing"),
    ({"step": []}, "f.json: unknown parameter 'step'; did you mean 'steps'?"),
    ({"steps": [{"treatment": "parse", "param": {}}]}, "'steps.0.param'; did you mean 'params'?"),
    ({"dataset": ...}, "f.json: a flow needs either 'dataset' or 'datasets'"),
    ({"datasets": ["A"]}, "f.json: a flow needs either 'dataset' or 'datasets'"),
    ({"dataset": "../x"}, "f.json: '../x' cannot be a dataset's name"),
    ({"dataset": ..., "datasets": ["a|*"]}, "cannot be a dataset's name"),
    ({"name": "a b"}, "'a b' cannot be a flow's name"),
    ({"params": []}, "f.json: parameter 'params'"),
    ({"from": "2026-02-01", "params": []}, "f.json: parameter 'params'"),
    ({"from": "2026-02-01", "params": None}, "f.json: parameter 'params'"),
    ({"params": {"windos": ["1h"]}}, "f.json, params: no step has a parameter 'windos'"),
    ({"params": {"delimeter": ","}}, "'delimeter'; did you mean 'delimiter'?"),
    ({"params": {"from": "yesterday"}}, "'from' 'yesterday' is no ISO 8601 time"),
    ({"params": {"from": "0001-01-01T00:00:00+05:00"}}, "'from'"),
    ({"start": "2026-02-30"}, "f.json: parameter 'start'"),
    ({"schedule": "every day"}, "'every day' is no cron expression"),
    ({"schedule": "0 0 3 * * *"}, "'0 0 3 * * *' is no cron expression"),
    ({"schedule": "0 3 30 2 *"}, "'0 3 30 2 *' never comes"),
    ({"schedule": {"cron": "0 3 * * *", "tz": "UTC"}}, "unknown parameter 'schedule.tz'"),
    (
        {"schedule": {"cron": "0 3 * * *", "timezone": "Europe/Pari"}},
        "'Europe/Pari' is no IANA time zone",
    ),
    ({"steps": [{"treatment": "pars"}]}, "f.json, step 1 ('pars'): unknown treatment 'pars'; did "),
    (
        {"steps": [PARSE, {"treatment": "clean", "input": "10_parse"}]},
        "f.json, step 'clean': nothing writes its input '10_parse'; did you mean '10_parsed'?",
    ),
    (
        {"steps": [PARSE, {"treatment": "clean", "name": "tidy", "input": "99_x"}]},
        "f.json, step 'tidy': nothing writes its input '99_x'; valid: 10_parsed",
    ),
    (
        {"steps": [PARSE, {"treatment": "clean", "params": {"drop_duplicate": True}}]},
        "f.json, step 'clean': unknown parameter 'drop_duplicate'; did you mean 'drop_duplicates'?",
    ),
    (
        {"steps": [PARSE, {"treatment": "clean", "params": {"drop_duplicates": "maybe"}}]},
        "f.json, step 'clean': parameter 'drop_duplicates': input should be a valid boolean",
    ),
    (
        {"steps": [PARSE, {"treatment": "clean", "params": {"domains": {"a": {"min": 1}}}}]},
        "f.json, step 'clean': unknown parameter 'domains.a.min'; valid: max_value, min_value",
    ),
    (
        {
            "steps": [
                PARSE,
                {"treatment": "resample", "input": "10_parsed", "params": {"freq": "1m"}},
            ]
        },
        "f.json, step 'resampled': parameter 'freq': '1m' is no duration",
    ),
    ({"steps": [PARSE, {"treatment": "clean", "params": {"password": "x"}}]}, "'password'"),
    ({"steps": [PARSE, {"treatment": "clean", "output": "00_raw"}]}, "output '00_raw' cannot be"),
    ({"steps": [PARSE, {"treatment": "clean", "output": "../x"}]}, "output '../x' cannot be"),
    ({"steps": [PARSE, {"treatment": "clean", "output": "quarantine"}]}, "output 'quarantine'"),
    (
        {"steps": [{"treatment": "parse", "input": "05_raw"}]},
        "treatment 'parse' reads raw files; its input is 00_raw",
    ),
    (
        {"steps": [PARSE, {"treatment": "parse", "output": "11_more"}]},
        "steps parsed and more both read raw files",
    ),
    (
        {"steps": [PARSE, CLEAN, {"treatment": "clean", "name": "again"}]},
        "f.json, step 3 ('again'): output '20_clean' is already written by step 'clean'",
    ),
    (
        {"steps": [PARSE, CLEAN, {"treatment": "clean", "output": "21_clean"}]},
        "outputs '20_clean' and '21_clean' both make a stage 'clean'",
    ),
    (
        {
            "steps": [
                PARSE,
                {"treatment": "clean", "name": "x"},
                {"treatment": "resample", "name": "x"},
            ]
        },
        "two steps have the name 'x'",
    ),
    (
        {
            "steps": [
                PARSE,
                {"treatment": "aggregate"},
                {"treatment": "exportcsv"},
                {"treatment": "exportcsv", "input": "61_exportcsv", "output": "63_x"},
            ]
        },
        "its input '61_exportcsv' is what 'exportcsv' exports; take the input of",
    ),
    (
        {"steps": [PARSE, {"treatment": "clean", "input": "20_clean"}]},
        "f.json: the steps go in a circle: 20_clean → 20_clean",
    ),
    (
        {
            "steps": [
                PARSE,
                {"treatment": "clean", "input": "25_resampled"},
                {"treatment": "resample", "input": "20_clean"},
            ]
        },
        "f.json: the steps go in a circle: ",
    ),
    (
        {"steps": [{"treatment": "clean", "input": "10_parsed"}, PARSE]},
        "f.json, step 'clean': its input '10_parsed' is written by a later step; move 'parsed'",
    ),
    (
        {"overrides": {"DS": {"claen": {}}}},
        "f.json, overrides 'DS': flow 'f' has no step 'claen'; did you mean 'clean'?",
    ),
    (
        {"overrides": {"D[S]": {"clean": {"drop_duplicate": True}}}},
        "overrides 'D[S]', step 'clean': unknown parameter 'drop_duplicate'; did you mean",
    ),
    ({"overrides": {"DS": {"clean": 5}}}, "f.json: parameter 'overrides.DS.clean'"),
]


@pytest.mark.parametrize(("fields", "message"), MISTAKES)
def test_a_mistake_is_one_line_that_says_where_and_what(home, fields, message):
    assert message in problem_of(home, **fields)


def test_a_folder_that_is_called_like_a_flow(home):
    (home.flows / "f.json").mkdir(parents=True)

    assert "f.json cannot be read" in str(load(home).problems["f.json"])


def test_deeply_nested_parameters_are_a_mistake_like_others(home):
    steps = '[{"treatment": "parse", "params": {"tz": NESTED}}]'.replace(
        "NESTED", "[" * 50 + "]" * 50
    )

    text = problem_of(home, text=f'{{"dataset": "DS", "steps": {steps}}}')

    assert "step 'parsed': parameter 'tz'" in text
    assert len(text) < 300


def test_flows_of_one_name_in_dagster_are_refused(home):
    write(home, "a-b", dataset="A")
    write(home, "a_b", dataset="B")

    flows = load(home)

    assert list(flows.flows) == ["a-b"]
    assert "same name in Dagster as 'a-b' of a-b.json (a_b)" in str(flows.problems["a_b.json"])


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"dataset": "DS"}, {"dataset": "DS"}),
        ({"dataset": "DS"}, {"dataset": ..., "datasets": ["D*"]}),
        ({"dataset": ..., "datasets": ["D*"]}, {"dataset": "DS"}),
        ({"dataset": ..., "datasets": ["*S"]}, {"dataset": ..., "datasets": ["D*"]}),
    ],
)
def test_two_flows_that_write_one_folder_of_one_dataset_are_refused(home, one, two):
    home.dataset("DS").raw.mkdir(parents=True)
    write(home, "daily", **one)
    write(home, "fill", **two)

    flows = load(home)

    assert list(flows.flows) == ["daily"]
    text = str(flows.problems["fill.json"])
    assert text.startswith("fill.json: flow 'fill' writes 10_parsed, 20_clean of dataset '")
    assert "which flow 'daily'" in text
    assert "one flow serves the first fill and the daily run: keep one of them" in text


def test_flows_of_other_datasets_or_folders_go_together(home):
    home.dataset("DS").raw.mkdir(parents=True)
    write(home, "a")
    write(home, "b", dataset="OTHER")
    write(home, "c", steps=[{"treatment": "parse", "output": "11_parsed_too"}])

    assert set(load(home).flows) == {"a", "b", "c"}


def test_a_home_without_flows(home):
    assert load(home).flows == {}
    with pytest.raises(FlowError, match="no flow 'x'; there are none"):
        load(home).get("x")


def test_a_wide_table_cannot_hold_several_datasets(tmp_path):
    lab = CoreHome(tmp_path)
    load = {"treatment": "to_postgres", "params": {"table_template": "{step}__{aggregation}"}}
    steps = [{"treatment": "parse"}, {"treatment": "aggregate"}, load]
    lab.flow(*steps, dataset="DS")
    with pytest.raises(FlowError, match=r"f\.json, step 'postgres'.*experience"):
        lab.flow(*steps, datasets=["DS-*"])


@pytest.mark.parametrize(
    "step",
    [
        {"treatment": "clean", "params": {"domains": {"bio_signl": {"max_value": 9}}}},
        {"treatment": "resample", "params": {"agg_method": {"bio_signl": "last"}}},
        {
            "treatment": "transform",
            "params": {"transforms": [{"function": "log", "target": {"domain": "bio_signl"}}]},
        },
        {"treatment": "normalize", "params": {"domain": "bio_signl"}},
    ],
)
def test_a_misspelt_domain_would_be_left_untreated(tmp_path, step):
    steps = [{"treatment": "parse"}, {"treatment": "clean"}]
    if step["treatment"] == "clean":
        steps.pop()
    with pytest.raises(FlowError, match="no step makes a domain 'bio_signl'; did you mean 'bio_s"):
        CoreHome(tmp_path).flow(*steps, step)
