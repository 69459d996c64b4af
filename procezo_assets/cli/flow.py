"""`procezo flow`: run a flow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import click

from procezo_assets.cli.home import Day, current_home, format_option, load, params_option
from procezo_assets.cli.output import counts_text, print_json, print_table
from procezo_assets.datasets import Home
from procezo_assets.errors import (
    DatasetError,
    FlowError,
    PartitionError,
    ProcezoError,
    did_you_mean,
)
from procezo_assets.flows import Flow, Stage
from procezo_assets.freshness import Stale, affected_stages, known_days, stale_partitions
from procezo_assets.raw.source import RawSource
from procezo_assets.runs import raw_source, today

if TYPE_CHECKING:
    from procezo_assets.orchestration.launch import Outcome

# starting a run costs seconds, an empty day nearly nothing: short gaps are bridged
_BRIDGED_DAYS = 7


@dataclass(frozen=True)
class Plan:
    """One run: contiguous days of a dataset.

    Args:
        dataset: The dataset's name.
        first: First day.
        last: Last day.
        stages: Which stages.
        stale: What is missing or stale, where that is why it runs.
    """

    dataset: str
    first: date
    last: date
    stages: tuple[Stage, ...]
    stale: tuple[Stale, ...] = ()


@click.command()
@click.argument("name")
@click.option(
    "--dataset", "datasets", multiple=True, help="Only this dataset of the flow (repeatable)."
)
@click.option("--step", help="Only this step.")
@click.option("--from-step", help="Start at this step.")
@click.option("--to-step", help="Stop after this step.")
@click.option("--from", "first", type=Day(), help="First UTC day, YYYY-MM-DD.")
@click.option("--to", "last", type=Day(), help="Last UTC day, YYYY-MM-DD, included.")
@click.option(
    "--last",
    "only_stale",
    is_flag=True,
    help="Only the days that are missing, or whose "
    "raw lines, parameters or treatment versions changed.",
)
@click.option(
    "--output-mode",
    type=click.Choice(["replace", "full-replace"]),
    default="replace",
    show_default=True,
    help="full-replace empties the stages' folders first and fits anew.",
)
@click.option("--refit", is_flag=True, help="Make fits anew from all available days.")
@params_option
@click.option("--dry-run", is_flag=True, help="Show what would run, and run nothing.")
@format_option
def flow(
    *,
    name: str,
    datasets: tuple[str, ...],
    step: str | None,
    from_step: str | None,
    to_step: str | None,
    first: date | None,
    last: date | None,
    only_stale: bool,
    output_mode: str,
    refit: bool,
    params: dict[str, Any],
    dry_run: bool,
    output_format: str,
) -> None:
    """Run the flow NAME on all its datasets and days, or on those that are asked for.

    A step is named by its stage, its own name, or its treatment where only one step has it.
    """
    if step and (from_step or to_step):
        raise click.UsageError("--step goes without --from-step and --to-step")
    if first and last and first > last:
        raise click.UsageError(f"--from {first} is after --to {last}")
    full_replace = output_mode == "full-replace"
    if full_replace and (only_stale or first or last):
        raise click.UsageError("--output-mode full-replace goes without --from, --to and --last")
    home = current_home()
    _, flows = load(home)
    chosen = flows.get(name)
    stages = [chosen.stage(step)] if step else chosen.between(from_step, to_step)
    chosen.check_run_params(params)
    plans = [
        plan
        for dataset in _datasets(home, chosen, datasets)
        for plan in _plans(
            home=home,
            flow=chosen,
            name=dataset,
            stages=stages,
            first=first,
            last=last,
            params=params,
            only_stale=only_stale,
            # a fit is made from all days: they must be of one run
            in_one=full_replace or any(stage.treatment.fit for stage in stages),
        )
    ]
    if dry_run and plans:
        _print_plans(chosen, plans, output_format)
        return
    if not plans:
        if output_format == "json":
            print_json([])
        click.echo(
            "nothing to do: " + ("everything is up to date" if only_stale else "there are no days"),
            err=True,
        )
        return
    outcomes = [
        (plan, run_plan(home, chosen, plan, params, refit=refit, full_replace=full_replace))
        for plan in plans
    ]
    print_outcomes(chosen, outcomes, output_format)
    failed = [(plan, outcome) for plan, outcome in outcomes if not outcome.success]
    if failed:
        _, outcome = failed[0]
        more = f" (and {len(failed) - 1} more runs failed)" if len(failed) > 1 else ""
        raise ProcezoError(
            f"flow '{name}' failed: {outcome.failure}{more}",
            f"the log is in the Dagster UI under run {outcome.run_id[:8]}; when the cause is gone, "
            f"go on with: procezo flow {name} --last",
        )


def run_plan(
    home: Home,
    flow: Flow,
    plan: Plan,
    params: dict[str, Any],
    *,
    refit: bool = False,
    full_replace: bool = False,
) -> Outcome:
    """Run a plan in Dagster, with a progress bar."""
    from procezo_assets.cli.progress import progress_bar  # noqa: PLC0415
    from procezo_assets.orchestration.launch import (  # noqa: PLC0415 - Dagster takes a second
        Request,
        launch,
        prepare_instance,
    )

    prepare_instance(home)
    days = (plan.last - plan.first).days + 1
    span = str(plan.first) if days == 1 else f"{plan.first} to {plan.last}"
    click.echo(f"{flow.name}: {plan.dataset}, {span}, {len(plan.stages)} stages", err=True)
    request = Request(
        flow=flow,
        dataset=plan.dataset,
        first=plan.first,
        last=plan.last,
        stages=plan.stages,
        run_params=params,
        refit=refit,
        full_replace=full_replace,
    )
    with progress_bar("stages of days", days * len(plan.stages)) as advance:
        return launch(home, request, advance)


def print_outcomes(
    flow: Flow, outcomes: Sequence[tuple[Plan, Outcome]], output_format: str = "text"
) -> None:
    """Print what runs did, stage by stage."""
    if output_format == "json":
        print_json(
            [
                {
                    "flow": flow.name,
                    "dataset": plan.dataset,
                    "first": plan.first,
                    "last": plan.last,
                    "run_id": outcome.run_id,
                    "success": outcome.success,
                    "failure": outcome.failure or None,
                    "stages": [vars(stage) for stage in outcome.stages],
                }
                for plan, outcome in outcomes
            ]
        )
        return
    for plan, outcome in outcomes:
        rows = [
            [s.stage, s.partitions, s.files or "", s.rows, counts_text(s.removed), s.seconds]
            for s in outcome.stages
        ]
        columns = ["stage", "days", "files", "rows", "removed by reason", "seconds"]
        print_table(columns, rows, title=f"{plan.dataset}, run {outcome.run_id[:8]}")
        for stage in outcome.stages:
            for warning in stage.warnings:
                click.echo(f"warning, {stage.stage}: {warning}", err=True)


def all_days(flow: Flow, dataset_days: Iterable[date], source: RawSource | None) -> list[date]:
    """The days that raw rows or files of stages are of, within the flow's partitions."""
    days = {*dataset_days, *(source.days if source is not None else ())}
    return sorted(day for day in days if flow.start <= day <= today())


