"""The `csv` dialect: a header line that names the columns, then one line a row."""

from __future__ import annotations

import csv
from collections.abc import Callable

import polars as pl

from procezo_assets.raw.kv_csv import KEY_COLUMN_PREFIX, FieldCounts


def read_header(line: str, *, delimiter: str) -> list[str] | None:
    """Read the column names, trimmed; None where the line's quotes do not close."""
    names = _split_quoted(line, delimiter)
    return None if names is None else [name.strip() for name in names]


def timestamp_place(header: list[str], timestamp_column: str | None) -> int | None:
    """Find the column that holds the timestamp.

    Args:
        header: The column names.
        timestamp_column: The declared one; None takes `ts`, or else the first column.

    Returns:
        Its place, or None where the declared one is not there.
    """
    if timestamp_column is None:
        return header.index("ts") if "ts" in header else 0
    return header.index(timestamp_column) if timestamp_column in header else None


def split_lines(lines: pl.Series, *, delimiter: str, width: int) -> tuple[pl.DataFrame, pl.Series]:
    """Cut lines into fields.

    Args:
        lines: Whole lines, one a row.
        delimiter: One character.
        width: How many fields the header has.

    Returns:
        A frame of string columns `0`, `1`, …; and for each line null, or `field_count` or `quotes`
        where it cannot be a row.
    """
    frame = lines.rename("line").to_frame().with_row_index("row")
    quoted = frame.filter(pl.col("line").str.contains('"', literal=True))
    plain = frame.filter(~pl.col("line").str.contains('"', literal=True))
    names = [str(place) for place in range(width)]
    cut = plain.select(
        "row",
        pl.col("line").str.split_exact(delimiter, width - 1).struct.rename_fields(names),
        problem=pl.when(
            pl.col("line").str.count_matches(delimiter, literal=True) != width - 1
        ).then(pl.lit("field_count")),
    ).unnest("line")
    if quoted.height:
        cut = pl.concat([cut, _cut_quoted(quoted, delimiter, names, cut.schema)]).sort("row")
    return cut.select(names), cut["problem"]


def read_fields(
    lines: pl.Series,
    *,
    delimiter: str,
    header: list[str],
    place: int,
    claimed: Callable[[str], bool],
) -> tuple[pl.DataFrame, FieldCounts]:
    """Cut lines into the values of the columns that are claimed.

    Args:
        lines: Whole lines that are rows, one a row.
        delimiter: One character.
        header: The column names.
        place: Which column is the timestamp.
        claimed: Tells whether a domain takes a column.

    Returns:
        A frame of as many rows as lines, with one string column `key:<name>` for each claimed
        column, null where the field is empty; and what else was met.
    """
    counts = FieldCounts()
    fields, _ = split_lines(lines, delimiter=delimiter, width=len(header))
    chosen: dict[str, int] = {}
    for at, name in enumerate(header):
        if at == place:
            continue
        if not claimed(name):
            if name:
                counts.unclaimed[name] += len(lines)
            continue
        counts.repeated += len(lines) if name in chosen else 0
        chosen[name] = at
    picked = fields.select(
        pl.col(str(at)).alias(KEY_COLUMN_PREFIX + name) for name, at in chosen.items()
    )
    return picked.with_columns(pl.all().replace("", None)), counts


def _cut_quoted(
    quoted: pl.DataFrame, delimiter: str, names: list[str], schema: pl.Schema
) -> pl.DataFrame:
    rows: list[list[object]] = []
    for row, line in quoted.rows():
        fields = _split_quoted(line, delimiter)
        problem = "quotes" if fields is None else None
        if fields is not None and len(fields) != len(names):
            problem = "field_count"
        rows.append([row, *(fields if fields and not problem else [None] * len(names)), problem])
    return pl.DataFrame(rows, schema=schema, orient="row")


def _split_quoted(line: str, delimiter: str) -> list[str] | None:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return None
