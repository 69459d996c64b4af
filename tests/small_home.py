"""Small homes in temporary folders, and the project's own commands run in them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import dagster as dg
from warm import run_command

from procezo_assets.cli import main
from procezo_assets.datasets import Home
from procezo_assets.flow_files import load_flows
from procezo_assets.orchestration.launch import Request, launch, prepare_instance
from procezo_assets.treatments.registry import load_registry

BIN = Path(sys.executable).parent
DAYS = (date(2026, 1, 20), date(2026, 1, 21), date(2026, 1, 22))

# what would let a test reach beyond its own home
_OURS = ("PROCEZO_", "DAGSTER_", "PG")

PARSE = {"treatment": "parse"}
CLEAN = {"treatment": "clean"}
RESAMPLE = {"treatment": "resample", "params": {"freq": "10s"}}
AGGREGATE = {
    "treatment": "aggregate",
    "input": "25_resampled",
    "params": {"windows": ["60s"], "metrics": ["mean", "count"]},
}
DUCKDB = {"treatment": "to_duckdb"}
POSTGRES = {"treatment": "to_postgres"}
CSV = {"treatment": "exportcsv", "params": {"aggregation": "60s"}}
NORMALIZE = {"treatment": "normalize", "input": "25_resampled", "params": {"fit": True}}
EVERY_STEP = (PARSE, CLEAN, RESAMPLE, NORMALIZE, AGGREGATE, DUCKDB, POSTGRES, CSV)

# a user's treatment that cannot do one day, and one that hands rows back in the wrong order
FAILS_ON_A_DAY = '''
from datetime import date
import polars as pl
from procezo_assets.treatments import Parameters, PartAbout, treatment

@treatment(inputs=("20_clean",), output="22_picky")
def picky(frame: pl.DataFrame, params: Parameters, about: PartAbout) -> pl.DataFrame:
    """Refuse one day."""
    if about.day == date(2026, 1, 21):
        raise ZeroDivisionError("the calibration of 21 January is missing")
    return frame
'''
SLOW = """
import time
import polars as pl
from procezo_assets.treatments import Parameters, treatment

@treatment(inputs=("20_clean",), output="22_slow")
def slow(frame: pl.DataFrame, params: Parameters) -> pl.DataFrame:
    time.sleep(2)
    return frame
"""
UNSORTED = '''
import polars as pl
from procezo_assets.treatments import Parameters, treatment

@treatment(inputs=("20_clean",), output="22_backwards")
def backwards(frame: pl.DataFrame, params: Parameters) -> pl.DataFrame:
    """Turn the rows round."""
    return frame.reverse()
'''


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that says what is wrong."""
        lines = [line for line in self.err.splitlines() if line.startswith("procezo: ")]
        assert len(lines) == 1, self.err
        return lines[0]

    @property
    def json(self):
        return json.loads(self.out)


class SmallHome:
    """A home of its own: datasets, flows, treatments, Dagster's storage."""

    def __init__(self, path: Path, env: dict[str, str] | None = None) -> None:
        self.path = path
        self.more = env or {}
        path.mkdir(parents=True, exist_ok=True)

    @property
    def home(self) -> Home:
        return Home(self.path)

    @property
    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        return {
            **kept,
            "PROCEZO_HOME": str(self.path),
            "DAGSTER_HOME": str(self.path),
            "PYTHONWARNINGS": "default",
            **self.more,
        }

    def write_flow(self, *steps, name="small", dataset="DS-1", **fields) -> None:
        declared = {"name": name, "dataset": dataset, "steps": list(steps), **fields}
        if "datasets" in fields:
            del declared["dataset"]
        path = self.path / "flows" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(declared))

    def write_raw(
        self, *days: date, dataset="DS-1", device="pil-90", lines=30, odd=(), level=100
    ) -> None:
        """Thirty lines a day from 10:00, ten seconds apart: m0 and m1 count up, 12.5 degrees."""
        for day in days:
            start = datetime(day.year, day.month, day.day, 10, tzinfo=UTC)
            texts = [
                f"{start + timedelta(seconds=10 * place):%Y-%m-%dT%H:%M:%SZ};"
                f"m0:{level + place};m1:{2 * level + place};outdoor_temp:12.5"
                for place in range(lines)
            ]
            self.raw_file(f"{dataset}_{device}_{day}.csv", dataset=dataset).write_text(
                "\n".join([*texts, *odd]) + "\n"
            )

    def raw_file(self, name: str, *, dataset="DS-1") -> Path:
        path = self.path / "datasets" / dataset / "00_raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_treatment(self, name: str, source: str) -> None:
        path = self.path / "treatments" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)

    def stage(self, folder: str, *, dataset="DS-1") -> Path:
        return self.path / "datasets" / dataset / folder

    def flow(self, name="small"):
        return load_flows(self.home, load_registry(self.home)).get(name)

    @contextlib.contextmanager
    def environment(self):
        """Be in this home, and in no other."""
        with patch.dict(os.environ, self.env, clear=True):
            yield

    def launch(self, first, last=None, *, stages=(), flow="small", dataset="DS-1", **fields):
        """Run in this process, as `procezo flow` does."""
        with self.environment():
            chosen = self.flow(flow)
            prepare_instance(self.home)
            request = Request(
                flow=chosen,
                dataset=dataset,
                first=first,
                last=last or first,
                stages=[chosen.stage(name) for name in stages] or list(chosen.stages),
                run_params=fields.pop("params", {}),
                **fields,
            )
            return launch(self.home, request)

    def procezo(self, *args: str) -> Ended:
        """Run the command in this process."""
        out, err = io.StringIO(), io.StringIO()
        with (
            self.environment(),
            patch.object(sys, "argv", ["procezo", *map(str, args)]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                main()
            except SystemExit as ended:
                return Ended(ended.code or 0, out.getvalue(), err.getvalue())
        raise AssertionError("main() always exits")

    def command(self, name: str, *args: str) -> Ended:
        """Run `procezo` or `dagster` in a process of its own, in this home's folder."""
        done = run_command(name, [*map(str, args)], self.path, self.env)
        return Ended(done.returncode, done.stdout, done.stderr)

    def materialize(self, *args: str) -> Ended:
        """Run `dagster asset materialize` in a process of its own."""
        module = ("-m", "procezo_assets.definitions")
        selection = () if "--select" in args else ("--select", "*")
        return self.command("dagster", "asset", "materialize", *module, *selection, *args)

    @contextlib.contextmanager
    def instance(self):
        with self.environment(), dg.DagsterInstance.get() as instance:
            yield instance

    def materialized(self, stage: str, *, flow="small") -> set[str]:
        """The partitions that Dagster counts as there; None among them is one without a key."""
        with self.instance() as instance:
            records = instance.fetch_materializations(dg.AssetKey([flow, stage]), limit=1000)
            return {record.partition_key for record in records.records}

    def digests(self) -> dict[str, str]:
        """What the results are, byte by byte: parquet, exports, quarantine, fits."""
        datasets = self.path / "datasets"
        return {
            path.relative_to(datasets).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(datasets.rglob("*"))
            if path.is_file() and "00_raw" not in path.parts and not path.name.startswith(".")
        }

    def rows(self, query: str):
        """Ask the warehouse."""
        from procezo_assets.stores.warehouse import connect_readonly  # noqa: PLC0415

        with connect_readonly(self.home) as connection:
            return connection.execute(query).fetchall()


def key(day: date, dataset="DS-1") -> str:
    return f"{dataset}|{day}"


def keys(*days: date, dataset="DS-1") -> set[str]:
    return {key(day, dataset) for day in days}
