"""Measure the time from a file dropped into a new dataset folder to its rows in PostgreSQL.

Makes a home of its own, starts `dagster dev` on it, and drops files one after another:

    python benchmarks/drop_latency.py                        # an embedded PostgreSQL
    python benchmarks/drop_latency.py --postgres postgresql://postgres@127.0.0.1:5432/scratch

The tables of the flow `drops` in the database that is named are overwritten.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg

BIN = Path(sys.executable).parent
FLOW = {
    "name": "drops",
    "datasets": ["DROP-*"],
    "start": "2026-01-01",
    "steps": [
        {"treatment": "parse"},
        {"treatment": "clean"},
        {"treatment": "resample", "params": {"freq": "10s"}},
        {"treatment": "aggregate", "params": {"windows": ["60s"]}},
        {"treatment": "to_duckdb"},
        {"treatment": "to_postgres"},
        {"treatment": "exportcsv", "params": {"aggregation": "60s"}},
    ],
}
_STEPS = ("tick", "enqueued", "started", "rows")


def main() -> None:
    """Measure, and print where the seconds go."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--postgres", help="a database; an embedded server where left out")
    parser.add_argument("--drops", type=int, default=10)
    parser.add_argument("--keep", action="store_true", help="keep the home")
    args = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="procezo-drops-"))
    home.chmod(0o711)  # under root the embedded server's user passes through
    try:
        _measure(home, args.postgres, args.drops)
    finally:
        subprocess.run([BIN / "procezo", "postgres", "stop"], env=_env(home, None), check=False)
        if args.keep:
            print("home:", home)
        else:
            shutil.rmtree(home, ignore_errors=True)


def _measure(home: Path, postgres: str | None, drops: int) -> None:
    _make(home)
    env = _env(home, postgres)
    url = postgres or _output("procezo", "postgres", "start", env=env)
    with psycopg.connect(url, autocommit=True) as connection, _dev(home, env):
        connection.execute("DROP SCHEMA IF EXISTS drops CASCADE")
        found = [_drop(home, connection, number) for number in range(drops + 1)]
    first, *rest = found  # imports what later runs have at hand
    print("the first one:", _line(first))
    for one in rest:
        print(_line(one))
    total = [one["rows"] for one in rest]
    print(f"median of {len(total)}: {statistics.median(total):.1f} s, worst {max(total):.1f} s")
    before = dict(zip(_STEPS, ("dropped", *_STEPS), strict=False))
    for step in _STEPS:
        took = [one[step] - one.get(before[step], 0.0) for one in rest]
        print(f"  {before[step]} → {step}: {statistics.median(took):.1f} s")


def _line(one: dict[str, float]) -> str:
    return ", ".join(f"{step} after {one[step]:.1f} s" for step in _STEPS)


def _make(home: Path) -> None:
    from procezo_assets.templates import place  # noqa: PLC0415 - the environment says which

    (home / "flows").mkdir()
    (home / "datasets").mkdir()
    (home / "flows" / "drops.json").write_text(json.dumps(FLOW))
    place("dagster.yaml", home / "dagster.yaml")


def _env(home: Path, postgres: str | None) -> dict[str, str]:
    env = {**os.environ, "PROCEZO_HOME": str(home), "DAGSTER_HOME": str(home)}
    env.pop("PROCEZO_POSTGRES_URL", None)
    return {**env, "PROCEZO_POSTGRES_URL": postgres} if postgres else env


def _output(*command: str, env: dict[str, str]) -> str:
    done = subprocess.run(
        [BIN / command[0], *command[1:]], env=env, check=True, capture_output=True, text=True
    )
    return done.stdout.strip().splitlines()[-1]


@contextmanager
def _dev(home: Path, env: dict[str, str]) -> Iterator[None]:
    """Run `dagster dev`, and wait until its sensor has ticked."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [BIN / "dagster", "dev", "-m", "procezo_assets.definitions", "-p", str(port)]
    with (home / "dev.log").open("w") as log:
        dev = subprocess.Popen(
            ["env", "--default-signal=INT,TERM", *command],  # noqa: S607 - coreutils
            cwd=home,
            env=env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        with _instance(home) as instance:
            _wait(lambda: _ticks(instance), seconds=300)
        yield
    finally:
        os.killpg(dev.pid, signal.SIGINT)
        try:
            dev.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(dev.pid, signal.SIGKILL)


@contextmanager
def _instance(home: Path) -> Iterator[dg.DagsterInstance]:
    os.environ["DAGSTER_HOME"] = str(home)
    with dg.DagsterInstance.get() as instance:
        yield instance


def _ticks(instance: dg.DagsterInstance) -> list[object]:
    (state,) = [one for one in instance.all_instigator_state() if "raw_files" in one.name] or [None]
    if state is None:
        return []
    return list(instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1))


def _drop(home: Path, connection: psycopg.Connection, number: int) -> dict[str, float]:
    """Drop a file of a day into a dataset of its own; when what happened, in seconds."""
    dataset = f"DROP-{number}"
    folder = home / "datasets" / dataset / "00_raw"
    start = datetime(2026, 1, 20, 10, tzinfo=UTC)
    lines = [
        f"{start + timedelta(seconds=place):%Y-%m-%dT%H:%M:%SZ};"
        f"m0:{300 + place % 50};m1:{place % 9};outdoor_temp:{12 + place / 1000:.2f}"
        for place in range(5000)
    ]
    time.sleep(number * 0.7 % 5)  # at any point of the sensor's five seconds
    folder.mkdir(parents=True)
    (folder / f"{dataset}_pil-90_2026-01-20.csv").write_text("\n".join(lines) + "\n")
    dropped = time.time()
    query = "SELECT count(*) FROM drops.bio_signal_60s WHERE dataset = %s"
    _wait(lambda: _count(connection, query, dataset))
    rows = time.time()
    with _instance(home) as instance:
        tag = f"{dataset}|2026-01-20"
        filters = dg.RunsFilter(tags={"dagster/asset_partition_range_start": tag})
        (record,) = instance.get_run_records(filters)
        sensor = record.dagster_run.tags["dagster/tick"]
        (state,) = [one for one in instance.all_instigator_state() if "raw_files" in one.name]
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=20)
        (tick,) = [one for one in ticks if str(one.tick_id) == sensor]
    return {
        "tick": tick.timestamp - dropped,
        "enqueued": record.create_timestamp.timestamp() - dropped,
        "started": (record.start_time or rows) - dropped,
        "rows": rows - dropped,
    }


def _count(connection: psycopg.Connection, query: str, dataset: str) -> bool:
    try:
        return bool(connection.execute(query, [dataset]).fetchone()[0])  # type: ignore[index]
    except psycopg.errors.UndefinedTable:
        return False


def _wait(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"nothing happened in {seconds:g} s; see dev.log of the home")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