def spans(days: Sequence[date], *, bridged: int = 0) -> list[tuple[date, date]]:
    """Group sorted days into ranges, across gaps of at most `bridged` days."""
    ranges: list[tuple[date, date]] = []
    for day in days:
        if ranges and day - ranges[-1][1] <= timedelta(days=bridged + 1):
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges


def _datasets(home: Home, flow: Flow, asked: Sequence[str]) -> list[str]:
    found = flow.datasets(home)
    for name in asked:
        home.existing_dataset(name)
        if name not in found:
            raise DatasetError(
                f"dataset '{name}' is none of flow '{flow.name}'", did_you_mean(name, found)
            )
    if not found:
        raise DatasetError(
            f"flow '{flow.name}' finds no dataset {' or '.join(flow.patterns)} under "
            f"{home.datasets}",
            f"put raw files under {home.datasets}/{flow.patterns[0]}/00_raw/",
        )
    return list(dict.fromkeys(asked)) or found


def _plans(
    *,
    home: Home,
    flow: Flow,
    name: str,
    stages: Sequence[Stage],
    first: date | None,
    last: date | None,
    params: dict[str, Any],
    only_stale: bool,
    in_one: bool,
) -> list[Plan]:
    dataset = home.existing_dataset(name)
    source: RawSource | None = None
    if any(stage.treatment.kind == "source" for stage in stages):
        source = raw_source(flow, dataset, params)
    if source is not None:
        source.scan()
    days = all_days(flow, known_days(flow, dataset, stages), source)
    _check_asked(flow, first, last)
    days = [day for day in days if (not first or day >= first) and (not last or day <= last)]
    if not only_stale:
        if not days and (first or last):
            raise PartitionError(
                f"dataset '{name}' has no rows between {first or 'its start'} and {last or 'now'}",
                "see procezo status",
            )
        bridged = len(days) and (days[-1] - days[0]).days if in_one else _BRIDGED_DAYS
        return [
            Plan(name, start, end, tuple(stages)) for start, end in spans(days, bridged=bridged)
        ]
    if source is not None:
        source.want(days)
    stale = stale_partitions(flow, dataset, stages, days, source=source, run_params=params)
    plans = []
    for start, end in spans(sorted({one.day for one in stale})):
        here = tuple(one for one in stale if start <= one.day <= end)
        plans.append(Plan(name, start, end, tuple(affected_stages(flow, stages, here)), here))
    return plans


def _check_asked(flow: Flow, first: date | None, last: date | None) -> None:
    for option, day in (("--from", first), ("--to", last)):
        if day and day < flow.start and option == "--to":
            raise FlowError(f"{option} {day} is before the flow's start {flow.start}")
        if day and day > today() and option == "--from":
            raise FlowError(f"{option} {day} is in the future")


def _print_plans(flow: Flow, plans: Sequence[Plan], output_format: str) -> None:
    if output_format == "json":
        print_json(
            [
                {
                    "flow": flow.name,
                    "dataset": plan.dataset,
                    "first": plan.first,
                    "last": plan.last,
                    "stages": [stage.name for stage in plan.stages],
                    "stale": [vars(one) for one in plan.stale],
                }
                for plan in plans
            ]
        )
        return
    rows = [
        [
            plan.dataset,
            plan.first,
            plan.last,
            (plan.last - plan.first).days + 1,
            ", ".join(stage.name for stage in plan.stages),
            ", ".join(sorted({f"{one.stage}: {one.reason}" for one in plan.stale})) or "asked for",
        ]
        for plan in plans
    ]
    print_table(["dataset", "first", "last", "days", "stages", "why"], rows)
