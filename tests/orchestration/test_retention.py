"""Which runs may be forgotten."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from small_home import CLEAN, DAYS, PARSE, SmallHome, keys

from procezo_assets.orchestration.retention import prune_old_runs, runs_to_prune


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The runs: the first day, the second day, the first day again."""
    home = SmallHome(tmp_path_factory.mktemp("home"))
    home.write_flow(PARSE, CLEAN)
    home.write_raw(*DAYS)
    runs = [home.launch(day).run_id for day in (DAYS[0], DAYS[1], DAYS[0])]
    return home, runs


def now() -> datetime:
    return datetime.now(UTC)


def test_only_runs_that_a_newer_one_replaced_are_pruned(home):
    home, runs = home
    with home.instance() as instance:
        assert runs_to_prune(instance, before=now() + timedelta(minutes=1)) == [runs[0]]


def test_young_runs_stay(home):
    home, _ = home
    with home.instance() as instance:
        assert runs_to_prune(instance, before=now() - timedelta(days=1)) == []


def test_a_run_that_replaced_only_some_stages_leaves_the_older_one(tmp_path):
    home = SmallHome(tmp_path)
    home.write_flow(PARSE, CLEAN)
    home.write_raw(DAYS[0])
    home.launch(DAYS[0])
    home.launch(DAYS[0], stages=["clean"])
    with home.instance() as instance:
        assert runs_to_prune(instance, before=now() + timedelta(minutes=1)) == []


def test_a_run_that_goes_on_stays(home):
    home, runs = home
    going = dg.DagsterRun("small", uuid.uuid4().hex, status=dg.DagsterRunStatus.STARTED)
    with home.instance() as instance:
        instance.add_run(going)
        assert runs_to_prune(instance, before=now() + timedelta(minutes=1)) == [runs[0]]
        instance.delete_run(going.run_id)


def test_the_job_keeps_what_is_young_and_partitions_outlive_what_is_pruned(home):
    home, runs = home
    with home.environment(), dg.DagsterInstance.get() as instance:
        assert prune_old_runs.execute_in_process(instance=instance).success
        assert instance.has_run(runs[0])
        for run_id in runs_to_prune(instance, before=now() + timedelta(minutes=1)):
            if run_id in runs:
                instance.delete_run(run_id)
        assert not instance.has_run(runs[0])
    for stage in ("parsed", "clean"):
        assert home.materialized(stage) == keys(DAYS[0], DAYS[1])
