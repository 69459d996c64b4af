"""`dagster dev`, live: a file is dropped, and its rows are in the database."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager

import psycopg
import pytest
from small_home import AGGREGATE, BIN, CLEAN, DAYS, PARSE, POSTGRES, RESAMPLE, SmallHome, keys

from procezo_assets.templates import place

# `dagster dev` is up in ten seconds, where other tests leave it a core
SECONDS = 180


@contextmanager
def dagster_dev(home):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    module = ("-m", "procezo_assets.definitions")
    with (home.path / "dev.log").open("w") as log:
        dev = subprocess.Popen(
            # a shell may have told its background processes to ignore them
            ["env", "--default-signal=INT,TERM", BIN / "dagster", "dev", *module, "-p", str(port)],
            cwd=home.path,
            env=home.env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield dev
    finally:
        os.killpg(dev.pid, signal.SIGINT)
        try:
            dev.wait(120)
        finally:
            if dev.poll() is None:
                os.killpg(dev.pid, signal.SIGKILL)
                dev.wait()


def wait_for(condition):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.2)
    raise AssertionError("it did not happen in time")


def processes_of(home):
    found = subprocess.run(
        ["pgrep", "-f", str(home.path)], capture_output=True, text=True, check=False
    )
    return found.stdout.split()


def the_run(home):
    with home.instance() as instance:
        (run,) = instance.get_runs()
        return run


@pytest.mark.timeout(600)
def test_a_file_dropped_into_a_new_dataset_is_loaded_without_any_other_action(
    tmp_path, postgres_url
):
    home = SmallHome(tmp_path / "home", {"PROCEZO_POSTGRES_URL": postgres_url})
    home.write_flow(PARSE, CLEAN, RESAMPLE, AGGREGATE, POSTGRES, datasets=["DS-*"])
    place("dagster.yaml", home.path / "dagster.yaml")
    (home.path / "datasets").mkdir()
    with psycopg.connect(postgres_url, autocommit=True) as connection, dagster_dev(home) as dev:

        def loaded(dataset):
            assert dev.poll() is None
            try:
                query = "SELECT count(*) FROM small.bio_signal_60s WHERE dataset = %s"
                return connection.execute(query, [dataset]).fetchone()[0] == 5
            except psycopg.errors.UndefinedTable:
                return False

        log = home.path / "dev.log"
        wait_for(lambda: "Checking for new runs for sensor" in log.read_text())  # it is up
        home.write_raw(DAYS[0], dataset="DS-NEW")
        wait_for(lambda: loaded("DS-NEW"))
        wait_for(lambda: the_run(home).is_finished)
    assert the_run(home).is_success
    assert the_run(home).tags["dagster/sensor_name"] == "small_raw_files"
    for stage in ("raw", "parsed", "aggregated"):
        assert home.materialized(stage) == keys(DAYS[0], dataset="DS-NEW"), stage
    wait_for(lambda: not processes_of(home))  # they end when the one that started them has
