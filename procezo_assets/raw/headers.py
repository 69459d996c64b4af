"""Header texts to names of columns, their units, and the zone that a header states."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from procezo_assets.parameters import fixed_offset, offset_name
from procezo_assets.raw.units import is_unit, marks_unit
from procezo_assets.treatments.parse import RESERVED_COLUMNS

# What HOBO software puts behind a name: logger and sensor serial numbers, in brackets or bare.
_SERIALS = re.compile(
    r"\s*(?:[(,]\s*)?(?:LGR|SEN)\s+(?:S/N|LBL):.*$|\s*,?\s*#\d{5,}\s*$", re.IGNORECASE
)
_SQUARE = re.compile(r"\[([^\[\]]*)\]")
_ROUND = re.compile(r"\(([^()]*)\)")
_STATED_ZONE = re.compile(
    r"(?:UTC|GMT)\s*(?:[+\-\u2212]\s*\d{1,2}(?::?\d{2})?)?(?![A-Za-z\d])|[+\-\u2212]\d{2}:\d{2}",
    re.IGNORECASE,
)
_WORD = re.compile(r"(?<![A-Za-z])[A-Z]{2,5}(?![A-Za-z])")

# Abbreviations of zones; most stand for several, so none is read as one.
_ABBREVIATIONS = """
PST PDT PT MST MDT MT CST CDT CT EST EDT ET AKST AKDT HST HDT AST ADT NST NDT BRT ART CLT
WET WEST CET CEST MET MEST MEZ MESZ EET EEST BST IST MSK SAST EAT CAT WAT GST PKT NPT ICT WIB HKT
SGT JST KST AEST AEDT ACST ACDT AWST NZST NZDT HNE HAE HNC HAC HNR HAR HNP HAP LST
"""
ZONE_WORDS = frozenset(_ABBREVIATIONS.split())


class HeaderCell(NamedTuple):
    """What the header says of one column.

    Args:
        name: The short name.
        longer: The name with its unit.
        unit: The unit; "" where none is recognised.
    """

    name: str
    longer: str
    unit: str


def read_cell(text: str) -> HeaderCell:
    """Take a header text apart: serial numbers away, the unit from the name.

    A unit stands in `[…]`; in `(…)` or behind the last comma only a text that is a unit counts, so
    that `CO(GT)` stays a name.
    """
    longer = " ".join(_SERIALS.sub("", text).split()).rstrip(",").strip()
    for pattern, certain in ((_SQUARE, True), (_ROUND, False)):
        for found in reversed(list(pattern.finditer(longer))):
            unit = found.group(1).strip()
            if unit and (certain or is_unit(unit)):
                name = " ".join((longer[: found.start()] + " " + longer[found.end() :]).split())
                return HeaderCell(name.rstrip(" ,;_") or longer, longer, unit)
    name, comma, unit = longer.rpartition(",")
    if comma and is_unit(unit.strip()) and name.strip():
        return HeaderCell(name.strip(), longer, unit.strip())
    name, blank, unit = longer.rpartition(" ")
    if blank and marks_unit(unit):
        return HeaderCell(name.rstrip(" ,"), longer, unit)
    return HeaderCell(longer, longer, "")


def column_names(cells: Sequence[HeaderCell]) -> list[str]:
    """Give each column a name of its own.

    Where two headers differ only in their unit, the unit stays in the name; a repeated name gets
    `_2`, a blank one is `column_<place>`, and one that stages use themselves ends in `_column`.
    """
    longer_of: dict[str, set[str]] = {}
    for cell in cells:
        longer_of.setdefault(cell.name, set()).add(cell.longer)
    names: list[str] = []
    taken: set[str] = set()  # databases tell no `Temp` from `temp`
    wished = [cell.longer if len(longer_of[cell.name]) > 1 else cell.name for cell in cells]
    others = {wish.casefold() for wish in wished}
    for place, wish in enumerate(wished, 1):
        base = wish or f"column_{place}"
        if base.casefold() in RESERVED_COLUMNS:
            base = f"{base}_column"
        name, number = base, 1
        while name.casefold() in taken or (name != base and name.casefold() in others):
            number += 1
            name = f"{base}_{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def stated_offset(text: str) -> str | None:
    """The offset that a header states, such as `GMT+02:00`; None where it states none."""
    found = _STATED_ZONE.search(text)
    offset = fixed_offset(found.group()) if found else None
    return None if offset is None else offset_name(offset)


def zone_word(text: str) -> str | None:
    """An abbreviation of a zone in a header, such as `PST`; None where there is none."""
    return next((word for word in _WORD.findall(text) if word in ZONE_WORDS), None)
