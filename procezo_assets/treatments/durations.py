"""Lengths of bins and windows as flows write them: `500ms`, `10s`, `5min`, `1h`, `1d`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

_UNITS_US = {
    "ms": 1_000,
    "s": 1_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
DAY_US = _UNITS_US["d"]
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|min|h|d)")


def microseconds(text: str) -> int:
    """Read a duration.

    Raises:
        ValueError: Where it is no number with one of the units ms, s, min, h, d, or is zero, or is
            longer than a day: bins never cross midnight UTC, where partitions end.
    """
    match = _DURATION.fullmatch(text)
    length = int(match[1]) * _UNITS_US[match[2]] if match else 0
    if not match or not length:
        raise ValueError(f"'{text}' is no duration; write a number with ms, s, min, h or d (10s)")
    if length > DAY_US:
        raise ValueError(f"'{text}' is longer than a day, where partitions end")
    return length


def _checked(text: str) -> str:
    microseconds(text)
    return text


Duration = Annotated[str, AfterValidator(_checked)]
