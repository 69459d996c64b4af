"""Lines of delimited text to fields, quoted or not, empty ones at the end left out or not."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

import polars as pl

_BLANKS = " \t\u00a0"
# Between the fields of lines whose quotes had to be read one by one.
_UNIT_SEPARATOR = "\x1f"


def split_line(text: str, delimiter: str) -> list[str] | None:
    """Cut one line into trimmed fields; None where its quotes do not close.

    Args:
        text: The line.
        delimiter: One character; a blank stands for any run of blanks.
    """
    if delimiter == " ":
        text = " ".join(text.split())
    if '"' not in text:
        return [field.strip(_BLANKS) for field in text.split(delimiter)]
    try:
        rows = csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=True)
        return [field.strip(_BLANKS) for field in next(rows, [])]
    except csv.Error:
        return None


def cut(
    lines: pl.Series, *, delimiter: str, places: Sequence[int], width: int, least: int
) -> tuple[pl.DataFrame, pl.Series]:
    """Cut some fields out of lines.

    Args:
        lines: Whole lines, one a row.
        delimiter: One character; a blank stands for any run of blanks.
        places: Which fields, from 0.
        width: How many fields a line has; more of them are fine where they are empty.
        least: How many it has at least.

    Returns:
        A frame of trimmed string columns `0`, `1`, … named by place; and for each line null, or
        `field_count` or `quotes` where it cannot be a row.
    """
    frame = lines.rename("line").to_frame().with_row_index("row")
    if delimiter == " ":
        frame = frame.with_columns(
            pl.col("line").str.strip_chars().str.replace_all(r"[\s\u00a0]+", " ")
        )
    quoted = frame["line"].str.contains('"', literal=True)
    if not quoted.any():
        fields, problems = _cut_plain(frame["line"], delimiter, places, width, least)
        return fields, problems
    mark = re.escape(delimiter)
    whole = rf'^(?:[ \t]*"[^"{mark}]*"[ \t]*|[^"{mark}]*)'
    simple = rf'{whole}(?:{mark}(?:[ \t]*"[^"{mark}]*"[ \t]*|[^"{mark}]*))*$'
    alone = ~quoted | frame["line"].str.contains(simple)
    unquoted = frame.filter(alone).with_columns(
        pl.col("line").str.replace_all('"', "", literal=True)
    )
    careful = frame.filter(~alone)
    broken = [split_line(text, delimiter) for text in careful["line"]]
    joined = pl.Series(
        [None if fields is None else _UNIT_SEPARATOR.join(fields) for fields in broken],
        dtype=pl.String,
    )
    pieces = []
    for rows, texts, separator in (
        (unquoted["row"], unquoted["line"], delimiter),
        (careful["row"], joined, _UNIT_SEPARATOR),
    ):
        fields, problems = _cut_plain(texts, separator, places, width, least)
        pieces.append(fields.with_columns(rows, problems))
    both = pl.concat(pieces).sort("row")
    return both.drop("row", "problem"), both["problem"]


def _cut_plain(
    lines: pl.Series, delimiter: str, places: Sequence[int], width: int, least: int
) -> tuple[pl.DataFrame, pl.Series]:
    """Cut lines without quotes; null stands for one whose quotes do not close."""
    found = lines.str.count_matches(delimiter, literal=True) + 1
    bare = rf"^[{re.escape(delimiter)}\s]*$"
    over = (found > width).fill_null(False)
    if over.any():  # what is beyond the last column must be empty
        rest = lines.filter(over).str.splitn(delimiter, width + 1).struct.field(f"field_{width}")
        over = over.scatter(over.arg_true(), ~rest.str.contains(bare))
    problems = (
        pl.DataFrame({"found": found, "over": over})
        .select(
            problem=pl.when(pl.col("found").is_null())
            .then(pl.lit("quotes"))
            .when((pl.col("found") < least) | pl.col("over"))
            .then(pl.lit("field_count"))
        )
        .to_series()
    )
    last = max(places)
    # a frame, as taking one of a thousand fields from a struct takes as long as taking all
    fields = lines.str.split_exact(delimiter, last).struct.unnest()
    columns = fields.select(
        pl.col(f"field_{place}").str.strip_chars().alias(str(place))
        for place in dict.fromkeys(places)
    )
    return columns, problems
