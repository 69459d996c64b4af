"""Taking a dataset's rows out of PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from procezo_assets.stores.postgres import WIDE_SCHEMA, tidy_tables_of
from procezo_assets.stores.postgres_connection import in_transaction
from procezo_assets.stores.postgres_memory import read_memory, tables_of
from procezo_assets.stores.postgres_tables import (
    Table,
    columns_of,
    execute,
    literal,
    name_list,
    query,
    take_turns,
)

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Cursor


def tidy_rows(url: str, *, schema: str, dataset: str, origin: str) -> dict[str, int]:
    """Count a dataset's rows in the tidy tables of a loading step, by table.

    Args:
        url: The database.
        schema: The step's schema.
        dataset: The dataset's name.
        origin: What loads, such as `valvometry/to_postgres`.
    """

    def work(cursor: Cursor) -> dict[str, int]:
        return {
            str(table): int(
                query(
                    cursor,
                    "SELECT count(*) FROM {}.{} WHERE dataset = {dataset}",
                    table.schema,
                    table.name,
                    dataset=literal(dataset),
                )[0][0]
            )
            for table in tidy_tables_of(cursor, schema, origin)
        }

    return in_transaction(url, work)


def delete_tidy_rows(url: str, *, schema: str, dataset: str, origin: str) -> None:
    """Delete a dataset's rows from the tidy tables of a loading step; the tables stay.

    Args:
        url: The database.
        schema: The step's schema.
        dataset: The dataset's name.
        origin: What loads.
    """

    def work(cursor: Cursor) -> None:
        take_turns(cursor, schema)
        for table in tidy_tables_of(cursor, schema, origin):
            execute(
                cursor,
                "DELETE FROM {}.{} WHERE dataset = {dataset}",
                table.schema,
                table.name,
                dataset=literal(dataset),
            )

    in_transaction(url, work)


def wide_rows(url: str, *, dataset: str, origin: str) -> dict[str, int]:
    """Count the rows of the wide tables that a loading step filled with a dataset, by table."""

    def work(cursor: Cursor) -> dict[str, int]:
        return {
            str(table): int(
                query(cursor, "SELECT count(*) FROM {}.{}", table.schema, table.name)[0][0]
            )
            for table in tables_of(cursor, WIDE_SCHEMA, dataset, origin)
        }

    return in_transaction(url, work)


def delete_wide_rows(url: str, *, dataset: str, origin: str) -> None:
    """Drop the wide tables that a loading step filled with a dataset.

    One with columns from elsewhere stays, with the values of those columns.

    Args:
        url: The database.
        dataset: The dataset's name.
        origin: What loads.
    """

    def work(cursor: Cursor) -> None:
        take_turns(cursor, WIDE_SCHEMA)
        for table in tables_of(cursor, WIDE_SCHEMA, dataset, origin):
            _clear_wide(cursor, table)

    in_transaction(url, work)


def _clear_wide(cursor: Cursor, table: Table) -> None:
    memory = read_memory(cursor, table)
    columns = [name for name in columns_of(cursor, table) if name != "ts"]
    loaded = frozenset[str]().union(*memory.columns.values())
    others = [name for name in columns if name not in loaded]
    if not others:
        execute(cursor, "DROP TABLE {}.{}", table.schema, table.name)
        return
    nothing = name_list(others, "{} IS NULL", " AND ")
    execute(cursor, "DELETE FROM {}.{} WHERE {nothing}", table.schema, table.name, nothing=nothing)
    ours = [name for name in columns if name in loaded]
    if ours:
        nulls = name_list(ours, "{} = NULL")
        execute(cursor, "UPDATE {}.{} SET {nulls}", table.schema, table.name, nulls=nulls)
    # without what it remembers, another dataset may be loaded into it
    execute(
        cursor,
        "COMMENT ON TABLE {}.{} IS {said}",
        table.schema,
        table.name,
        said=literal("\n".join(memory.said) or None),
    )
