"""A raw file read whole, as tests look at it."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from procezo_assets.errors import DialectError
from procezo_assets.raw.classify import read_fields
from procezo_assets.raw.containers import open_raw
from procezo_assets.raw.files import FileCounts, RawFile
from procezo_assets.raw.reader import count_lines, count_whole
from procezo_assets.raw.sniff import sniff


@dataclass
class RawLines:
    counts: FileCounts
    rows: pl.DataFrame
    quarantined: pl.DataFrame
    unpacked: bool

    def fields(self, params):
        return read_fields(self.rows["text"], self.counts.dialect, params)


def read_lines(file: RawFile, params, limits, scratch) -> RawLines:
    blocks, unpacked = [], True
    try:
        with open_raw(file.path, scratch, params) as opened:
            unpacked = opened.unpacked
            try:
                dialect = sniff(opened.texts, opened.facts, params, fixed=None)
            except DialectError as error:
                dialect = error
            counts = count_lines(
                opened, file, params, limits, dialect=dialect, on_block=blocks.append
            )
    except DialectError as error:
        counts = count_whole(file, error, on_block=blocks.append)
    rows = [block.rows for block in blocks if block.rows.height]
    bad = [block.quarantined for block in blocks]
    return RawLines(
        counts,
        pl.concat(rows)
        if rows
        else pl.DataFrame(schema={"ts": pl.Datetime, "line": pl.Int64, "text": pl.String}),
        pl.concat(bad)
        if bad
        else pl.DataFrame(schema={"line": pl.Int64, "reason": pl.String, "raw": pl.Binary}),
        unpacked,
    )
