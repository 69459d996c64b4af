"""Names and texts that want to be more than names: what is shown, written and read of them."""

from __future__ import annotations

import os
import re
import time

import pytest
from core_home import CLEAN, D1, NORMALIZE, PARSE, RESAMPLE, CoreHome, done, failures, lines
from small_home import DAYS, SmallHome

from procezo_assets.datasets import is_dataset_name
from procezo_assets.errors import ProcezoError
from procezo_assets.harmless import harmless, harmless_json, plain_markdown
from procezo_assets.runs import StageLoaded
from procezo_assets.treatments.registry import built_in

ESCAPE = "\x1b]0;owned\x07\x1b[2J"
STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
DUCKDB = {"treatment": "to_duckdb", "input": "20_clean"}
EXPORT = {"treatment": "exportparquet", "input": "20_clean"}


@pytest.fixture
def lab(tmp_path):
    return CoreHome(tmp_path)


# what is shown


def test_nothing_that_steers_is_shown():
    assert harmless("a\x1b[31m\u202eb\n\x9b\ud800é\u200dz") == (
        r"a\x1b[31m\u202eb\n\x9b\ud800é" + "\u200dz"
    )
    assert harmless_json('{\n"\x9b\u202e": "é"}') == '{\n"\\u009b\\u202e": "é"}'
    assert str(ProcezoError(f"file {ESCAPE} is\nwrong")) == (
        r"file \x1b]0;owned\x07\x1b[2J is wrong"
    )


def test_markdown_shows_texts_as_they_are():
    assert plain_markdown("[x](javascript:alert(1))") == r"\[x\](javascript:alert(1))"
    assert plain_markdown("<img src=x onerror=1>|`a`") == r"\<img src=x onerror=1\>\|\`a\`"
    assert plain_markdown("m0__raw__mean, 2.5 °C") == "m0__raw__mean, 2.5 °C"


def test_no_command_hands_the_terminal_what_files_hold(tmp_path):
    home = SmallHome(tmp_path)
    home.write_flow(PARSE, CLEAN, description=f"a flow{ESCAPE}")
    home.write_raw(DAYS[0], odd=[f"{ESCAPE} is no row", f"2026-01-20T11:00:00Z;{ESCAPE}:1"])
    home.raw_file(f"x_a\n{ESCAPE}\u202eb_2026-01-20.csv").write_text("nothing\n\x9b31m\n")
    home.raw_file(f"{ESCAPE}\u202e.csv").symlink_to("/etc/hostname")
    (home.path / "datasets" / f"evil{ESCAPE}" / "00_raw").mkdir(parents=True)
    (home.path / "datasets" / "not-utf8-\udcff" / "00_raw").mkdir(parents=True)
    (home.path / "flows" / f"bad{ESCAPE}.json").write_text("{")
    (home.path / "treatments").mkdir()
    (home.path / "treatments" / f"bad{ESCAPE}.py").write_text("raise ValueError('\\x1b[2J')")
    raw = str(home.raw_file(f"x_a\n{ESCAPE}\u202eb_2026-01-20.csv"))
    for command in (
        *(("status",), ("check",), ("list", "flows"), ("list", "datasets"), ("ledger", "DS-1")),
        *(("quarantine", "DS-1"), ("inspect", raw), ("list", "treatments"), ("describe", ESCAPE)),
        *(("flow", "small", "--dry-run"), ("flow", ESCAPE), ("ledger", ESCAPE), ("export", "DS-1")),
    ):
        for form in ((), ("--format", "json")):
            ended = home.procezo(*command, *form)
            assert not STEERING.search(ended.out + ended.err), (command, ended)
    told = home.procezo("check").err
    assert r"datasets/evil\x1b]0;owned\x07\x1b[2J is left out" in told
    assert r"datasets/not-utf8-\udcff is left out" in told
    assert "leads out of" in home.procezo("export", "DS-1").error


def test_commands_to_copy_hold_no_command_of_a_name(tmp_path):
    home = SmallHome(tmp_path)
    home.write_flow(PARSE, dataset="DS-1")
    name = "x'; touch owned; '"
    assert is_dataset_name(name)
    error = home.procezo("ledger", name).error
    assert "procezo init 'x'\"'\"'; touch owned; '\"'\"'' makes it" in error


# devices


NAME_NOTHING = [
    *("\\evil", "a\\b", "a\nb", "a\tb", "\x1b[31m", "\u202eab", "a\x85b", "d" * 230, "é" * 112),
]
NAME_FILES = [
    *("CON", "-rf", "a|b", "a\"b';c", "{}", "%s", "*?[a]", "select", "a b", "..x", "$(id)", "~"),
    *("d" * 200, "あ" * 66),
    # alike to people, or to some disks
    *("\u00e9", "e\u0301", "E\u0301", "\u0430", "a", "A"),
]


