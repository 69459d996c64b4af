"""`ledger` and `quarantine`: where every line ended, and another try."""

from __future__ import annotations

import shutil
import sqlite3

import polars as pl
import pytest
from small_home import CLEAN, DAYS, PARSE, SmallHome

KEYS = {"path", "lines", "header", "blank", "rows", "quarantined", "excluded"}
DAY = DAYS[0]
BAD = ["rebooting", "", "2019-01-01T00:00:00Z;m0:1", "rebooting again"]


@pytest.fixture
def home(tmp_path):
    home = SmallHome(tmp_path / "home")
    home.write_flow(PARSE, CLEAN)
    home.write_raw(DAY, odd=BAD)
    home.write_raw(DAYS[1])
    return home


def test_the_ledger_of_a_dataset(home):
    assert home.launch(DAY).success

    ended = home.procezo("ledger", "DS-1", "--format", "json")

    assert (ended.code, ended.err) == (0, "")
    found = ended.json
    assert (found["flow"], found["dataset"], found["balanced"]) == ("small", "DS-1", True)
    first = found["files"][0]
    assert set(first) >= KEYS
    assert {name: first[name] for name in KEYS - {"path"}} == {
        "lines": 34,
        "rows": 30,
        "quarantined": 3,
        "blank": 1,
        "header": 0,
        "excluded": 0,
    }
    assert [(day["day"], day["state"]) for day in found["days"]] == [
        ("2026-01-20", "done"),
        ("2026-01-21", "not run"),
    ]
    assert found["totals"]["lines"] == 64
    shown = home.procezo("ledger", "DS-1")
    assert shown.code == 0
    assert "balanced: 64 lines: rows 60, quarantined 3, excluded 0, blank 1, header 0" in shown.out


def test_the_ledger_of_one_day(home):
    found = home.procezo("ledger", "DS-1", "--day", DAYS[1], "--format", "json").json
    assert [one["path"] for one in found["files"]] == [f"DS-1_pil-90_{DAYS[1]}.csv"]
    ended = home.procezo("ledger", "DS-1", "--day", "2026-05-01")
    assert ended.code == 1
    assert "has no rows of 2026-05-01" in ended.error


def test_a_ledger_that_does_not_balance_fails_with_one_line(home):
    home.procezo("ledger", "DS-1")
    with sqlite3.connect(home.path / ".procezo" / "catalog.sqlite") as connection:
        connection.execute("UPDATE raw_files SET lines = lines + 1")
    connection.close()

    ended = home.procezo("ledger", "DS-1", "--format", "json")

    assert ended.code == 1
    assert ended.json["balanced"] is False
    assert "the ledger of 'DS-1' does not balance: raw file DS-1_pil-90" in ended.error
    assert "(and 1 more)" in ended.error


def test_one_ledger_a_flow(home):
    home.write_flow({**PARSE, "output": "11_parsed"}, name="other")
    found = home.procezo("ledger", "DS-1", "--format", "json").json
    assert found["balanced"] is True
    assert [one["flow"] for one in found["flows"]] == ["other", "small"]
    one = home.procezo("ledger", "DS-1", "--flow", "other", "--format", "json").json
    assert (one["flow"], len(one["files"])) == ("other", 2)


@pytest.mark.parametrize("command", ["ledger", "quarantine"])
def test_what_is_not_there_is_told_in_one_line(home, command):
    home.raw_file("x_a_2026-01-20.csv", dataset="DS-9").write_text("")
    assert "there is no dataset 'DS-2'" in home.procezo(command, "DS-2").error
    assert "no flow reads the raw files of dataset 'DS-9'" in home.procezo(command, "DS-9").error
    ended = home.procezo(command, "DS-1", "--flow", "smal")
    assert "there is no flow 'smal'; did you mean 'small'?" in ended.error


def test_quarantine_shows_reasons_with_counts_and_examples(home):
    found = home.procezo("quarantine", "DS-1", "--format", "json").json

    assert found["lines"] == 3
    name = f"DS-1_pil-90_{DAY}.csv"
    assert found["reasons"][0] == {
        "reason": "timestamp",
        "lines": 2,
        "files": 1,
        "examples": [
            {"file": name, "line": 31, "text": "rebooting"},
            {"file": name, "line": 34, "text": "rebooting again"},
        ],
    }
    shown = home.procezo("quarantine", "DS-1").out
    assert f"{name}:31: rebooting" in shown
    assert (home.stage("quarantine") / "small" / f"{name}.parquet").is_file()


def test_a_quarantine_folder_that_was_deleted_is_made_again(home):
    home.procezo("quarantine", "DS-1")
    shutil.rmtree(home.stage("quarantine"))
    assert home.procezo("quarantine", "DS-1", "--format", "json").json["reasons"][0]["examples"]


@pytest.mark.parametrize("damage", ["garbage", "", "other columns", "no lines", "leads out"])
def test_quarantined_lines_that_are_damaged_are_kept_anew(home, damage):
    shown = home.procezo("quarantine", "DS-1", "--format", "json").json
    paths = sorted((home.stage("quarantine") / "small").glob("*.parquet"))
    before = [path.read_bytes() for path in paths]
    for path in paths:
        lines = pl.read_parquet(path)
        if damage == "other columns":
            pl.DataFrame({"a": [1]}).write_parquet(path)
        elif damage == "no lines":
            lines.clear().write_parquet(path)
        elif damage == "leads out":
            lines.with_columns(file=pl.lit("../../../outside")).write_parquet(path)
        else:
            path.write_text(damage)
    retried = home.procezo("quarantine", "DS-1", "--retry", "--format", "json")
    assert (retried.code, retried.json["quarantined_before"]) == (0, 0)
    if damage in {"no lines", "leads out"}:  # read as what they say
        return
    assert home.procezo("quarantine", "DS-1", "--format", "json").json == shown
    assert [path.read_bytes() for path in paths] == before


def test_nothing_in_quarantine(home):
    home.raw_file(f"DS-1_pil-90_{DAY}.csv").unlink()
    assert home.procezo("quarantine", "DS-1").out == "small: DS-1: nothing is in quarantine\n"
    assert home.procezo("quarantine", "DS-1", "--format", "json").json["reasons"] == []


def test_lines_become_rows_once_the_flow_is_corrected(home):
    home.write_flow(PARSE, CLEAN, start="2026-01-21")
    assert home.launch(DAYS[1]).success
    assert home.procezo("quarantine", "DS-1", "--format", "json").json["lines"] == 33
    home.write_flow(PARSE, CLEAN, start="2026-01-20")

    ended = home.procezo("quarantine", "DS-1", "--retry", "--format", "json")

    assert ended.code == 0
    found = ended.json
    assert (found["quarantined_before"], found["quarantined"], found["no_longer"]) == (33, 3, 30)
    assert found["days"] == ["2026-01-20"]
    assert [one["success"] for one in found["runs"]] == [True]
    days = home.procezo("ledger", "DS-1", "--format", "json").json["days"]
    assert [(day["state"], day["parsed"]) for day in days] == [("done", 30), ("done", 30)]
    assert "30 of 33 quarantined lines are no longer in quarantine" in ended.err
