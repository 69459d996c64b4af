"""What is told of raw files that came, changed or went: of each day its files, and notes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from itertools import islice

from procezo_assets.flows import Flow
from procezo_assets.raw.changes import Changes
from procezo_assets.raw.remarks import device_remarks
from procezo_assets.raw.source import RawSource

_NAMED_FILES = 20


@dataclass(frozen=True)
class RawDay:
    """The raw files with rows of a day.

    Args:
        dataset: The dataset's name.
        day: The UTC day.
        files: How many files, repeated uploads left out.
        bytes: Their size, with their rows of other days.
        rows: Their rows of that day.
        quarantined: Their lines in quarantine, of whatever day.
        names: Some of their names.
    """

    dataset: str
    day: date
    files: int
    bytes: int
    rows: int
    quarantined: int
    names: tuple[str, ...]


def raw_day(source: RawSource, day: date) -> RawDay:
    """Tell which raw files have rows of a day."""
    counts = source.files_of(day)
    return RawDay(
        dataset=source.dataset.name,
        day=day,
        files=len(counts),
        bytes=sum(one.size for one in counts),
        rows=sum(one.days[day] for one in counts),
        quarantined=sum(sum(one.quarantined.values()) for one in counts),
        names=tuple(one.file.name for one in counts[:_NAMED_FILES]),
    )


def notes(flow: Flow, source: RawSource, changes: Changes) -> list[str]:
    """Tell a person what a scan has found: files that are gone, refused, or strange.

    Args:
        flow: The flow.
        source: Its raw files.
        changes: What the scan found.
    """
    name = source.dataset.name
    fate = {
        "keep": "its days stay as they are until it is back",
        "drop": "its days are made again without it",
    }[flow.arrivals.removed]
    # whoever looked first: a run, a command or this
    removed = dict.fromkeys([*changes.removed, *islice(source.missing, _NAMED_FILES)])
    told = [f"{name}: raw file {gone} is gone; {fate}" for gone in removed]
    told += [f"{name}: raw file {back} is back" for back in changes.returned]
    told += [f"{name}: {error}" for error in source.unreadable.values()]
    if changes.new or changes.changed:
        told += _refused(source, {*changes.new, *changes.changed})
        told += _remarks(source, changes)
    return told


def _refused(source: RawSource, names: Collection[str]) -> list[str]:
    """Files that were quarantined as a whole, and datasets without a single row."""
    told = [
        f"{source.dataset.name}: raw file {one.file.name} is in quarantine: {one.refused}"
        for one in source.files_with_or_without([]).values()
        if one.file.name in names and one.refused
    ]
    problem = source.why_no_rows()
    return [*told, *([str(problem)] if problem is not None else [])]


def _remarks(source: RawSource, changes: Changes) -> list[str]:
    read = {*changes.new, *changes.changed}
    files = source.files_with_or_without(changes.days)
    remarks = device_remarks(files[name] for name in sorted(read & files.keys()))
    return [f"{source.dataset.name}: {remark}" for remark in remarks]
