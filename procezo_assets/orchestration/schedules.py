"""When flows run by themselves: what is new or failed, and the last days again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, date, timedelta

import dagster as dg

from procezo_assets.datasets import Home
from procezo_assets.errors import PartitionError, ProcezoError
from procezo_assets.flows import Flow
from procezo_assets.orchestration.in_flight import days_in_flight
from procezo_assets.orchestration.partitions import run_request
from procezo_assets.plans import Planner, spans
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
        busy = days_in_flight(context.instance, flow)
        turn = at.toordinal() % len(datasets) if datasets else 0
        for place, name in enumerate(datasets[turn:] + datasets[:turn]):
            if time.monotonic() - started > _SECONDS:
                context.log.warning("no time for %d datasets: next time", len(datasets) - place)
                break
            try:
                ranges = due_ranges(flow, home, name, in_flight=busy.get(name, ()))
            except (ProcezoError, OSError) as error:
                context.log.warning("%s is left out: %s", name, error)
                continue
            requests += [
                run_request(name, first, last, run_key=f"{at:%FT%TZ} {name} {first} {last}")
                for first, last in ranges
            ]
        return requests or dg.SkipReason("everything is up to date")

    return evaluate


def due_ranges(
    flow: Flow, home: Home, name: str, *, in_flight: Iterable[tuple[date, date]] = ()
) -> list[tuple[date, date]]:
    """The days of a dataset that a scheduled run makes, as ranges.

    Args:
        flow: The flow.
        home: The home folder.
        name: The dataset's name.
        in_flight: Days of runs that are queued or under way, which are left to them.
    """
    dataset = home.existing_dataset(name)
    planner = Planner(
        flow=flow,
        dataset=dataset,
        stages=flow.stages,
        params={},
        refit=False,
        full_replace=False,
    )
    plans = planner.plans(None, None, only_stale=True)
    days = {day for plan in plans for day in _days(plan.first, plan.last)}
    back = flow.arrivals.lookback_days
    if back:
        first = max(flow.start, today() - timedelta(days=back - 1))
        with suppress(PartitionError):  # there are no rows of the last days
            for plan in planner.plans(first, None, only_stale=False):
                days.update(_days(plan.first, plan.last))
    for first, last in in_flight:
        days.difference_update(_days(first, last))
    return spans(sorted(days))


def _days(first: date, last: date) -> Sequence[date]:
    return [first + timedelta(days=place) for place in range((last - first).days + 1)]


def _description(flow: Flow) -> str:
    back = flow.arrivals.lookback_days
    again = f", and the last {back} days again" if back else ""
    return f"Makes what is new or failed of the flow {flow.name}{again}."
