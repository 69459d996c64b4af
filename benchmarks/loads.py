"""Loading into PostgreSQL and DuckDB beside the least that could load the same rows.

    python benchmarks/loads.py HOME FLOW --postgres postgresql://127.0.0.1/test

HOME has a dataset whose flow has been run up to `aggregate`. PostgreSQL: the days one by one,
against `adbc_ingest` of the same frames into tables without keys, and into tables with ours.
DuckDB: all days at once, against `INSERT … FROM read_parquet`. In each round all are run, on empty
tables and again; the figures are medians. HOME is only read; the schema `loads_benchmark` of the
database is emptied, before and after.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import polars as pl
from adbc_driver_postgresql import dbapi

from procezo_assets.datasets import Home, stage_days
from procezo_assets.stores.loads import StageInput
from procezo_assets.treatments.to_duckdb import ToDuckdbParameters, to_duckdb
from procezo_assets.treatments.to_postgres import ToPostgres, to_postgres

SCHEMA = "loads_benchmark"
FOLDER = "40_aggregated"


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("home", type=Path)
    asked.add_argument("flow")
    asked.add_argument("--postgres", required=True)
    asked.add_argument("--rounds", type=int, default=5)
    options = asked.parse_args()
    home = Home(options.home.absolute())
    source = _source(home, options.flow)
    rows = sum(_frame(part).height for parts in _files(source).values() for part in parts)
    took: dict[str, list[float]] = defaultdict(list)
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="procezo-loads-") as scratch:
            elsewhere = replace(source, home=Home(Path(scratch)))
            for name, prepare, load in _loads(elsewhere, options.postgres):
                if prepare is not None:
                    prepare()
                started = time.perf_counter()
                load()
                took[name].append(time.perf_counter() - started)
    _empty_schema(options.postgres)
    for name, seconds in took.items():
        median = statistics.median(seconds)
        print(f"{name:30} {median:6.2f} s {rows / median:10,.0f} rows/s")


def _source(home: Home, flow: str) -> StageInput:
    (dataset,) = home.dataset_names()
    folder = home.existing_dataset(dataset).stage(FOLDER)
    return StageInput(
        home=home,
        flow=flow,
        dataset=dataset,
        stage="aggregated",
        folder=folder,
        output=folder.parent / "60_loads",
        days=tuple(sorted(stage_days(folder))),
        step="loads",
    )


def _loads(
    source: StageInput, url: str
) -> list[tuple[str, Callable[[], None] | None, Callable[[], object]]]:
    """What is measured: its name, what is done before that, and itself."""
    params = ToPostgres.model_validate({"schema": SCHEMA, "url": url})
    warehouse = ToDuckdbParameters(views=False)

    def empty() -> None:
        _empty_schema(url)

    return [
        ("to_postgres, empty tables", empty, lambda: to_postgres([source], params)),
        ("to_postgres, again", None, lambda: to_postgres([source], params)),
        ("adbc_ingest without keys", empty, lambda: _ingest(source, url, keys=False)),
        ("adbc_ingest with keys", empty, lambda: _ingest(source, url, keys=True)),
        ("to_duckdb, empty tables", None, lambda: to_duckdb([source], warehouse)),
        ("to_duckdb, again", None, lambda: to_duckdb([source], warehouse)),
        ("INSERT … FROM read_parquet", None, lambda: _insert(source)),
    ]


def _files(source: StageInput) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = defaultdict(list)
    for day in source.days:
        for key, path in source.parts(day).items():
            files[f"{key.domain}_{key.window}"].append(path)
    return files


def _frame(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path, hive_partitioning=False)


def _empty_schema(url: str) -> None:
    with dbapi.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        cursor.execute(f"CREATE SCHEMA {SCHEMA}")
        connection.commit()


def _ingest(source: StageInput, url: str, *, keys: bool) -> None:
    made: set[str] = set()
    with dbapi.connect(url) as connection, connection.cursor() as cursor:
        for day in source.days:
            frames: dict[str, list[pl.DataFrame]] = defaultdict(list)
            for key, path in source.parts(day).items():
                frames[f"{key.domain}_{key.window}"].append(_frame(path))
            for table, several in frames.items():
                frame = pl.concat(several).with_columns(dataset=pl.lit(source.dataset))
                data = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
                if table not in made:
                    cursor.adbc_ingest(table, data[:0], mode="create", db_schema_name=SCHEMA)
                    made.add(table)
                    if keys:
                        name = f'{SCHEMA}."{table}"'
                        cursor.execute(f"ALTER TABLE {name} ADD PRIMARY KEY (dataset, device, ts)")
                        cursor.execute(f"CREATE INDEX ON {name} (ts)")
                cursor.adbc_ingest(table, data, mode="append", db_schema_name=SCHEMA)
            connection.commit()


def _insert(source: StageInput) -> None:
    path = source.home.state / "loads.duckdb"
    path.unlink(missing_ok=True)
    with duckdb.connect(str(path)) as connection:
        for table, files in _files(source).items():
            names = [str(file) for file in files]
            rows = "FROM read_parquet(?, hive_partitioning = false)"
            connection.execute(f'CREATE TABLE "{table}" AS {rows} LIMIT 0', [names])
            connection.execute(f'INSERT INTO "{table}" {rows}', [names])
    path.unlink()


if __name__ == "__main__":
    main()
