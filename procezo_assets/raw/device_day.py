"""The rows of one device on one day: in their order, with their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from procezo_assets.raw.dialect import Dialect
from procezo_assets.raw.files import FileCounts
from procezo_assets.raw.kv_csv import FieldCounts

_HASHED_ROWS = 1 << 16


@dataclass(frozen=True)
class DeviceDay:
    """The rows of one device on one day, from whatever files they come.

    Args:
        rows: `ts` (sorted; ties by file name, then line), then columns `key:<name>` of strings, or
            of numbers where all fields of the device's files are plain ones.
        digest: sha256 of the raw lines in that order.
        fields: What was met in their fields.
        units: Unit by key, where the flow or the files' headers name one.
    """

    rows: pl.DataFrame = field(repr=False)
    digest: str
    fields: FieldCounts
    units: Mapping[str, str] = field(default_factory=dict)


def units_by_key(dialect: Dialect) -> dict[str, str]:
    """The units of a file's columns, by short name and by what the header says in full."""
    headers = zip(dialect.columns, dialect.headers, strict=False)
    in_full = {
        header: dialect.units[name] for name, header in headers if header and name in dialect.units
    }
    return {**in_full, **dialect.units}


def located(counted: FileCounts, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with what orders them and what they mean."""
    located = rows.with_columns(file=pl.lit(counted.file.name))
    identity = counted.read_by.identity
    if identity:
        moment = pl.col("ts").to_physical().cast(pl.String)
        located = located.with_columns(text=pl.lit(identity + "\n") + moment + " " + pl.col("text"))
    return located


def sorted_rows(pieces: list[pl.DataFrame]) -> pl.DataFrame:
    """The rows of a device by time; ties by file name, then line."""
    if len(pieces) == 1 and pieces[0]["ts"].is_sorted():
        return pieces[0]
    # where only some files have nothing but numbers, all are strings
    return pl.concat(pieces, how="diagonal_relaxed").sort("ts", "file", "line")


def digest_of(texts: pl.Series) -> str:
    """The sha256 of lines in their order, with LF between them."""
    digest = hashlib.sha256()
    for start in range(0, len(texts), _HASHED_ROWS):
        if start:
            digest.update(b"\n")
        digest.update(texts.slice(start, _HASHED_ROWS).str.join("\n").cast(pl.Binary).item())
    return digest.hexdigest()
