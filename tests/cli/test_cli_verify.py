"""`procezo verify`: what it prints, how it ends, and what it leaves behind."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest
from small_home import AGGREGATE, BIN, CLEAN, CSV, DAYS, PARSE, RESAMPLE, SLOW, SmallHome


@pytest.fixture
def home(tmp_path):
    home = SmallHome(tmp_path / "home")
    home.write_flow(PARSE, CLEAN, RESAMPLE, AGGREGATE, CSV)
    home.write_raw(*DAYS)
    return home


@pytest.fixture
def ran(home):
    home.launch(DAYS[0], DAYS[-1])
    return home


def test_it_tells_what_was_compared(ran):
    before = ran.digests()
    ended = ran.procezo("verify", "small")
    assert ended.code == 0, ended.err
    assert "small: DS-1, 2026-01-20 to 2026-01-22" in ended.out
    assert "stage 'exportcsv' was not compared: it loads or exports" in ended.err
    ended = ran.procezo("verify", "small", "--from", "2026-01-21", "--format", "json")
    (one,) = ended.json
    assert (one["identical"], one["days"], one["first"]) == (True, 2, "2026-01-21")
    assert one["stages"][0] == {"stage": "parsed", "days": 2, "files": 4, "different": 0}
    assert ran.digests() == before


def test_it_names_the_first_difference_in_one_line_and_ends_with_1(ran):
    next(ran.stage("20_clean").rglob("*2026-01-21.parquet")).unlink()
    ended = ran.procezo("verify", "small")
    assert ended.code == 1
    assert "dataset 'DS-1', stage 'clean', 2026-01-21: 20_clean/domain=" in ended.error
    assert "is missing; it is stale; make it again with: procezo flow small" in ended.error
    ended = ran.procezo("verify", "small", "--format", "json")
    assert ended.code == 1
    assert ended.json[0]["identical"] is False
    assert ended.json[0]["first_difference"]["day"] == "2026-01-21"
    assert ran.procezo("verify", "small", "--to", "2026-01-20").code == 0
    assert ran.procezo("flow", "small", "--last").code == 0
    assert ran.procezo("verify", "small").code == 0


def test_the_remedy_mends_what_was_altered(ran):
    one, other = sorted(ran.stage("20_clean").rglob("*bio_signal__2026-01-2[12].parquet"))
    one.write_bytes(other.read_bytes())
    ended = ran.procezo("verify", "small")
    assert ended.code == 1
    command = ended.error.partition("procezo flow ")[2].replace("'", "").split()
    assert ran.procezo("flow", *command).code == 0
    assert ran.procezo("verify", "small").code == 0


def test_wrong_usage_is_told(ran):
    assert ran.procezo("verify", "smal").code == 1
    assert ran.procezo("verify", "small", "--dataset", "DS-9").code == 1
    assert ran.procezo("verify", "small", "--from", "2026-02-02", "--to", "2026-01-01").code == 2
    ended = ran.procezo("verify", "small", "--from", "2026-03-01")
    assert (ended.code, "there are no days to verify" in ended.err) == (0, True)


def test_ctrl_c_leaves_nothing(home):
    home.write_treatment("slow", SLOW)
    home.write_flow(PARSE, CLEAN, {"treatment": "slow"})
    home.write_raw(*DAYS)
    before = home.digests()
    running = subprocess.Popen(
        # a shell may have told its background processes to ignore it
        ["env", "--default-signal=INT", BIN / "procezo", "verify", "small"],
        cwd=home.path,
        env=home.env,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    scratch = home.path / ".procezo" / "scratch"
    deadline = time.monotonic() + 60
    while not list(scratch.rglob("*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert said.splitlines()[-1].startswith("procezo: interrupted")
    assert list(scratch.iterdir()) == []
    assert home.digests() == before


def test_it_ends_with_1_where_nothing_could_be_compared(ran):
    for path in ran.stage("00_raw").glob(f"*{DAYS[1]}*"):
        path.unlink()
    only = ("--from", DAYS[1], "--to", DAYS[1])

    ended = ran.procezo("verify", "small", *only, "--format", "json")

    assert ended.code == 1
    assert ended.json[0]["identical"] is None
    assert "nothing of dataset 'DS-1' could be compared" in ended.error
    assert ran.procezo("verify", "small").code == 0
