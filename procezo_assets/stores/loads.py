"""What loading stages are given and hand back, and which partitions they have loaded."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from filelock import FileLock

from procezo_assets.datasets import Home, PartKey, part_files, stage_days
from procezo_assets.stores.parquet import read_provenance
from procezo_assets.stores.replacing import write_atomically

RECORD = "loaded.json"
"""The file in which a loading stage remembers what it loaded."""


@dataclass(frozen=True)
class StageInput:
    """The partitions that a loading treatment is to load: one dataset, one input stage.

    Args:
        home: The home folder.
        flow: The flow's name.
        dataset: The dataset's name.
        stage: The input stage's name (`aggregated`).
        folder: The input stage's folder.
        output: The folder of the loading stage itself, for exports.
        days: The days to load, sorted; their files are complete.
        step: The loading stage's name.
    """

    home: Home
    flow: str
    dataset: str
    stage: str
    folder: Path
    output: Path
    days: tuple[date, ...]
    step: str

    def parts(self, day: date) -> dict[PartKey, Path]:
        """The parquet files of a day, by device, domain and window."""
        return part_files(self.folder, day)

    def days_present(self) -> list[date]:
        """All days of the dataset that the input stage has files for, sorted."""
        return stage_days(self.folder)


@dataclass(frozen=True)
class Loaded:
    """What a loading treatment did with one dataset.

    Args:
        dataset: The dataset's name.
        rows: Rows loaded, by day.
        tables: The tables or files that hold them now, for people.
        files: The files that hold them now; where one is gone, the days count as not loaded.
        failed: Days that could not be loaded, with the reason of each.
        warnings: What a person should look at, a sentence each.
    """

    dataset: str
    rows: Mapping[date, int]
    tables: tuple[str, ...]
    files: tuple[Path, ...] = ()
    failed: Mapping[date, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadRecord:
    """What a loading stage remembers of one dataset, as JSON beside its exports.

    Args:
        days: Digest of what was loaded, by day; days without any files are not listed.
        targets: Files that the loads went to or made, relative to the home.
    """

    days: Mapping[date, str]
    targets: tuple[str, ...] = ()


def read_record(stage_folder: Path) -> LoadRecord:
    """Read what a loading stage remembers; nothing where it cannot be read."""
    try:
        content = json.loads((stage_folder / RECORD).read_bytes())
        days = {date.fromisoformat(day): str(digest) for day, digest in content["days"].items()}
        return LoadRecord(days, tuple(content["targets"]))
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return LoadRecord({})  # the days count as not loaded, and loading again is harmless


def record_loaded(given: StageInput, days: Iterable[date], identity: str, result: Loaded) -> None:
    """Remember days as loaded.

    Args:
        given: What was to be loaded.
        days: Which days were.
        identity: How and where to (see `load_digest`).
        result: What the treatment handed back.
    """
    name = hashlib.sha256(str(given.output).encode()).hexdigest()[:16]
    lock = given.home.state / "locks" / f"loaded-{name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        known = dict(read_record(given.output).days)
        for day in days:
            known.pop(day, None)
            if given.parts(day):
                known[day] = load_digest(given.folder, day, identity)
        content = {
            "days": {str(day): known[day] for day in sorted(known)},
            "targets": [os.path.relpath(path, given.home.path) for path in result.files],
        }
        write_atomically(given.output / RECORD, (json.dumps(content, indent=0) + "\n").encode())


def load_digest(input_folder: Path, day: date, identity: str) -> str:
    """Hash what a loading stage would load of a day: the provenance of its files, how, where to."""
    described = [
        [*(part or "" for part in key), _origin(path)]
        for key, path in part_files(input_folder, day).items()
    ]
    text = json.dumps([described, identity], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _origin(path: Path) -> dict[str, Any] | None:
    found = read_provenance(path)
    if found is None:
        return None
    origin = asdict(found)
    del origin["counts"]  # they follow from the rest
    return origin
