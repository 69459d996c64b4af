"""Tables of the warehouse: a schema a flow, a table a domain and window of the loaded stage."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from procezo_assets.errors import StoreError
from procezo_assets.stores.column_units import unit_comment, units_of_files
from procezo_assets.stores.loads import Loaded, StageInput
from procezo_assets.stores.seen_parts import (
    Seen,
    again_where_replaced,
    parts_seen,
    refuse_replaced,
)
from procezo_assets.stores.warehouse import (
    BUSY_WAIT_S,
    MADE_BY,
    connect_for_loading,
    parse_comment,
    quote_identifier,
    quote_literal,
    schema_name,
    transaction,
)
from procezo_assets.stores.warehouse_files import (
    NO_TYPE,
    Batch,
    PartFile,
    batches_of,
    unreadable_days,
    wider,
)
from procezo_assets.stores.warehouse_views import refresh_views

Connection = duckdb.DuckDBPyConnection

_KEY_COLUMNS = {"dataset": "VARCHAR", "device": "VARCHAR", "ts": "TIMESTAMP WITH TIME ZONE"}


def load(
    inputs: Sequence[StageInput],
    *,
    domains: Collection[str] = (),
    windows: Collection[str] = (),
    views: bool = True,
    busy_wait_s: float = BUSY_WAIT_S,
) -> list[Loaded]:
    """Replace the rows of the given datasets and days by those of their partition files.

    One transaction holds for all of them; a day whose files cannot be read, or have columns that
    DuckDB cannot hold, keeps the rows it had.

    Args:
        inputs: What to load: datasets of one flow and one input stage.
        domains: The domains to load; all where empty.
        windows: The windows to load; all where empty. Files without a window are always loaded.
        views: Whether to keep views over the parquet files of the flow's other stages.
        busy_wait_s: How long to wait, in seconds, for a program that has the warehouse open.

    Returns:
        What was loaded, one a dataset, in the order of the inputs.

    Raises:
        StoreError: Where the warehouse cannot be opened or refuses the rows; nothing is changed.
        TransientStoreError: Where other runs replace the files again and again, or work on a day
            for very long.
    """
    if not inputs:
        return []
    for attempt in again_where_replaced():
        with attempt:
            seen = parts_seen(inputs)  # may wait for a day, and nobody is to wait for that as well
            with connect_for_loading(inputs[0].home, busy_wait_s=busy_wait_s) as connection:
                loading = _Loading(connection, inputs, domains=domains, windows=windows)
                loaded = loading.run(seen)
                warnings = refresh_views(connection, inputs, domains=domains) if views else []
    return [
        replace(one, files=(inputs[0].home.warehouse,), warnings=(*one.warnings, *warnings))
        for one in loaded
    ]


class _Loading:
    """One run's load: the connection, the flow's schema and what was asked for."""

    def __init__(
        self,
        connection: Connection,
        inputs: Sequence[StageInput],
        *,
        domains: Collection[str],
        windows: Collection[str],
    ) -> None:
        self.connection = connection
        self.inputs = inputs
        self.domains = domains
        self.windows = windows
        self.stage = inputs[0].stage
        self.schema = schema_name(inputs[0].flow)
        # A flow may be called like the database itself, so that only the full path is unambiguous.
        (self.catalog,) = _row(connection.execute("SELECT current_database()"))

    def run(self, seen: Seen) -> list[Loaded]:
        try:
            return self._load(seen)
        except (duckdb.Error, OSError, pl.exceptions.PolarsError):
            refuse_replaced(self.inputs, seen)  # a file that went away may be all that is wrong
            raise

    def _load(self, seen: Seen) -> list[Loaded]:
        parts = [
            PartFile(dataset, day, key, Path(file.path))
            for (dataset, day), files in seen.items()
            for key, file in files.items()
            if self._wants(key.domain, key.window)
        ]
        failed = unreadable_days(self.connection, parts)
        parts = [part for part in parts if (part.dataset, part.day) not in failed]
        batches, refused = batches_of(
            self.connection,
            [(self._table_name(part.key.domain, part.key.window), part) for part in parts],
        )
        failed |= refused
        parts = [part for part in parts if (part.dataset, part.day) not in failed]
        with transaction(self.connection):
            self._make_schema()
            self._make_tables(parts, batches)
            self._comment_units(parts)
            tables = self._tables()
            ranges = {
                one.dataset: _ranges(day for day in one.days if (one.dataset, day) not in failed)
                for one in self.inputs
            }
            self._delete(tables, ranges)
            inserted = self._insert(batches)
            rows = self._rows_by_day(tables, ranges)
            for one in self.inputs:
                found = sum(rows[one.dataset].values())
                if found != inserted[one.dataset]:
                    raise StoreError(
                        f"stage '{self.stage}' of dataset '{one.dataset}' has "
                        f"{abs(inserted[one.dataset] - found)} rows outside the day of their file",
                        "the treatment that wrote them must keep each row on its UTC day",
                    )
            refuse_replaced(self.inputs, seen)
        return [
            Loaded(
                dataset=one.dataset,
                rows={
                    day: rows[one.dataset].get(day, 0)
                    for day in one.days
                    if (one.dataset, day) not in failed
                },
                tables=tuple(
                    f"{self.schema}.{table}"
                    for table in sorted({b.table for b in batches if b.dataset == one.dataset})
                ),
                failed={
                    day: why for (dataset, day), why in failed.items() if dataset == one.dataset
                },
            )
            for one in self.inputs
        ]

    def _wants(self, domain: str, window: str | None) -> bool:
        return (not self.domains or domain in self.domains) and (
            not self.windows or window is None or window in self.windows
        )

    def _path(self, name: str) -> str:
        return quote_identifier(self.catalog, self.schema, name)

    def _table_name(self, domain: str, window: str | None) -> str:
        return f"{domain}_{window or self.stage}"

    def _make_schema(self) -> None:
        existing = self.connection.execute(
            "SELECT schema_name FROM duckdb_schemas() WHERE database_name = ? "
            "AND lower(schema_name) = lower(?)",
            [self.catalog, self.schema],
        ).fetchall()
        if existing and existing[0][0] != self.schema:
            raise StoreError(
                f"the warehouse has a schema '{existing[0][0]}', which DuckDB cannot tell "
                f"from '{self.schema}'",
                "rename one of the two flows",
            )
        if not existing:
            self.connection.execute(f"CREATE SCHEMA {quote_identifier(self.catalog, self.schema)}")

    def _make_tables(self, parts: Sequence[PartFile], batches: Sequence[Batch]) -> None:
        abouts: dict[str, dict[str, str | None]] = {}
        for part in parts:
            table = self._table_name(part.key.domain, part.key.window)
            about = _about(self.stage, part.key.domain, part.key.window)
            other = abouts.setdefault(table.casefold(), about)
            if other != about:
                raise StoreError(
                    f"domains '{other['domain']}' and '{part.key.domain}' would share the table "
                    f"'{table}'",
                    "rename one of the two domains",
                )
        for table in sorted({batch.table for batch in batches}):
            wanted: dict[str, str] = {}
            for batch in batches:
                if batch.table == table:
                    for name, kind in batch.columns.items():
                        wanted[name] = wider(wanted.get(name, NO_TYPE), kind)
            self._make_table(table, abouts[table.casefold()], wanted)
            self._widen_table(table, wanted)

    def _make_table(
        self, table: str, about: Mapping[str, str | None], wanted: Mapping[str, str]
    ) -> None:
        found = self.connection.execute(
            "SELECT 'TABLE', table_name, comment FROM duckdb_tables() "
            "WHERE database_name = $1 AND schema_name = $2 AND lower(table_name) = lower($3) "
            "UNION ALL SELECT 'VIEW', view_name, comment FROM duckdb_views() "
            "WHERE database_name = $1 AND schema_name = $2 AND lower(view_name) = lower($3)",
            [self.catalog, self.schema, table],
        ).fetchone()
        if found is not None:
            kind, name, comment = found
            known = parse_comment(comment)
            if kind == "TABLE" and known == {**about, "made_by": MADE_BY}:
                return
            if kind == "TABLE" and known is not None:
                raise StoreError(
                    f"table {self.schema}.{name} of the warehouse holds the domain "
                    f"'{known.get('domain')}' of stage '{known.get('stage')}', not the domain "
                    f"'{about['domain']}' of stage '{about['stage']}'",
                    "load one of the two, or move one into a flow of its own",
                )
            if known is None:
                raise StoreError(
                    f"the warehouse has a {kind.lower()} {self.schema}.{name} of somebody else",
                    "rename it",
                )
            self.connection.execute(f"DROP VIEW {self._path(name)}")
        # at once: a column that is added takes as long as the table has columns
        first: dict[str, tuple[str, str]] = {}
        for name, kind in {**_KEY_COLUMNS, **wanted}.items():
            if kind != NO_TYPE:
                first.setdefault(name.casefold(), (name, _KEY_COLUMNS.get(name, kind)))
        columns = ", ".join(f"{quote_identifier(n)} {kind}" for n, kind in first.values())
        self.connection.execute(f"CREATE TABLE {self._path(table)} ({columns})")
        comment = json.dumps({**about, "made_by": MADE_BY}, sort_keys=True)
        self.connection.execute(f"COMMENT ON TABLE {self._path(table)} IS {quote_literal(comment)}")

    def _widen_table(self, table: str, wanted: Mapping[str, str]) -> None:
        existing = {
            name.casefold(): kind
            for name, kind, *_ in self.connection.execute(
                f"DESCRIBE {self._path(table)}"
            ).fetchall()
        }
        for name, kind in wanted.items():
            if name in _KEY_COLUMNS or kind == NO_TYPE:
                continue
            before = existing.get(name.casefold())
            after = kind if before is None else wider(before, kind)
            if before is None:
                change = f"ADD COLUMN {quote_identifier(name)} {after}"
            elif after != before:
                change = f"ALTER COLUMN {quote_identifier(name)} SET DATA TYPE {after}"
            else:
                continue
            self.connection.execute(f"ALTER TABLE {self._path(table)} {change}")
            existing[name.casefold()] = after

    def _comment_units(self, parts: Sequence[PartFile]) -> None:
        paths: dict[str, list[Path]] = defaultdict(list)
        for part in parts:
            paths[self._table_name(part.key.domain, part.key.window)].append(part.path)
        for table, files in paths.items():
            if not (units := units_of_files(files)):
                continue
            comments = self.connection.execute(
                "SELECT column_name, comment FROM duckdb_columns() WHERE database_name = ? "
                "AND schema_name = ? AND table_name = ?",
                [self.catalog, self.schema, table],
            ).fetchall()
            for column, comment in comments:
                said = unit_comment(comment, units.get(column, ()))
                if said != (comment or ""):
                    self.connection.execute(
                        f"COMMENT ON COLUMN {self._path(table)}.{quote_identifier(column)} "
                        f"IS {quote_literal(said)}"
                    )

    def _tables(self) -> list[str]:
        """List the tables that hold what this load is to replace, with or without new rows."""
        rows = self.connection.execute(
            "SELECT table_name, comment FROM duckdb_tables() "
            "WHERE database_name = ? AND schema_name = ? ORDER BY table_name",
            [self.catalog, self.schema],
        ).fetchall()
        return [
            name
            for name, comment in rows
            if (about := parse_comment(comment)) is not None
            and about.get("stage") == self.stage
            and self._wants(str(about.get("domain")), about.get("window"))
        ]

    def _delete(self, tables: Sequence[str], ranges: Mapping[str, Sequence[_Range]]) -> None:
        for table in tables:
            for dataset, spans in ranges.items():
                for first, end in spans:
                    self.connection.execute(
                        f"DELETE FROM {self._path(table)} "  # noqa: S608 - quoted
                        "WHERE dataset = ? AND ts >= ? AND ts < ?",
                        [dataset, first, end],
                    )

    def _insert(self, batches: Sequence[Batch]) -> dict[str, int]:
        inserted: dict[str, int] = defaultdict(int)
        for batch in batches:
            columns = ", ".join(
                quote_identifier(name) for name, kind in batch.columns.items() if kind != NO_TYPE
            )
            (count,) = _row(
                self.connection.execute(
                    f"INSERT INTO {self._path(batch.table)} BY NAME "  # noqa: S608 - quoted
                    f"SELECT ?::VARCHAR AS dataset, {columns} "
                    "FROM read_parquet(?, hive_partitioning = false)",
                    [batch.dataset, batch.files],
                )
            )
            inserted[batch.dataset] += count
        return inserted

    def _rows_by_day(
        self, tables: Sequence[str], ranges: Mapping[str, Sequence[_Range]]
    ) -> dict[str, dict[date, int]]:
        rows: dict[str, dict[date, int]] = {dataset: defaultdict(int) for dataset in ranges}
        for table in tables:
            for dataset, spans in ranges.items():
                for first, end in spans:
                    counts = self.connection.execute(
                        f"SELECT ts::DATE, count(*) FROM {self._path(table)} "  # noqa: S608 - quoted
                        "WHERE dataset = ? AND ts >= ? AND ts < ? GROUP BY ALL",
                        [dataset, first, end],
                    ).fetchall()
                    for day, count in counts:
                        rows[dataset][day] += count
        return rows


_Range = tuple[datetime, datetime]


def _about(stage: str, domain: str, window: str | None) -> dict[str, str | None]:
    return {"stage": stage, "domain": domain, "window": window}


def _ranges(days: Iterable[date]) -> list[_Range]:
    """Join days that follow each other into half-open ranges of time."""
    ranges: list[_Range] = []
    for day in sorted(days):
        first = datetime.combine(day, time(), UTC)
        end = first + timedelta(days=1)
        if ranges and ranges[-1][1] == first:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((first, end))
    return ranges


def _row(result: Connection) -> tuple[Any, ...]:
    row = result.fetchone()
    if row is None:
        raise StoreError("DuckDB returned no row where there must be one", "run again")
    return row
