"""What a treatment hands back: frames, and what it did to rows and values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

# up to here a float holds each integer
FLOAT_INTEGERS = 2**53

Frame = pl.DataFrame

UNCOUNTED = "uncounted"


@dataclass(frozen=True)
class Treated:
    """What a treatment makes of one frame, and what it did to rows and values.

    The counts must balance, and `Ledger.enter` holds them to it: of each column that the output
    shares with the input, values in + added - removed = values out; of each column in `derived`,
    the same against its source column; of each column in `accounted`, values in - removed = what
    is accounted for.

    Args:
        frames: The output by window; the key None keeps the window of the input.
        rows_removed: Rows dropped, by reason.
        rows_added: Rows made, by reason.
        values_removed: Values turned to null, by reason and output column.
        values_added: Values made, by reason and output column.
        derived: Source column of each new column.
        accounted: Of each input column that does not live on under its own name, how many of its
            values the output stands for.
        warnings: What a person should look at, a sentence each.
    """

    frames: Mapping[str | None, Frame]
    rows_removed: Mapping[str, int] = field(default_factory=dict)
    rows_added: Mapping[str, int] = field(default_factory=dict)
    values_removed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    values_added: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    derived: Mapping[str, str] = field(default_factory=dict)
    accounted: Mapping[str, int] | None = None
    warnings: tuple[str, ...] = ()


def value_counts(frame: Frame) -> dict[str, int]:
    """Count the values (not null) of each column beside `ts` and `device`."""
    return {
        column: frame[column].count() for column in frame.columns if column not in {"ts", "device"}
    }


def count_differences(before: Frame, after: Frame) -> Treated:
    """Count what a treatment that counts nothing itself did to rows and values.

    A user's function returns a plain frame; the differences are entered as `uncounted`, so that
    they are seen, if not explained.

    Args:
        before: What it was given.
        after: What it handed back.
    """
    removed: dict[str, int] = {}
    added: dict[str, int] = {}
    counts_in, counts_out = value_counts(before), value_counts(after)
    for column in {**counts_in, **counts_out}:
        difference = counts_out.get(column, 0) - counts_in.get(column, 0)
        if difference:
            (added if difference > 0 else removed)[column] = abs(difference)
    rows = after.height - before.height
    return Treated(
        {None: after},
        rows_removed={UNCOUNTED: -rows} if rows < 0 else {},
        rows_added={UNCOUNTED: rows} if rows > 0 else {},
        values_removed={UNCOUNTED: removed} if removed else {},
        values_added={UNCOUNTED: added} if added else {},
    )
