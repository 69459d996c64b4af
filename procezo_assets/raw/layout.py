"""The first lines of a csv file to its delimiter, its columns and the lines that are its header."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from procezo_assets.errors import DialectError
from procezo_assets.raw.date_order import ORDERS
from procezo_assets.raw.delimited import split_line
from procezo_assets.raw.header_lines import Header, Line, find_header, trimmed
from procezo_assets.raw.local_time import Clock
from procezo_assets.raw.stamp_columns import StampColumns, find_stamp_columns
from procezo_assets.raw.stamps import StampStyle, read_stamps
from procezo_assets.treatments.parse import ParseParameters

DELIMITERS = (";", "\t", ",", "|")
_WIDTHS_TRIED = 4
_LINES_OF_NAMES = 200
_ROWS_LOOKED_AT = 200
_HALF = 0.5
_SOME = 0.1


class Layout(NamedTuple):
    """How the first lines of a file are arranged.

    Args:
        delimiter: Between fields.
        stamp: Where the timestamp is.
        rows: Fields of the lines that are rows.
        width: How many columns there are.
        least: How many fields a row has at least.
        header: What the header says.
    """

    delimiter: str
    stamp: StampColumns
    rows: list[list[str]]
    width: int
    least: int
    header: Header


def find_layout(sample: Sequence[Line], params: ParseParameters) -> Layout | None:
    """Find delimiter and timestamp together: fields are right where some read as date and time.

    Args:
        sample: The first lines of a file.
        params: What is declared.

    Returns:
        The layout; None where no way of cutting gives a timestamp.

    Raises:
        DialectError: Where what is declared does not fit the file.
    """
    wanted = (params.delimiter,) if params.delimiter else DELIMITERS
    found = [one for mark in wanted for one in _candidates(sample, mark, params)]
    if not found and not params.delimiter:
        found = _candidates(sample, " ", params)
    if not found and not params.delimiter:
        found = _candidates(sample, ",", params, narrowest=1)
    if not found:
        return None
    best = min(found, key=lambda one: (one.foreign, one.stamp.vague, -sum(one.reads)))
    return _arranged(sample, best, params)


class _Candidate(NamedTuple):
    delimiter: str
    fields: list[list[str] | None]
    stamp: StampColumns
    reads: list[bool]
    foreign: float


def _candidates(
    sample: Sequence[Line], delimiter: str, params: ParseParameters, *, narrowest: int = 2
) -> list[_Candidate]:
    fields = [split_line(line.text, delimiter) for line in sample]
    widths = Counter(len(one) for one in fields if one is not None and len(one) >= narrowest)
    found = []
    problem: DialectError | None = None
    for width, _ in widths.most_common(_WIDTHS_TRIED):
        rows = [one for one in fields if one is not None and len(one) == width]
        names = params.columns or _likely_names(fields, width)
        try:
            stamp = find_stamp_columns(rows, names, params)
        except DialectError as error:
            problem = problem or error
            continue
        if stamp is None:
            continue
        reads = _which_read(fields, width, stamp, params.timestamp_format)
        if any(reads):
            foreign = _foreign(
                [one for one, is_row in zip(fields, reads, strict=True) if is_row and one],
                delimiter,
                stamp,
            )
            found.append(_Candidate(delimiter, fields, stamp, reads, foreign))
    if problem and not found:
        raise problem
    return sorted(found, key=lambda one: -sum(one.reads))[:1]


def _likely_names(fields: Sequence[Sequence[str] | None], width: int) -> Sequence[str]:
    """The line that most looks like names, for what it may say of date and time."""
    first = fields[:_LINES_OF_NAMES]
    lines = [one for one in first if one is not None and abs(len(one) - width) <= 1]
    words = [sum(bool(f) and not f[0].isdigit() for f in one) for one in lines]
    best = lines[words.index(max(words))] if lines else []
    return [field.lstrip("#%").strip() for field in best]


def _which_read(
    fields: Sequence[Sequence[str] | None], width: int, stamp: StampColumns, code: str | None
) -> list[bool]:
    """Which lines read as rows, in any order of the date."""
    last = max(stamp.places)
    texts = [
        [None if one is None or len(one) <= last else one[place] for one in fields]
        for place in stamp.places
    ]
    frame = pl.DataFrame(
        {str(at): pl.Series(column, dtype=pl.String) for at, column in enumerate(texts)}
    )
    reads = pl.repeat(value=False, n=len(fields), eager=True)
    for order in ORDERS if stamp.kind == "text" else ORDERS[:1]:
        style = StampStyle(stamp.kind, stamp.parts, code, stamp.style, order)
        stamps, _ = read_stamps(frame, style, Clock())
        reads |= stamps["ts"].is_not_null() | (stamps["problem"] == "timezone").fill_null(False)
    return [
        bool(read) and one is not None and _HALF * width <= len(one)
        for read, one in zip(reads, fields, strict=True)
    ]


def _foreign(rows: Sequence[Sequence[str]], delimiter: str, stamp: StampColumns) -> float:
    """The part of the fields that hold another delimiter, so that this one may be wrong."""
    others = [mark for mark in DELIMITERS if mark != delimiter]
    values = [
        f
        for row in rows[:_ROWS_LOOKED_AT]
        for at, f in enumerate(row)
        if at not in stamp.places and f
    ]
    strange = sum(
        any(mark in field for mark in others)
        and not re.fullmatch(r"[-+]?[0-9]*,[0-9]+(?:[eE][-+]?[0-9]+)?", field)
        for field in values
    )
    return round(strange / max(1, len(values)), 2)


def _arranged(sample: Sequence[Line], chosen: _Candidate, params: ParseParameters) -> Layout:
    rows = [one for one, is_row in zip(chosen.fields, chosen.reads, strict=True) if one and is_row]
    usual = _filled(rows, share=1)
    first = chosen.reads.index(True)
    header = find_header(
        sample,
        chosen.fields,
        first=first,
        width=usual,
        stamp=chosen.stamp,
        delimiter=chosen.delimiter,
        params=params,
    )
    if header.width and (params.columns or chosen.delimiter != " "):
        usual = _named_fields(rows, usual, header.width)
    # without names, rows that are longer than most may be right as well
    filled = usual if header.names else _filled(rows, share=_SOME)
    width = max(filled, len(header.names), max(chosen.stamp.places) + 1)
    least = _least_fields(rows, width, chosen)
    return Layout(chosen.delimiter, chosen.stamp, rows, width, least, header)


def _named_fields(rows: Sequence[list[str]], usual: int, named: int) -> int:
    """Rows of more fields than names are damaged; where most are, it is not known what they say."""
    longer = sum(len(trimmed(row)) > named for row in rows)
    if longer > _HALF * len(rows):
        raise DialectError(
            "columns",
            f"rows have {usual} fields, and {named} columns are named: a decimal sign that is also "
            "the delimiter?",
            "set columns to the names of all columns",
        )
    return min(usual, named)


def _filled(rows: Sequence[list[str]], *, share: float) -> int:
    """How many fields rows fill: behind the last one are delimiters that end a line.

    Args:
        rows: Fields of rows.
        share: Of the most frequent number of fields, how often another must occur to count.
    """
    widths = Counter(len(row) for row in rows)
    enough = share * max(widths.values())
    return max(len(trimmed(row)) for row in rows if widths[len(row)] >= enough)


def _least_fields(rows: Sequence[list[str]], width: int, chosen: _Candidate) -> int:
    """How many fields a row must have: a column that is mostly empty may be left out at the end."""
    counts = [sum(len(row) > place and bool(row[place]) for row in rows) for place in range(width)]
    often = [place for place in range(width) if counts[place] >= _HALF * len(rows)]
    return max([*often, *chosen.stamp.places]) + 1
