"""What the catalog hands out of a raw file: little of each for a scan, everything of a few."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any, NamedTuple

from pydantic import Field

# what a database and a clock can hold, where an entry is read from a file
Count = Annotated[int, Field(ge=0, lt=2**63)]
Nanoseconds = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Seconds = Annotated[float, Field(ge=0, lt=2**33)]


class KnownFile(NamedTuple):
    """What a scan needs to know of each file, and no more: there may be many.

    Args:
        path: Its name under `00_raw/`.
        size: Its bytes when it was read.
        mtime_ns: When it had been changed.
        ctime_ns: When it, or its name or permissions, had been changed.
        sha256: Hash of its bytes.
        reading: Hash of what decided how it was read.
        read_at: When it was read, in seconds since 1970.
        removed_at: When it was found to be gone; None while it is there.
        due: The first UTC day on which lines of the future become rows.
        kept: Whether its quarantined lines and the dataset's dialect have been written.
    """

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    sha256: str
    reading: str
    read_at: float
    removed_at: float | None
    due: str | None
    kept: bool


class DayFile(NamedTuple):
    """A file with rows of a day.

    Args:
        path: Its name under `00_raw/`.
        rows: Its rows of that day.
        device: The logger that wrote it.
        content: Hash of the bytes inside, however they are packed.
        meaning: Hash of what its lines mean.
        removed_at: When it was found to be gone; None while it is there.
    """

    path: str
    rows: int
    device: str
    content: str
    meaning: str
    removed_at: float | None


class WaitingFile(NamedTuple):
    """A file that is not still yet.

    Args:
        size: Its bytes when it was last seen.
        mtime_ns: When it had been changed.
        first_seen: When it was first seen waiting, in seconds since 1970.
        still_since: Since when it has had that size and time of change.
    """

    size: int
    mtime_ns: int
    first_seen: float
    still_since: float


@dataclass(frozen=True)
class FileEntry:
    """A raw file as the catalog keeps it.

    Args:
        path: Its name under `00_raw/`.
        size: Its bytes.
        mtime_ns: When it had been changed.
        ctime_ns: When it, or its name or permissions, had been changed.
        sha256: Hash of its bytes.
        content: Hash of the bytes inside, however they are packed.
        reading: Hash of what decided how it was read.
        meaning: Hash of what its lines mean: how it was read, and its dialect.
        device: The logger that wrote it.
        lines: How many lines it has.
        rows: Lines that are rows.
        quarantined: Lines in quarantine, by reason.
        excluded: Rows outside the flow's own bounds.
        blank: Blank lines.
        header: Header lines.
        first: First timestamp of a row, ISO 8601.
        last: Last timestamp of a row, ISO 8601.
        dialect: How it is written, as JSON.
        refused: Why it is in quarantine as a whole, where it is.
        more: Whatever else its reader found, as JSON.
        due: The first UTC day on which lines of the future become rows.
        kept: Whether its quarantined lines and the dataset's dialect have been written.
        read_at: When it was read, in seconds since 1970.
        removed_at: When it was found to be gone; None while it is there.
        days: Rows by UTC day.
    """

    path: str
    size: Count
    mtime_ns: Nanoseconds
    ctime_ns: Nanoseconds
    sha256: str
    content: str
    reading: str
    meaning: str
    device: str
    lines: Count
    rows: Count
    quarantined: dict[str, int]
    excluded: Count
    blank: Count
    header: Count
    first: str | None
    last: str | None
    dialect: Any
    refused: str | None
    more: Any
    due: str | None
    kept: bool
    read_at: Seconds
    removed_at: Seconds | None = None
    days: Mapping[date, Count] = field(default_factory=dict)
