"""What differs between a file of a partition and the same file made again."""

from __future__ import annotations

import filecmp
from dataclasses import dataclass, fields
from pathlib import Path

import polars as pl

from procezo_assets.errors import PartitionError
from procezo_assets.stores.parquet import Provenance, read_part, read_provenance

# what is seen in a footer where a run would make the file again by itself
_SEEN_BY_RUNS = frozenset({"treatment", "version", "parameters", "parts", "fit"})


@dataclass(frozen=True)
class FileDifference:
    """How a file differs from what it should be.

    Args:
        what: In a few words, for people.
        stale: Whether `procezo flow --last` sees it and makes the file again.
    """

    what: str
    stale: bool


def compare_files(
    kept: Path | None, made: Path | None, *, is_source: bool
) -> FileDifference | None:
    """Compare a file with the same one made again, byte by byte.

    Args:
        kept: The file as it is; None where there is none.
        made: The file made again; None where none was made.
        is_source: Whether the file is of the stage that reads raw files.

    Returns:
        The first thing that differs; None where nothing does.
    """
    if kept is None:
        return FileDifference("is missing", stale=True)
    if made is None:
        return FileDifference("is extra: nothing makes it", stale=True)
    if filecmp.cmp(kept, made, shallow=False):
        return None
    ours, theirs = read_provenance(kept), read_provenance(made)
    if ours is None or theirs is None:
        return FileDifference("is damaged: its footer cannot be read", stale=True)
    for name in (one.name for one in fields(Provenance)):
        one, other = getattr(ours, name), getattr(theirs, name)
        if one != other:
            stale = name in _SEEN_BY_RUNS or (name == "input" and is_source)
            return FileDifference(
                f"{name}: {_short(one)} in the footer, now {_short(other)}", stale
            )
    return FileDifference(_different_rows(kept, made), stale=False)


def _different_rows(kept: Path, made: Path) -> str:
    try:
        one = read_part(kept)
    except PartitionError:
        return "is damaged: its rows cannot be read"
    other = read_part(made)
    if one.columns != other.columns:
        changed = sorted({*one.columns} ^ {*other.columns}) or one.columns
        return f"columns: {', '.join(changed[:5])}"
    if one.height != other.height:
        return f"rows: {one.height}, made again {other.height}"
    for name in one.columns:
        if one[name].dtype != other[name].dtype:
            return f"type of {name}: {one[name].dtype}, made again {other[name].dtype}"
    differing = [
        (int(places[0]), name)
        for name in one.columns
        if (places := one[name].ne_missing(other[name]).arg_true()).len()
    ]
    if not differing:
        return "the same values in other bytes: another version of Polars wrote it, or hands did"
    row, name = min(differing, key=lambda found: found[0])
    total = pl.Series([one[name].ne_missing(other[name]).sum() for name in one.columns]).sum()
    more = f" ({total} values differ)" if total > 1 else ""
    return (
        f"{name} at {one['ts'][row]:%Y-%m-%dT%H:%M:%S.%fZ}: {one[name][row]}, "
        f"made again {other[name][row]}{more}"
    )


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) > 16 else text  # noqa: PLR2004 - a hash is told by its start
