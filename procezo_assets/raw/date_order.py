"""In which order dates are written: decided by dates that are impossible in others, or not.

What belongs here: evidence and its verdict. Values that follow one another say nothing: a logger's
dates may go up in any order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from functools import cache
from typing import get_args

from procezo_assets.errors import DialectError
from procezo_assets.raw.dialect import DateOrder
from procezo_assets.raw.stamp_grammar import MONTHS, PIVOT, date_expression

ORDERS: tuple[DateOrder, ...] = get_args(DateOrder)
_COMPACT_YEARS = range(1900, 2101)


@cache
def _pattern(style: str, order: DateOrder) -> re.Pattern[str]:
    return re.compile(date_expression(style, order), re.IGNORECASE)


def readings(text: str, style: str) -> dict[DateOrder, date]:
    """Read a date in every order that makes it one of the calendar.

    Args:
        text: The date alone.
        style: As `Dialect.date_style`.
    """
    found: dict[DateOrder, date] = {}
    for order in ORDERS:
        match = _pattern(style, order).fullmatch(text)
        if match is None:
            continue
        parts = dict(zip(order, match.groups(), strict=True))
        named = parts["M"][:3].lower()
        month = MONTHS.index(named) + 1 if named in MONTHS else int(parts["M"])
        year = int(parts["Y"])
        if len(parts["Y"]) == 2:  # noqa: PLR2004 - 24 is 2024
            year += 2000 if year < PIVOT else 1900
        elif style == "8digits" and year not in _COMPACT_YEARS:
            continue
        try:
            found[order] = date(year, month, int(parts["D"]))
        except ValueError:
            continue
    return found


class OrderEvidence:
    """What the dates met so far say.

    Args:
        style: As `Dialect.date_style`.
    """

    def __init__(self, style: str) -> None:
        self.style = style
        self.left: tuple[DateOrder, ...] = ORDERS
        self.shapes: set[DateOrder] = set()
        self._ruled_out: dict[DateOrder, str] = {}
        self._seen: dict[str, None] = {}

    def add(self, dates: Iterable[str]) -> None:
        """Take in more dates; one that is none in any order is damaged and says nothing."""
        for text in dates:
            if text in self._seen:
                continue
            self._seen[text] = None
            self.shapes.update(o for o in ORDERS if _pattern(self.style, o).fullmatch(text))
            found = readings(text, self.style)
            if not found:
                continue
            for order in self.left:
                if order not in found:
                    self._ruled_out.setdefault(order, text)
            self.left = tuple(order for order in self.left if order in found)

    @property
    def decided(self) -> bool:
        """Whether no further date can change what is left."""
        return len(self.left) <= 1

    def declared(self, order: DateOrder) -> tuple[DateOrder, ...]:
        """Take the declared order, where dates are written so; a year of four digits says more.

        Raises:
            DialectError: Where no date is written so.
        """
        if order in self.shapes:
            return (order,)
        if len(self.shapes) == 1:
            return tuple(self.shapes)
        example = next(iter(self._seen), "")
        raise DialectError(
            "date_order", f"dates such as '{example}' are not {order}", "correct date_order"
        )

    def verdict(self, allowed: Sequence[DateOrder] = ORDERS) -> tuple[DateOrder, ...]:
        """The orders in which all dates can be read, and read the same.

        Args:
            allowed: What earlier files of the dataset leave, where this one cannot decide.

        Raises:
            DialectError: Where no order fits all dates, or several do and differ.
        """
        if not self.left:
            told = ", ".join(f"'{text}' is not {order}" for order, text in self._ruled_out.items())
            raise DialectError(
                "date_order",
                f"no order of year, month and day fits all dates: {told}",
                "set date_order to the right one; lines that do not fit are then quarantined",
            )
        telling = next((text for text in self._seen if self._tells(text)), None)
        if telling is None:
            return self.left
        narrowed = tuple(order for order in self.left if order in allowed)
        if len(narrowed) == 1:
            return narrowed
        found = readings(telling, self.style)
        could = [f"{found[order]} ({order})" for order in self.left]
        raise DialectError(
            "date_order",
            f"{telling} could be {', '.join(could[:-1])} or {could[-1]}",
            "set date_order to one of " + ", ".join(self.left),
        )

    def _tells(self, text: str) -> bool:
        """Whether the orders left read a date differently."""
        found = readings(text, self.style)
        return len({found[order] for order in self.left if order in found}) > 1
