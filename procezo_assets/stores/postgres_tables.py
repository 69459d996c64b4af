"""Tables in PostgreSQL that grow with what is loaded into them: columns, types, rows.

Names are composed by psycopg, which quotes them; nothing is interpolated by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from procezo_assets.errors import StoreError
from procezo_assets.stores.postgres_connection import FEWER_COLUMNS, DayRefusedError

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Cursor
    from psycopg.sql import Composable

MAX_COLUMNS = 1600
MAX_NAME_BYTES = 63

_INTEGERS = {"smallint", "integer", "bigint"}
_FLOATS = {"real", "double precision"}
_NATIVE = {
    "bigint": pl.Int64,
    "double precision": pl.Float64,
    "boolean": pl.Boolean,
    "text": pl.String,
    "date": pl.Date,
    "timestamp with time zone": pl.Datetime("us", "UTC"),
    "timestamp without time zone": pl.Datetime("us"),
}
_STAGING = "procezo_staging"

# Times become text in UTC. A client that vanished is noticed before others stop waiting for it.
_SETTINGS = ", ".join(
    f"set_config('{name}', '{value}', true)"
    for name, value in {
        "timezone": "UTC",
        "lock_timeout": "2min",
        "tcp_keepalives_idle": "30",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "3",
    }.items()
)


@dataclass(frozen=True)
class Table:
    """A table by its names.

    Args:
        schema: The schema.
        name: The table.
    """

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


def check_name(name: str, kind: str) -> None:
    """Refuse a name that PostgreSQL would cut or cannot hold.

    Args:
        name: The name.
        kind: What it names, for people: `table`, `column`.

    Raises:
        DayRefusedError: Where it is a column, for columns depend on the day.
        StoreError: Where it is anything else.
    """
    size = len(name.encode())
    error = DayRefusedError if kind == "column" else StoreError
    if not name or "\0" in name:
        raise error(f"{name!r} cannot be the name of a {kind} in PostgreSQL", "rename it")
    if size > MAX_NAME_BYTES:
        raise error(
            f"the {kind} '{name}' would have a name of {size} bytes; "
            f"PostgreSQL holds {MAX_NAME_BYTES}",
            "shorten the names that it is made of",
        )


def execute(cursor: Cursor, text: str, *names: str | Composable, **parts: Composable) -> None:
    """Run a statement; `{}` in it are identifiers or composed parts."""
    cursor.execute(_composed(text, names, parts))


def query(cursor: Cursor, text: str, *names: str | Composable, **parts: Composable) -> list[Any]:
    """Run a query and return its rows; `{}` as for `execute`."""
    cursor.execute(_composed(text, names, parts))
    return cursor.fetchall()


def literal(value: object) -> Composable:
    """A value as a part of a statement."""
    from psycopg.sql import Literal  # noqa: PLC0415 - imported by every command

    return Literal(value)


def name_list(names: Iterable[str], pattern: str = "{}", join: str = ", ") -> Composable:
    """Identifiers as a part of a statement, each set into a pattern."""
    from psycopg.sql import SQL, Identifier  # noqa: PLC0415 - as above

    return SQL(join).join(
        SQL(pattern).format(Identifier(name), n=Identifier(name)) for name in names
    )


def within(day: date) -> Composable:
    """The condition that `ts` lies in a UTC day."""
    from psycopg.sql import SQL, Literal  # noqa: PLC0415 - as above

    first = datetime.combine(day, time(), UTC)
    return SQL("ts >= {} AND ts < {}").format(Literal(first), Literal(first + timedelta(days=1)))


def take_turns(cursor: Cursor, name: str) -> None:
    """Wait until no other load works on what the name stands for; the transaction's end lets go."""
    query(cursor, f"SELECT {_SETTINGS}")
    key = literal(f"procezo:{name}")
    query(cursor, "SELECT pg_advisory_xact_lock(hashtextextended({}, 0))::text", key)


def columns_of(cursor: Cursor, table: Table) -> dict[str, str]:
    """The columns of a table and their types; empty where there is no such table."""
    rows = query(
        cursor,
        """SELECT a.attname::text, format_type(a.atttypid, a.atttypmod)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = {} AND c.relname = {} AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.attnum""",
        literal(table.schema),
        literal(table.name),
    )
    return {str(name): str(kind) for name, kind in rows}


