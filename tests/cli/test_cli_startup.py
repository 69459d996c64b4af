"""Commands start fast, and end as the shell expects."""

from __future__ import annotations

import subprocess
import sys

import pytest
from small_home import AGGREGATE, BIN, CLEAN, DAYS, DUCKDB, PARSE, RESAMPLE, SmallHome

from procezo_assets.cli import _COMMANDS

LOADED = """
import sys
from procezo_assets.cli import main
sys.argv = ["procezo", *sys.argv[1:]]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
heavy = {"polars", "pandas", "dagster", "duckdb", "pyarrow", "matplotlib"}
print("LOADED", *sorted(heavy & set(sys.modules)))
"""


def loaded(home: SmallHome, *args: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *args],
        cwd=home.path,
        env=home.env,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.fixture
def home(tmp_path):
    return SmallHome(tmp_path)


@pytest.mark.parametrize("args", [["--help"], ["-h"], ["--version"], ["postgres", "--help"]])
def test_help_loads_neither_polars_nor_dagster(home, args):
    assert loaded(home, *args) == []


@pytest.mark.parametrize("args", [["list", "flows"], ["status"], ["check"]])
def test_reading_commands_do_not_load_dagster(home, args):
    assert "dagster" not in loaded(home, *args)


def test_help_names_every_command(home):
    ended = home.command("procezo", "--help")
    assert (ended.code, ended.err) == (0, "")
    for name in _COMMANDS:
        assert f"\n  {name} " in ended.out


def test_a_process_that_loads_duckdb_ends_without_a_word(home):
    home.write_flow(PARSE, CLEAN, RESAMPLE, AGGREGATE, DUCKDB)
    home.write_raw(DAYS[0])
    done = subprocess.run(  # by itself: forked processes skip what Python does at its end
        [str(BIN / "procezo"), "flow", "small"],
        cwd=home.path,
        env=home.env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines() == [f"small: DS-1, {DAYS[0]}, 5 stages"]
