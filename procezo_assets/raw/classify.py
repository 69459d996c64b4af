"""Lines of a raw file to timestamps and fields, or to why they are no rows."""

from __future__ import annotations

from collections import Counter

import polars as pl

from procezo_assets.raw import header_csv, kv_csv
from procezo_assets.raw.dialect import Dialect
from procezo_assets.raw.timestamps import parse_timestamps
from procezo_assets.treatments.parse import ParseParameters, claims


def classify(
    frame: pl.DataFrame,
    dialect: Dialect,
    params: ParseParameters,  # noqa: ARG001
) -> tuple[pl.DataFrame, Counter[str]]:
    """Read the timestamp of each line, or say why it is no row.

    Args:
        frame: `line` (number in the file, from 1) and `text` of lines that are not blank.
        dialect: How the file is written.
        params: What is declared.

    Returns:
        The frame with `ts` (datetime[us, UTC]) and `problem` (string): null of a row, `header` of
        a line of the header or a comment, else the reason for quarantine; and how many timestamps
        a policy settled: `ambiguous`, `nonexistent`.
    """
    texts = frame["text"]
    if dialect.format == "kv_csv":
        stamps = parse_timestamps(
            kv_csv.timestamp_texts(texts, delimiter=dialect.delimiter), tz=dialect.timezone
        )
        problems = kv_csv.line_problems(texts, delimiter=dialect.delimiter)
        problem = stamps["problem"].fill_null(problems)
        return frame.with_columns(stamps["ts"], problem=problem), Counter()
    fields, problems = header_csv.split_lines(
        texts, delimiter=dialect.delimiter, width=len(dialect.columns)
    )
    stamps = parse_timestamps(fields[str(dialect.timestamp_columns[0] - 1)], tz=dialect.timezone)
    classified = frame.with_columns(stamps["ts"], problem=problems.fill_null(stamps["problem"]))
    header = pl.col("text").is_in(list(dialect.header_texts))
    return classified.with_columns(
        ts=pl.when(~header).then("ts"),
        problem=pl.when(header).then(pl.lit("header")).otherwise("problem"),
    ), Counter()


def read_fields(
    texts: pl.Series, dialect: Dialect, params: ParseParameters
) -> tuple[pl.DataFrame, kv_csv.FieldCounts]:
    """Cut lines that are rows into the columns that domains claim.

    Args:
        texts: The lines.
        dialect: How the file is written.
        params: What is declared.

    Returns:
        A frame of as many rows, with a string column `key:<name>` for each claimed column, null
        where the field is empty or stands for no value, with a decimal point; and what else was
        met.
    """
    if dialect.format == "kv_csv":
        return kv_csv.read_fields(texts, delimiter=dialect.delimiter, claimed=claims(params))
    return header_csv.read_fields(
        texts,
        delimiter=dialect.delimiter,
        header=list(dialect.columns),
        place=dialect.timestamp_columns[0] - 1,
        claimed=claims(params),
    )