def test_devices_that_can_name_no_file_are_refused_and_the_others_go_on(lab):
    flow = lab.flow(PARSE, CLEAN, DUCKDB, EXPORT)
    for device in [*NAME_NOTHING, *NAME_FILES]:
        lab.raw(f"x_{device}_{D1}.csv"[-250:], "".join(lines(D1)))

    (scanned, *_), events = (found := lab.run_well(flow, D1)), done(found)

    refused = [one for one in scanned.source.files.values() if one.refused]
    assert len(refused) == len(NAME_NOTHING)
    for one in refused:
        assert one.quarantined == {"device_name": 30}
        assert "rename it, or set file_name_substitute or device_pattern" in one.refused
    written = {key.device for key in events["clean", D1].files}
    assert written == {device.lstrip(".") for device in NAME_FILES}
    assert len(list(lab.home.dataset("DS").quarantine("f").iterdir())) == len(NAME_NOTHING)
    ours = [lab.home.dataset("DS").path, lab.home.state, lab.home.flows]
    assert all(
        path.parent == lab.home.path or any(path.is_relative_to(one) for one in ours)
        for path in lab.home.path.rglob("*")
        if path.is_file()
    )


def test_the_longest_names_of_files_have_a_quarantine(lab):
    lab.flow(PARSE)
    name = "a" * 120 + "é" * 50 + f"_pil-90_{D1}.csv"
    assert len(os.fsencode(name)) > 235
    names = [f"{name[:-4]}{'x' * more}.csv" for more in (0, 251 - len(os.fsencode(name)) + 4)]
    for one in names:
        lab.raw(one, "no row\n" + "".join(lines(D1)))
    flow = lab.flow(PARSE)
    (scanned, *_) = lab.run_well(flow, D1)
    assert [one.quarantined for one in scanned.source.files.values()] == [{"timestamp": 1}] * 2


# columns

ALL_KEYS = {"treatment": "parse", "params": {"domains": {"values": {"columns": ["*"]}}}}
SHEET = {
    "treatment": "exportcsv",
    "input": "20_clean",
    "params": {"columns": {}, "domain": "values"},
}


def keyed(text):
    return "".join(f"2025-03-01T10:00:0{second}Z;{text}\n" for second in range(5))


KEYS = [
    *(
        "select",
        "table",
        'a"b',
        "e'f -- x",
        "..",
        "/etc/x",
        "-r",
        "{}",
        "%s",
        "$1",
        "day",
        "window",
    ),
    *("\u202e", "\x1b[31m", "x" * 300, "é", "e\u0301", "a\rb", "\\", "m" + "1" * 5000, "=cmd|x!A1"),
]


def test_any_key_is_a_column_like_others(lab):
    flow = lab.flow(ALL_KEYS, CLEAN, DUCKDB, SHEET)
    lab.raw(f"x_pil-90_{D1}.csv", keyed(";".join(f"{key}:1" for key in KEYS)))
    events = done(lab.run_well(flow, D1))
    (frame,) = events["clean", D1].after.values()
    assert frame.columns == ["ts", *KEYS]
    (sheet,) = lab.home.dataset("DS").stage("61_exportcsv").glob("*.csv")
    assert ";'=cmd|x!A1\n" in sheet.read_text()


def test_keys_that_stages_use_themselves_end_in_column(lab):
    flow = lab.flow(ALL_KEYS, CLEAN, DUCKDB)
    lab.raw(f"x_pil-90_{D1}.csv", keyed("ts:1;device:2;a:3"))
    (frame,) = done(lab.run_well(flow, D1))["clean", D1].after.values()
    assert frame.columns == ["ts", "ts_column", "device_column", "a"]


def test_a_key_of_thousands_of_digits_is_none_of_a_prefix(lab):
    flow = lab.flow(PARSE)
    lab.raw(f"x_pil-90_{D1}.csv", keyed("m0:1;m" + "1" * 5000 + ":2"))
    (event,) = done(lab.run_well(flow, D1)).values()
    (warning,) = event.warnings
    assert warning == f"pil-90: keys that no domain takes: m{'1' * 99} (5)"


def test_columns_that_a_database_takes_for_one_stop_their_load_only(lab):
    flow = lab.flow(ALL_KEYS, CLEAN, DUCKDB)
    lab.raw(f"x_pil-90_{D1}.csv", keyed("Temp:1;temp:2"))
    (failed,) = failures(lab.run(flow, D1))
    assert failed.stage.name == "duckdb"
    assert "has a column 'temp' that DuckDB cannot tell from 'Temp'" in failed.reason