def has_unique_key(cursor: Cursor, table: Table) -> bool:
    """Tell whether a table refuses rows that repeat."""
    return bool(
        query(
            cursor,
            """SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
            JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = {} AND c.relname = {} AND i.indisunique LIMIT 1""",
            literal(table.schema),
            literal(table.name),
        )
    )


def with_table_types(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Bring a frame's columns to the few types that tables are made of.

    Raises:
        DayRefusedError: Where a column is of a type without a counterpart, such as a list.
    """
    return frame.select(_plain(column, table) for column in frame.get_columns())


def grow(
    cursor: Cursor, table: Table, frame: pl.DataFrame, keys: tuple[str, ...]
) -> dict[str, str]:
    """Make a table, or add the columns and widen the types that a frame asks for.

    Args:
        cursor: An open transaction.
        table: The table.
        frame: What is to be loaded, as of `with_table_types`.
        keys: The columns of the primary key.

    Returns:
        The type of each column of the table.

    Raises:
        StoreError: Where the table exists without these key columns.
        DayRefusedError: Where it would have too many columns.
    """
    asked = {name: _type_of(kind) for name, kind in frame.schema.items()}
    for name in asked:
        check_name(name, "column")
    have = columns_of(cursor, table)
    if absent := [key for key in keys if have and key not in have]:
        raise StoreError(
            f"the table {table} exists without the column '{absent[0]}'",
            "it is not one of this project: give the step another schema, prefix or template",
        )
    if have and have["ts"] != "timestamp with time zone":
        raise StoreError(
            f"the column ts of the table {table} is {have['ts']}",
            "make it timestamptz: ALTER TABLE … ALTER COLUMN ts TYPE timestamptz USING …",
        )
    _check_width(cursor, table, len(asked), len(asked.keys() - have.keys()), made=bool(have))
    if not have:
        columns = _joined(
            [_column(name, kind, required=name in keys) for name, kind in asked.items()]
        )
        execute(
            cursor,
            "CREATE TABLE {}.{} ({columns}, PRIMARY KEY ({keys}))",
            table.schema,
            table.name,
            columns=columns,
            keys=name_list(keys),
        )
        return asked
    empty = {name for name in asked if frame[name].null_count() == frame.height}
    changes: list[Composable] = []
    for name, kind in asked.items():
        if name not in have:
            changes.append(_composable("ADD COLUMN {}", _column(name, kind)))
        elif name not in {*keys, *empty} and (wider := widened(have[name], kind)) != have[name]:
            changes.append(
                _composable("ALTER COLUMN {n} TYPE {t} USING {n}::{t}", n=name, t=_sql(wider))
            )
            have[name] = wider
    if changes:
        execute(cursor, "ALTER TABLE {}.{} {c}", table.schema, table.name, c=_joined(changes))
    return {**asked, **have}


def widened(have: str, asked: str) -> str:
    """The narrowest type that holds the values of two.

    Args:
        have: The type of the table's column.
        asked: The type of the values to load.
    """
    if have == asked or (asked == "bigint" and have == "numeric"):
        return have
    if asked == "bigint" and have in _INTEGERS:
        return "bigint"
    if asked in {"bigint", "double precision"}:
        if have in _INTEGERS | _FLOATS:
            return "double precision"
        if have.startswith("numeric"):
            return "numeric"
    return "text"


def insert(cursor: Cursor, table: Table, frame: pl.DataFrame, types: Mapping[str, str]) -> int:
    """Add rows by bulk copy.

    Args:
        cursor: An open transaction.
        table: The table.
        frame: The rows, as of `with_table_types`.
        types: The type of each column of the table, as of `grow`.

    Returns:
        How many rows.
    """
    frame = frame.select(
        column
        for column in frame.get_columns()
        if column.null_count() < frame.height or column.dtype == _NATIVE.get(types[column.name])
    )
    # The copy is binary: an integer sent to a column of floats would arrive as another number.
    frame = frame.with_columns(
        pl.col(name).cast(pl.Float64)
        for name, kind in frame.schema.items()
        if types[name] == "double precision" and kind == pl.Int64
    )
    if all(kind == _NATIVE.get(types[name]) for name, kind in frame.schema.items()):
        copy(cursor, table.name, frame, schema=table.schema)
        return frame.height
    stage(cursor, frame)
    execute(
        cursor,
        "INSERT INTO {}.{} ({columns}) SELECT {values} FROM pg_temp.{staging}",
        table.schema,
        table.name,
        columns=name_list(frame.columns),
        values=converted(frame.columns, types),
        staging=name_list([_STAGING]),
    )
    return frame.height


def stage(cursor: Cursor, frame: pl.DataFrame) -> Composable:
    """Copy a frame into a temporary table and return its name, for use after `pg_temp.`."""
    execute(cursor, "DROP TABLE IF EXISTS pg_temp.{}", _STAGING)
    columns = _joined([_column(name, _type_of(kind)) for name, kind in frame.schema.items()])
    execute(cursor, "CREATE TEMPORARY TABLE {} ({c}) ON COMMIT DROP", _STAGING, c=columns)
    copy(cursor, _STAGING, frame)
    return name_list([_STAGING])


def converted(names: Iterable[str], types: Mapping[str, str]) -> Composable:
    """Columns of the staging table, each cast to the type of its column in the table."""
    return _joined([_composable("{n}::{t}", n=name, t=_sql(types[name])) for name in names])


def copy(cursor: Cursor, table: str, frame: pl.DataFrame, schema: str | None = None) -> None:
    """Send a frame by COPY into a table of just its types; without a schema, a temporary one."""
    if frame.height == 0:
        return
    cursor.adbc_ingest(
        table,
        frame.to_arrow(compat_level=pl.CompatLevel.oldest()),
        mode="append",
        db_schema_name=schema,
        temporary=schema is None,
    )


def _check_width(cursor: Cursor, table: Table, asked: int, new: int, *, made: bool) -> None:
    used = 0
    if made and new:  # columns that were dropped count as well
        rows = query(
            cursor,
            """SELECT c.relnatts::bigint FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = {} AND c.relname = {}""",
            literal(table.schema),
            literal(table.name),
        )
        used = int(rows[0][0])
    total = used + new if made else asked
    if total > MAX_COLUMNS:
        raise DayRefusedError(
            f"the table {table} would have {total:,} columns; PostgreSQL holds {MAX_COLUMNS:,}",
            FEWER_COLUMNS,
        )


def _plain(column: pl.Series, table: Table) -> pl.Series:
    kind = column.dtype
    if kind.is_integer():
        top = column.max()
        if isinstance(top, int) and top > 2**63 - 1:
            return column.cast(pl.Float64)
        return column.cast(pl.Int64)
    if kind.is_numeric() or kind == pl.Null:
        return column.cast(pl.Float64)
    if kind in {pl.Categorical, pl.Enum}:
        return column.cast(pl.String)
    if isinstance(kind, pl.Datetime):
        zoned = column.dt.cast_time_unit("us")
        return zoned.dt.convert_time_zone("UTC") if kind.time_zone else zoned
    if kind in {pl.Boolean, pl.String, pl.Date}:
        return column
    raise DayRefusedError(
        f"the column '{column.name}' for the table {table} is of type {kind}, "
        "which no table here holds",
        "drop it with columns in sources, or make it a number or a text",
    )


def _type_of(kind: pl.DataType) -> str:
    return next(name for name, native in _NATIVE.items() if native == kind)


def _column(name: str, kind: str, *, required: bool = False) -> Composable:
    return _composable("{n} {t} NOT NULL" if required else "{n} {t}", n=name, t=_sql(kind))


def _composed(
    text: str, names: tuple[str | Composable, ...], parts: Mapping[str, Composable]
) -> str:
    return _composable(text, *names, **parts).as_string(None)


def _composable(text: str, *names: str | Composable, **parts: str | Composable) -> Composable:
    from psycopg.sql import SQL, Identifier  # noqa: PLC0415 - as above

    def quoted(part: str | Composable) -> Composable:
        return Identifier(part) if isinstance(part, str) else part

    return SQL(text).format(*map(quoted, names), **{k: quoted(v) for k, v in parts.items()})


def _sql(text: str) -> Composable:
    from psycopg.sql import SQL  # noqa: PLC0415 - as above

    return SQL(text)


def _joined(parts: list[Composable]) -> Composable:
    from psycopg.sql import SQL  # noqa: PLC0415 - as above

    return SQL(", ").join(parts)
