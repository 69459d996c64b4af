"""Loading partitions into PostgreSQL: one transaction a partition, by bulk copy.

Loading a day replaces exactly that day's rows of that dataset. Columns are added and types widened,
never dropped; nothing else in a table moves. Two layouts: `tidy` has a row for each device and
timestamp, `wide` a row for each timestamp and a column for each device and value.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from procezo_assets.stores.column_units import unit_comment
from procezo_assets.stores.postgres_connection import DayRefusedError, in_transaction
from procezo_assets.stores.postgres_memory import (
    check_dataset,
    read_memory,
    tables_of,
    write_memory,
)
from procezo_assets.stores.postgres_tables import (
    Table,
    check_name,
    columns_of,
    converted,
    execute,
    grow,
    has_unique_key,
    insert,
    literal,
    name_list,
    query,
    stage,
    take_turns,
    with_table_types,
    within,
)

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Cursor

TIDY_KEY = ("dataset", "device", "ts")
WIDE_SCHEMA = "public"


def replace_tidy(
    url: str,
    *,
    schema: str,
    tables: Mapping[str, pl.DataFrame],
    dataset: str,
    day: date,
    origin: str,
    units: Mapping[str, Mapping[str, Iterable[str]]] | None = None,
) -> dict[str, int]:
    """Replace the rows of one dataset and UTC day in the tables of one loading step.

    Args:
        url: The database.
        schema: The schema, made where there is none.
        tables: The rows by table: `device`, `ts` (datetime[us, UTC]), then values.
        dataset: The dataset's name.
        day: The UTC day that all rows lie in.
        origin: What loads, such as `valvometry/to_postgres`. It becomes the tables' comment: rows
            of the day also leave the tables of the same origin that `tables` does not name.
        units: By table and column, the units for the columns' comments.

    Returns:
        Rows loaded, by table; 0 for those that only lost rows.

    Raises:
        DayRefusedError: Where the tables cannot hold these rows.
        TransientStoreError: Where the server cannot be reached.
        StoreError: Where it refuses.
    """
    check_name(schema, "schema")
    frames: dict[Table, pl.DataFrame] = {}
    for name, frame in tables.items():
        check_name(name, "table")
        table = Table(schema, name)
        frames[table] = with_table_types(_with_dataset(frame, dataset, table), table)

    def work(cursor: Cursor) -> dict[str, int]:
        # One turn for the whole schema: tables taken one by one could deadlock.
        take_turns(cursor, schema)
        if not query(cursor, "SELECT 1 FROM pg_namespace WHERE nspname = {}", literal(schema)):
            execute(cursor, "CREATE SCHEMA {}", schema)
        rows: dict[str, int] = {}
        for table in tidy_tables_of(cursor, schema, origin):
            if table not in frames:
                _delete_dataset_day(cursor, table, dataset, day)
                rows[table.name] = 0
        for table, frame in sorted(frames.items(), key=lambda item: item[0].name):
            rows[table.name] = _replace_in(
                cursor, table, frame, dataset=dataset, day=day, origin=origin
            )
            _comment_units(cursor, table, (units or {}).get(table.name, {}))
        return rows

    return in_transaction(url, work)


def replace_wide(
    url: str,
    *,
    tables: Mapping[str, pl.DataFrame],
    owned: Mapping[str, Collection[str]],
    dataset: str,
    day: date,
    origin: str,
    devices: Mapping[str, str] | None = None,
    units: Mapping[str, Mapping[str, Iterable[str]]] | None = None,
) -> dict[str, int]:
    """Replace one UTC day of a dataset in the wide tables of one loading step.

    The tables are in the schema `public`. Columns that they have from elsewhere keep their values,
    and so do the rows of the day that hold such values. Each table remembers, in its comment, its
    dataset, the columns that each origin answers for, and the devices.

    Args:
        url: The database.
        tables: By table, made where there is none, one row a timestamp: `ts` (datetime[us, UTC],
            unique), then values.
        owned: By table, columns that this load answers for beside those it writes and those it
            wrote before: their values of the day become null.
        dataset: The dataset's name; a table holds one.
        day: The UTC day that all rows lie in.
        origin: What loads, such as `valvometry/to_postgres`. The day's values also leave the tables
            of the same origin and dataset that `tables` does not name.
        devices: The devices of the day, by the beginning of their columns' names.
        units: By table and column, the units for the columns' comments.

    Returns:
        Rows loaded, by table; 0 for those that only lost values.

    Raises:
        DayRefusedError: Where the tables cannot hold these rows.
        TransientStoreError: Where the server cannot be reached.
        StoreError: Where it refuses, or where a table holds another dataset.
    """
    frames: dict[Table, pl.DataFrame] = {}
    derived: dict[Table, Collection[str]] = {}
    for name in {*tables, *owned}:
        check_name(name, "table")
        derived[Table(WIDE_SCHEMA, name)] = owned.get(name, ())
    for name, frame in tables.items():
        table = Table(WIDE_SCHEMA, name)
        frames[table] = with_table_types(frame, table)
        _refuse_repeated(frames[table], ["ts"], table)
    nothing = pl.DataFrame(schema={"ts": pl.Datetime("us", "UTC")})

    def work(cursor: Cursor) -> dict[str, int]:
        take_turns(cursor, WIDE_SCHEMA)  # one turn for all tables, as in the other layout
        rows: dict[str, int] = {}
        known = tables_of(cursor, WIDE_SCHEMA, dataset, origin)
        for table in sorted({*derived, *known}, key=str):
            frame = frames.get(table, nothing)
            if frame.width == 1 and not columns_of(cursor, table):
                continue
            rows[table.name] = _replace_in_wide(
                cursor,
                table,
                frame,
                derived=derived.get(table, ()),
                dataset=dataset,
                day=day,
                origin=origin,
                devices=devices or {},
            )
            _comment_units(cursor, table, (units or {}).get(table.name, {}))
        return rows

    return in_transaction(url, work)


def remembered_owners(
    url: str, *, dataset: str, origin: str, devices: Collection[str]
) -> dict[str, str]:
    """Tell which devices have filled columns of the wide tables of one loading step.

    Args:
        url: The database.
        dataset: The dataset's name.
        origin: What loads.
        devices: The devices to tell of.

    Returns:
        The device by the beginning of its columns' names.

    Raises:
        TransientStoreError: Where the server cannot be reached.
        StoreError: Where it refuses.
    """

    def work(cursor: Cursor) -> dict[str, str]:
        return {
            prefix: device
            for table in tables_of(cursor, WIDE_SCHEMA, dataset, origin)
            for prefix, device in read_memory(cursor, table).devices.items()
            if device in devices
        }

    return in_transaction(url, work)


def _replace_in_wide(
    cursor: Cursor,
    table: Table,
    frame: pl.DataFrame,
    *,
    derived: Collection[str],
    dataset: str,
    day: date,
    origin: str,
    devices: Mapping[str, str],
) -> int:
    memory = read_memory(cursor, table)
    check_dataset(memory, table, dataset)
    before = columns_of(cursor, table)
    types = grow(cursor, table, frame, ("ts",))
    answered = {*frame.columns, *memory.answers_for(origin, derived)} - {"ts"}
    ours = [name for name in types if name in answered]
    others = [name for name in before if name not in {*ours, "ts"}]
    if (after := memory.with_columns(dataset, origin, ours, devices)) != memory:
        write_memory(cursor, table, after)
    _delete_wide_day(cursor, table, day, others)
    if not others:
        return insert(cursor, table, frame, types)
    return _merge_wide_day(cursor, table, frame, types=types, day=day, ours=ours)


def _with_dataset(frame: pl.DataFrame, dataset: str, table: Table) -> pl.DataFrame:
    if "dataset" in frame.columns:
        raise DayRefusedError(
            f"a value column for the table {table} is called 'dataset', which names the experiment",
            "rename the column when it is parsed",
        )
    values = [name for name in frame.columns if name not in TIDY_KEY]
    return frame.select(pl.lit(dataset).alias("dataset"), "device", "ts", *values)


def tidy_tables_of(cursor: Cursor, schema: str, origin: str) -> list[Table]:
    """The tidy tables of a schema that an origin has loaded."""
    rows = query(
        cursor,
        """SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = {} AND c.relkind IN ('r', 'p')
        AND obj_description(c.oid, 'pg_class') = {} ORDER BY 1""",
        literal(schema),
        literal(_comment(origin)),
    )
    return [Table(schema, str(name)) for (name,) in rows]


def _comment(origin: str) -> str:
    return f"Loaded by procezo: {origin}"


def _replace_in(
    cursor: Cursor, table: Table, frame: pl.DataFrame, *, dataset: str, day: date, origin: str
) -> int:
    made = not columns_of(cursor, table)
    if made or has_unique_key(cursor, table):
        _refuse_repeated(frame, list(TIDY_KEY), table)
    types = grow(cursor, table, frame, TIDY_KEY)
    if made:
        # Dashboards ask for a time range of all devices, which the primary key does not serve.
        execute(cursor, "CREATE INDEX ON {}.{} (ts)", table.schema, table.name)
    else:
        _delete_dataset_day(cursor, table, dataset, day)
    execute(
        cursor,
        "COMMENT ON TABLE {}.{} IS {comment}",
        table.schema,
        table.name,
        comment=literal(_comment(origin)),
    )
    return insert(cursor, table, frame, types)


def _comment_units(cursor: Cursor, table: Table, units: Mapping[str, Iterable[str]]) -> None:
    """Write the units of columns into their comments, beside what the comments say."""
    if not units:
        return
    rows = query(
        cursor,
        """SELECT a.attname::text, col_description(c.oid, a.attnum)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = {} AND c.relname = {} AND a.attnum > 0 AND NOT a.attisdropped""",
        literal(table.schema),
        literal(table.name),
    )
    for column, comment in rows:
        said = unit_comment(comment, units.get(column, ()))
        if said != (comment or ""):
            execute(
                cursor,
                "COMMENT ON COLUMN {}.{}.{} IS {said}",
                table.schema,
                table.name,
                column,
                said=literal(said),
            )


def _delete_dataset_day(cursor: Cursor, table: Table, dataset: str, day: date) -> None:
    execute(
        cursor,
        "DELETE FROM {}.{} WHERE dataset = {dataset} AND {day}",
        table.schema,
        table.name,
        dataset=literal(dataset),
        day=within(day),
    )


def _delete_wide_day(cursor: Cursor, table: Table, day: date, others: list[str]) -> None:
    """Delete the rows of a day that hold nothing from elsewhere."""
    nothing = name_list(others, "{} IS NULL", " AND ") if others else literal(value=True)
    execute(
        cursor,
        "DELETE FROM {}.{} WHERE {day} AND {nothing}",
        table.schema,
        table.name,
        day=within(day),
        nothing=nothing,
    )


def _merge_wide_day(
    cursor: Cursor,
    table: Table,
    frame: pl.DataFrame,
    *,
    types: Mapping[str, str],
    day: date,
    ours: list[str],
) -> int:
    """Set our columns in rows that others have values in, and add the rows that are missing."""
    if ours:
        execute(
            cursor,
            "UPDATE {}.{} SET {nulls} WHERE {day}",
            table.schema,
            table.name,
            nulls=name_list(ours, "{} = NULL"),
            day=within(day),
        )
    values = [name for name in frame.columns if name != "ts"]
    if not values:
        return 0  # nothing to say of the timestamps that others have
    execute(
        cursor,
        "INSERT INTO {}.{} ({columns}) SELECT {converted} FROM pg_temp.{staging} "
        "ON CONFLICT (ts) DO UPDATE SET {values}",
        table.schema,
        table.name,
        columns=name_list(frame.columns),
        staging=stage(cursor, frame),
        converted=converted(frame.columns, types),
        values=name_list(values, "{n} = excluded.{n}"),
    )
    return frame.height


def _refuse_repeated(frame: pl.DataFrame, keys: list[str], table: Table) -> None:
    repeated = frame.filter(pl.struct(keys).is_duplicated())
    if repeated.is_empty():
        return
    first = repeated.row(0, named=True)
    device = f"device '{first['device']}' at " if "device" in keys else ""
    surplus = repeated.height - repeated.select(keys).n_unique()
    raise DayRefusedError(
        f"{surplus} rows for the table {table} repeat a timestamp, the first of "
        f"{device}{first['ts']:%Y-%m-%dT%H:%M:%S.%fZ}",
        "load a stage from clean on, where timestamps are unique",
    )
