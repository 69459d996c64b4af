"""The raw files of a dataset as a flow knows them: read once, remembered in the catalog.

What belongs here: which files are new, changed, gone or back, and which of them are read now. What
does not: how they are read (`scanning.py`), and the rows of a day (`source.py`).
"""

from __future__ import annotations

import gc
import hashlib
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

from procezo_assets.errors import CatalogLostError, RawFileError
from procezo_assets.raw.catalog import Catalog
from procezo_assets.raw.catalog_rows import DayFile, FileEntry
from procezo_assets.raw.changes import Changes
from procezo_assets.raw.containers import changed as changed_meanwhile
from procezo_assets.raw.dialect import Dialect
from procezo_assets.raw.differences import Scan, compare, hold_back
from procezo_assets.raw.entries import counts_of, entry_of, reading_of
from procezo_assets.raw.files import FileCounts, RawFile, device_name
from procezo_assets.raw.fixed import DatasetDialect
from procezo_assets.raw.folder import FoundFile, find_files
from procezo_assets.raw.scanning import FileReader, Keep
from procezo_assets.stores.parquet import file_sha256

_STORED_AT_ONCE = 200
_STORED_AFTER_SECONDS = 2.0
_REMEMBERED_COUNTS = 5000

Removed = Literal["keep", "drop"]


