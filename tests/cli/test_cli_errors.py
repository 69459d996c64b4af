"""What bad input gets: an exit code, one line, and nothing written."""

from __future__ import annotations

import pytest
from small_home import CLEAN, DAYS, PARSE, RESAMPLE, SmallHome

MIDDLE, LAST = str(DAYS[1]), str(DAYS[2])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = SmallHome(tmp_path_factory.mktemp("home"))
    home.write_flow(PARSE, CLEAN, {**CLEAN, "input": "20_clean", "output": "21_cleaner"})
    home.write_flow(PARSE, CLEAN, RESAMPLE, name="nowhere", dataset="DS-9", start="2026-01-20")
    home.write_flow({**PARSE, "params": {"delimeter": ";"}}, name="broken", dataset="DS-8")
    home.write_raw(*DAYS)
    return home


WRONG_USAGE = [
    (["flow"], "Missing argument 'NAME'"),
    (["flwo"], "No such command 'flwo'; did you mean 'flow'? see 'procezo --help'"),
    (["flow", "small", "--form", MIDDLE], "--form"),
    (["flow", "small", "--from", "2026-02-30"], "'2026-02-30' is no day; write YYYY-MM-DD"),
    (["flow", "small", "--to", "yesterday"], "'yesterday' is no day"),
    (["flow", "small", "--from", LAST, "--to", MIDDLE], f"--from {LAST} is after --to {MIDDLE}"),
    (["flow", "small", "--params", "{"], "is no JSON"),
    (["flow", "small", "--params", "[1]"], "is no JSON object"),
    (["flow", "small", "--step", "clean", "--from-step", "parsed"], "--step goes without"),
    (["flow", "small", "--output-mode", "append"], "'append'"),
    (["flow", "small", "--output-mode", "full-replace", "--last"], "goes without"),
    (["flow", "small", "--output-mode", "full-replace", "--from", MIDDLE], "goes without"),
    (["run", "clean", "--input", "."], "--output"),
    (["run", "clean", "--input", "datasets", "--output", "datasets"], "the same folder"),
    (["status", "--format", "yaml"], "'yaml'"),
    (["list", "flow"], "No such command 'flow'"),
    (["init"], "Missing argument 'DATASET'"),
    (["describe"], "Missing argument 'TREATMENT'"),
]

FAILURES = [
    (
        ["flow", "smal"],
        "there is no flow 'smal' (broken.json left out: procezo check); did you mean 'small'?",
    ),
    (["flow", "broken"], "broken.json, step 'parsed': unknown parameter 'delimeter'"),
    (["flow", "broken"], "did you mean 'delimiter'?"),
    (["flow", "small", "--step", "claen"], "has no step 'claen'; did you mean 'clean'?"),
    (["flow", "small", "--from-step", "cleaner", "--to-step", "parsed"], "comes after step"),
    (["flow", "small", "--dataset", "DS-2"], "there is no dataset 'DS-2'"),
    (["flow", "small", "--dataset", "../DS-1"], "'../DS-1' cannot be a dataset's name"),
    (["flow", "small", "--dataset", "DS|1"], "'DS|1' cannot be a dataset's name"),
    (["flow", "nowhere", "--dataset", "DS-1"], "dataset 'DS-1' is none of flow 'nowhere'"),
    (["flow", "nowhere"], "flow 'nowhere' finds no dataset DS-9"),
    (["flow", "small", "--params", '{"max_vlaue": 3}'], "has a parameter 'max_vlaue'"),
    (["flow", "small", "--from", "2999-01-01"], "--from 2999-01-01 is in the future"),
    (["flow", "small", "--to", "2019-01-01"], "before the flow's start 2020-01-01"),
    (["flow", "small", "--to", "2026-01-19"], "'DS-1' has no rows between"),
    (["run", "claen", "--input", "datasets", "--output", "out"], "did you mean 'clean'?"),
    (["run", "clean", "--input", "nowhere", "--output", "out"], "nowhere is not a folder"),
    (["run", "clean", "--input", "datasets", "--output", "out"], "there are no partitions"),
    (["run", "parse", "--input", "flows", "--output", "out"], "is a row: timestamp 3"),
    (["init", "../DS-7"], "'../DS-7' cannot be a dataset's name"),
    (["init", "DS|7"], "'DS|7' cannot be a dataset's name"),
    (["init", "DS-7", "--flow", "small"], "small.json is already there"),
    (["init", "DS-7", "--flow", "a b"], "'a b' cannot be a flow's name"),
    (["describe", "claen"], "unknown treatment 'claen'; did you mean 'clean'?"),
    (["list", "steps", "--flow", "smal"], "did you mean 'small'?"),
    (["status", "smal"], "did you mean 'small'?"),
    (["check", "smal"], "did you mean 'small'?"),
]


def everything(home: SmallHome) -> set[str]:
    """All files but locks and caches."""
    found = (path.relative_to(home.path).as_posix() for path in home.path.rglob("*"))
    return {name for name in found if ".procezo" not in name and "__pycache__" not in name}


@pytest.mark.parametrize(
    ("code", "args", "text"),
    [
        *(pytest.param(2, *one, id=" ".join(one[0])) for one in WRONG_USAGE),
        *(pytest.param(1, *one, id=" ".join(one[0])) for one in FAILURES),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(home, monkeypatch, code, args, text):
    monkeypatch.chdir(home.path)
    before = everything(home)
    ended = home.procezo(*args)
    assert ended.code == code
    assert ended.err == ended.error + "\n"
    assert text in ended.error
    assert ended.out == ""
    assert everything(home) == before


def test_wrong_usage_says_where_help_is(home):
    assert home.procezo("flow").error.endswith("see 'procezo flow --help'")


def test_a_home_that_is_no_folder_is_refused(home):
    lost = SmallHome(home.path, {"PROCEZO_HOME": str(home.path / "nowhere")})
    ended = lost.procezo("status")
    assert ended.code == 1
    assert "nowhere is not a folder" in ended.error


def test_the_other_flows_go_on_beside_a_broken_one(home):
    ended = home.procezo("flow", "small", "--dry-run")
    assert ended.code == 0
    assert "DS-1" in ended.out


def test_the_process_ends_with_the_same_code_and_line(home):
    ended = home.command("procezo", "flow", "smal")
    assert ended.code == 1
    assert (
        ended.err == "procezo: there is no flow 'smal' (broken.json left out: procezo check); "
        "did you mean 'small'?\n"
    )
    assert ended.out == ""


def test_an_unreachable_database_fails_in_one_line(tmp_path):
    url = "postgresql://u:correct-horse@127.0.0.1:1/db"
    home = SmallHome(tmp_path, {"PROCEZO_POSTGRES_URL": url})
    home.write_flow(PARSE, {"treatment": "to_postgres", "input": "10_parsed"})
    home.write_raw(DAYS[0])
    ended = home.command("procezo", "flow", "small")
    assert ended.code == 1
    assert "127.0.0.1" in ended.error
    assert "--last" in ended.error
    assert "correct-horse" not in ended.out + ended.err
    # what came before the database is there, and counts as there
    assert home.materialized("postgres") == set()
    assert len(home.materialized("parsed")) == 1
    dry = home.procezo("flow", "small", "--last", "--dry-run", "--format", "json")
    assert [one["reason"] for one in dry.json[0]["stale"]] == ["not loaded"]
