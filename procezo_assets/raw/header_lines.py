"""The lines above the first row of a csv file: titles, comments, names of columns, units."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from procezo_assets.errors import DialectError
from procezo_assets.raw.delimited import split_line
from procezo_assets.raw.stamp_columns import StampColumns, names_time
from procezo_assets.raw.units import is_unit
from procezo_assets.treatments.parse import ParseParameters

_COMMENT = re.compile(r"\s*(?:#|%|//)")
_RULE = re.compile(r"[-=_+|*#\s;,\t]+")
_NUMBER = re.compile(r"[-+]?[0-9]*[.,]?[0-9]+(?:[eE][-+]?[0-9]+)?")
_DATED = re.compile(r"[0-9]+[-/.:][0-9]+")
_HALF = 0.5
_CAMPBELL = ("TOA5", "TOACI1")  # the line of the logger, above the names
_TITLES = (*_CAMPBELL, "Plot Title")
_LOGGERS_OWN = {"TS", "RN"}  # Campbell: timestamp and record number, in the line of units


class Line(NamedTuple):
    """A line of a file that is not blank.

    Args:
        number: From 1.
        text: What it says.
    """

    number: int
    text: str


class Header(NamedTuple):
    """What stands above the rows.

    Args:
        names: What columns are called, as declared or as the header says; "" where it says nothing.
        row: The line of names, where there is one.
        units: From a line of units, by place.
        lines: The lines that are header, title or comment, from the file's start.
        problem: What a person should know.
        texts: What the header says of each column, whatever is declared.
        width: How many columns are named, blank names too; 0 where none is.
    """

    names: list[str]
    row: Line | None
    units: dict[int, str]
    lines: list[Line]
    problem: str = ""
    texts: Sequence[str] = ()
    width: int = 0


def is_comment(text: str, delimiter: str) -> bool:
    """Tell whether a line is a comment; HOBO calls its first column `#`."""
    marked = _COMMENT.match(text)
    return marked is not None and text[marked.end() : marked.end() + 1] != delimiter.strip(" ")[:1]


def is_title(text: str, delimiter: str) -> bool:
    """Tell whether a line is a comment, or the title that a known logger begins a file with."""
    return is_comment(text, delimiter) or text.lstrip('"\ufeff').startswith(_TITLES)


def looks_like_names(cells: Sequence[str], places: Sequence[int]) -> bool:
    """Tell whether fields are names of columns: words, of time where the timestamp is."""
    words = [cell for cell in cells if cell]
    numbers = any(_NUMBER.fullmatch(cell) or _DATED.match(cell) for cell in words)
    timed = any(names_time(cells[place]) for place in places if place < len(cells))
    return len(words) > 1 and timed and not numbers


def find_header(
    sample: Sequence[Line],
    fields: Sequence[list[str] | None],
    *,
    first: int,
    width: int,
    stamp: StampColumns,
    delimiter: str,
    params: ParseParameters,
) -> Header:
    """Find the header of a file.

    Args:
        sample: Its first lines.
        fields: The fields of each.
        first: Which of them is the first row.
        width: How many columns rows fill.
        stamp: Where the timestamp is.
        delimiter: Between fields.
        params: What is declared.

    Raises:
        DialectError: Where the declared `header_row` or `columns` do not fit the file.
    """
    at = _declared_row(sample, params)
    if at is None and params.header_row is None:
        at = _names_row(sample, fields, first=first, width=width, stamp=stamp, delimiter=delimiter)
    declared = list(params.columns or ())
    if at is None:
        titles = _titles(sample[:first], fields, delimiter, width)
        return Header(declared, None, {}, titles, texts=declared, width=len(declared))
    raw = _cells(sample[at].text, delimiter)
    names, problem = _aligned(raw, width, stamp, delimiter)
    if at > first and params.header_row is None:  # rows above it are rows all the same
        titles = _titles(sample[:first], fields, delimiter, width)
        said = f"the names of the columns are in line {sample[at].number}, below rows"
        return Header(declared or names, sample[at], {}, titles, said, names, width)
    units: dict[int, str] = {}
    last = at
    campbell = any(line.text.lstrip('"').startswith(_CAMPBELL) for line in sample[:at])
    for below in range(at + 1, max(first, at + 1)):
        cells = _cells(sample[below].text, delimiter)
        told = _units(cells, certain=campbell and below == at + 1)
        if told and not units:
            units = told
        elif not (
            is_comment(sample[below].text, delimiter)
            or _RULE.fullmatch(sample[below].text)
            or not any(_NUMBER.fullmatch(cell) or _DATED.match(cell) for cell in cells)
        ):
            break
        last = below
    named = len(declared) or max(len(raw), len(names))
    return Header(
        names=declared or names,
        row=sample[at],
        units=units,
        lines=list(sample[: last + 1]) if at < first else [sample[at]],
        problem="" if declared else problem,
        texts=names,
        width=named if declared or not problem else 0,
    )


def _declared_row(sample: Sequence[Line], params: ParseParameters) -> int | None:
    if not params.header_row:
        return None
    for at, line in enumerate(sample):
        if line.number == params.header_row:
            return at
    raise DialectError(
        "header_row", f"line {params.header_row}, the declared header, is blank or not there"
    )


def _names_row(
    sample: Sequence[Line],
    fields: Sequence[list[str] | None],
    *,
    first: int,
    width: int,
    stamp: StampColumns,
    delimiter: str,
) -> int | None:
    """The line with the most different names; of equal ones the first, the next may be units."""
    for at, line in enumerate(sample[: max(first - 1, 0)]):
        if line.text.lstrip('"').startswith(_CAMPBELL):
            return at + 1
    plain: dict[int, int] = {}
    commented: dict[int, int] = {}
    for at in range(first):
        comment = is_comment(sample[at].text, delimiter)
        cells = _cells(sample[at].text, delimiter)
        if not _may_name(cells, width, stamp, delimiter):
            continue
        score = len({cell for cell in cells if cell and not is_unit(cell)})
        (commented if comment else plain)[at] = score
    if plain:
        return max(plain, key=lambda at: (plain[at], -at))
    if commented:
        block = max(commented)
        while block - 1 in commented:
            block -= 1
        near = {at: score for at, score in commented.items() if at >= block}
        return max(near, key=lambda at: (near[at], -at))
    return _later_names_row(fields, first=first, width=width, stamp=stamp, delimiter=delimiter)


def _later_names_row(
    fields: Sequence[list[str] | None],
    *,
    first: int,
    width: int,
    stamp: StampColumns,
    delimiter: str,
) -> int | None:
    """Of shuffled lines, the header may come below rows."""
    for at in range(first + 1, len(fields)):
        later = fields[at]
        if later and len(later) == width and _may_name(later, width, stamp, delimiter):
            words = [cell for cell in later if not _NUMBER.fullmatch(cell)]
            if len(set(words)) == width and all(names_time(later[p]) for p in stamp.places):
                return at
    return None


def _may_name(cells: Sequence[str], width: int, stamp: StampColumns, delimiter: str) -> bool:
    filled = len(trimmed(cells))
    if delimiter == " ":
        enough = abs(filled - width) <= 1
    else:
        enough = filled >= min(2, width) and filled >= _HALF * width
    numbers = sum(bool(_NUMBER.fullmatch(cell)) for cell in cells)
    return (
        enough
        and numbers < max(1, _HALF * filled)
        and not _NUMBER.fullmatch(cells[stamp.places[0]] if stamp.places[0] < len(cells) else "")
    )


def _aligned(
    cells: list[str], width: int, stamp: StampColumns, delimiter: str
) -> tuple[list[str], str]:
    """Put names over their columns where the header has one more or one fewer than the rows."""
    names = trimmed(cells)
    if len(names) == width - 1:
        date = stamp.places[0]
        if delimiter == " " and len(stamp.places) > 1 and stamp.places[1] == date + 1:
            return [*names[: date + 1], "", *names[date + 1 :]], ""
        over = names[date] if date < len(names) else ""
        if date and names_time(names[date - 1]) and not names_time(over):
            return ["", *names], ""  # as R writes tables: no name over the names of rows
    if delimiter == " " and len(names) != width:
        return [], (
            f"the header has {len(names)} words and rows have {width} fields, so columns are named "
            "by their place; set columns"
        )
    return names, ""


def _units(cells: Sequence[str], *, certain: bool) -> dict[int, str]:
    filled = {at: cell for at, cell in enumerate(cells) if cell and cell not in _LOGGERS_OWN}
    known = sum(is_unit(cell.strip("[]()")) for cell in filled.values())
    if certain or (filled and known >= _HALF * len(filled)):
        return {
            at: cell.strip("[]()")
            for at, cell in filled.items()
            if certain or is_unit(cell.strip("[]()")) or cell.startswith("[")
        }
    return {}


def _titles(
    above: Sequence[Line], fields: Sequence[list[str] | None], delimiter: str, width: int
) -> list[Line]:
    """Titles and comments from the start; a line of numbers is a damaged row instead.

    Of much fewer fields than rows, it is one only where all are numbers: `37.7 -105.9 2317 m` is
    where a station is.
    """
    titles: list[Line] = []
    for line, cells in zip(above, fields, strict=False):
        filled = [cell for cell in cells or () if cell]
        numbers = sum(bool(_NUMBER.fullmatch(cell)) for cell in filled)
        enough = _HALF * len(filled) if len(filled) >= _HALF * width else len(filled)
        if filled and numbers >= enough and not is_comment(line.text, delimiter):
            break
        titles.append(line)
    return titles


def _cells(text: str, delimiter: str) -> list[str]:
    if is_comment(text, delimiter):
        text = _COMMENT.sub("", text, count=1)
    return split_line(text, delimiter) or []


def trimmed(cells: Sequence[str]) -> list[str]:
    """Fields without the empty ones at the end."""
    end = max((at for at, cell in enumerate(cells, 1) if cell), default=0)
    return list(cells[:end])
