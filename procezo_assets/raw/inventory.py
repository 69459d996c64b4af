"""Which raw files a dataset has, and what is known of them, in memory and in the catalog."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from procezo_assets.errors import RawFileError
from procezo_assets.raw.catalog_rows import DayFile, FileEntry
from procezo_assets.raw.catalog_update import CatalogUpdate
from procezo_assets.raw.changes import Changes
from procezo_assets.raw.containers import changed as changed_meanwhile
from procezo_assets.raw.differences import Pace
from procezo_assets.raw.entries import counts_of
from procezo_assets.raw.files import FileCounts, RawFile, path_below
from procezo_assets.raw.folder import FoundFile
from procezo_assets.raw.scanning import FileReader, Keep

_REMEMBERED_COUNTS = 5000


class Inventory:
    """The raw files of a dataset as a flow knows them.

    Args:
        reader: Reads the files.
        update: Brings what is known of them up to date.
    """

    def __init__(self, reader: FileReader, update: CatalogUpdate) -> None:
        self.dataset = reader.dataset
        self.removed = update.removed
        self.unreadable: dict[RawFile, RawFileError] = {}
        self.found: dict[str, FoundFile] = {}
        self.catalog = update.catalog
        self._reader = reader
        self._update = update
        self._counts: dict[str, FileCounts] = {}
        self._days: dict[date, list[DayFile]] = {}
        self._gone: dict[date, list[str]] | None = None

    def scan(self, keep: Keep | None, pace: Pace) -> Changes:
        """Read the files that the catalog does not know as they are.

        Args:
            keep: Opens for each file what keeps its quarantined lines. Without, they are read
                again by the next scan that keeps them.
            pace: Which of them are read now.
        """
        scan, changes = self._update.scan(keep, pace, self._remember)
        for name, counted in list(self._counts.items()):
            known = scan.known.get(name)
            mine = name in scan.read
            if not mine and (known is None or known.sha256 != counted.sha256):
                self._forget(name)  # another process has read it since
        self.unreadable = scan.unreadable
        self.found = scan.found.files
        self._days, self._gone = {}, None
        return changes

    def files(self, names: Collection[str] | None = None) -> dict[str, FileCounts]:
        """What became of the lines of files that are there, by name.

        Args:
            names: Which files; None is all.
        """
        counts = {} if names is None else {n: self._counts[n] for n in names if n in self._counts}
        missing = None if names is None else [name for name in names if name not in counts]
        for entry in self.catalog.entries(missing) if missing != [] else ():
            if entry.removed_at is None:
                counts[entry.path] = counts_of(entry, self._file_of(entry))
                self._remember(counts[entry.path])
        return _without_repeats(counts[name] for name in sorted(counts))

    def all_files(self, day: date | None) -> dict[str, FileCounts]:
        """What became of the lines of all files, gone ones included, by name."""
        names = None
        if day is not None:
            self.load_days([day])
            names = [file.path for file in self._days[day]]
        gone = self.catalog.gone()
        return _without_repeats(
            counts_of(entry, self._file_of(entry))
            for entry in self.catalog.entries(names)
            if entry.removed_at is None or entry.path in gone
        )

    def files_with_or_without(self, days: Collection[date]) -> dict[str, FileCounts]:
        """What became of the lines of files that have rows of some days, or none at all."""
        self.load_days(days)
        names = {file.path for day in days for file in self._days[day] if file.removed_at is None}
        return self.files(sorted(names | self.catalog.without_rows()))

    def load_days(self, days: Iterable[date]) -> None:
        """Learn which files have rows of days, all at once."""
        missing = [day for day in set(days) if day not in self._days]
        if missing:
            self._days |= {day: [] for day in missing} | self.catalog.files_by_day(missing)

    def of_day(self, day: date, *, repeated: bool = False) -> list[DayFile]:
        """The files with rows of a day that are there, by name.

        Args:
            day: The UTC day.
            repeated: Whether repeated uploads are among them.
        """
        self.load_days([day])
        seen: set[tuple[str, str]] = set()
        files: list[DayFile] = []
        for file in self._days[day]:
            upload = (file.device, file.content)
            if file.removed_at is None and (repeated or upload not in seen):
                seen.add(upload)
                files.append(file)
        return files

    def counts_of_day(self, day: date) -> list[FileCounts]:
        """What became of the lines of the files of a day.

        Raises:
            RawFileError: Where one is replaced again and again.
        """
        for _ in range(3):
            files = self.of_day(day)
            counts = self.files([file.path for file in files])
            changed = [
                file.path
                for file in files
                if file.path not in counts or counts[file.path].content != file.content
            ]
            if not changed:
                return list(counts.values())
            del self._days[day]  # another process has read it since
            for name in changed:
                self._forget(name)
        raise changed_meanwhile(self.dataset.raw / changed[0])

    def identity(self, day: date) -> str:
        """Hash of what the rows of a day are read from, and how, whatever the files are called."""
        parts = (f"{file.device} {file.content} {file.meaning}" for file in self.of_day(day))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def missing(self) -> dict[str, datetime]:
        """The files that are gone, by name, and since when that is known."""
        gone = self.catalog.gone()
        return {name: datetime.fromtimestamp(at, UTC) for name, at in gone.items()}

    def gone_by_day(self) -> dict[date, list[str]]:
        """The files that are gone, by the days of their rows."""
        if self._gone is None:
            gone: dict[date, list[str]] = {}
            for entry in self.catalog.entries(list(self.catalog.gone())):
                for day in entry.days:
                    gone.setdefault(day, []).append(entry.path)
            self._gone = gone
        return self._gone

    def _forget(self, name: str) -> None:
        self._reader.forget(name)
        self._counts.pop(name, None)

    def _remember(self, counted: FileCounts) -> None:
        if len(self._counts) >= _REMEMBERED_COUNTS:
            self._counts = {}
        self._counts[counted.file.name] = counted

    def _file_of(self, entry: FileEntry) -> RawFile:
        found = self.found.get(entry.path)
        path = Path(found.path) if found else path_below(self.dataset.raw, entry.path)
        return RawFile(path, entry.path, entry.device)


def _without_repeats(counts: Iterable[FileCounts]) -> dict[str, FileCounts]:
    """Mark files that are the same as an earlier one of their device."""
    files: dict[str, FileCounts] = {}
    first_of: dict[tuple[str, str], str] = {}
    for counted in counts:
        name = counted.file.name
        earlier = first_of.setdefault((counted.file.device, counted.content), name)
        files[name] = replace(counted, same_as=None if earlier == name else earlier)
    return files
