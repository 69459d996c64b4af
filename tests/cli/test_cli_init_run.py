"""`procezo init` and `procezo run`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from small_home import DAYS, PARSE, UNSORTED, SmallHome

from procezo_assets.treatments.durations import microseconds


@pytest.fixture
def home(tmp_path, monkeypatch):
    home = SmallHome(tmp_path / "home")
    monkeypatch.chdir(home.path)
    return home


@pytest.mark.parametrize(
    ("dataset", "flow"),
    [
        ("DS-1", "ds-1"),
        ("event1/group 1", "event1-group-1"),
        ("Été_2026", "t-_2026"),
        ("D" * 150, "d" * 100),
    ],
    ids=lambda name: name[:20],
)
def test_init_makes_a_dataset_and_a_flow_that_loads(home, dataset, flow):
    ended = home.procezo("init", dataset)
    assert ended.code == 0
    assert ended.out == f"datasets/{dataset}/00_raw\nflows/{flow}.json\n"
    assert f"procezo flow {flow}" in ended.err
    assert (home.path / "datasets" / dataset / "00_raw").is_dir()
    checked = home.procezo("check")
    assert (checked.code, checked.err) == (0, "")
    assert home.flow(flow).datasets(home.home) == [dataset]


def test_init_never_overwrites_a_flow(home):
    assert home.procezo("init", "DS-1").code == 0
    path = home.path / "flows" / "ds-1.json"
    path.write_text(path.read_text().replace("All stages", "My stages"))
    ended = home.procezo("init", "other", "--flow", "ds-1")
    assert ended.code == 1
    assert "--flow" in ended.error
    assert "My stages" in path.read_text()


@pytest.mark.parametrize("name", ["f" * 101, "-f", "a flow"], ids=lambda name: name[:10])
def test_init_refuses_a_name_that_no_flow_can_have(home, name):
    ended = home.procezo("init", "DS-1", f"--flow={name}")
    assert ended.code == 1
    assert "use letters, digits, '_' and '-', at most 100" in ended.error
    assert not list(home.path.glob("flows/*"))


def test_init_leaves_a_dataset_to_the_flow_that_takes_it(home):
    home.write_flow(PARSE, datasets=["VALVO-*"], name="valvo")
    ended = home.procezo("init", "VALVO-2")
    assert (ended.code, ended.out) == (0, "datasets/VALVO-2/00_raw\n")
    assert "procezo flow valvo --last" in ended.err
    assert [path.name for path in (home.path / "flows").iterdir()] == ["valvo.json"]
    assert home.procezo("check").code == 0

    refused = home.procezo("init", "VALVO-3", "--flow", "mine")
    assert refused.code == 1
    assert "flow 'valvo' takes the dataset 'VALVO-3' already" in refused.error
    assert not (home.path / "datasets" / "VALVO-3").exists()


def test_the_flow_that_init_makes_runs(home):
    home.procezo("init", "DS-1", "--flow", "mine")
    home.write_raw(DAYS[0])
    ended = home.procezo("flow", "mine", "--to-step", "aggregate")
    assert ended.code == 0, ended.err
    assert home.materialized("aggregated", flow="mine") == {f"DS-1|{DAYS[0]}"}


def test_init_makes_a_flow_that_fits_a_file_and_runs(home):
    raw = home.path / "datasets" / "RIVER" / "00_raw"
    raw.mkdir(parents=True)
    lines = [
        f"{2 * hour + minute // 30};13/03/2019 {hour:02}:{minute:02};{hour},5;ok\n"
        for hour in range(4)
        for minute in (0, 30)
    ]
    (raw / "R_up.csv").write_text("#;When;Level [m];Note\n" + "".join(lines))

    ended = home.procezo("init", "RIVER")
    assert ended.code == 0, ended.err
    assert "fits R_up.csv" in ended.err
    assert "column 'Note' is left out of the flow: its first rows are words" in ended.err
    assert "column '#' is left out of the flow: its first rows are row numbers" in ended.err
    steps = {
        step["treatment"]: step.get("params", {})
        for step in json.loads((home.path / "flows" / "river.json").read_text())["steps"]
    }
    assert steps["parse"] == {
        "format": "csv",
        "delimiter": ";",
        "decimal": ",",
        "date_order": "DMY",
        "timezone": "UTC",
        "domains": {"values": {"columns": ["Level"], "dtype": "float"}},
    }
    assert steps["resample"] == {"freq": "30min", "max_gap_fill_s": 3600.0}
    assert steps["aggregate"] == {"windows": ["1h", "1d"]}

    ended = home.procezo("flow", "river", "--to-step", "aggregate")
    assert ended.code == 0, ended.err
    assert home.materialized("aggregated", flow="river") == {"RIVER|2019-03-13"}


@pytest.mark.parametrize(
    ("every", "windows"),
    [
        (1, ["10s", "60s", "5min"]),
        (8, ["40s", "2min", "10min"]),
        (25, ["5min", "1h", "1d"]),  # one time 5min, that 60s becomes as well
        (2700, ["3h", "1d"]),
        (86_400, ["1d"]),
    ],
)
def test_init_chooses_windows_that_hold_equal_numbers_of_samples(home, every, windows):
    start = datetime(2026, 1, 20, tzinfo=UTC)
    lines = [f"{start + timedelta(seconds=every * n):%Y-%m-%dT%H:%M:%SZ};m0:1\n" for n in range(40)]
    home.raw_file("x_pil-90.csv").write_text("".join(lines))
    assert home.procezo("init", "DS-1", "--flow", "small").code == 0
    stages = {stage.treatment.name: stage.params for stage in home.flow().stages}
    assert stages["aggregate"]["windows"] == windows
    assert stages["exportcsv"]["aggregation"] == windows[0]
    freq = microseconds(stages["resample"]["freq"])
    assert freq == every * 1_000_000
    assert [window for window in windows if microseconds(window) % freq] == []


def test_init_wants_to_know_what_the_file_cannot_decide(home, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("time,v\n03/04/2024 10:00,1\n03/05/2024 10:00,2\n")
    ended = home.procezo("init", "DS-2", "--like", str(path))
    assert ended.code == 1
    assert """set date_order to one of DMY, MDY, by --params '{"NAME": value}'""" in ended.error
    assert not (home.path / "flows").exists()

    ended = home.procezo("init", "DS-2", "--like", str(path), "--params", '{"date_order": "MDY"}')
    assert ended.code == 0, ended.err
    assert '"date_order": "MDY"' in (home.path / "flows" / "ds-2.json").read_text()


def test_run_parses_then_cleans_without_any_flow_or_instance(home):
    home.write_raw(*DAYS, odd=["broken line"])
    raw = home.stage("00_raw")
    parsed = home.procezo("run", "parse", "--input", str(raw), "--output", "out/parsed")
    assert parsed.code == 0, parsed.err
    assert "2026-01-22" in parsed.out
    narrow = '{"domains": {"bio_signal": {"max_value": 109}}}'
    args = ("run", "clean", "--input", "out/parsed", "--output", "out/clean", "--params", narrow)
    cleaned = home.procezo(*args)
    assert cleaned.code == 0, cleaned.err
    assert "out_of_range 50" in cleaned.out  # 20 of m0, 30 of m1
    path = home.path / "out/clean/domain=bio_signal/day=2026-01-21/pil-90__bio_signal__2026-01-21"
    frame = pl.read_parquet(f"{path}.parquet", hive_partitioning=False)
    assert frame.columns == ["ts", "device", "m0", "m1"]
    assert frame["m0"].to_list() == [*range(100, 110), *[None] * 20]
    quarantined = list((home.path / "out/parsed").rglob("quarantine/**/*.parquet"))
    assert len(quarantined) == 3
    assert not (home.path / "dagster.yaml").exists()
    assert not (home.path / "history").exists()
    assert not (home.path / "history").exists()


def test_run_gives_the_same_bytes_twice(home):
    home.write_raw(DAYS[0])
    raw = home.stage("00_raw")
    for _ in range(2):
        ended = home.procezo("run", "parse", "--input", str(raw), "--output", "out")
        files = {p: p.read_bytes() for p in (home.path / "out").rglob("*.parquet")}
        assert ended.code == 0
    again = {p: p.read_bytes() for p in (home.path / "out").rglob("*.parquet")}
    assert again == files
    assert len(files) == 2


def test_run_says_which_days_failed(home):
    home.write_raw(*DAYS)
    home.write_treatment("backwards", UNSORTED)
    raw = home.stage("00_raw")
    assert home.procezo("run", "parse", "--input", str(raw), "--output", "parsed").code == 0
    ended = home.procezo("run", "backwards", "--input", "parsed", "--output", "out")
    assert ended.code == 1
    assert "3 days failed, first 2026-01-20" in ended.error
    assert not list((home.path / "out").rglob("*.parquet"))


def test_run_with_wrong_parameters_writes_nothing(home):
    home.write_raw(DAYS[0])
    raw = home.stage("00_raw")
    params = '{"delimeter": ","}'
    args = ("run", "parse", "--input", str(raw), "--output", "out", "--params", params)
    ended = home.procezo(*args)
    assert ended.code == 1
    assert "unknown parameter 'delimeter'; did you mean 'delimiter'?" in ended.error
    assert not (home.path / "out").exists()
