"""`procezo inspect`: what a raw file looks like to the pipeline."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from procezo_assets.cli.home import JsonObject, format_option
from procezo_assets.cli.output import counts_text, print_json, print_table, size_text
from procezo_assets.harmless import harmless

if TYPE_CHECKING:
    import polars as pl

    from procezo_assets.raw.inspection import Inspection


_SHOWN = 5  # first values of each column


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--params",
    "given",
    type=JsonObject(),
    default="{}",
    help='Parameters of parse: {"name": value}.',
)
@format_option
def inspect(file: Path, given: dict[str, Any], output_format: str) -> None:
    """Show how FILE is read: dialect, columns, rows, time range, problems."""
    from procezo_assets.raw.inspection import inspect_file  # noqa: PLC0415 - loads Polars

    found = inspect_file(file, given)
    counts = found.counts
    dialect = {name: value for name, value in found.params.items() if value not in (None, [], {})}
    if output_format == "json":
        print_json(
            {
                "file": str(file),
                "size": counts.size,
                "sha256": counts.sha256,
                "logger": found.dialect.logger,
                "container": found.dialect.container,
                "lines": counts.lines,
                "rows": counts.rows,
                "header": counts.header,
                "blank": counts.blank,
                "quarantined": sum(counts.quarantined.values()),
                "quarantine_reasons": counts.quarantined,
                "columns": list(found.columns),
                "units": dict(found.dialect.units),
                "first_utc": counts.first,
                "last_utc": counts.last,
                "out_of_order": counts.notes.get("out_of_order", 0),
                "duplicate_ts": found.duplicate_ts,
                "dialect": dialect,
                "timezone_from": found.dialect.timezone_from,
                "problems": list(found.problems),
            }
        )
        return
    _print_text(file, found, dialect)


def _print_text(file: Path, found: Inspection, dialect: dict[str, Any]) -> None:
    counts = found.counts
    kind = [found.dialect.logger, found.dialect.container]
    click.echo(harmless(", ".join([f"{file}: {size_text(counts.size)}", *filter(None, kind)])))
    reasons = f" ({counts_text(counts.quarantined)})" if counts.quarantined else ""
    click.echo(
        f"{counts.lines:,} lines: {counts.rows:,} rows, {counts.header:,} header, "
        f"{counts.blank:,} blank, {sum(counts.quarantined.values()):,} in quarantine{reasons}"
    )
    click.echo(f"{_instant(counts.first)} to {_instant(counts.last)}")
    shown = {**dialect, "timezone": f"{dialect['timezone']} ({found.dialect.timezone_from})"}
    shown.pop("columns", None)
    shown.pop("units", None)
    print_table(["dialect", ""], [[name, _shown(value)] for name, value in shown.items()])
    preview = found.preview.head(_SHOWN)
    units = found.dialect.units
    print_table(
        ["column", "unit", "first values"],
        [
            [column, units.get(column, ""), _first_values(preview, column)]
            for column in found.columns
        ],
    )
    for problem in found.problems:
        click.echo(harmless(f"- {problem}"))


def _first_values(preview: pl.DataFrame, column: str) -> str:
    values = preview[column].to_list() if column in preview.columns else []
    return ", ".join("" if value is None else str(value) for value in values)


def _instant(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat().replace("+00:00", "Z")


def _shown(value: object) -> str:
    return (
        ", ".join(map(str, value))
        if isinstance(value, list)
        else repr(value)
        if value in {" ", "\t"}
        else str(value)
    )
