"""The commands and the flow that README.md shows, run as they stand in fresh folders."""

from __future__ import annotations

import re
import shutil

import pytest
from shown_commands import ROOT, block, shell
from small_home import DAYS, SmallHome


@pytest.fixture
def home(tmp_path, postgres_url):
    return SmallHome(tmp_path / "home", {"PROCEZO_POSTGRES_URL": postgres_url})


def test_the_commands_for_ones_own_data(home, tmp_path):
    card = SmallHome(tmp_path / "card")
    card.write_raw(*DAYS, dataset="RIVER")
    script = block("README.md", "sh", "procezo init")
    folder = card.stage("00_raw", dataset="RIVER")
    for shown, here in (
        ("source .venv/bin/activate\n", ""),  # its commands are on the PATH already
        ("river_A_2026-03-01.csv", min(path.name for path in folder.iterdir())),
        ("/media/logger/", f"{folder}/"),
    ):
        assert shown in script
        script = script.replace(shown, here)
    ended = shell(home, script)
    assert ended.code == 0, ended.err
    assert "nothing to do: everything is up to date" in ended.err  # of --last, right after
    assert "river-2026: RIVER-2026" in ended.out
    with_days = home.materialized("aggregated", flow="river-2026")
    assert with_days == {f"RIVER-2026|{day}" for day in DAYS}


def test_the_command_for_ci_runs_the_shipped_flow(home):
    shutil.copytree(ROOT / "flows", home.path / "flows")
    shutil.copy(ROOT / "dagster.yaml", home.path)
    home.write_raw(*DAYS, dataset="VALVO-DEMO")
    ended = shell(home, block("README.md", "sh", "dagster asset materialize"))
    assert ended.code == 0, ended.err
    for stage in ("parsed", "normalized", "duckdb", "postgres", "exportcsv"):
        found = home.materialized(stage, flow="valvometry")
        assert found == {f"VALVO-DEMO|{day}" for day in DAYS}, stage


def test_the_flow_that_it_shows_is_right(tmp_path):
    home = SmallHome(tmp_path / "home")
    (home.path / "flows").mkdir()
    (home.path / "flows" / "river.json").write_text(block("README.md", "json", "RIVERS"))
    home.raw_file("x", dataset="RIVERS/one")
    ended = home.procezo("check")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "rivers: 7 stages, right\n"


def test_every_variable_and_command_that_it_names_exists():
    from procezo_assets.cli import procezo as command  # noqa: PLC0415
    from procezo_assets.settings import Settings  # noqa: PLC0415

    readme = (ROOT / "README.md").read_text()
    described = " ".join(one.description or "" for one in Settings.model_fields.values())
    for name in set(re.findall(r"`((?:PROCEZO|DAGSTER)_[A-Z_]+)`", readme)):
        assert name in described, name
    names = set(command.list_commands(None))
    for name in set(re.findall(r"`?procezo ([a-z]+)", readme)):
        assert name in names, name
