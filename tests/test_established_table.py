"""The wide layout takes over a table as the established tool leaves it."""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
from pathlib import Path

import pandas as pd
import psycopg
import pytest
from psycopg import sql

from procezo_assets.datasets import Home
from procezo_assets.flow_files import load_flows
from procezo_assets.runs import DayFailed, Work, raw_source, run
from procezo_assets.treatments.registry import load_registry

SHARED = Path(
    os.environ.get("PROCEZO_TEST_DATA") or Path(__file__).parent.parent.parent / "shared" / "data"
)
REFERENCE = SHARED / "reference"
TABLE = "PREMANIP_GRACE__AGGREGATED__60S"

pytestmark = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference data is not here")


def established_frame() -> pd.DataFrame:
    """The rows of all devices and domains side by side, as the established tool merges them."""
    frame = None
    for path in sorted(REFERENCE.glob("expected/40_aggregated/domain=*/*__60s__*.parquet")):
        device = re.sub(r"[^A-Za-z0-9]", "_", path.name.split("__")[1])
        one = pd.read_parquet(path)
        one = one.rename(columns={c: f"{device}__{c}" for c in one.columns if c != "ts"})
        day = one["ts"].dt.date.iloc[0]
        one = one.set_index("ts")
        frame = {} if frame is None else frame
        frame.setdefault(day, []).append(one)
    days = [pd.concat(parts, axis=1, sort=True) for _, parts in sorted(frame.items())]
    return pd.concat(days).sort_index().reset_index()


def leave_established_table(connection, frame):
    """Create and fill the table with the statements that the established tool sends."""
    kinds = {"datetime64[us, UTC]": "TIMESTAMPTZ", "int64": "BIGINT"}
    columns = []
    for name, dtype in frame.dtypes.items():
        whole = dtype == "Int64" or str(dtype) == "int64"
        kind = kinds.get(str(dtype), "BIGINT" if whole else "DOUBLE PRECISION")
        columns.append("ts TIMESTAMPTZ PRIMARY KEY" if name == "ts" else f"{name} {kind}")
    connection.execute(f'CREATE TABLE "{TABLE}" ({", ".join(columns)})')
    text = io.StringIO()
    frame.to_csv(text, index=False, header=False, na_rep="")
    names = ", ".join(f'"{name}"' for name in frame.columns)
    with connection.cursor().copy(
        f"""COPY "{TABLE}" ({names}) FROM STDIN WITH (FORMAT csv, NULL '')"""
    ) as copy:
        copy.write(text.getvalue())


def table_content(url):
    with psycopg.connect(url, options="-c TimeZone=UTC") as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        columns = connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_name = %s ORDER BY ordinal_position",
            [TABLE],
        ).fetchall()
        rows = connection.execute(
            sql.SQL("SELECT * FROM {} ORDER BY ts").format(sql.Identifier(TABLE))
        ).fetchall()
    return [name for (name,) in tables], columns, rows


def test_the_same_name_columns_and_rows(tmp_path, postgres_url, monkeypatch):
    monkeypatch.setenv("PROCEZO_POSTGRES_URL", postgres_url)
    home = Home(tmp_path)
    shutil.copytree(REFERENCE / "raw", home.datasets / "PREMANIP-GRACE" / "00_raw")
    declared = json.loads((REFERENCE / "flows" / "premanip-grace.json").read_bytes())
    step = {
        "treatment": "to_postgres",
        "input": "40_aggregated",
        "output": "60_postgres",
        "params": {
            "table_template": "{experience}__{step}__{aggregation}",
            "aggregations": ["60s"],
            "sources": [{"domain": "bio_signal"}, {"domain": "environment"}],
        },
    }
    home.flows.mkdir()
    flow_file = home.flows / "premanip-grace.json"
    flow_file.write_text(json.dumps({**declared, "steps": [*declared["steps"][:-1], step]}))
    with psycopg.connect(postgres_url) as connection:
        leave_established_table(connection, established_frame())
    tables_before, columns_before, rows_before = table_content(postgres_url)

    flow = load_flows(home, load_registry(home)).get("premanip-grace")
    dataset = home.existing_dataset("PREMANIP-GRACE")
    source = raw_source(flow, dataset)
    source.scan()
    events = list(run(Work(flow, flow.stages, {dataset: source.days})))

    assert not [event for event in events if isinstance(event, DayFailed)]
    tables_after, columns_after, rows_after = table_content(postgres_url)
    assert tables_after == tables_before == [TABLE]
    assert columns_after == columns_before
    assert len(columns_after) == 1 + 2 * (12 * 8 + 8)
    assert len(rows_after) == len(rows_before) > 70
    for before, after in zip(rows_before, rows_after, strict=True):
        assert after[0] == before[0]
        for one, other in zip(before[1:], after[1:], strict=True):
            assert one is other is None or math.isclose(one, other, rel_tol=1e-9)