class Inventory:
    """The raw files of a dataset as a flow knows them.

    Args:
        reader: Reads the files.
        catalog: What is known of them.
        removed: Whether files that are gone are remembered.
        output: The folder of the stage that reads them, where the dataset's dialect is kept.
    """

    def __init__(
        self, reader: FileReader, catalog: Catalog, *, removed: Removed, output: str | None
    ) -> None:
        self.dataset = reader.dataset
        self.removed = removed
        self.unreadable: dict[RawFile, RawFileError] = {}
        self.found: dict[str, FoundFile] = {}
        self.catalog = catalog
        self._reader = reader
        self._output = output
        self._base = reading_of(reader.params, reader.limits, reader.dataset.name)
        self._counts: dict[str, FileCounts] = {}
        self._days: dict[date, list[DayFile]] = {}
        self._gone: dict[date, list[str]] | None = None

    def scan(
        self,
        keep: Keep | None,
        *,
        settle: float | None = None,
        refresh: float | None = None,
        deadline: float | None = None,
        now: float | None = None,
    ) -> Changes:
        """Read the files that the catalog does not know as they are.

        Args:
            keep: Opens for each file what keeps its quarantined lines. Without, they are read
                again by the next scan that keeps them.
            settle: How many seconds a file must have been still; None reads it as it is.
            refresh: After how many seconds of waiting a file is read though it is not still.
            deadline: When no further file is begun, on the monotonic clock.
            now: The time, in seconds since 1970.
        """
        for _ in range(2):
            scan = Scan(
                reading=self._reading(),
                keep=keep,
                now=time.time() if now is None else now,
                deadline=deadline,
            )
            try:
                return self._scan(scan, settle, refresh)
            except CatalogLostError:
                continue  # all is read again, into an empty one
        return self._scan(scan, settle, refresh)

    def _scan(self, scan: Scan, settle: float | None, refresh: float | None) -> Changes:
        with _nothing_collected():
            scan.found = find_files(self.dataset.raw)
            scan.known = self.catalog.known()
            returned = compare(scan, self._reader.limits.today)
        for name, counted in list(self._counts.items()):
            known = scan.known.get(name)
            if known is None or known.sha256 != counted.sha256:
                self._forget(name)  # another process has read it since
        waiting = self._hold_back(scan, settle, refresh) if settle is not None else {}
        self._read(scan)
        self._follow_dialect(scan)
        removed = self._remove(scan)
        scan.days |= self.catalog.mark_returned(returned)
        self.found = scan.found.files
        self._days, self._gone = {}, None
        changed = [name for name in scan.read if name in scan.known]
        return Changes(
            new=tuple(name for name in scan.read if name not in scan.known),
            changed=tuple(changed),
            removed=tuple(removed),
            returned=tuple(returned),
            days=tuple(sorted(scan.days)),
            waiting=waiting,
            left=scan.left,
        )

    def _hold_back(self, scan: Scan, settle: float, refresh: float | None) -> dict[str, float]:
        before = self.catalog.waiting()
        seconds = hold_back(scan, before, settle=settle, refresh=refresh)
        if scan.waiting != before:
            self.catalog.set_waiting(scan.waiting)
        return seconds

    def _read(self, scan: Scan) -> None:
        begun: dict[str, float] = {}
        batch: list[FileEntry] = []
        stored = time.monotonic()
        self.unreadable = {}
        if not scan.unread:
            return
        for counted in self._reader.read(self._begin(scan, begun), scan.keep):
            name = counted.file.name
            batch.append(
                entry_of(
                    counted,
                    scan.found.files[name],
                    base=self._base,
                    reading=scan.reading,
                    read_at=begun[name],
                    kept=scan.keep is not None,
                )
            )
            scan.read.append(name)
            self._remember(counted)
            late = time.monotonic() - stored > _STORED_AFTER_SECONDS
            if late or len(batch) >= _STORED_AT_ONCE:
                scan.days |= self.catalog.store(batch)
                batch, stored = [], time.monotonic()
        if batch:
            scan.days |= self.catalog.store(batch)
        self.unreadable = dict(self._reader.failed)

    def _begin(self, scan: Scan, begun: dict[str, float]) -> Iterator[RawFile]:
        """Hand out the files to read, as long as there is time."""
        same: list[tuple[str, int, int, float]] = []
        for place, file in enumerate(scan.unread):
            if scan.deadline is not None and time.monotonic() >= scan.deadline:
                scan.left = len(scan.unread) - place
                break
            begun[file.name] = time.time()
            if file.name in scan.unsure and _has_bytes(file, scan.known[file.name].sha256):
                same.append((file.name, file.mtime_ns, file.ctime_ns, begun[file.name]))
                continue
            self._forget(file.name)
            yield self._raw_file(file)
        if same:
            self.catalog.mark_same(same)

    def _follow_dialect(self, scan: Scan) -> None:
        """Files that fit what later ones decided of the dataset's dialect need not be read again.

        Those that were refused may be read now; the next scan does it.
        """
        reading = self._reading()
        fixed = DatasetDialect(self.dataset, self._output, write=False).fixed
        if reading == scan.reading or fixed is None or not scan.read:
            return
        fitting = [
            entry.path
            for entry in self.catalog.entries()
            if entry.reading == scan.reading
            and entry.refused is None
            and fixed.misfit(Dialect.model_validate(entry.dialect)) is None
        ]
        self.catalog.mark_read_as(fitting, reading)

    def _remove(self, scan: Scan) -> list[str]:
        """Note which files are gone; where all are, their disk may be, and nothing is dropped."""
        gone = [
            name
            for name in scan.known.keys() - scan.found.files.keys()
            if not name.startswith(scan.found.closed)
        ]
        removed = sorted(name for name in gone if scan.known[name].removed_at is None)
        if self.removed == "drop" and scan.found.files:
            scan.days |= self.catalog.forget(gone) if gone else set()
        else:
            touch = bool(scan.found.files)
            days = self.catalog.mark_removed(removed, scan.now, touch=touch)
            scan.days |= days if touch else set()
        return removed

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
            content = (file.device, file.sha256)
            if file.removed_at is None and (repeated or content not in seen):
                seen.add(content)
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
                if file.path not in counts or counts[file.path].sha256 != file.sha256
            ]
            if not changed:
                return list(counts.values())
            del self._days[day]  # another process has read it since
            for name in changed:
                self._forget(name)
        raise changed_meanwhile(self.dataset.raw / changed[0])

    def identity(self, day: date) -> str:
        """Hash of what the rows of a day are read from, and how, whatever the files are called."""
        parts = (f"{file.device} {file.sha256} {file.meaning}" for file in self.of_day(day))
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

    def _reading(self) -> str:
        """Hash of how files are read now, with the dialect that the dataset has."""
        fixed = DatasetDialect(self.dataset, self._output, write=False).fixed
        settled = fixed.model_dump_json() if fixed is not None else ""
        return f"{self._base}-{hashlib.sha256(settled.encode()).hexdigest()[:8]}"

    def _raw_file(self, file: FoundFile) -> RawFile:
        device = device_name(file.name, self._reader.params, dataset=self.dataset.name)
        return RawFile(Path(file.path), file.name, device)

    def _file_of(self, entry: FileEntry) -> RawFile:
        found = self.found.get(entry.path)
        path = Path(found.path) if found else self.dataset.raw / entry.path
        return RawFile(path, entry.path, entry.device)


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Make many small objects without looking for garbage among them.

    Of 100,000 files, that would take a third of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _has_bytes(file: FoundFile, sha256: str) -> bool:
    try:
        return file_sha256(Path(file.path)) == sha256
    except OSError:
        return False  # reading it tells why


def _without_repeats(counts: Iterable[FileCounts]) -> dict[str, FileCounts]:
    """Mark files that are the same as an earlier one of their device."""
    files: dict[str, FileCounts] = {}
    first_of: dict[tuple[str, str], str] = {}
    for counted in counts:
        name = counted.file.name
        earlier = first_of.setdefault((counted.file.device, counted.sha256), name)
        files[name] = replace(counted, same_as=None if earlier == name else earlier)
    return files
