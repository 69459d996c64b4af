"""`procezo run`: one treatment on folders, outside any flow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from procezo_assets.cli.home import current_home, params_option
from procezo_assets.cli.output import counts_text, print_table
from procezo_assets.errors import PartitionError, ProcezoError
from procezo_assets.folders import run_on_folders
from procezo_assets.harmless import harmless
from procezo_assets.pipeline import StageDone
from procezo_assets.runs import DayFailed, StageLoaded
from procezo_assets.treatments.registry import load_registry


@click.command()
@click.argument("treatment")
@click.option(
    "--input",
    "input_folder",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of raw files for parse, otherwise of domain=…/day=…/*.parquet.",
)
@click.option(
    "--output",
    "output_folder",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder to write.",
)
@params_option
def run(treatment: str, input_folder: Path, output_folder: Path, params: dict[str, Any]) -> None:
    """Run TREATMENT on one folder and write another, outside any flow and without Dagster."""
    if not input_folder.is_dir():
        raise PartitionError(f"--input {input_folder} is not a folder", "name one that is there")
    if input_folder.resolve() == output_folder.resolve():
        raise click.UsageError("--input and --output are the same folder")
    home = current_home()
    found = load_registry(home).get(treatment)
    rows: list[list[object]] = []
    failures: list[str] = []
    for event in run_on_folders(home, found, input_folder, output_folder, params):
        if isinstance(event, StageDone):
            ledger = event.ledger
            removed = {**ledger.rows_removed, **ledger.removed_by_reason()}
            rows.append([event.day, len(event.files), ledger.rows_out, counts_text(removed)])
            warnings = event.warnings
        elif isinstance(event, StageLoaded):
            rows.extend([day, "", count, ""] for day, count in event.result.rows.items())
            warnings = event.result.warnings
        else:
            warnings = ()
        for warning in warnings:
            click.echo(harmless(f"warning: {warning}"), err=True)
        if isinstance(event, DayFailed):
            failures.append(f"{event.day}: {event.reason}")
    print_table(
        ["day", "files", "rows", "removed by reason"], sorted(rows, key=lambda row: str(row[0]))
    )
    if failures:
        raise ProcezoError(f"{len(failures)} days failed, first {min(failures)}")