def test_thousands_of_columns_go_through_all_stages_but_postgres(lab, postgres_url, monkeypatch):
    monkeypatch.setenv("PROCEZO_POSTGRES_URL", postgres_url)
    root = {"transforms": [{"function": "sqrt_inv", "target": {"columns": ["m7"]}}]}
    flow = lab.flow(
        PARSE,
        CLEAN,
        RESAMPLE,
        {"treatment": "transform", "params": root},
        NORMALIZE,
        {"treatment": "aggregate", "params": {"windows": ["10s"], "metrics": ["mean"]}},
        *({"treatment": name} for name in ("exportcsv", "exportparquet")),
        *({"treatment": name} for name in ("to_duckdb", "to_postgres")),
    )
    used = {stage.treatment.function for stage in flow.stages}
    assert used == {treatment.function for treatment in built_in().values()}
    lab.raw(
        f"x_pil-90_{D1}.csv", keyed(";".join(f"m{column}:{column % 700}" for column in range(5000)))
    )

    started = time.process_time()
    events = lab.run(flow, D1)
    # 8 s, a stage 1 or 2; what looks at all columns for each takes half a minute
    assert time.process_time() - started < 30

    widths = {
        stage: max(frame.width for frame in event.after.values()) - 1
        for (stage, _), event in done(events).items()
    }
    assert widths == {
        "parsed": 5000,
        "clean": 5000,
        "resampled": 5000,
        "transform": 5001,
        "normalized": 5001,
        "aggregated": 5001,
    }
    loaded = {event.stage.name for event in events if isinstance(event, StageLoaded)}
    assert loaded >= {"exportcsv", "exportparquet", "duckdb"}
    (failed,) = failures(events)
    assert failed.stage.name == "postgres"
    assert "f.bio_signal_10s would have 5,004 columns; PostgreSQL holds 1,600" in failed.reason


# files


def test_links_out_of_the_raw_folder_are_told_and_lose_nothing(lab, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / f"y_secret_{D1}.csv").write_text("".join(lines(D1)))
    flow = lab.flow(PARSE)
    lab.raw_days(D1)
    lab.run_well(flow, D1)
    before = lab.digests()
    raw = lab.home.dataset("DS").raw
    (raw / "loose.csv").symlink_to(outside / f"y_secret_{D1}.csv")
    (raw / "folder").symlink_to(outside)

    (scanned, *_) = lab.run_well(flow, D1)

    told = {file.name: str(error) for file, error in scanned.source.unreadable.items()}
    assert told.keys() == {"loose.csv", "folder"}
    assert all(
        "leads out of" in text and "put the file itself there" in text for text in told.values()
    )
    assert lab.digests() == before


def test_odd_things_among_flows_and_treatments_stop_no_other(tmp_path):
    home = SmallHome(tmp_path)
    home.write_flow(PARSE)
    flows, treatments = home.path / "flows", home.path / "treatments"
    treatments.mkdir()
    os.mkfifo(flows / "pipe.json")
    (flows / "gone.json").symlink_to("nowhere")
    (flows / "deep.json").write_text("[" * 100_000)
    (flows / "long.json").write_text('{"dataset": "DS", "name": "%s", "steps": []}' % ("x" * 300))
    os.mkfifo(treatments / "pipe.py")
    (treatments / "link.py").symlink_to("nowhere")
    (treatments / "odd;name \u202e.py").write_text("\0")
    for name, declared in {
        "deep": "[" * 100_000,
        "steered": '{"name": "a\\u001b[2J"}',
        "parameter": '{"params": {"__class__": {"type": "str"}}}',
    }.items():
        (treatments / name).mkdir()
        (treatments / name / "run.py").write_text("def run(i, o, p): pass")
        (treatments / name / "treatment.json").write_text(declared)
    (treatments / "own").mkdir()
    (treatments / "own" / "run.py").write_text("def run(i, o, p): pass")
    (treatments / "own" / "treatment.json").write_text("{}")
    (treatments / "own" / "folder.py").mkdir()
    ended = home.procezo("check")
    assert ended.code == 1
    assert "small: 1 stages, right" in ended.out
    for name in ("pipe.json", "gone.json", "deep.json", "long.json", "pipe.py", "link.py"):
        assert any(name in line for line in ended.err.splitlines()), name
    assert "Traceback" not in ended.err
    assert "own" in home.procezo("list", "treatments").out
