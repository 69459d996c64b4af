"""A home in a temporary folder, and runs in it without Dagster."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from procezo_assets.datasets import Home, part_files
from procezo_assets.flow_files import load_flows
from procezo_assets.pipeline import StageDone
from procezo_assets.runs import DayFailed, Work, run
from procezo_assets.stores.parquet import read_part
from procezo_assets.treatments.registry import load_registry

D1, D2, D3 = (date(2025, 3, day) for day in (1, 2, 3))

PARSE = {"treatment": "parse"}
CLEAN = {"treatment": "clean"}
RESAMPLE = {"treatment": "resample", "params": {"freq": "10s", "max_gap_fill_s": 20}}
TRANSFORM = {
    "treatment": "transform",
    "params": {"transforms": [{"function": "log", "target": {"domain": "bio_signal"}}]},
}
NORMALIZE = {"treatment": "normalize", "params": {"fit": True, "method": "minmax"}}
AGGREGATE = {"treatment": "aggregate", "params": {"windows": ["60s", "1h"]}}


class CoreHome:
    """Datasets, flows and treatments of a test."""

    def __init__(self, path: Path) -> None:
        self.home = Home(path)

    def flow(self, *steps, name="f", **fields):
        """Write a flow file and load it."""
        declared = {"name": name, "steps": list(steps), **fields}
        if "datasets" not in fields:
            declared.setdefault("dataset", "DS")
        self.home.flows.mkdir(parents=True, exist_ok=True)
        (self.home.flows / f"{name}.json").write_text(json.dumps(declared))
        flows = load_flows(self.home, load_registry(self.home))
        return flows.get(name)

    def raw(self, name, text, *, dataset="DS"):
        path = self.home.dataset(dataset).raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def raw_days(self, *days, device="pil-90", dataset="DS", level=100):
        """Thirty lines a day from 10:00, ten seconds apart; m0 counts up, m1 is sparse."""
        for day in days:
            self.raw(f"x_{device}_{day}.csv", "".join(lines(day, level=level)), dataset=dataset)

    def treatment(self, name, source):
        self.home.treatments.mkdir(exist_ok=True)
        (self.home.treatments / f"{name}.py").write_text(source)

    def run(self, flow, *days, stages=None, dataset="DS", datasets=None, **fields):
        chosen = tuple(flow.stage(name) for name in stages) if stages else flow.stages
        names = datasets or [dataset]
        work = Work(flow, chosen, {self.home.dataset(name): list(days) for name in names}, **fields)
        return list(run(work))

    def run_well(self, flow, *days, **fields):
        events = self.run(flow, *days, **fields)
        assert [event.reason for event in failures(events)] == []
        return events

    def frames(self, folder, day, *, dataset="DS"):
        files = part_files(self.home.dataset(dataset).stage(folder), day)
        return {key: read_part(path) for key, path in files.items()}

    def digests(self, *, dataset="DS"):
        """What a dataset's results are, byte by byte."""
        root = self.home.dataset(dataset).path
        return {
            path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file() and "00_raw" not in path.relative_to(root).parts
        }


def lines(day, *, level=100, number=30, start=10):
    first = datetime(day.year, day.month, day.day, start, tzinfo=UTC)
    return [
        f"{first + timedelta(seconds=10 * place):%Y-%m-%dT%H:%M:%SZ};m0:{level + place}"
        + (f";m1:{place % 7 + 1}" if place % 4 else "")
        + f";outdoor_temp:{12 + place / 10}\n"
        for place in range(number)
    ]


def failures(events):
    return [event for event in events if isinstance(event, DayFailed)]


def done(events):
    """Which stages of which days were written, as `(stage, day)`."""
    return {
        (event.stage.name, event.day): event for event in events if isinstance(event, StageDone)
    }
