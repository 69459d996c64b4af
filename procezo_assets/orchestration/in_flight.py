"""The days that runs which have not ended are making."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from procezo_assets.flows import Flow
from procezo_assets.orchestration.launcher import running_folder
from procezo_assets.orchestration.partitions import dataset_partitions_name, tagged
from procezo_assets.orchestration.running import is_alive, is_marked

_QUEUED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
)
_STARTED = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)

# Dagster's own commands do not say whether their process is still there
_BELIEVED = timedelta(hours=1)
_LAUNCHED_WITHIN = timedelta(minutes=5)


def days_in_flight(instance: dg.DagsterInstance, flow: Flow) -> dict[str, list[tuple[date, date]]]:
    """First and last days of a flow's runs that are queued or under way, by dataset."""
    found: dict[str, list[tuple[date, date]]] = defaultdict(list)
    known = instance.get_dynamic_partitions(dataset_partitions_name(flow))
    records = instance.get_run_records(dg.RunsFilter(statuses=[*_QUEUED, *_STARTED]))
    for record in records:
        run = record.dagster_run
        meant = tagged(run.tags) if is_run_of(run, flow) else None
        if meant is None:
            continue
        if run.status == dg.DagsterRunStatus.NOT_STARTED:
            # where its launch failed it stays so for ever
            lives = datetime.now(UTC) - record.create_timestamp < _LAUNCHED_WITHIN
        else:
            lives = run.status in _QUEUED or _works(run.run_id, record.start_time)
        if lives:
            for dataset in meant.datasets(known):
                found[dataset].append((meant.first, meant.last))
    return found


def is_run_of(run: dg.DagsterRun, flow: Flow) -> bool:
    """Tell whether a run is one of a flow, whoever started it."""
    keys = run.asset_selection or ()
    return run.job_name == flow.identifier or any(key.path[0] == flow.name for key in keys)


def _works(run_id: str, started: float | None) -> bool:
    """Whether a run that has started still has a process, as far as can be known."""
    if is_marked(running_folder(), run_id):
        return is_alive(running_folder(), run_id)
    since = datetime.fromtimestamp(started or 0, UTC)
    return datetime.now(UTC) - since < _BELIEVED
