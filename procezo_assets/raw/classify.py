"""Lines of a raw file to timestamps and fields, or to why they are no rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import polars as pl

from procezo_assets.raw import kv_csv
from procezo_assets.raw.delimited import cut, split_line
from procezo_assets.raw.dialect import Dialect
from procezo_assets.raw.header_lines import is_title, looks_like_names, trimmed
from procezo_assets.raw.headers import read_cell
from procezo_assets.raw.local_time import Clock, within_years
from procezo_assets.raw.stamps import StampStyle, read_stamps
from procezo_assets.raw.timestamps import parse_timestamps
from procezo_assets.treatments.parse import TYPES, ParseParameters

# What ends lines elsewhere stands within this one: rows that are glued together.
_INNER_CR = r"\r[^\r]"

# The reason of lines from a header on that names other columns than the file's first.
OTHER_HEADER = "other_header"

# Words that stand for no value in what loggers and spreadsheets write, whatever is declared.
NULL_WORDS = ("na", "n/a", "#n/a", "nan", "null", "none", "-", "--", "---")


def classify(
    frame: pl.DataFrame, dialect: Dialect, params: ParseParameters
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
    clock = Clock(dialect.timezone, params.ambiguous, params.nonexistent)
    if dialect.format == "kv_csv":
        stamp_texts, rest = kv_csv.cut_stamps(texts, delimiter=dialect.delimiter)
        stamps, settled = parse_timestamps(stamp_texts, clock=clock)
        stamps = within_years(stamps)
        problems = kv_csv.field_problems(rest, delimiter=dialect.delimiter)
        problem = stamps["problem"].fill_null(problems)
        return frame.with_columns(stamps["ts"], problem=problem), settled
    places = [place - 1 for place in dialect.timestamp_columns]
    fields, problems = cut(
        texts,
        delimiter=dialect.delimiter,
        places=places,
        width=len(dialect.columns),
        least=dialect.least_fields,
    )
    style = StampStyle(
        dialect.timestamp_kind,
        dialect.timestamp_parts,
        dialect.timestamp_format,
        dialect.date_style,
        dialect.date_orders[0],
        dialect.zone_words,
        zoned=dialect.timezone_from == "timestamps",
    )
    stamps, settled = read_stamps(fields.select(map(str, places)), style, clock)
    stamps = within_years(stamps)
    glued = texts.str.contains(_INNER_CR).replace_strict({True: "line_break"}, default=None)
    problems = glued.fill_null(problems).fill_null(stamps["problem"])
    classified = frame.with_columns(stamps["ts"], problem=problems)
    again, other = _headers_below(classified, dialect)
    above = pl.col("line") <= dialect.header_lines
    if "header_row" not in dialect.declared:  # a row is a row, wherever it stands
        above &= pl.col("problem").is_not_null()
    header = above | pl.lit(again)
    past = pl.lit(value=False) if dialect.ends is None else pl.col("line") >= dialect.ends
    behind = (pl.lit(other).cum_max() | past) & ~header
    return classified.with_columns(
        problem=pl.when(header)
        .then(pl.lit("header"))
        .when(behind)
        .then(pl.lit(OTHER_HEADER))
        .otherwise("problem")
    ).with_columns(ts=pl.when(pl.col("problem").is_null()).then("ts")), settled


def _headers_below(classified: pl.DataFrame, dialect: Dialect) -> tuple[pl.Series, pl.Series]:
    """Which lines are comments or the header again, and which are another header.

    A logger that was restarted writes its header again. Where files were joined it may be another
    one, and the lines behind it cannot be read by the names of the first.
    """
    texts = classified["text"]
    bad = classified["problem"].is_not_null()
    same = bad & texts.is_in(list(dialect.header_texts))
    again: list[str] = []
    other: list[str] = []
    names = [read_cell(text).name for text in dialect.headers]
    for text in texts.filter(bad & ~same).unique():
        cells = trimmed(split_line(text, dialect.delimiter) or [])
        if is_title(text, dialect.delimiter) or [read_cell(cell).name for cell in cells] == names:
            again.append(text)
        elif any(names) and looks_like_names(cells, [p - 1 for p in dialect.timestamp_columns]):
            other.append(text)
    below = classified["line"] > dialect.header_lines
    return same | (bad & texts.is_in(again)), bad & below & texts.is_in(other)


def read_fields(
    texts: pl.Series, dialect: Dialect, params: ParseParameters
) -> tuple[pl.DataFrame, kv_csv.FieldCounts]:
    """Cut lines that are rows into the columns that domains claim.

    Args:
        texts: The lines.
        dialect: How the file is written.
        params: What is declared.

    Returns:
        A frame of as many rows, with a column `key:<name>` for each claimed column: strings, null
        where the field is empty or stands for no value, with a decimal point, or numbers; and what
        else was met.
    """
    if dialect.format == "kv_csv":
        cut_fields, counts = kv_csv.read_fields(
            texts, delimiter=dialect.delimiter, type_of=_types(params)
        )
        return _without_nulls(cut_fields, dialect, params, counts, words=False), counts
    counts = kv_csv.FieldCounts()
    chosen = _claimed_places(dialect, params, counts, len(texts))
    if not chosen:
        return pl.DataFrame(), counts
    fields, _ = cut(
        texts,
        delimiter=dialect.delimiter,
        places=list(chosen.values()),
        width=len(dialect.columns),
        least=dialect.least_fields,
    )
    picked = fields.select(
        pl.col(str(place)).replace("", None).alias(kv_csv.KEY_COLUMN_PREFIX + key)
        for key, place in chosen.items()
    )
    return _without_nulls(picked, dialect, params, counts, words=True), counts


def _types(params: ParseParameters) -> Callable[[str], pl.DataType | None]:
    """What the fields of a key are read as; texts where some of them stand for no value."""

    def type_of(key: str) -> pl.DataType | None:
        domain = params.domain_of(key)
        if domain is None:
            return None
        return pl.String() if params.null_values else TYPES[params.domains[domain].dtype]

    return type_of


def _claimed_places(
    dialect: Dialect, params: ParseParameters, counts: kv_csv.FieldCounts, rows: int
) -> dict[str, int]:
    """The claimed columns: by the spelling that a domain uses, else the short name."""
    chosen: dict[str, int] = {}
    for place, name in enumerate(dialect.columns):
        if place + 1 in dialect.timestamp_columns:
            continue
        header = dialect.headers[place] if place < len(dialect.headers) else ""
        spellings = [spelling for spelling in (name, header) if spelling and spelling not in chosen]
        named = (s for s in spellings if any(d.names(s) for d in params.domains.values()))
        key = next(named, name)
        if params.domain_of(key) is None:
            counts.unclaimed[name] += rows
        else:
            chosen[key] = place
    return chosen


def _without_nulls(
    fields: pl.DataFrame,
    dialect: Dialect,
    params: ParseParameters,
    counts: kv_csv.FieldCounts,
    *,
    words: bool,
) -> pl.DataFrame:
    """Values that stand for none become null, counted; a decimal comma becomes a point."""
    if not words and not params.null_values:
        return fields
    numbers = [value for value in params.null_values if not isinstance(value, str)]
    texts = [value for value in params.null_values if isinstance(value, str)]
    columns: list[pl.Series] = []
    for column in fields:
        trimmed = column.str.strip_chars()
        none = trimmed.is_in(texts)
        if words:
            none |= trimmed.str.to_lowercase().is_in(list(NULL_WORDS))
        values = column
        if dialect.decimal == ",":  # a point would then be a separator of thousands: no number
            values = values.str.replace_many([",", "."], [".", ","])
        if numbers:
            none |= (
                values.str.strip_chars()
                .cast(pl.Float64, strict=False)
                .is_in([float(value) for value in numbers])
            )
        none = none.fill_null(value=False)
        met = int(none.sum())
        if met:
            counts.nulls[column.name.removeprefix(kv_csv.KEY_COLUMN_PREFIX)] += met
            values = values.set(none, None)
        columns.append(values.alias(column.name))
    return pl.DataFrame(columns) if columns else fields
