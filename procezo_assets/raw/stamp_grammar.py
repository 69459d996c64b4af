"""The grammar of dates and times in csv files, as expressions that Python and Rust read alike."""

from __future__ import annotations

import re

from procezo_assets.raw.dialect import DateOrder

PIVOT = 69  # POSIX: two digits from here on are of the 1900s
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?\.?,? +)?"
_YEAR = "([0-9]{4}|[0-9]{2})"
_DAY = "([0-9]{1,2})"
_NAMED = {"YMD": (_YEAR, f"({_MONTH})", _DAY), "DMY": (_DAY, f"({_MONTH})", _YEAR)}
_NAMED["MDY"] = (f"({_MONTH})", _DAY, _YEAR)
_TWO = "([0-9]{2})"

# Hours and minutes with `:`, `.` or `h`; or digits alone, as behind a date of digits alone.
# Behind a date of digits alone a point begins a fraction; a time of two points is none.
DOTTED_TIME = r" ([0-9]{1,2})\.([0-9]{2})\.([0-9]{2})"
# 10:15.5 may be a part of a minute or five seconds, so it is neither.
MINUTES_OR_SECONDS = r"(?:^|[^0-9:])[0-9]{1,2}:[0-9]{2}\.[0-9]"
_HALF = r"(?: ?([AaPp]\.? ?[Mm]\.?|[ap]))?"
_CLOCK = rf"{_DAY}[:.hH]{_TWO}(?:[:.mM]{_DAY}(?:[.,:]([0-9]+))?[sS]?)?{_HALF}"
_DIGITS = rf"{_TWO}(?::?{_TWO}(?::?{_TWO}(?:[.,]([0-9]+))?)?)?{_HALF}"
_ZONE = (
    r"(?: ?([Zz]|UTC|GMT|utc|gmt))?(?: ?([+-])([01]?[0-9]|2[0-3])(?::?([0-5][0-9]))?)?"
    r"(?: ?\(?([A-Z]{2,5})\)?)?"
)


def date_expression(style: str, order: DateOrder) -> str:
    """A regular expression of a date, its three parts as groups in the order of `order`."""
    if style == "name":
        first, second, third = _NAMED[order]
        between = r"(?:[-/. ]{1,2}|, ?)"
        return f"{_WEEKDAY}{first}{between}{second}{between}{third}"
    if style == "8digits":
        return "".join("([0-9]{4})" if part == "Y" else _TWO for part in order)
    if style == "6digits":
        return _TWO * 3
    return f" ?{re.escape(style)} ?".join(_YEAR if part == "Y" else _DAY for part in order)


def stamp_expression(style: str, order: DateOrder) -> str:
    """A regular expression of a date and perhaps a time, their parts as groups."""
    compact = style.endswith("digits")
    between = "[ T_-]?" if compact else "(?:[Tt_]|,? +| ?- ?)"
    clock = _DIGITS if compact else _CLOCK
    return f"^(?i:{date_expression(style, order)})(?:{between}{clock}{_ZONE})?$"


def time_expression() -> str:
    """A regular expression of a time of day in a column of its own."""
    return f"^{_CLOCK}{_ZONE}$"
