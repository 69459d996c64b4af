"""Units of columns: in the field metadata of parquet files and the comments of database columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import pyarrow as pa

_FIELD_KEY = "unit"
_BETWEEN = " or "


def schema_with_units(frame: pl.DataFrame, units: Mapping[str, str]) -> pa.Schema:
    """The Arrow schema of a frame, with the units in the metadata of its fields.

    Args:
        frame: The frame.
        units: Unit by column; those of other columns are left out.
    """
    import pyarrow as pa  # noqa: PLC0415 - imported by every command, needed by few

    return pa.schema(
        [
            field.with_metadata({_FIELD_KEY: units[field.name]}) if field.name in units else field
            for field in frame.head(0).to_arrow().schema
        ]
    )


def read_units(path: Path) -> dict[str, str]:
    """Read the units of a parquet file's columns; nothing where it has none or cannot be read."""
    import pyarrow as pa  # noqa: PLC0415 - as above
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException):
        return {}
    return {
        field.name: field.metadata[_FIELD_KEY.encode()].decode()
        for field in schema
        if field.metadata and _FIELD_KEY.encode() in field.metadata
    }


def units_of_files(paths: Iterable[Path]) -> dict[str, set[str]]:
    """The units that files give each column; several where the files do not agree."""
    found: dict[str, set[str]] = {}
    for path in paths:
        for column, unit in read_units(path).items():
            found.setdefault(column, set()).add(unit)
    return found


def unit_comment(comment: str | None, units: Iterable[str]) -> str:
    """The comment of a database column: the units of its values, `°C`, or `°C or °F`.

    Args:
        comment: What the column says now, which stays.
        units: The units of what is loaded.
    """
    known = comment.split(_BETWEEN) if comment else []
    return _BETWEEN.join([*known, *(unit for unit in sorted(units) if unit not in known)])
