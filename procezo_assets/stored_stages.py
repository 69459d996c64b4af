"""What stages have on disk, listed once, and what footers say, kept for files that do not change.

Of years of many devices that is 100,000 files, each of which would take longer to open than all
else that a command asks of it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from procezo_assets.datasets import PartKey, StoredFile, all_stored_files, stored_files
from procezo_assets.stores.parquet import read_provenance

Files = Mapping[PartKey, StoredFile]

# a file may change again within the tick of its clock, and look the same
_SURE_AFTER_NS = 2_000_000_000


class Footer(NamedTuple):
    """What tells whether a file would be made anew; as of `Provenance`."""

    treatment: str
    version: str
    parameters: str
    input: str
    parts: int
    fit: str | None


class KeptFooters(Protocol):
    """What was kept of footers, by stage and day."""

    def footers(self, stage: str, days: Collection[date]) -> dict[date, list[list[Any]]]:
        """What was kept of the files of a stage's partitions."""

    def store_footers(self, stage: str, found: Mapping[date, list[list[Any]]]) -> None:
        """Keep what the files of a stage's partitions are."""


class StageListing:
    """The files of stages, as they were when they were first asked for.

    Args:
        whole: Whether a stage is listed whole at the first question; else day by day, which is
            faster for a few days of many.
    """

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole
        self._stages: dict[Path, dict[date, dict[PartKey, StoredFile]]] = {}

    def of(self, folder: Path, day: date) -> Files:
        """The files of a partition."""
        if self._whole:
            return self.days(folder).get(day, {})
        known = self._stages.setdefault(folder, {})
        if day not in known:
            known.clear()  # days are looked at in their order, each once
            known[day] = stored_files(folder, day)
        return known[day]

    def days(self, folder: Path) -> Mapping[date, Files]:
        """The files of all partitions of a stage, by day; of one that is listed whole."""
        if folder not in self._stages:
            self._stages[folder] = all_stored_files(folder)
        return self._stages[folder]


class FooterReader:
    """Reads the footers of a stage's files, where it is not known what they say.

    Args:
        stage: The stage's name.
        days: The days that will be asked for.
        kept: Keeps what they say; None reads them each time.
    """

    def __init__(self, stage: str, days: Collection[date], kept: KeptFooters | None) -> None:
        self._stage = stage
        self._kept = kept
        self._known = kept.footers(stage, days) if kept is not None else {}
        self._learned: dict[date, list[list[Any]]] = {}
        self._sure_before = time.time_ns() - _SURE_AFTER_NS

    def read(self, day: date, files: Files) -> dict[PartKey, Footer | None]:
        """The footers of a partition's files; None of what is not ours or is damaged."""
        known = self._known.get(day, [])
        if [row[0] for row in known] == [_identity(*item) for item in files.items()]:
            return {
                key: Footer(*row[1]) if row[1] else None
                for key, row in zip(files, known, strict=True)
            }
        found = {key: _read(file) for key, file in files.items()}
        if all(file.mtime_ns < self._sure_before for file in files.values()):
            self._learned[day] = [
                [_identity(key, files[key]), footer] for key, footer in found.items()
            ]
        return found

    def keep(self) -> None:
        """Keep what was read."""
        if self._kept is not None and self._learned:
            self._kept.store_footers(self._stage, self._learned)
            self._learned = {}


def _identity(key: PartKey, file: StoredFile) -> list[Any]:
    return [*key, file.size, file.mtime_ns, file.inode]


def _read(file: StoredFile) -> Footer | None:
    found = read_provenance(Path(file.path))
    if found is None:
        return None
    return Footer(
        found.treatment, found.version, found.parameters, found.input, found.parts, found.fit
    )
