"""When flows run by themselves: what is new or failed, and the last days again."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, timedelta

import dagster as dg

from procezo_assets.datasets import Home
from procezo_assets.errors import PartitionError, ProcezoError
from procezo_assets.flows import Flow, Stage
from procezo_assets.orchestration.assets import stage_key
from procezo_assets.orchestration.in_flight import days_in_flight
from procezo_assets.orchestration.partitions import run_request
from procezo_assets.plans import Planner, days_from_to, spans
from procezo_assets.runs import today

# Dagster ends an evaluation after 60 s
_SECONDS = 40.0


def schedule_name(flow: Flow) -> str:
    """The name of a flow's schedule."""
    return f"{flow.identifier}_schedule"


def flow_schedule(
    flow: Flow, home: Home, job: dg.UnresolvedAssetJobDefinition
) -> dg.ScheduleDefinition:
    """The schedule of a flow that has one.

    Args:
        flow: The flow.
        home: The home folder that its datasets are in.
        job: The job of all its stages.
    """
    assert flow.schedule is not None  # noqa: S101 - asked for flows with one

    @dg.schedule(
        name=schedule_name(flow),
        job=job,
        cron_schedule=flow.schedule.cron,
        execution_timezone=flow.schedule.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=_description(flow),
    )
    def evaluate(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        at = context.scheduled_execution_time.astimezone(UTC)
        requests: list[dg.RunRequest] = []
        started = time.monotonic()
        datasets = flow.datasets(home)
        # where not all have their turn, the next time another comes first
        turn = zlib.crc32(f"{at}".encode()) % len(datasets) if datasets else 0
        flight = days_in_flight(context.instance, flow)
        for place, name in enumerate(datasets[turn:] + datasets[:turn]):
            if time.monotonic() - started > _SECONDS:
                context.log.warning("no time for %d datasets: next time", len(datasets) - place)
                break
            try:
                due = list(due_runs(flow, home, name, in_flight=flight.get(name, ())))
            except (ProcezoError, OSError) as error:
                context.log.warning("%s is left out: %s", name, error)
                continue
            requests += [
                run_request(
                    name,
                    one.first,
                    one.last,
                    run_key=f"{at:%FT%TZ} {name} {one.first} {one.last}",
                    assets=None
                    if one.stages == flow.stages
                    else [stage_key(flow, stage) for stage in one.stages],
                )
                for one in due
            ]
        return requests or dg.SkipReason("everything is up to date")

    return evaluate


@dataclass(frozen=True)
class Due:
    """Contiguous days that a scheduled run makes.

    Args:
        first: First day.
        last: Last day.
        stages: Through which stages.
    """

    first: date
    last: date
    stages: tuple[Stage, ...]


def due_runs(
    flow: Flow, home: Home, name: str, *, in_flight: Sequence[tuple[date, date]] = ()
) -> Iterator[Due]:
    """The runs that a schedule makes of a dataset: what is stale, and the last days again.

    Args:
        flow: The flow.
        home: The home folder.
        name: The dataset's name.
        in_flight: Days of runs that are queued or under way, which are left alone.
    """
    planner = Planner(
        flow=flow,
        dataset=home.existing_dataset(name),
        stages=flow.stages,
        params={},
        refit=False,
        full_replace=False,
    )
    flying = {day for first, last in in_flight for day in days_from_to(first, last)}
    plans = planner.plans(None, None, only_stale=True)
    fitting = any(planner.fit_is_due(stage) for plan in plans for stage in plan.stages)
    if fitting:  # a fit is made once, from all there is
        if not flying:
            yield Due(
                min(plan.first for plan in plans), max(plan.last for plan in plans), flow.stages
            )
        return
    back = flow.arrivals.lookback_days
    again: set[date] = set()
    if back:
        first = max(flow.start, today() - timedelta(days=back - 1))
        with suppress(PartitionError):  # there are no rows of the last days
            for plan in planner.plans(first, None, only_stale=False):
                again.update(days_from_to(plan.first, plan.last))
    for plan in plans:
        days = {*days_from_to(plan.first, plan.last)} - again - flying
        yield from (Due(first, last, plan.stages) for first, last in spans(sorted(days)))
    yield from (Due(first, last, flow.stages) for first, last in spans(sorted(again - flying)))


def _description(flow: Flow) -> str:
    back = flow.arrivals.lookback_days
    again = f", and the last {back} days again" if back else ""
    return f"Makes what is new or failed of the flow {flow.name}{again}."
