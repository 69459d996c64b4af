"""What the definitions of a home hold."""

from __future__ import annotations

import logging

import dagster as dg
import pytest
from small_home import CLEAN, DAYS, PARSE, SmallHome, keys

from procezo_assets.orchestration.code_location import build_defs


@pytest.fixture
def home(tmp_path):
    return SmallHome(tmp_path / "home")


def built(home: SmallHome) -> dg.Definitions:
    with home.environment():
        return build_defs()


def stage_specs(defs: dg.Definitions) -> list[dg.AssetSpec]:
    return [spec for spec in defs.resolve_all_asset_specs() if spec.key.path[-1] != "raw"]


def asset_keys(defs: dg.Definitions) -> set[str]:
    return {spec.key.to_user_string() for spec in stage_specs(defs)}


def test_each_flow_is_a_graph_of_its_stages(home):
    home.write_flow(PARSE, CLEAN, name="first")
    home.write_flow(PARSE, name="second", dataset="DS-2")
    defs = built(home)
    assert asset_keys(defs) == {"first/parsed", "first/clean", "second/parsed"}
    specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    deps = [dep.asset_key.to_user_string() for dep in specs["first/clean"].deps]
    assert deps == ["first/parsed"]
    deps = [dep.asset_key.to_user_string() for dep in specs["first/parsed"].deps]
    assert deps == ["first/raw"]
    assert specs["first/clean"].group_name == "first"
    assert specs["first/clean"].metadata["folder"] == "datasets/<dataset>/20_clean"


def test_a_wrong_flow_is_told_of_and_left_out(home, caplog):
    home.write_flow(PARSE, CLEAN, name="good")
    home.write_flow(PARSE, {**CLEAN, "params": {"domain": {}}}, name="bad", dataset="DS-2")
    with caplog.at_level(logging.ERROR, "procezo_assets"):
        defs = built(home)
    assert asset_keys(defs) == {"good/parsed", "good/clean"}
    (text,) = [record.getMessage() for record in caplog.records]
    assert text == (
        "flow left out: bad.json, step 'clean': unknown parameter 'domain'; did you mean 'domains'?"
    )


def test_of_two_flows_that_write_the_same_folder_the_first_stays(home, caplog):
    home.write_flow(PARSE, name="daily")
    home.write_flow(PARSE, CLEAN, name="first-fill")
    defs = built(home)
    assert asset_keys(defs) == {"daily/parsed"}
    assert "writes 10_parsed of dataset 'DS-1', which flow 'daily'" in caplog.text
    assert "--last" in caplog.text


def test_of_two_flows_with_one_name_in_dagster_the_first_stays(home, caplog):
    home.write_flow(PARSE, name="a-b")
    home.write_flow(PARSE, name="a_b", dataset="DS-2")
    assert asset_keys(built(home)) == {"a-b/parsed"}
    assert "has the same name in Dagster as 'a-b'" in caplog.text


def test_names_that_dagster_refuses_are_made_fit(home):
    home.write_flow(PARSE, CLEAN, name="premanip-grace")
    defs = built(home)
    assert asset_keys(defs) == {"premanip-grace/parsed", "premanip-grace/clean"}
    job = defs.resolve_job_def("premanip_grace")
    assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == {
        "premanip-grace/parsed",
        "premanip-grace/clean",
    }
    assert {spec.group_name for spec in stage_specs(defs)} == {"premanip_grace"}


def test_raw_files_are_an_asset_that_nobody_can_materialize(home):
    home.write_flow(PARSE, CLEAN, name="pre-manip")
    defs = built(home)
    (raw,) = [spec for spec in defs.resolve_all_asset_specs() if spec.key.path[-1] == "raw"]
    assert raw.key == dg.AssetKey(["pre-manip", "raw"])
    assert raw.group_name == "pre_manip_raw"
    graph = defs.get_repository_def().asset_graph
    assert not graph.get(raw.key).is_executable
    assert (
        graph.get(raw.key).partitions_def == graph.get(asset("pre-manip", "clean")).partitions_def
    )
    assert graph.get(asset("pre-manip", "parsed")).parent_keys == {raw.key}


def asset(flow, stage):
    return dg.AssetKey([flow, stage])


def test_a_flow_with_dashes_runs(home):
    home.write_flow(PARSE, name="premanip-grace")
    home.write_raw(DAYS[0])
    assert home.launch(DAYS[0], flow="premanip-grace").success
    assert home.materialized("parsed", flow="premanip-grace") == keys(DAYS[0])


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        ({"site": "Arcachon"}, {"label/site": "Arcachon"}),
        (["urgent"], {"label/urgent": "yes"}),
    ],
)
def test_labels_are_metadata_of_every_stage(home, labels, shown):
    home.write_flow(PARSE, CLEAN, labels=labels)
    for spec in stage_specs(built(home)):
        assert shown.items() <= dict(spec.metadata).items()


def test_the_code_version_follows_parameters_and_treatment(home):
    def version(*steps):
        home.write_flow(*steps)
        return {s.key.path[-1]: s.code_version for s in stage_specs(built(home))}

    first = version(PARSE, CLEAN)
    other = version(PARSE, {**CLEAN, "params": {"drop_duplicates": False}})
    assert first["parsed"] == other["parsed"]
    assert first["clean"] != other["clean"]


def test_partitions_are_the_datasets_on_disk_and_the_days_up_to_today(home):
    home.write_flow(PARSE, datasets=["DS-*", "event1/*"], start="2026-01-20")
    home.write_raw(DAYS[0])
    home.write_raw(DAYS[0], dataset="event1/group1")
    home.write_raw(DAYS[0], dataset="OTHER")
    defs = built(home)
    with home.instance() as instance:
        assert set(instance.get_dynamic_partitions("small_datasets")) == {"DS-1", "event1/group1"}
        spec = next(iter(defs.resolve_all_asset_specs()))
        days = spec.partitions_def.get_partitions_def_for_dimension("day")
        found = days.get_partition_keys(dynamic_partitions_store=instance)
    assert found[0] == "2026-01-20"
    assert found[-1] == f"{today():%Y-%m-%d}"


def today():
    from procezo_assets.runs import today as utc_today  # noqa: PLC0415

    return utc_today()


def test_an_empty_home_has_no_flows_and_says_how_to_make_one(home, caplog):
    defs = built(home)
    assert asset_keys(defs) == set()
    assert "procezo init DATASET" in caplog.text
