"""Columns that hold one part of a timestamp: what they are called, and what they hold."""

from __future__ import annotations

import re

_ROLES = {
    "Y": "year yyyy yy yr jahr année annee ano año anno jaar år",
    "M": "month mm mo mon monat mois mes mês mese maand måned",
    "D": "day dd dy dom tag jour dia día giorno dag dayofmonth",
    "j": "doy jday julian julianday dayofyear yday yearday",
    "h": "hour hh hr h hours stunde heure hora ora uur",
    "m": "minute min mm mn mi minutes minuten minuto minuut",
    "s": "second sec ss s seconds sekunde seconde segundo secondo",
    "t": "hhmm hourmin hourminute time",
}
_RANGES = {
    "Y": (0, 2200),
    "M": (1, 12),
    "D": (1, 31),
    "j": (1, 366),
    "h": (0, 24),
    "m": (0, 59),
    "s": (0, 60),
    "t": (0, 2400),
}
_SIXTY = 60


def names_part(header: str, role: str) -> bool:
    """Tell whether a header names a part, such as `Hour` or `hh`.

    Args:
        header: The text.
        role: As in `Dialect.timestamp_parts`.
    """
    own = header.lower().removesuffix("_column")  # as columns are called that stages have, too
    return re.sub(r"[^a-zà-ÿ]", "", own) in _ROLES[role].split()


def is_part(text: str, role: str) -> bool:
    """Tell whether a text can be a part: a whole number in its range, of seconds a decimal too."""
    fraction = r"(?:[.,][0-9]+)?" if role == "s" else r"(?:\.0+)?"
    number = re.fullmatch(rf"([0-9]{{1,4}}){fraction}", text)
    if number is None:
        return False
    low, high = _RANGES[role]
    whole = int(number[1])
    return low <= whole <= high and (role != "t" or whole % 100 < _SIXTY)
