"""Results on stdout: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from procezo_assets.harmless import harmless, harmless_json

_PIPED_WIDTH = 160


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print JSON; instants in UTC with `Z`, a fraction only where not zero."""
    click.echo(harmless_json(json.dumps(value, indent=2, ensure_ascii=False, default=_plain)))


def shortened(text: str, *, longest: int = 80) -> str:
    """The beginning of a text from a file, in one harmless line."""
    return harmless(text if len(text) <= longest else text[: longest - 1] + "…")


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = ""
) -> None:
    """Print a table; columns whose values are all numbers are set to the right."""
    console = Console()
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    heading = Text(harmless(title)) if title else None
    table = Table(box=box.SIMPLE_HEAD, title=heading, title_justify="left", pad_edge=False)
    for place, column in enumerate(columns):
        values = [row[place] for row in rows]
        numeric = bool(values) and all(isinstance(v, int | float) for v in values if v != "")
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    console.print(table)


def size_text(size: int) -> str:
    """Write a number of bytes for people."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:  # noqa: PLR2004 - a kilo
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def counts_text(counts: dict[str, int]) -> str:
    """Write counts by reason for people."""
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.items())


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return "\n".join(map(harmless, str(value).split("\n")))


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    return str(value)
