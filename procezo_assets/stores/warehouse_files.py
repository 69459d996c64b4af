"""Partition files on their way into the warehouse: which can be read, and with what columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import polars as pl

from procezo_assets.datasets import PartKey
from procezo_assets.errors import StoreError
from procezo_assets.stores.warehouse import first_line, glob_of, is_identifier

NO_TYPE = '"NULL"'
"""What DuckDB calls the type of a column that has nothing but nulls and no type of its own."""

_RENAME = "rename it in the flow's parse step"

_SIGNED = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
_UNSIGNED = ("UTINYINT", "USMALLINT", "UINTEGER")
_FLOATS = ("FLOAT", "DOUBLE")


@dataclass(frozen=True)
class PartFile:
    """One file of a partition.

    Args:
        dataset: The dataset's name.
        day: The UTC day.
        key: Its device, domain and window.
        path: Where it is.
    """

    dataset: str
    day: date
    key: PartKey
    path: Path


@dataclass(frozen=True)
class Batch:
    """Files of one table and dataset that have the same columns in the same order.

    Args:
        table: The table they go into.
        dataset: The dataset's name.
        files: Their paths, as DuckDB is to be given them.
        columns: The DuckDB type of each column.
    """

    table: str
    dataset: str
    files: list[str]
    columns: dict[str, str]


def unreadable_days(
    connection: duckdb.DuckDBPyConnection, parts: Sequence[PartFile]
) -> dict[tuple[str, date], str]:
    """Find the datasets' days that have a file that is no parquet file, with the reason."""
    if not parts:
        return {}
    query = "SELECT count(*) FROM parquet_file_metadata(?)"
    try:
        connection.execute(query, [[glob_of(part.path) for part in parts]])
    except duckdb.Error:
        pass  # one by one below, to tell which
    else:
        return {}
    failed: dict[tuple[str, date], str] = {}
    for part in parts:
        try:
            connection.execute(query, [[glob_of(part.path)]])
        except duckdb.Error as error:
            failed[part.dataset, part.day] = f"cannot read {part.path}: {first_line(error)}"
    return failed


def batches_of(
    connection: duckdb.DuckDBPyConnection, parts: Sequence[tuple[str, PartFile]]
) -> tuple[list[Batch], dict[tuple[str, date], str]]:
    """Group files by table, dataset and columns.

    Where only like is read with like, each column is cast straight from its file's type to its
    table's, so that what a row looks like does not depend on which files it is loaded with.

    Args:
        connection: Any connection.
        parts: The files, each with the table it goes into.

    Returns:
        The groups; and the datasets' days that are in none, because a table cannot have the
        columns of one of their files, with the reason.
    """
    if not parts:
        return [], {}
    signatures: dict[str, str] = dict(
        connection.execute(
            "SELECT file_name, md5(string_agg(concat_ws('|', name, type, num_children, "
            "logical_type, converted_type), ',' ORDER BY column_id)) "
            "FROM parquet_schema(?) GROUP BY file_name",
            [[glob_of(part.path) for _, part in parts]],
        ).fetchall()
    )
    examples = {signatures[part.path.as_posix()]: part.path for _, part in parts}
    names = {signature: _names(path) for signature, path in examples.items()}
    problems = {signature: _problem(found) for signature, found in names.items()}
    refused: dict[tuple[str, date], str] = {}
    for _, part in parts:
        if problem := problems[signatures[part.path.as_posix()]]:
            refused[part.dataset, part.day] = str(StoreError(f"{part.path} has {problem}", _RENAME))
    groups: dict[tuple[str, str, str], list[Path]] = defaultdict(list)
    for table, part in parts:
        if (part.dataset, part.day) not in refused:
            groups[table, part.dataset, signatures[part.path.as_posix()]].append(part.path)
    columns = {
        signature: _columns(connection, examples[signature], names[signature])
        for signature in {signature for _, _, signature in groups}
    }
    batches = [
        Batch(table, dataset, [glob_of(path) for path in paths], columns[signature])
        for (table, dataset, signature), paths in groups.items()
    ]
    return batches, refused


def wider(one: str, other: str) -> str:
    """Name the DuckDB type that holds the values of both, as text where no number does."""
    kinds = {one, other} - {NO_TYPE}
    if len(kinds) < 2:  # noqa: PLR2004 - the same type twice, or a column of nulls
        return kinds.pop() if kinds else NO_TYPE
    if kinds <= set(_SIGNED):
        return max(kinds, key=_SIGNED.index)
    if kinds <= {*_SIGNED, *_UNSIGNED}:
        return "BIGINT"
    if kinds <= {*_SIGNED, *_UNSIGNED, *_FLOATS}:
        return "DOUBLE"
    return "VARCHAR"


def _names(path: Path) -> list[str]:
    return pl.scan_parquet(path, glob=False, hive_partitioning=False).collect_schema().names()


def _problem(names: Sequence[str]) -> str | None:
    """What keeps columns from being those of one table; None where nothing does."""
    seen: dict[str, str] = {"dataset": "dataset"}
    for name in names:
        if not is_identifier(name):
            return f"a column {name!r}, which cannot be a name in DuckDB"
        if name.casefold() in seen:
            other = seen[name.casefold()]
            return f"a column '{name}' that DuckDB cannot tell from '{other}'"
        seen[name.casefold()] = name
    return None


def _columns(
    connection: duckdb.DuckDBPyConnection, path: Path, names: Sequence[str]
) -> dict[str, str]:
    described = connection.execute(
        "DESCRIBE SELECT * FROM read_parquet(?, hive_partitioning = false)", [[glob_of(path)]]
    ).fetchall()
    return {name: str(row[1]) for name, row in zip(names, described, strict=True)}
