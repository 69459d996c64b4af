"""The commands of docs/backup.md: a home is saved while it is worked on, lost, and restored."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
import threading
import time

import dagster as dg
import psycopg
import pytest
from shown_commands import block, shell
from small_home import (
    AGGREGATE,
    CLEAN,
    CSV,
    DAYS,
    DUCKDB,
    NORMALIZE,
    PARSE,
    POSTGRES,
    RESAMPLE,
    SmallHome,
)

from procezo_assets.orchestration.code_location import build_defs
from procezo_assets.orchestration.in_flight import days_in_flight

DOCUMENT = "docs/backup.md"
WAITS = '''
import os, time
from pathlib import Path
import polars as pl
from procezo_assets.treatments import Parameters, treatment

@treatment(inputs=("20_clean",), output="22_waits")
def waits(frame: pl.DataFrame, params: Parameters) -> pl.DataFrame:
    """Wait until it may go on."""
    while not Path(os.environ["GO_ON"]).exists():
        time.sleep(0.02)
    return frame
'''

pytestmark = pytest.mark.skipif(
    not (shutil.which("restic") and shutil.which("sqlite3")),
    reason="restic and sqlite3 (Debian packages) are not installed",
)


def odd_file(home):
    """A raw file that is called as what is left out of other folders is."""
    return home.raw_file("25_x/domain=x/pil-91_2026-01-21/loaded.json")


@pytest.fixture
def env(tmp_path, postgres_url):
    (tmp_path / "password").write_text("of the repository\n")
    (tmp_path / "exclude").write_text(block(DOCUMENT, "", ".venv"))
    return {
        "PROCEZO_POSTGRES_URL": postgres_url,
        "GO_ON": str(tmp_path / "go-on"),
        "PROCEZO_EXCLUDE": str(tmp_path / "exclude"),
        "RESTIC_REPOSITORY": str(tmp_path / "repository"),
        "RESTIC_PASSWORD_FILE": str(tmp_path / "password"),
        "RESTIC_CACHE_DIR": str(tmp_path / "cache"),
    }


@pytest.fixture
def home(tmp_path, env):
    """One day whose raw file is gone, one that is made; a fit, quarantined lines, loads."""
    home = SmallHome(tmp_path / "home", env)
    home.write_treatment("waits", WAITS)
    home.write_flow(
        PARSE,
        CLEAN,
        {"treatment": "waits"},
        {**RESAMPLE, "input": "22_waits"},
        NORMALIZE,
        {**AGGREGATE, "input": "35_normalized"},
        DUCKDB,
        {**POSTGRES, "input": "10_parsed"},  # whose days are not made again
        CSV,
        settle_seconds=0,
    )
    odd_file(home).write_text("2026-01-21T10:00:00Z;m0:7\n")
    home.write_raw(*DAYS[:2], odd=["spoilt"])
    (tmp_path / "go-on").touch()
    assert home.procezo("flow", "small").code == 0
    home.raw_file(f"DS-1_pil-90_{DAYS[0]}.csv").unlink()
    (tmp_path / "go-on").unlink()
    return home


def commands(home, text):
    """Run the `procezo` commands of a block, each as it stands, but for names."""
    shown = block(DOCUMENT, "sh", text).replace("valvometry", "small").replace("VALVO-DEMO", "DS-1")
    ended = [home.procezo(*shlex.split(line, comments=True)[1:]) for line in shown.splitlines()]
    assert [one.code for one in ended] == [0] * len(ended), [one.err for one in ended]
    return ended


def tick(home, cursor=None):
    """What a sensor asks for, and its cursor."""
    with home.environment(), home.instance() as instance:
        repository = build_defs(home.home).get_repository_def()
        with dg.build_sensor_context(instance, cursor=cursor, repository_def=repository) as context:
            told = repository.get_sensor_def("small_raw_files").evaluate_tick(context)
    return told.run_requests, told.cursor


def test_what_was_saved_during_a_run_is_restored_to_the_same_bytes(tmp_path, home, env):
    assert shell(home, "restic init --quiet").code == 0
    asked, cursor = tick(home)
    assert asked == []
    home.write_raw(DAYS[2])
    run = threading.Thread(target=home.command, args=("procezo", "flow", "small", "--last"))
    run.start()
    waiting = home.stage("20_clean") / f"domain=bio_signal/day={DAYS[2]}"
    end = time.monotonic() + 60
    while not waiting.exists() and time.monotonic() < end:
        time.sleep(0.02)
    home.write_raw(DAYS[2], device="pil-92")  # dropped while the run works
    saved = shell(home, block(DOCUMENT, "sh", "restic backup"))
    assert saved.code == 0, saved.err
    (tmp_path / "go-on").touch()
    run.join()
    assert home.procezo("flow", "small", "--last").code == 0
    expected = home.digests()
    assert not (home.path / ".backup").exists()

    shutil.rmtree(home.path)
    with psycopg.connect(env["PROCEZO_POSTGRES_URL"]) as connection:
        connection.execute("DROP SCHEMA small CASCADE")

    home = SmallHome(tmp_path / "another name", env)
    restored = shell(home, block(DOCUMENT, "sh", "restic restore"))
    assert restored.code == 0, restored.err
    assert not list(home.stage("20_clean").rglob("*.parquet"))
    # nor what would say that rows are in databases that are lost
    assert not list(home.path.glob("datasets/DS-1/*/loaded.json"))
    assert odd_file(home).exists()
    with sqlite3.connect(home.path / "history/runs.db") as runs:
        states = [state for (state,) in runs.execute("SELECT status FROM runs ORDER BY id")]
    assert states == ["SUCCESS", "STARTED"]
    with home.instance() as instance:  # the run that nobody executes any more holds nothing up
        assert days_in_flight(instance, home.flow()) == {}
        (lost,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        health = instance.run_launcher.check_run_worker_health(lost)
        assert health.status.value == "FAILED"

    commands(home, "procezo check")
    assert home.digests() == expected
    verified, again, _ = commands(home, "procezo verify")
    assert "cannot be verified" in verified.out + verified.err  # the day without its raw file
    assert "up to date" in again.err
    with psycopg.connect(env["PROCEZO_POSTGRES_URL"]) as connection:
        (days,) = connection.execute(
            "SELECT count(DISTINCT ts::date) FROM small.bio_signal_parsed"
        ).fetchone()
    assert days == len(DAYS)
    assert tick(home, cursor)[0] == []
