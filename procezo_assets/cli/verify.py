"""`procezo verify`: whether the files of a flow are what the raw files and the flow make."""

from __future__ import annotations

from datetime import date
from typing import Any

import click

from procezo_assets.cli.flow import datasets_of
from procezo_assets.cli.home import Day, current_home, format_option, load
from procezo_assets.cli.output import print_json, print_table
from procezo_assets.cli.progress import progress_bar
from procezo_assets.errors import PartitionError
from procezo_assets.flows import Flow
from procezo_assets.harmless import harmless
from procezo_assets.verification import Difference, Verified, verification


@click.command()
@click.argument("name", metavar="FLOW")
@click.option(
    "--dataset", "datasets", multiple=True, help="Only this dataset of the flow (repeatable)."
)
@click.option("--from", "first", type=Day(), help="First UTC day, YYYY-MM-DD.")
@click.option("--to", "last", type=Day(), help="Last UTC day, YYYY-MM-DD, included.")
@format_option
def verify(
    *,
    name: str,
    datasets: tuple[str, ...],
    first: date | None,
    last: date | None,
    output_format: str,
) -> None:
    """Make the files of FLOW again in a scratch folder, and compare them byte by byte.

    All raw files are read anew, fits are applied as they are, and nothing in the home changes.
    Databases, exports and quarantine are not compared. Exit code 1 where anything differs, or
    nothing could be compared; the first difference is named.
    """
    if first and last and first > last:
        raise click.UsageError(f"--from {first} is after --to {last}")
    home = current_home()
    _, flows = load(home)
    flow = flows.get(name)
    found: dict[str, Verified] = {}
    for dataset in datasets_of(home, flow, datasets):
        click.echo(f"{flow.name}: {dataset}, reading raw files", err=True)
        with (
            verification(flow, home.existing_dataset(dataset), first=first, last=last) as work,
            progress_bar(f"{dataset}, stages of days", work.steps) as advance,
        ):
            found[dataset] = work.run(advance)
    if output_format == "json":
        print_json([_record(flow, dataset, one) for dataset, one in found.items()])
    else:
        _print(flow, found)
    differing = [one.first for one in found.values() if one.first is not None]
    if differing:
        total = sum(one.differences for one in found.values())
        raise PartitionError(_told(differing[0], total), differing[0].remedy)
    unknown = [name for name, one in found.items() if one.unverifiable and one.identical is None]
    if unknown:
        raise PartitionError(
            f"nothing of dataset '{unknown[0]}' could be compared",
            "bring its raw files back, or name other days",
        )


def _told(first: Difference, total: int) -> str:
    where = f"dataset '{first.dataset}', stage '{first.stage}', {first.day}"
    others = f" (the first of {total} differences)" if total > 1 else ""
    return f"{where}: {' '.join(part for part in (first.file, first.what) if part)}{others}"


def _record(flow: Flow, dataset: str, one: Verified) -> dict[str, Any]:
    return {
        "flow": flow.name,
        "dataset": dataset,
        "identical": one.identical,
        "first": one.days[0] if one.days else None,
        "last": one.days[-1] if one.days else None,
        "days": len(one.days),
        "stages": [{"stage": name, **vars(stage)} for name, stage in one.stages.items()],
        "differences": one.differences,
        "first_difference": vars(one.first) if one.first else None,
        "cannot_be_verified": [
            {"day": day, "reason": reason} for day, reason in one.unverifiable.items()
        ],
        "not_compared": {**one.left_out, **_loads(flow)},
    }


def _print(flow: Flow, found: dict[str, Verified]) -> None:
    for dataset, one in found.items():
        if not one.days and not one.unverifiable:
            click.echo(f"{dataset}: there are no days to verify", err=True)
            continue
        span = f", {one.days[0]} to {one.days[-1]}" if one.days else ""
        print_table(
            ["stage", "days", "files", "different"],
            [[name, s.days, s.files, s.different] for name, s in one.stages.items()],
            title=f"{flow.name}: {dataset}{span}",
        )
        for day, reason in one.unverifiable.items():
            click.echo(harmless(f"{dataset}, {day}: cannot be verified: {reason}"), err=True)
        for name, reason in {**one.left_out, **_loads(flow)}.items():
            click.echo(f"{dataset}: stage '{name}' was not compared: {reason}", err=True)


def _loads(flow: Flow) -> dict[str, str]:
    return {
        stage.name: "it loads or exports" for stage in flow.stages if stage.treatment.kind == "load"
    }
