"""Loggers known by what their files look like, and what their files do not say themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from procezo_assets.raw.stamp_columns import StampColumns

_WHOLE = re.compile(r"-?[0-9]+")
_DECIMAL = re.compile(r"-?[0-9]+(?:[.,][0-9]+)?")
_EMS = re.compile(r"1\. .*\[[^\]]*\]")
_ENOUGH = 0.8


class Logger(NamedTuple):
    """What is known of a kind of logger.

    Args:
        name: What it is called.
        columns: Names of its columns, where its files have none.
        units: Their units.
        timezone: The zone of its clock, where it is always the same.
    """

    name: str
    columns: tuple[str, ...] = ()
    units: dict[str, str] = {}  # noqa: RUF012 - a NamedTuple is never changed
    timezone: str | None = None


TOMST = Logger(
    "TOMST",
    ("index", "timestamp", "tz", "T1", "T2", "T3", "moisture", "shake", "error_flag"),
    {"T1": "°C", "T2": "°C", "T3": "°C"},
    "UTC",
)


def known_logger(
    titles: Sequence[str],
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    stamp: StampColumns,
) -> Logger | None:
    """Recognise a logger by its signature.

    Args:
        titles: The lines above the first row.
        headers: What the header says of each column.
        rows: Fields of rows.
        stamp: Where the timestamp is.
    """
    above = [title.lstrip('"\ufeff ') for title in titles]
    if any(title.startswith(("TOA5", "TOACI1")) for title in above):
        return Logger("Campbell TOA5" if any(t.startswith("TOA5") for t in above) else "Campbell")
    if any(title.startswith("Plot Title") for title in above) or any(
        "LGR S/N" in header or header.startswith(("Date Time, GMT", "Date-Time ("))
        for header in headers
    ):
        return Logger("HOBO")
    if any(_EMS.match(header) for header in headers):
        return Logger("EMS")
    if not any(headers) and stamp.places == (1,):
        like = sum(_like_tomst(row) for row in rows)
        return TOMST if like >= _ENOUGH * len(rows) else None
    return None


def _like_tomst(row: Sequence[str]) -> bool:
    """Row number, time, zone in quarter hours, three temperatures, moisture, shake, error flag."""
    places = len(TOMST.columns)
    if len(row) < places or any(row[places:]):
        return False
    quarters = _WHOLE.fullmatch(row[2]) is not None and abs(int(row[2])) <= 56  # noqa: PLR2004 - 14 hours
    whole = all(_WHOLE.fullmatch(row[place]) for place in (0, 6, 7, 8))
    return quarters and whole and all(_DECIMAL.fullmatch(row[place]) for place in (3, 4, 5))
