"""`procezo demo`: sample data through a flow, and where to look at the results."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import click

from procezo_assets.cli.flow import print_outcomes, run_plan
from procezo_assets.cli.home import current_home, load
from procezo_assets.cli.output import print_table
from procezo_assets.datasets import Dataset, Home, PartKey
from procezo_assets.errors import ProcezoError
from procezo_assets.flows import Flow
from procezo_assets.plans import Plan
from procezo_assets.plots import write_day_png
from procezo_assets.sample import DATASET, DAYS, DEVICES, write_sample
from procezo_assets.settings import load_settings
from procezo_assets.stores.parquet import read_part
from procezo_assets.templates import place

_FLOW = "valvometry"
_QUERY = """\
SELECT device, date_trunc('hour', ts) AS hour, count(m0__raw__mean) AS minutes,
       round(avg(m0__raw__mean))::int AS m0, round(avg(m5__raw__mean))::int AS m5
FROM valvometry.bio_signal_60s
GROUP BY device, hour ORDER BY device, hour LIMIT 4"""


@click.command()
def demo() -> None:
    """Make a small sample dataset, run its flow in Dagster, and show where the results are."""
    home = current_home()
    dataset = home.dataset(DATASET)
    click.echo(f"1. sample data: {len(DEVICES)} devices, {len(DAYS)} days", err=True)
    files = write_sample(dataset.raw)
    size = sum(path.stat().st_size for path in files) / 1e6
    click.echo(f"   {len(files)} files, {size:.1f} MB, in {_shown(home, dataset.raw)}/", err=True)
    if place(f"{_FLOW}.json", home.flows / f"{_FLOW}.json"):
        click.echo(f"   flow: {_shown(home, home.flows / f'{_FLOW}.json')}", err=True)
    _, flows = load(home)
    flow = flows.get(_FLOW)

    click.echo("2. run of all stages in Dagster (PostgreSQL and DuckDB start with it)", err=True)
    plan = Plan(DATASET, min(DAYS), max(DAYS), flow.stages)
    outcome = run_plan(home, flow, plan, {})
    print_outcomes(flow, [(plan, outcome)])
    if not outcome.success:
        raise ProcezoError(f"the demo's run failed: {outcome.failure}")

    click.echo("Files")
    _print_files(home, flow, dataset)
    click.echo("\nDuckDB, warehouse.duckdb")
    _print_query(*_duckdb_rows(home))
    url, rows = _postgres_rows(home)
    click.echo(f"PostgreSQL, {url}")
    _print_query(*rows)
    click.echo("A day before and after cleaning")
    click.echo(f"  {_shown(home, _plot(dataset, DAYS[0]))}")
    click.echo(
        "\nNext: make ui (or dagster dev -m procezo_assets.definitions) opens the Dagster web UI; "
        "procezo status shows what is there; procezo postgres stop ends the embedded server.",
        err=True,
    )


def _print_files(home: Home, flow: Flow, dataset: Dataset) -> None:
    click.echo(f"  {_shown(home, dataset.raw)}/   raw, never touched")
    click.echo(
        f"  {_shown(home, dataset.quarantine(flow.name))}/   lines that are no rows, with reasons"
    )
    for stage in flow.stages:
        folder = dataset.stage(stage.output)
        example = next((path for path in sorted(folder.rglob("*")) if _is_result(path)), None)
        if example is not None:
            click.echo(f"  {_shown(home, example)}")


def _is_result(path: Path) -> bool:
    return path.suffix in {".parquet", ".csv"} and not path.name.startswith(".")


def _duckdb_rows(home: Home) -> tuple[list[str], list[tuple[Any, ...]]]:
    from procezo_assets.stores.warehouse import connect_readonly  # noqa: PLC0415 - loads DuckDB

    with connect_readonly(home) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        result = connection.execute(_QUERY)
        return [column[0] for column in result.description], result.fetchall()


def _postgres_rows(home: Home) -> tuple[str, tuple[list[str], list[tuple[Any, ...]]]]:
    import psycopg  # noqa: PLC0415

    from procezo_assets.stores import embedded_postgres  # noqa: PLC0415

    own = load_settings().postgres_url
    url = own.get_secret_value() if own else embedded_postgres.start(home.state)
    with psycopg.connect(url, options="-c TimeZone=UTC") as connection:
        cursor = connection.execute(_QUERY)
        names = [column.name for column in cursor.description or []]
        rows = cursor.fetchall()
    return ("PROCEZO_POSTGRES_URL" if own else "embedded: procezo postgres url"), (names, rows)


def _print_query(columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    click.echo("\n".join(f"  {line}" for line in _QUERY.splitlines()))
    plain = [
        [f"{value:%Y-%m-%d %H:%M}" if hasattr(value, "strftime") else value for value in row]
        for row in rows
    ]
    print_table(columns, plain)


def _plot(dataset: Dataset, day: date) -> Path:
    key = PartKey(DEVICES[0], "bio_signal")
    before = read_part(key.path(dataset.stage("10_parsed"), day))
    after = read_part(key.path(dataset.stage("20_clean"), day))
    path = dataset.path / "plots" / f"{key.device}__{day}__clean.png"
    write_day_png(path, before, after, device=key.device, day=day, columns=["m0", "m5", "m11"])
    return path


def _shown(home: Home, path: Path) -> str:
    return path.relative_to(home.path).as_posix()
