"""Queued runs: their processes, and what becomes of them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from unittest.mock import patch

import dagster as dg
import pytest
from dagster._core.launcher import LaunchRunContext, WorkerStatus
from small_home import CLEAN, DAYS, PARSE, SmallHome, keys

from procezo_assets.orchestration import launch
from procezo_assets.orchestration import launcher as launcher_module
from procezo_assets.orchestration.launcher import ForkingRunLauncher, running_folder
from procezo_assets.orchestration.running import is_marked, process_of
from procezo_assets.templates import place

SECONDS = 60.0

SLEEPS = '''
import time
import polars as pl
from procezo_assets.treatments import Parameters, treatment

@treatment(inputs=("10_parsed",), output="15_slow")
def slow(frame: pl.DataFrame, params: Parameters) -> pl.DataFrame:
    """Take long: once it has begun, it is not interrupted."""
    time.sleep(6)
    return frame
'''
MARKS = '''
import polars as pl
from procezo_assets.treatments import Parameters, treatment

@treatment(inputs=("10_parsed",), output="15_marked")
def marked(frame: pl.DataFrame, params: Parameters) -> pl.DataFrame:
    """Add a column."""
    return frame.with_columns(mark=pl.lit({mark}))
'''


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = SmallHome(tmp_path_factory.mktemp("launched"))
    place("dagster.yaml", home.path / "dagster.yaml")
    home.write_raw(*DAYS)
    return home


@contextmanager
def launcher_of(home):
    """The launcher of dagster.yaml, as the daemon has it."""
    with home.instance() as instance:
        assert isinstance(instance.run_launcher, ForkingRunLauncher)
        yield instance, instance.run_launcher


@pytest.fixture(scope="module")
def launched(home):
    with launcher_of(home) as found:
        yield found


def write_only_flow(home, *steps, name="small"):
    for path in (home.path / "flows").glob("*.json"):
        path.unlink()
    home.write_flow(*steps, name=name)


def submit(home, launched, day=DAYS[0], flow="small"):
    instance, launcher = launched
    with home.environment():
        chosen = home.flow(flow)
        request = launch.Request(
            flow=chosen,
            dataset="DS-1",
            first=day,
            last=day,
            stages=chosen.stages,
            run_params={},
        )
        launch.flow_job_of.cache_clear()
        job = dg.build_reconstructable_job(
            launch.__name__,
            "flow_job_of",
            reconstructable_kwargs={"home": str(home.path), "flow": chosen.name},
        )
        run = launch._create_run(instance, job, request)
        launcher.launch_run(LaunchRunContext(run, None))
    return run.run_id


def wait_for(condition):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


def finished(instance, run_id):
    def ended():
        run = instance.get_run_by_id(run_id)
        return run.status if run.is_finished else None

    return wait_for(ended)


def started(instance, run_id):
    """Wait until the run is inside its op."""
    of_type = dg.DagsterEventType.STEP_START
    wait_for(lambda: instance.all_logs(run_id, of_type=of_type))


@pytest.fixture
def inside(home):
    """Be in the home, as the daemon is."""
    with home.environment():
        yield


@pytest.mark.usefixtures("inside")
def test_a_run_gets_a_process_and_leaves_no_mark(home, launched):
    write_only_flow(home, PARSE, CLEAN)
    instance, _ = launched
    run_id = submit(home, launched)
    assert finished(instance, run_id) == dg.DagsterRunStatus.SUCCESS
    assert home.materialized("clean") == keys(DAYS[0])
    wait_for(lambda: not is_marked(running_folder(), run_id))


@pytest.mark.usefixtures("inside")
def test_each_run_sees_the_code_and_the_flows_as_they_are(home, launched):
    instance, launcher = launched
    for mark in (1, 2):
        home.write_treatment("marked", MARKS.format(mark=mark))
        write_only_flow(home, PARSE, {"treatment": "marked"}, name=f"edited{mark}")
        run_id = submit(home, launched, flow=f"edited{mark}")
        assert finished(instance, run_id) == dg.DagsterRunStatus.SUCCESS
        assert set(_marks(home)) == {mark}
    assert not launcher._server.has_ended  # both were forked from one


def _marks(home):
    import polars as pl  # noqa: PLC0415

    (path, *_) = home.stage("15_marked").glob("domain=bio_signal/day=*/*.parquet")
    return pl.read_parquet(path)["mark"].to_list()


@pytest.mark.usefixtures("inside")
def test_a_run_whose_flow_is_gone_when_it_starts_fails_at_once(home, launched):
    write_only_flow(home, PARSE)
    instance, _ = launched
    real = launcher_module._Server.ask

    def ask(server, request):
        (home.path / "flows" / "small.json").unlink()
        real(server, request)

    with patch.object(launcher_module._Server, "ask", ask):
        run_id = submit(home, launched)
    assert finished(instance, run_id) == dg.DagsterRunStatus.FAILURE


@pytest.mark.usefixtures("inside")
def test_a_run_starts_without_the_server_where_that_cannot_start(home):
    write_only_flow(home, PARSE)
    with launcher_of(home) as (instance, launcher):
        real, broken = launcher_module._popen, []

        def popen(*args, **pipes):
            if args:
                return real(*args, **pipes)
            broken.append(subprocess.Popen([sys.executable, "-c", "1"], text=True, **pipes))
            return broken[-1]

        with patch.object(launcher_module, "_popen", popen):
            run_id = submit(home, (instance, launcher))
            assert finished(instance, run_id) == dg.DagsterRunStatus.SUCCESS
        assert len(broken) == 1


@pytest.mark.usefixtures("inside")
def test_what_a_server_that_was_killed_has_not_started_is_started(home):
    write_only_flow(home, PARSE)
    with launcher_of(home) as (instance, launcher):
        first = submit(home, (instance, launcher))  # it is still importing
        os.kill(launcher._server._process.pid, signal.SIGKILL)
        second = submit(home, (instance, launcher), DAYS[1])
        for run_id in (first, second):
            assert finished(instance, run_id) == dg.DagsterRunStatus.SUCCESS


@pytest.mark.usefixtures("inside")
def test_a_run_that_cannot_be_started_at_all_has_failed(home):
    write_only_flow(home, PARSE)
    with launcher_of(home) as (instance, launcher):

        def popen(*args, **pipes):
            if args:
                raise OSError(errno.EAGAIN, "no more processes")
            return subprocess.Popen([sys.executable, "-c", "1"], text=True, **pipes)

        with patch.object(launcher_module, "_popen", popen):
            run_id = submit(home, (instance, launcher))
            assert finished(instance, run_id) == dg.DagsterRunStatus.FAILURE


@pytest.fixture
def slow(home):
    home.write_treatment("slow", SLEEPS)
    write_only_flow(home, PARSE, {"treatment": "slow"}, name="slow")


@pytest.mark.usefixtures("inside", "slow")
def test_a_run_can_be_stopped_from_another_process(home, launched):
    instance, launcher = launched
    run_id = submit(home, launched, flow="slow")
    started(instance, run_id)
    assert launcher.check_run_worker_health(instance.get_run_by_id(run_id)).status == (
        WorkerStatus.RUNNING
    )
    with launcher_of(home) as (_, webserver):  # it has started nothing itself
        assert webserver.terminate(run_id)
    assert finished(instance, run_id) == dg.DagsterRunStatus.CANCELED
    assert not launcher.terminate(run_id)


@pytest.mark.usefixtures("inside", "slow")
def test_a_run_whose_process_was_killed_is_known_to_be_dead(home, launched):
    instance, launcher = launched
    run_id = submit(home, launched, flow="slow")
    started(instance, run_id)
    os.kill(process_of(running_folder(), run_id), signal.SIGKILL)
    wait_for(lambda: process_of(running_folder(), run_id) is None)
    run = instance.get_run_by_id(run_id)
    assert not run.is_finished
    assert launcher.check_run_worker_health(run).status == WorkerStatus.FAILED
    instance.report_run_failed(run)


@pytest.mark.usefixtures("inside")
def test_of_a_run_that_says_nothing_nothing_is_known(home, launched):
    instance, launcher = launched
    write_only_flow(home, PARSE)
    outcome = home.launch(DAYS[1])
    run = instance.get_run_by_id(outcome.run_id)
    assert launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    assert not launcher.terminate(run.run_id)
