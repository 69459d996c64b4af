"""What an archive's catalog knew of raw files, and how that compares with their reading here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from pydantic import TypeAdapter

MOST_BYTES = 32 * 1024**2
"""The largest catalog that is written or compared, of 130,000 raw files that a flow reads.

One that holds as little as it can of as many as it can takes twenty times that in memory.
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a catalog knew of a raw file, of what can be compared with another reading.

    What it did not say is None, and is not compared.

    Args:
        sha256: Hash of its bytes.
        lines: How many lines it has.
        rows: Lines that are rows.
        quarantined: Lines in quarantine, by reason.
    """

    sha256: str | None = None
    lines: int | None = None
    rows: int | None = None
    quarantined: dict[str, int] | None = None


COMPARED = tuple(field.name for field in fields(Reading))
"""What is compared of a raw file."""

Readings = dict[str, dict[str, Reading]]
"""By flow and file."""

_readings = TypeAdapter(Readings)


def parse_readings(data: bytes) -> Readings:
    """Read an archive's catalog.

    Raises:
        ValueError: Where it is none.
    """
    return _readings.validate_json(data)


def later_reading(known: Mapping[str, Reading], found: Mapping[str, dict[str, Any]]) -> list[str]:
    """Compare how a flow reads raw files here with what the other machine's catalog knew.

    Args:
        known: What that catalog knew, by file.
        found: What was read here, by file: `lines`, `rows`, `quarantined`, `sha256`.

    Returns:
        A sentence on each file that is read differently. Lines that lay in the future when the
        archive was made may be rows by now.
    """
    told: list[str] = []
    for name, reading in sorted(known.items()):
        here = found.get(name)
        if here is None:
            told.append(f"{name} is not read here")
            continue
        if (reading.quarantined or {}).get("future"):
            continue
        told += [
            f"{name}: {what} {there} in the archive, {here[what]} here"
            for what in COMPARED
            if (there := getattr(reading, what)) is not None and there != here[what]
        ]
    return told
