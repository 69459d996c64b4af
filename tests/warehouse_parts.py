"""Parts of stages, loaded into a warehouse and read back."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl

from procezo_assets.datasets import PartKey
from procezo_assets.stores.loads import StageInput
from procezo_assets.stores.warehouse import (
    connect_readonly,
)
from procezo_assets.stores.warehouse_tables import load

D1, D2, D3 = date(2026, 1, 25), date(2026, 1, 26), date(2026, 1, 27)
FLOW = "premanip-grace"
TABLE = 'premanip_grace."bio_signal_10s"'


def write_part(
    home,
    day,
    values,
    *,
    device="pil-90",
    dataset="GRACE",
    domain="bio_signal",
    window="10s",
    folder="40_aggregated",
    hour=8,
):
    """Write the values of a device-day, ten seconds apart from 08:00 UTC on."""
    start = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
    size = len(next(iter(values.values()), []))
    frame = pl.DataFrame(
        {
            "ts": [start + timedelta(seconds=10 * i) for i in range(size)],
            "device": [device] * size,
        }
        | values,
        schema_overrides={"ts": pl.Datetime("us", "UTC"), "device": pl.String},
    )
    path = PartKey(device, domain, window).path(home.dataset(dataset).stage(folder), day)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)
    return path


def stage_input(home, *days, dataset="GRACE", folder="40_aggregated", flow=FLOW):
    return StageInput(
        home=home,
        flow=flow,
        dataset=dataset,
        stage=folder.partition("_")[2],
        folder=home.dataset(dataset).stage(folder),
        output=home.dataset(dataset).stage("50_duckdb"),
        days=days,
        step="to_duckdb",
    )


def run(home, *days, dataset="GRACE", folder="40_aggregated", flow=FLOW, **options):
    (loaded,) = load(
        [stage_input(home, *days, dataset=dataset, folder=folder, flow=flow)], **options
    )
    return loaded


def query(home, sql):
    with connect_readonly(home) as connection:
        return connection.execute(sql).fetchall()


def columns(home, table=TABLE):
    return [(name, kind) for name, kind, *_ in query(home, f"DESCRIBE {table}")]


def tables(home):
    return [
        f"{schema}.{name} {kind}"
        for schema, name, kind in query(
            home,
            "SELECT table_schema, table_name, table_type FROM information_schema.tables "
            "ORDER BY ALL",
        )
    ]
