"""Which partitions a loading stage has loaded, from which files: JSON beside its exports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path

from filelock import FileLock

from procezo_assets.datasets import Home, part_files
from procezo_assets.stores.parquet import read_provenance, write_atomically

_FILE = "loaded.json"


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
