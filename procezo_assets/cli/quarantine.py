"""`procezo quarantine`: the lines that could not become rows, and another try."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from procezo_assets.cli.flow import check_outcomes, run_plan
from procezo_assets.cli.home import (
    current_home,
    flow_option,
    format_option,
    load,
    reading_flows,
)
from procezo_assets.cli.output import print_json, print_table, shortened
from procezo_assets.datasets import Dataset, Home
from procezo_assets.errors import PartitionError
from procezo_assets.flows import Flow
from procezo_assets.harmless import harmless
from procezo_assets.plans import Plan, Planner
from procezo_assets.raw.quarantined import (
    lines_in_quarantine,
    quarantine_reasons,
    restore_quarantine,
)
from procezo_assets.raw.source import RawSource
from procezo_assets.runs import raw_source

if TYPE_CHECKING:
    from procezo_assets.orchestration.launch import Outcome


@click.command()
@click.argument("dataset")
@flow_option
@click.option(
    "--retry",
    is_flag=True,
    help="Read the quarantined lines again, as after the flow was corrected, and run the days that "
    "they change.",
)
@format_option
def quarantine(*, dataset: str, flow_name: str | None, retry: bool, output_format: str) -> None:
    """Show the lines of DATASET that could not become rows: reasons, counts, examples.

    Raw files that are new or changed are read first.
    """
    home = current_home()
    _, flows = load(home)
    found = home.existing_dataset(dataset)
    chosen = reading_flows(flows, dataset, flow_name)
    if retry:
        _retry(home, found, chosen, output_format)
        return
    shown = [_shown(flow, found) for flow in chosen]
    if output_format == "json":
        print_json(shown[0] if len(shown) == 1 else {"dataset": dataset, "flows": shown})
        return
    for one in shown:
        _print(one)


def _shown(flow: Flow, dataset: Dataset) -> dict[str, Any]:
    source = _source(flow, dataset)
    source.scan()
    restore_quarantine(source, flow.name)
    files = {name: one for name, one in source.files.items() if one.quarantined}
    return {
        "flow": flow.name,
        "dataset": dataset.name,
        "lines": sum(sum(one.quarantined.values()) for one in files.values()),
        "reasons": [asdict(one) for one in quarantine_reasons(dataset, flow.name, files)],
        "files": [
            {
                "path": name,
                "lines": one.lines,
                "quarantined": sum(one.quarantined.values()),
                "reasons": one.quarantined,
                "refused": one.refused,
            }
            for name, one in files.items()
        ],
    }


def _print(shown: dict[str, Any]) -> None:
    title = f"{shown['flow']}: {shown['dataset']}"
    if not shown["reasons"]:
        click.echo(f"{title}: nothing is in quarantine")
        return
    print_table(
        ["reason", "lines", "files", "examples"],
        [
            [
                reason["reason"],
                reason["lines"],
                reason["files"],
                "\n".join(
                    f"{harmless(one['file'])}:{one['line']}: {shortened(one['text'])}"
                    for one in reason["examples"]
                ),
            ]
            for reason in shown["reasons"]
        ],
        title=title,
    )
    for file in shown["files"]:
        if file["refused"]:
            click.echo(harmless(f"{file['path']}: {file['refused']}"))


def _retry(home: Home, dataset: Dataset, flows: Sequence[Flow], output_format: str) -> None:
    told: list[dict[str, Any]] = []
    outcomes: dict[str, list[tuple[Plan, Outcome]]] = {}
    for flow in flows:
        source = _source(flow, dataset)
        before = lines_in_quarantine(dataset, flow.name)
        # of those that are gone it is all that is known
        source.catalog.forget([name for name in before if (dataset.raw / name).is_file()])
        source.scan()
        after = {
            name: sum(one.quarantined.values())
            for name, one in source.files.items()
            if one.quarantined
        }
        became = sum(max(0, lines - after.get(name, 0)) for name, lines in before.items())
        plans = _plans(flow, dataset, source)
        days = sorted({one.day for plan in plans for one in plan.stale})
        click.echo(
            f"{flow.name}: {became:,} of {sum(before.values()):,} quarantined lines are no longer "
            f"in quarantine, {sum(after.values()):,} are; {len(days)} days to run",
            err=True,
        )
        done = [(plan, run_plan(home, flow, plan, {})) for plan in plans]
        outcomes[flow.name] = done
        told.append(
            {
                "flow": flow.name,
                "dataset": dataset.name,
                "quarantined_before": sum(before.values()),
                "quarantined": sum(after.values()),
                "no_longer": became,
                "days": days,
                "runs": [
                    {"run_id": one.run_id, "success": one.success, "failure": one.failure or None}
                    for _, one in done
                ],
            }
        )
    if output_format == "json":
        print_json(told[0] if len(told) == 1 else {"dataset": dataset.name, "flows": told})
    else:
        print_table(
            ["flow", "quarantined before", "now", "no longer", "days run"],
            [
                [
                    one["flow"],
                    one["quarantined_before"],
                    one["quarantined"],
                    one["no_longer"],
                    len(one["days"]),
                ]
                for one in told
            ],
        )
    for name, done in outcomes.items():
        check_outcomes(name, done)


def _plans(flow: Flow, dataset: Dataset, source: RawSource) -> list[Plan]:
    planner = Planner(
        flow=flow,
        dataset=dataset,
        stages=flow.stages,
        params={},
        refit=False,
        full_replace=False,
    )
    return planner.plans(None, None, only_stale=True, source=source)


def _source(flow: Flow, dataset: Dataset) -> RawSource:
    source = raw_source(flow, dataset)
    if source is None:  # `reading_flows` chose those that have one
        raise PartitionError(f"flow '{flow.name}' reads no raw files")
    return source
