"""A raw file to lines that are rows, and lines that are not, each with its reason.

Block by block, so that a file may be larger than memory. What belongs here: which line ends where,
and the counts of a file. What does not: what a line says (`sniff.py` and the dialects), which files
there are (`source.py`).
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

import polars as pl

from procezo_assets.errors import DialectError
from procezo_assets.raw.blocks import (
    KEPT_OF_LONG_LINE,
    LONGEST_LINE,
    Stretch,
    line_bytes,
)
from procezo_assets.raw.classify import OTHER_HEADER, classify
from procezo_assets.raw.containers import OpenedRaw, changed, unreadable
from procezo_assets.raw.dialect import Dialect
from procezo_assets.raw.files import Block, FileCounts, Limits, RawFile
from procezo_assets.raw.tally import QUARANTINE_SCHEMA, ROW_COLUMNS, BlockLines, Tally
from procezo_assets.treatments.parse import ParseParameters

_BLOCKS_AT_ONCE = 2


def count_lines(
    opened: OpenedRaw,
    file: RawFile,
    params: ParseParameters,
    limits: Limits,
    *,
    dialect: Dialect | DialectError,
    on_block: Callable[[BlockLines], None],
) -> FileCounts:
    """Read a file from its first line to its last.

    Args:
        opened: The file.
        file: Its name.
        params: How to read it.
        limits: Which timestamps the flow takes.
        dialect: What its lines are; or why they are none, which quarantines them all.
        on_block: Is handed each block as it is read.

    Raises:
        RawFileError: Where the file cannot be read, or became shorter.
    """

    def placed(stretch: Stretch, block: Block, ends: int | None) -> BlockLines:
        if stretch.too_long:
            return _too_long(stretch, block)
        if isinstance(dialect, DialectError):
            return _refused(opened, stretch.data, block, dialect)
        whose = dialect.model_copy(update={"ends": ends})
        return _read(opened, stretch.data, block, dialect=whose, params=params, limits=limits)

    tally = Tally()
    for read in _in_order(opened, placed):
        on_block(read)
        tally.add(read)
    if isinstance(dialect, DialectError):
        return tally.counts(file, opened, dialect=None, refused=str(dialect))
    read_by = dialect.model_copy(update={"ends": tally.ends})
    return tally.counts(file, opened, dialect=read_by, refused=None)


def _in_order(
    opened: OpenedRaw, placed: Callable[[Stretch, Block, int | None], BlockLines]
) -> Iterator[BlockLines]:
    """Place the lines of a few blocks at once, and hand them on one after the other.

    Where one of them finds the line at which another header ends what can be read, it is said to
    those behind it.
    """
    ahead: deque[tuple[Future[BlockLines], Stretch, Block, int | None]] = deque()
    offset, line = 0, 1
    ends: int | None = None

    def next_placed() -> BlockLines:
        nonlocal ends
        future, stretch, block, knew = ahead.popleft()
        read = future.result() if knew == ends else placed(stretch, block, ends)
        ends = ends or read.ends
        return read

    with ThreadPoolExecutor(_BLOCKS_AT_ONCE) as workers:
        for stretch in opened.stretches():
            block = Block(offset, stretch.size, zlib.crc32(stretch.data), line, ())
            offset += stretch.size
            line += stretch.lines
            if block.offset == 0:  # most files are one block: no thread is worth it
                read = placed(stretch, block, None)
                ends = read.ends
                yield read
                continue
            ahead.append((workers.submit(placed, stretch, block, ends), stretch, block, ends))
            if len(ahead) > _BLOCKS_AT_ONCE:
                yield next_placed()
        while ahead:
            yield next_placed()


def count_whole(
    file: RawFile, error: DialectError, *, on_block: Callable[[BlockLines], None]
) -> FileCounts:
    """Take a file that cannot even be opened as one line, in quarantine.

    Raises:
        RawFileError: Where its bytes cannot be read either.
    """
    try:
        with file.path.open("rb") as stream:
            stat = os.fstat(stream.fileno())
            start = stream.read(KEPT_OF_LONG_LINE)
            stream.seek(0)
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as problem:
        raise unreadable(file.path, problem) from None
    block = Block(0, stat.st_size, zlib.crc32(start), 1, ())
    on_block(BlockLines(block, lines=1, quarantined=_one(1, error.reason, start)))
    return FileCounts(
        file=file,
        sha256=sha256,
        content=sha256,
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        lines=1,
        rows=0,
        quarantined={error.reason: 1},
        excluded=0,
        blank=0,
        header=0,
        days={},
        first=None,
        last=None,
        refused=str(error),
    )


def read_block(
    opened: OpenedRaw,
    block: Block,
    dialect: Dialect,
    params: ParseParameters,
    limits: Limits,
) -> pl.DataFrame:
    """Read the rows of a block again: `ts`, `line` and `text`.

    Raises:
        RawFileError: Where the bytes are not those that were counted.
    """
    data = opened.read_at(block.offset, block.size)
    if len(data) != block.size or zlib.crc32(data) != block.crc32:
        raise changed(opened.path)
    return _read(opened, data, block, dialect=dialect, params=params, limits=limits).rows


def _read(
    opened: OpenedRaw,
    data: bytes,
    block: Block,
    *,
    dialect: Dialect,
    params: ParseParameters,
    limits: Limits,
) -> BlockLines:
    frame, lines = _frame(opened, data, block)
    full = frame.filter(pl.col("text").str.strip_chars() != "")
    classified, policies = classify(full, dialect, params)
    placed = classified.with_columns(problem=_with_limits(params, limits))
    rows = placed.filter(pl.col("problem").is_null()).select(*ROW_COLUMNS)
    bad = placed.filter(~pl.col("problem").is_in(["excluded", "header"]))  # null is dropped too
    header = int((placed["problem"] == "header").sum())
    future = bad.filter(pl.col("problem") == "future")["ts"].min()
    days = rows["ts"].dt.date().unique().sort().to_list()
    return BlockLines(
        block=Block(block.offset, block.size, block.crc32, block.first_line, tuple(days)),
        lines=lines,
        blank=frame.height - full.height,
        header=header,
        excluded=int((placed["problem"] == "excluded").sum()),
        rows=rows,
        quarantined=_quarantined(bad, data, block, opened.newline),
        earliest_future=future.date() if isinstance(future, datetime) else None,
        policies=policies,
        ends=next(iter(placed.filter(pl.col("problem") == OTHER_HEADER)["line"].head(1)), None),
    )


def _frame(opened: OpenedRaw, data: bytes, block: Block) -> tuple[pl.DataFrame, int]:
    texts = opened.split(data, first=block.offset == 0)
    numbers = pl.int_range(
        block.first_line, block.first_line + len(texts), dtype=pl.Int64, eager=True
    )
    return pl.DataFrame({"line": numbers, "text": texts}), len(texts)


def _refused(opened: OpenedRaw, data: bytes, block: Block, error: DialectError) -> BlockLines:
    frame, lines = _frame(opened, data, block)
    bad = frame.filter(pl.col("text").str.strip_chars() != "").with_columns(
        problem=pl.lit(error.reason)
    )
    return BlockLines(
        block=block,
        lines=lines,
        blank=frame.height - bad.height,
        quarantined=_quarantined(bad, data, block, opened.newline),
    )


def _too_long(stretch: Stretch, block: Block) -> BlockLines:
    reason = "line_too_long"
    return BlockLines(
        block=block, lines=1, quarantined=_one(block.first_line, reason, stretch.data)
    )


def _with_limits(params: ParseParameters, limits: Limits) -> pl.Expr:
    """The line's problem; the flow's own bounds come before the limits that quarantine."""
    ts = pl.col("ts")
    outside = pl.lit(value=False)
    if params.from_:
        outside = outside | (ts < params.from_)
    if params.to:
        outside = outside | (ts >= params.to)
    return (
        pl.when(pl.col("text").str.len_bytes() > LONGEST_LINE)
        .then(pl.lit("line_too_long"))
        .when(pl.col("problem").is_not_null())
        .then("problem")
        .when(outside)
        .then(pl.lit("excluded"))
        .when(ts < limits.first)
        .then(pl.lit("before_start"))
        .when(ts >= limits.end)
        .then(pl.lit("future"))
    )


def _quarantined(bad: pl.DataFrame, data: bytes, block: Block, newline: bytes) -> pl.DataFrame:
    if bad.is_empty():
        return QUARANTINE_SCHEMA.to_frame()
    places = (bad["line"] - block.first_line).to_list()
    raw = line_bytes(data, places, newline=newline)
    return bad.select("line", reason="problem", raw=raw)


def _one(line: int, reason: str, raw: bytes) -> pl.DataFrame:
    return pl.DataFrame({"line": [line], "reason": [reason], "raw": [raw]}, QUARANTINE_SCHEMA)
