"""Rows for PostgreSQL, loaded and read back."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import psycopg

from procezo_assets.stores.postgres import replace_tidy, replace_wide

DAY = date(2026, 2, 1)
NEXT = date(2026, 2, 2)

# which connections of `pg_stat_activity` are the test's own: tests of other databases run beside
OURS = "application_name = 'procezo' AND datname = current_database()"


def at(second, day=DAY):
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=second)


def rows(url, query):
    with psycopg.connect(url, options="-c timezone=UTC") as connection:
        return connection.execute(query).fetchall()


def run(url, statement):
    with psycopg.connect(url) as connection:
        connection.execute(statement)


def tidy(device="a", day=DAY, **values):
    count = len(next(iter(values.values())))
    return pl.DataFrame(
        {"device": [device] * count, "ts": [at(n, day) for n in range(count)], **values}
    )


def load(url, tables, *, dataset="D", day=DAY, schema="flow", origin="flow/to_postgres"):
    return replace_tidy(url, schema=schema, tables=tables, dataset=dataset, day=day, origin=origin)


def fill(url, frame, *, table="T", day=DAY, owned=(), dataset="D", origin="flow/to_postgres"):
    """Load one wide table and return its rows."""
    loaded = replace_wide(
        url, tables={table: frame}, owned={table: owned}, dataset=dataset, day=day, origin=origin
    )
    return loaded.get(table)


def wide(day=DAY, **values):
    count = len(next(iter(values.values())))
    return pl.DataFrame({"ts": [at(n, day) for n in range(count)], **values})


def comment(url, table="T"):
    query = f"SELECT obj_description('\"{table}\"'::regclass, 'pg_class')"
    return rows(url, query)[0][0]


def types(url, table, schema="flow"):
    return dict(
        rows(
            url,
            "SELECT column_name, data_type FROM information_schema.columns "
            f"WHERE table_schema = '{schema}' AND table_name = '{table}' ORDER BY ordinal_position",
        )
    )
