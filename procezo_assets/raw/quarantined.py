"""What is in quarantine: how many lines, why, and what they look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from procezo_assets.datasets import Dataset
from procezo_assets.file_names import stays_below
from procezo_assets.raw.files import FileCounts
from procezo_assets.raw.quarantine import QUARANTINE_SCHEMA, quarantine_path
from procezo_assets.raw.source import RawSource

_EXAMPLES = 5
_SHOWN_BYTES = 200


@dataclass(frozen=True)
class Example:
    """A line in quarantine.

    Args:
        file: The raw file's name.
        line: Its number, from 1.
        text: Its beginning.
    """

    file: str
    line: int
    text: str


@dataclass(frozen=True)
class Reason:
    """The lines that are in quarantine for one reason.

    Args:
        reason: Which.
        lines: How many.
        files: In how many raw files.
        examples: A few of them, from different files where there are several.
    """

    reason: str
    lines: int
    files: int
    examples: tuple[Example, ...]


def lines_in_quarantine(dataset: Dataset, flow: str) -> dict[str, int]:
    """Count the lines that a flow keeps in quarantine, by raw file, as its files say.

    Damaged files say nothing.
    """
    counts: dict[str, int] = {}
    for path in sorted(dataset.quarantine(flow).rglob("*.parquet")):
        if path.name.startswith("."):
            continue
        found = _collected(path, pl.first("file"), pl.len())
        name, lines = found.row(0) if found is not None else (None, 0)
        if name is not None and stays_below(name):
            counts[name] = lines
    return counts


def restore_quarantine(source: RawSource, flow: str) -> None:
    """Read raw files again whose quarantined lines were to be kept, but are not, or damaged."""
    lost = [
        name
        for name, counted in source.files.items()
        if counted.quarantined
        and _collected(quarantine_path(source.dataset, flow, name), pl.len()) is None
    ]
    if lost:
        source.catalog.forget(lost)
        source.scan()


def quarantine_reasons(
    dataset: Dataset, flow: str, files: Mapping[str, FileCounts]
) -> list[Reason]:
    """Add up why lines are in quarantine, the most frequent reason first.

    Args:
        dataset: The dataset.
        flow: The flow's name.
        files: What became of the lines of its raw files, by name.
    """
    having: dict[str, dict[str, int]] = {}
    for name, counted in files.items():
        for reason, count in counted.quarantined.items():
            having.setdefault(reason, {})[name] = count
    reasons = [
        Reason(
            reason,
            sum(counts.values()),
            len(counts),
            _examples(dataset, flow, reason, list(counts)),
        )
        for reason, counts in having.items()
    ]
    return sorted(reasons, key=lambda one: (-one.lines, one.reason))


def _examples(dataset: Dataset, flow: str, reason: str, names: list[str]) -> tuple[Example, ...]:
    each = max(1, _EXAMPLES // len(names))
    found: list[Example] = []
    for name in names[:_EXAMPLES]:
        path = quarantine_path(dataset, flow, name)
        rows = _collected(path, "line", "raw", reason=reason, most=each)
        if rows is None:
            continue
        found += [
            Example(name, line, raw[:_SHOWN_BYTES].decode(errors="replace").rstrip("\r\n"))
            for line, raw in rows.rows()
        ]
    return tuple(found)


def _collected(
    path: Path, *columns: str | pl.Expr, reason: str | None = None, most: int | None = None
) -> pl.DataFrame | None:
    """Read a file of quarantined lines; None where there is none, or it is something else."""
    if not path.is_file():
        return None
    try:
        lines = pl.scan_parquet(str(path), glob=False, hive_partitioning=False)
        if dict(lines.collect_schema()) != QUARANTINE_SCHEMA:
            return None
        if reason is not None:
            lines = lines.filter(pl.col("reason") == reason)
        return (lines if most is None else lines.head(most)).select(*columns).collect()
    except (OSError, pl.exceptions.PolarsError):
        return None
