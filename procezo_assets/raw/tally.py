"""The lines of a file's blocks, added up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import polars as pl

from procezo_assets.raw.containers import OpenedRaw
from procezo_assets.raw.dialect import Dialect
from procezo_assets.raw.files import Block, FileCounts, RawFile
from procezo_assets.raw.local_time import UTC_MICROSECONDS

ROW_COLUMNS = ("ts", "line", "text")
QUARANTINE_SCHEMA = pl.Schema({"line": pl.Int64, "reason": pl.String, "raw": pl.Binary})


def _no_rows() -> pl.DataFrame:
    return pl.DataFrame(schema={"ts": UTC_MICROSECONDS, "line": pl.Int64, "text": pl.String})


@dataclass(frozen=True)
class BlockLines:
    """The lines of a block, each in exactly one place.

    Args:
        block: Which block.
        lines: How many lines it has.
        blank: Lines of nothing but blanks.
        header: Header lines.
        excluded: Rows outside the flow's own bounds.
        rows: `ts`, `line` (from 1) and `text` of the lines that are rows, in their order.
        quarantined: `line`, `reason` and `raw` (the bytes) of the others.
        earliest_future: The first day of the rows that are of the future.
        policies: Timestamps that a policy settled, by its name.
        ends: The first line from which on another header holds.
    """

    block: Block
    lines: int
    blank: int = 0
    header: int = 0
    excluded: int = 0
    rows: pl.DataFrame = field(default_factory=_no_rows, repr=False)
    quarantined: pl.DataFrame = field(default_factory=QUARANTINE_SCHEMA.to_frame, repr=False)
    earliest_future: date | None = None
    policies: Counter[str] = field(default_factory=Counter)
    ends: int | None = None


@dataclass
class _Order:
    """How the timestamps of a file follow each other, in microseconds since 1970."""

    first: int | None = None
    last: int | None = None
    before: int | None = None
    out_of_order: int = 0
    behind: int = 0
    repeated: int = 0
    largest_step_back: int = 0

    def add(self, ts: pl.Series) -> None:
        if ts.is_empty():
            return
        told = (
            ts.to_physical()
            .to_frame("ts")
            .with_columns(
                step=pl.col("ts").diff().fill_null(pl.col("ts") - pl.lit(self.before, pl.Int64)),
                latest=pl.max_horizontal(pl.col("ts").cum_max().shift(1), pl.lit(self.last)),
            )
            .select(
                first=pl.col("ts").min(),
                last=pl.col("ts").max(),
                end=pl.col("ts").last(),
                out_of_order=(pl.col("step") < 0).sum(),
                behind=(pl.col("ts") < pl.col("latest")).sum(),
                repeated=(pl.col("step") == 0).sum(),
                step_back=-pl.col("step").min(),
            )
            .row(0, named=True)
        )
        self.first = told["first"] if self.first is None else min(self.first, told["first"])
        self.last = told["last"] if self.last is None else max(self.last, told["last"])
        self.before = told["end"]
        self.out_of_order += told["out_of_order"]
        self.behind += told["behind"]
        self.repeated += told["repeated"]
        self.largest_step_back = max(self.largest_step_back, told["step_back"] or 0)

    def notes(self) -> Counter[str]:
        return Counter(
            out_of_order=self.out_of_order,
            behind=self.behind,
            clock_back_s=self.largest_step_back // 1_000_000,
        )


@dataclass
class Tally:
    """Adds up the blocks of a file."""

    lines: int = 0
    rows: int = 0
    blank: int = 0
    header: int = 0
    excluded: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    days: Counter[date] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    blocks: list[Block] = field(default_factory=list)
    earliest_future: date | None = None
    ends: int | None = None
    order: _Order = field(default_factory=_Order)

    def add(self, read: BlockLines) -> None:
        """Add a block; the file's blocks come in their order."""
        self.lines += read.lines
        self.rows += read.rows.height
        self.blank += read.blank
        self.header += read.header
        self.excluded += read.excluded
        self.notes.update(read.policies)
        self.ends = self.ends or read.ends
        self.blocks.append(read.block)
        for reason, count in read.quarantined["reason"].value_counts(sort=False).rows():
            self.quarantined[reason] += count
        for day, count in read.rows["ts"].dt.date().value_counts(sort=False).rows():
            self.days[day] += count
        if read.earliest_future:
            self.earliest_future = min(
                self.earliest_future or read.earliest_future, read.earliest_future
            )
        self.order.add(read.rows["ts"])

    def counts(
        self, file: RawFile, opened: OpenedRaw, *, dialect: Dialect | None, refused: str | None
    ) -> FileCounts:
        """The counts of the file, when all its blocks were added."""
        return FileCounts(
            file=file,
            sha256=opened.sha256,
            content=opened.content,
            size=opened.size,
            mtime_ns=opened.mtime_ns,
            lines=self.lines,
            rows=self.rows,
            quarantined=dict(sorted(self.quarantined.items())),
            excluded=self.excluded,
            blank=self.blank,
            header=self.header,
            days=dict(sorted(self.days.items())),
            first=_instant(self.order.first),
            last=_instant(self.order.last),
            dialect=dialect,
            blocks=tuple(self.blocks),
            notes={name: n for name, n in sorted((self.notes | self.order.notes()).items()) if n},
            duplicate_ts=self.order.repeated if not self.order.out_of_order else None,
            earliest_future=self.earliest_future,
            refused=refused,
        )


def _instant(microseconds: int | None) -> datetime | None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return None if microseconds is None else epoch + timedelta(microseconds=microseconds)
