"""Columns of exports: what is asked of them, and the expressions and frames that give it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from procezo_assets.errors import PartitionError

# the wide ones become the narrow ones where East Asian text is typed
_FORMULA = r"^(?:[\t\r\n]|\s*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20])"
_NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"

_DTYPES: dict[str | None, pl.DataType] = {
    "int": pl.Int64(),
    "float": pl.Float64(),
    "str": pl.String(),
    None: pl.Null(),
}


class ExportColumn(BaseModel):
    """What a column of the data becomes in the export."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = Field(
        None, min_length=1, description="Its name in the export; its own where unset."
    )
    dtype: Literal["int", "float", "str"] | None = Field(
        None,
        description="What its values are cast to; int rounds half to even. Unchanged where unset.",
    )
    decimals: int | None = Field(
        None, ge=0, le=15, description="Decimal places to round to, half to even."
    )

    @model_validator(mode="after")
    def _check(self) -> ExportColumn:
        if self.dtype == "int" and self.decimals:
            raise ValueError(f"an int has no decimals, and {self.decimals} are asked for")
        return self


def refuse_repeated_names(columns: Mapping[str, ExportColumn], reserved: Iterable[str]) -> None:
    """Refuse columns that would share a name in the export.

    Args:
        columns: Source columns and what they become.
        reserved: The names that the export's own columns have.

    Raises:
        ValueError: Where two columns would have one name, or one has a reserved name.
    """
    taken = dict.fromkeys(reserved, "the export's own column")
    for source, column in columns.items():
        name = column.name or source
        if name in taken:
            raise ValueError(f"'{source}' cannot be named '{name}': so is {taken[name]}")
        taken[name] = f"'{source}'"


def joined(paths: Mapping[date, Path]) -> tuple[pl.LazyFrame, dict[str, pl.DataType]]:
    """Join a device's days in order, read as they are written: at no time are all in memory.

    Returns:
        The rows, and the type of each column. A column that is integer on some days and float on
        others is float; one that is no number on some days is text.

    Raises:
        PartitionError: Where a file is no parquet file.
    """
    scans: list[tuple[pl.LazyFrame, pl.Schema]] = []
    columns: dict[str, pl.DataType] = {}
    for _, path in sorted(paths.items()):
        # Without glob=False, a path with brackets or stars would be searched for as a pattern.
        scan = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        try:
            schema = scan.collect_schema()
        except pl.exceptions.PolarsError as error:
            raise PartitionError(
                f"{path} cannot be read: {error}", "run the stage that writes it again"
            ) from error
        scans.append((scan, schema))
        for name, dtype in schema.items():
            columns[name] = _common(columns.get(name, dtype), dtype)
    frames = [
        scan.select(
            (pl.col(name) if name in schema else pl.lit(None)).cast(dtype).alias(name)
            for name, dtype in columns.items()
        )
        for scan, schema in scans
    ]
    return pl.concat(frames).with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None)), columns


def exported(source: str, spec: ExportColumn, dtype: pl.DataType | None) -> pl.Expr:
    """The values of a column as they are exported; of no type, nulls."""
    name = spec.name or source
    if dtype is None:
        return pl.lit(None, dtype=_DTYPES[spec.dtype]).alias(name)
    value = pl.col(source)
    if dtype == pl.String and (spec.dtype in {"int", "float"} or spec.decimals is not None):
        value = value.cast(pl.Float64, strict=False)
    if spec.dtype == "int" and not dtype.is_integer():
        value = value.round(0)
    elif spec.decimals is not None:
        value = value.round(spec.decimals)
    if spec.dtype is not None:
        value = value.cast(_DTYPES[spec.dtype], strict=False)
    return value.alias(name)


def for_spreadsheets(frame: pl.LazyFrame, *, untouched: Collection[str]) -> pl.LazyFrame:
    """Put `'` before texts and names of columns that a spreadsheet would run as a formula.

    Args:
        frame: What is to be written as CSV.
        untouched: Columns that cannot hold any.

    Raises:
        PartitionError: Where a column is called as another one would be.
    """
    schema = frame.collect_schema()
    texts = [name for name, dtype in schema.items() if dtype == pl.String and name not in untouched]
    runs = pl.col(texts).str.contains(_FORMULA) & ~pl.col(texts).str.contains(_NUMBER)
    quoted = pl.when(runs).then("'" + pl.col(texts)).otherwise(pl.col(texts))
    names = {
        name: f"'{name}"
        for name in schema
        if re.match(_FORMULA, name) and not re.match(_NUMBER, name)
    }
    if both := sorted(name for name, quoted_name in names.items() if quoted_name in schema):
        raise PartitionError(
            f"columns {both[0]!r} and {names[both[0]]!r} would have one name in a spreadsheet",
            "rename one of them in columns",
        )
    return (frame.with_columns(quoted.name.keep()) if texts else frame).rename(names)


def _common(one: pl.DataType, other: pl.DataType) -> pl.DataType:
    if other in {one, pl.Null()}:
        return one
    if one == pl.Null():
        return other
    if one.is_integer() and other.is_integer():
        return pl.Int64()
    if one.is_numeric() and other.is_numeric():
        return pl.Float64()
    return pl.String()
