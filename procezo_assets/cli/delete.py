"""`procezo delete`: remove a dataset, after asking."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path

import click

from procezo_assets.cli.home import current_home, load
from procezo_assets.cli.output import print_table, size_text
from procezo_assets.datasets import RAW_FOLDER, Home
from procezo_assets.flows import Flow
from procezo_assets.portability.deleting import (
    Removal,
    plan_removal,
    removable_dataset,
    remove_dataset,
)
from procezo_assets.settings import load_settings


@click.command()
@click.argument("dataset")
@click.option("--keep-raw", is_flag=True, help="Delete results only: all but 00_raw.")
@click.option("--keep-databases", is_flag=True, help="Leave rows in DuckDB and PostgreSQL.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(*, dataset: str, keep_raw: bool, keep_databases: bool, yes: bool) -> None:
    """Remove DATASET: raw files, results, rows in databases, what catalog and Dagster know.

    Shows what would go, and asks. Flows and treatments stay, and so does Dagster's history of
    runs. Interrupted, it can be run again.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError(
            "there is no terminal to ask at; to delete without being asked, add --yes"
        )
    home = current_home()
    _, flows = load(home)
    chosen = [flow for flow in flows.flows.values() if flow.takes_dataset(dataset)]
    removal = plan_removal(
        removable_dataset(home, dataset), chosen, keep_raw=keep_raw, keep_databases=keep_databases
    )
    for error in flows.problems.values():
        click.echo(f"flow left out, what it loaded stays: {error}", err=True)
    _print(removal)
    if not yes:
        click.echo(f"to keep a copy: procezo export {shlex.quote(dataset)} --with-stages", err=True)
        if not click.confirm("Delete all this for good?", default=False, err=True):
            raise click.ClickException("nothing was deleted")
    remove_dataset(removal, partial(_forget_partitions, home, chosen, dataset))
    click.echo(f"deleted {'the results of ' if keep_raw else ''}dataset '{dataset}'")


def _print(removal: Removal) -> None:
    rows: list[list[object]] = [
        [
            f"{'raw files' if name == RAW_FOLDER else 'folder'} {name}",
            one.files,
            size_text(one.size),
        ]
        for name, one in removal.folders.items()
    ]
    rows += [[f"rows of {table}", count, ""] for table, count in removal.rows.items()]
    if removal.catalog:
        rows.append(["raw files in the catalog", removal.catalog, ""])
    if not removal.keep_raw:
        rows += [[f"partitions of {flow.name} in Dagster", "", ""] for flow in removal.flows]
    print_table(["what goes", "number", "size"], rows, title=f"dataset '{removal.dataset.name}'")


def _forget_partitions(home: Home, flows: list[Flow], dataset: str) -> None:
    settings = load_settings()
    folder = settings.dagster_home or home.path
    if not flows or not Path(folder, "dagster.yaml").is_file():
        return  # Dagster has never run here
    from procezo_assets.orchestration.launch import (  # noqa: PLC0415 - Dagster takes a second
        prepare_instance,
    )
    from procezo_assets.orchestration.partitions import forget_dataset  # noqa: PLC0415 - as above

    prepare_instance(home)
    forget_dataset(flows, dataset)
