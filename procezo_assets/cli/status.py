"""`procezo status`: what each stage has, and what is stale."""

from __future__ import annotations

from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from procezo_assets.cli.home import current_home, format_option, load
from procezo_assets.cli.output import print_json, print_table, size_text
from procezo_assets.datasets import Dataset, Home
from procezo_assets.flows import Flow, Stage
from procezo_assets.freshness import affected_days, known_days, stale_partitions
from procezo_assets.garbage import nothing_collected
from procezo_assets.raw.differences import Pace
from procezo_assets.raw.source import RawSource
from procezo_assets.runs import raw_source, today
from procezo_assets.stored_stages import StageListing
from procezo_assets.stores.loads import read_record

RAW = "raw"


@click.command()
@click.argument("flows", nargs=-1)
@format_option
def status(flows: tuple[str, ...], output_format: str) -> None:
    """Show the stages of all FLOWS (or of those named): days, files, sizes, what is stale.

    Parameters, treatment versions, fits and input files are compared, and raw files with what is
    known of them; new ones are not read (procezo flow NAME --last --dry-run does).
    """
    home = current_home()
    _, flow_set = load(home)
    chosen = [flow_set.get(name) for name in flows] or list(flow_set.flows.values())
    with nothing_collected():
        rows = [
            row
            for flow in chosen
            for dataset in flow.datasets(home)
            for row in _rows(home, flow, dataset)
        ]
    for error in flow_set.problems.values():
        click.echo(f"flow left out: {error}", err=True)
    if output_format == "json":
        print_json(rows)
        return
    for (flow, dataset), group in groupby(rows, lambda row: (row["flow"], row["dataset"])):
        print_table(
            ["stage", "days", "first", "last", "files", "size", "stale", "remarks"],
            [
                [
                    row["stage"],
                    row["days"] if row["stage"] != RAW else "",
                    row["first"] or "",
                    row["last"] or "",
                    row["files"],
                    size_text(row["bytes"]),
                    _counts(row["stale"]),
                    _counts(row["remarks"]),
                ]
                for row in group
            ],
            title=f"{flow}: {dataset}",
        )
    with_datasets = {row["flow"] for row in rows}
    for flow in chosen:
        if flow.name not in with_datasets:
            click.echo(f"{flow.name}: no dataset {' or '.join(flow.patterns)} yet", err=True)
    if not chosen:
        click.echo("there is no flow yet; procezo init DATASET makes one", err=True)


def _rows(home: Home, flow: Flow, name: str) -> list[dict[str, Any]]:
    dataset = home.existing_dataset(name)
    listing = StageListing(whole=True)
    days = set(known_days(flow, dataset, flow.stages, listing))
    source, unread = _known_raw(flow, dataset)
    if source is not None and not unread:
        days |= {day for day in source.days if flow.start <= day <= today()}
    stale: dict[str, dict[str, int]] = {}
    found = stale_partitions(
        flow,
        dataset,
        flow.stages,
        days,
        source=None if unread else source,
        read=False,
        listing=listing,
        kept=source,
    )
    for one in found:
        reasons = stale.setdefault(one.stage, {})
        reasons[one.reason] = reasons.get(one.reason, 0) + 1
    for stage_name, affected in affected_days(flow, flow.stages, found).items():
        reasons = stale.setdefault(stage_name, {})
        if reading := len(affected) - sum(reasons.values()):
            reasons["reads what is stale"] = reading
    rows = []
    if source is not None:
        rows.append(
            _row(
                flow=flow,
                dataset=name,
                stage=RAW,
                days=[],
                sizes=[max(file.size, 0) for file in source.found.values()],
                stale={"new or changed": unread} if unread else {},
                remarks=_remarks(source),
            )
        )
    for stage in flow.stages:
        held, sizes = _stage_files(dataset.stage(stage.output), stage, listing)
        rows.append(
            _row(
                flow=flow,
                dataset=name,
                stage=stage.name,
                days=held,
                sizes=sizes,
                stale=stale.get(stage.name, {}),
            )
        )
    return rows


def _known_raw(flow: Flow, dataset: Dataset) -> tuple[RawSource | None, int]:
    """The raw files as they are known, and how many of them are not known as they are."""
    source = raw_source(flow, dataset)
    if source is None:
        return None, 0
    return source, source.scan_changes(Pace(deadline=0)).left


def _remarks(source: RawSource) -> dict[str, int]:
    counts = {
        "lines quarantined": source.catalog.quarantined().total(),
        "files refused": len(source.catalog.refused()),
        "files gone": len(source.missing),
        "days kept": len(source.kept_days()),
    }
    return {what: count for what, count in counts.items() if count}


def _size(path: Path) -> int:
    """The bytes of a file; zero of a link whose target is gone."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _stage_files(folder: Path, stage: Stage, listing: StageListing) -> tuple[list[date], list[int]]:
    """The days that a stage has, and the sizes of its files."""
    if stage.treatment.kind == "load":
        exported = [
            path
            for path in (folder.iterdir() if folder.is_dir() else [])
            if path.suffix in {".csv", ".parquet"} and not path.name.startswith(".")
        ]
        return sorted(read_record(folder).days), [_size(path) for path in exported]
    days = listing.days(folder)
    return sorted(days), [file.size for files in days.values() for file in files.values()]


def _row(
    *,
    flow: Flow,
    dataset: str,
    stage: str,
    days: list[date],
    sizes: list[int],
    stale: dict[str, int],
    remarks: dict[str, int] | None = None,
) -> dict[str, Any]:
    return {
        "flow": flow.name,
        "dataset": dataset,
        "stage": stage,
        "days": len(days),
        "first": days[0] if days else None,
        "last": days[-1] if days else None,
        "files": len(sizes),
        "bytes": sum(sizes),
        "stale": stale,
        "remarks": remarks or {},
    }


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())
