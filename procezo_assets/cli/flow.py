"""`procezo flow`: run a flow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from procezo_assets.cli.home import Day, current_home, format_option, load, params_option
from procezo_assets.cli.output import counts_text, print_json, print_table
from procezo_assets.datasets import Home
from procezo_assets.errors import (
    DatasetError,
    ProcezoError,
    RawFileError,
    did_you_mean,
)
from procezo_assets.flows import Flow
from procezo_assets.garbage import kept_for_good
from procezo_assets.harmless import harmless
from procezo_assets.plans import Plan, Planner
from procezo_assets.raw.kept import blocks_shared

if TYPE_CHECKING:
    from procezo_assets.orchestration.launch import Outcome


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
    help="full-replace makes every day again, and fits anew where the flow says so.",
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
    if refit and not any(stage.treatment.fit for stage in stages):
        raise click.UsageError("--refit: none of the steps has a fit")
    chosen.check_run_params(params)
    with blocks_shared():
        planners = [
            Planner(
                flow=chosen,
                dataset=home.existing_dataset(dataset),
                stages=tuple(stages),
                params=params,
                refit=refit,
                full_replace=full_replace,
                dry=dry_run,
            )
            for dataset in datasets_of(home, chosen, datasets)
        ]
        plans = [
            plan
            for planner in planners
            for plan in planner.plans(first, last, only_stale=only_stale)
        ]
        unreadable = [error for planner in planners for error in planner.unreadable]
        if only_stale:  # else the runs tell of all lines
            for warning in (warning for planner in planners for warning in planner.warnings):
                click.echo(harmless(f"warning: {warning}"), err=True)
        if dry_run and plans:
            _print_plans(chosen, plans, output_format)
            return
        if not plans:
            _refuse_unreadable(unreadable)
            if output_format == "json":
                print_json([])
            click.echo(
                "nothing to do: "
                + ("everything is up to date" if only_stale else "there are no days"),
                err=True,
            )
            return
        outcomes = list(_outcomes(home, chosen, plans, params))
    print_outcomes(chosen, outcomes, output_format)
    check_outcomes(name, outcomes, refit=any(plan.refit for plan in plans))
    _refuse_unreadable(unreadable)


def _outcomes(
    home: Home, flow: Flow, plans: Sequence[Plan], params: dict[str, Any]
) -> Iterator[tuple[Plan, Outcome]]:
    """Run plans, and none that makes a fit from days that a fault has stopped before."""
    incomplete: set[str] = set()
    begun: set[tuple[str, ...]] = set()  # the fit of these is made: it goes on whatever happens
    for plan in plans:
        phase = (plan.dataset, *(stage.name for stage in plan.stages))
        if plan.fits_on_others and plan.dataset in incomplete and phase not in begun:
            continue
        begun.add(phase)
        outcome = run_plan(home, flow, plan, params)
        if outcome.is_fault:
            incomplete.add(plan.dataset)
        yield plan, outcome


def _refuse_unreadable(errors: Sequence[RawFileError]) -> None:
    """Refuse to end well where raw files could not be read, though their days may be as they were.

    Raises:
        RawFileError: Names the first.
    """
    if errors:
        more = f" (and {len(errors) - 1} more raw files)" if len(errors) > 1 else ""
        raise RawFileError(f"{errors[0].problem}{more}", errors[0].hint)


def check_outcomes(
    name: str, outcomes: Sequence[tuple[Plan, Outcome]], *, refit: bool = False
) -> None:
    """Refuse to end well where a run of a flow has failed.

    Args:
        name: The flow's name.
        outcomes: The runs.
        refit: Whether fits were to be made anew, of which nothing that is left tells.

    Raises:
        ProcezoError: Names the first run that failed, and what to do.
    """
    failed = [(plan, outcome) for plan, outcome in outcomes if not outcome.success]
    if failed:
        _, outcome = failed[0]
        more = f" (and {len(failed) - 1} more runs failed)" if len(failed) > 1 else ""
        again = " --refit" if refit else ""
        raise ProcezoError(
            f"flow '{name}' failed: {outcome.failure}{more}",
            f"the log is in the Dagster UI under run {outcome.run_id[:8]}; when the cause is gone, "
            f"go on with: procezo flow {name} --last{again}",
        )


def run_plan(
    home: Home,
    flow: Flow,
    plan: Plan,
    params: dict[str, Any],
) -> Outcome:
    """Run a plan in Dagster, with a progress bar."""
    from procezo_assets.cli.progress import progress_bar  # noqa: PLC0415

    with kept_for_good():
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
        refit=plan.refit,
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
                click.echo(harmless(f"warning, {stage.stage}: {warning}"), err=True)


def datasets_of(home: Home, flow: Flow, asked: Sequence[str]) -> list[str]:
    """List the datasets that a command works on: those asked for, else all of the flow.

    Raises:
        DatasetError: Where one is not the flow's, or the flow has none.
    """
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
