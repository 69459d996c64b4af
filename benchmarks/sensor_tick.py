"""Measure a tick of the raw files sensor: with nothing new, and with new files.

Makes a home with many small raw files, lets the sensor read them all, and then measures ticks:

    python benchmarks/sensor_tick.py --files 100000 --new 1000
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import dagster as dg

from procezo_assets.arrival_memory import Memories
from procezo_assets.datasets import Home
from procezo_assets.orchestration.code_location import build_defs
from procezo_assets.templates import place

FLOW = (
    '{"name": "many", "datasets": ["MANY-*"], "start": "2020-01-01", "settle_seconds": 0,'
    ' "steps": [{"treatment": "parse"}, {"treatment": "clean"}]}'
)
_FIRST = date(2021, 1, 1)
_DEVICES = 5


def main() -> None:
    """Measure, and print seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--new", type=int, default=1_000)
    parser.add_argument("--datasets", type=int, default=20)
    parser.add_argument("--ticks", type=int, default=5)
    parser.add_argument("--home", type=Path, help="a home of an earlier call, left as it is")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    home = args.home or Path(tempfile.mkdtemp(prefix="procezo-ticks-"))
    try:
        _measure(home, args)
    finally:
        if args.home is None:
            shutil.rmtree(home)


def _measure(path: Path, args: argparse.Namespace) -> None:
    os.environ |= {"PROCEZO_HOME": str(path), "DAGSTER_HOME": str(path)}
    (path / "flows").mkdir(exist_ok=True)
    (path / "flows" / "many.json").write_text(FLOW)
    place("dagster.yaml", path / "dagster.yaml")
    _write(path, args.files, args.datasets)
    with dg.DagsterInstance.get() as instance:
        sensor = _Sensor(instance, Home(path))
        started = time.perf_counter()
        ticks = 1
        while sensor.tick().run_requests or sensor.unfinished:
            ticks += 1
        print(f"{args.files} files read in {time.perf_counter() - started:.1f} s, {ticks} ticks")
        while sensor.tick().asset_events:
            pass  # days are told of a few at a time
        for _ in range(args.ticks):
            sensor.timed("nothing new")
        _write(path, args.files + args.new, args.datasets)
        sensor.timed(f"{args.new} new files")
        while sensor.unfinished:
            sensor.timed("the rest")
        sensor.timed("nothing new")


class _Sensor:
    """Ticks as the daemon does."""

    def __init__(self, instance: dg.DagsterInstance, home: Home) -> None:
        self.instance = instance
        self.repository = build_defs(home).get_repository_def()
        self.definition = self.repository.get_sensor_def("many_raw_files")
        self.cursor: str | None = None
        self.memories = Memories(home.state / "sensors" / "many")

    def tick(self) -> dg.SensorExecutionData:
        context = dg.build_sensor_context(
            self.instance, cursor=self.cursor, repository_def=self.repository
        )
        with context:
            data = self.definition.evaluate_tick(context)
        self.cursor = data.cursor
        return data

    @property
    def unfinished(self) -> bool:
        """Whether the last tick left something to the next one."""
        return bool(self.memories.read(self.cursor).turn)

    def timed(self, what: str) -> None:
        started = time.perf_counter()
        data = self.tick()
        seconds = time.perf_counter() - started
        print(
            f"{what}: {seconds:.2f} s, {len(data.run_requests)} runs asked for, "
            f"{len(data.asset_events)} events"
        )


def _write(path: Path, files: int, datasets: int) -> None:
    for number in range(files):
        dataset = f"MANY-{number % datasets:03}"
        place_in = number // datasets
        day = _FIRST + timedelta(days=place_in // _DEVICES)
        device = f"pil-{place_in % _DEVICES}"
        folder = path / "datasets" / dataset / "00_raw" / device
        file = folder / f"{dataset}_{device}_{day}.csv"
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            file.write_text(
                "".join(f"{day}T10:00:{second:02}Z;m0:{second};m1:7\n" for second in range(3))
            )


if __name__ == "__main__":
    main()
