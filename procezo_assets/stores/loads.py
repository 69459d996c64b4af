"""What loading stages are given and hand back, and which partitions they have loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

from filelock import FileLock

from procezo_assets.datasets import Home, PartKey, part_files, stage_days
from procezo_assets.stores.parquet import read_provenance, write_atomically

_FILE = "loaded.json"


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
        failed: Days that could not be loaded, with the reason of each.
        warnings: What a person should look at, a sentence each.
    """

    dataset: str
    rows: Mapping[date, int]
    tables: tuple[str, ...]
    failed: Mapping[date, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def loaded_days(stage_folder: Path) -> dict[date, str]:
    """Read which days a loading stage has loaded, each with the digest of what it loaded."""
    try:
        content = json.loads((stage_folder / _FILE).read_bytes())
        return {date.fromisoformat(day): str(digest) for day, digest in content.items()}
    except (OSError, ValueError, AttributeError):
        return {}  # unknown: the days count as not loaded, and loading again is harmless


def record_loaded(home: Home, stage_folder: Path, days: Mapping[date, str]) -> None:
    """Record days as loaded."""
    name = hashlib.sha256(str(stage_folder).encode()).hexdigest()[:16]
    lock = home.state / "locks" / f"loaded-{name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        known = loaded_days(stage_folder) | dict(days)
        content = {str(day): known[day] for day in sorted(known)}
        write_atomically(stage_folder / _FILE, (json.dumps(content, indent=0) + "\n").encode())


def load_digest(input_folder: Path, day: date, parameters_hash: str) -> str:
    """Hash what a loading stage would load of a day: the provenance of its files, and how."""
    described = [
        [*(part or "" for part in key), asdict(found) if (found := read_provenance(path)) else None]
        for key, path in part_files(input_folder, day).items()
    ]
    text = json.dumps([described, parameters_hash], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
