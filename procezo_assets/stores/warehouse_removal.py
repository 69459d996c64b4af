"""Taking a dataset's rows, and the views of its files, out of the warehouse."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from procezo_assets.datasets import Home
from procezo_assets.stores.loads import StageInput
from procezo_assets.stores.warehouse import (
    connect_for_loading,
    connect_readonly,
    parse_comment,
    quote_identifier,
    transaction,
)
from procezo_assets.stores.warehouse_views import refresh_views

Connection = duckdb.DuckDBPyConnection


def warehouse_rows(home: Home, dataset: str) -> dict[str, int]:
    """Count a dataset's rows in the warehouse, by table; nothing where there is no warehouse."""
    if not home.warehouse.is_file():
        return {}
    with connect_readonly(home) as connection:
        return {
            f"{path[1]}.{path[2]}": count
            for path in _tables(connection)
            if (count := _count(connection, path, dataset))
        }


def delete_warehouse_rows(home: Home, dataset: str) -> None:
    """Delete a dataset's rows from all tables of the warehouse, in one transaction.

    Raises:
        StoreError: Where another program holds the warehouse.
    """
    if not home.warehouse.is_file():
        return
    with connect_for_loading(home) as connection, transaction(connection):
        for path in _tables(connection):
            connection.execute(
                f"DELETE FROM {quote_identifier(*path)} WHERE dataset = ?",  # noqa: S608 - quoted
                [dataset],
            )


def renew_views(home: Home, given: Sequence[StageInput], domains: Sequence[str]) -> None:
    """Make the views of a flow anew, so that none reads files that are gone.

    Args:
        home: The home folder.
        given: A loading stage's input, one a dataset.
        domains: The domains that views are of; all where empty.
    """
    if given and home.warehouse.is_file():
        with connect_for_loading(home) as connection:
            refresh_views(connection, given, domains=domains)


def _tables(connection: Connection) -> list[tuple[str, str, str]]:
    rows = connection.execute(
        "SELECT database_name, schema_name, table_name, comment FROM duckdb_tables() "
        "WHERE database_name = current_database() ORDER BY ALL"
    ).fetchall()
    return [
        (str(catalog), str(schema), str(table))
        for catalog, schema, table, comment in rows
        if parse_comment(comment) is not None
    ]


def _count(connection: Connection, path: tuple[str, str, str], dataset: str) -> int:
    row = connection.execute(
        f"SELECT count(*) FROM {quote_identifier(*path)} WHERE dataset = ?",  # noqa: S608 - quoted
        [dataset],
    ).fetchone()
    return int(row[0]) if row else 0
