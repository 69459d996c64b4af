"""Bringing the catalog up to date with the raw files that are there.

What belongs here: which files are read now, in which order, and what the catalog is told of them.
What does not: how they are read (`scanning.py`), and what is asked of them later (`inventory.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from procezo_assets.dataset_use import in_use
from procezo_assets.day_lock import in_turn
from procezo_assets.errors import CatalogLostError, DatasetError, TransientStoreError
from procezo_assets.garbage import nothing_collected
from procezo_assets.raw.catalog import Catalog
from procezo_assets.raw.catalog_rows import FileEntry
from procezo_assets.raw.changes import Changes
from procezo_assets.raw.dialect import Dialect
from procezo_assets.raw.differences import Pace, Scan, compare, hold_back, put_off_large
from procezo_assets.raw.entries import entry_of, reading_of
from procezo_assets.raw.files import FileCounts, RawFile, device_name, path_below
from procezo_assets.raw.fixed import DatasetDialect
from procezo_assets.raw.folder import FoundFile, find_files
from procezo_assets.raw.gone import GoneFiles
from procezo_assets.raw.scanning import FileReader, Keep
from procezo_assets.stores.parquet import file_sha256

_STORED_AT_ONCE = 200
_STORED_AFTER_SECONDS = 2.0
# each narrows the dataset's dialect; files that were refused may fit then
_ROUNDS = 4

Removed = Literal["keep", "drop"]


class CatalogUpdate:
    """Reads the files of a dataset that the catalog does not know as they are.

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
        self.catalog = catalog
        self.removed = removed
        self._reader = reader
        self._output = output
        self._gone = GoneFiles(reader.dataset, output if removed == "keep" else None)
        self._base = reading_of(reader.params, reader.limits, reader.dataset.name)

    def scan(
        self, keep: Keep | None, pace: Pace, remember: Callable[[FileCounts], None]
    ) -> tuple[Scan, Changes]:
        """Read the files that the catalog does not know as they are.

        Args:
            keep: Opens for each file what keeps its quarantined lines; without, it is read again by
                the next scan that keeps them.
            pace: Which of them are read now.
            remember: Is handed what was found in each file that is read.
        """
        with self._alone(wait=pace.deadline is None) as alone:
            for last in (False, True):
                scan = Scan(
                    reading=self._reading(),
                    keep=keep,
                    now=time.time() if pace.now is None else pace.now,
                    deadline=pace.deadline if alone else 0.0,
                )
                try:
                    changes = self._scan(scan, pace, remember)
                except CatalogLostError:
                    if last:
                        raise
                    continue  # all is read again, into an empty one
                break
        if not alone:
            changes = Changes(**{**vars(changes), "large": (), "busy": True})
        return scan, changes

    @contextlib.contextmanager
    def _alone(self, *, wait: bool) -> Iterator[bool]:
        """Keep others from reading the same files beside this scan; whether that is so.

        Raises:
            TransientStoreError: Where it waits, and another scan reads for very long.
        """
        path = self.catalog.lock
        if path is None:
            yield True
            return
        with ExitStack() as held:
            try:
                held.enter_context(in_use(self.dataset, wait=wait))
                doing = f"reading the raw files of dataset '{self.dataset.name}'"
                held.enter_context(in_turn(path, doing, wait=wait))
            except (DatasetError, TransientStoreError):
                if wait:
                    raise
                held.close()
                yield False
            else:
                yield True

    def _scan(self, scan: Scan, pace: Pace, remember: Callable[[FileCounts], None]) -> Changes:
        with nothing_collected():
            scan.found = find_files(self.dataset.raw)
            scan.known = self.catalog.known()
            if self._recall_gone(scan):
                scan.known = self.catalog.known()
            returned = compare(scan, self._reader.limits.today)
        unlike = {file.name for file in scan.unread}
        waiting = {} if pace.settle is None else self._hold_back(scan, pace.settle, pace.refresh)
        put_off_large(scan)
        self._read_all(scan, remember)
        removed = self._remove(scan)
        if scan.keep is not None and (scan.read or removed) and self.catalog.fits_nothing():
            self._settle_anew(scan, remember)
        # one that came back differently, and is not read yet, does not stand for what it was
        back = [n for n in returned if n not in unlike or n in scan.read or n in scan.same]
        scan.days |= self.catalog.mark_returned(back)
        self._note_gone(scan)
        names = sorted(scan.read)
        return Changes(
            new=tuple(name for name in names if name not in scan.known),
            changed=tuple(name for name in names if name in scan.known),
            removed=tuple(removed),
            returned=tuple(back),
            days=tuple(sorted(scan.days)),
            waiting=waiting,
            left=scan.left + len(scan.large),
            large=tuple(scan.large),
        )

    def _hold_back(self, scan: Scan, settle: float, refresh: float | None) -> dict[str, float]:
        before = self.catalog.waiting()
        seconds = hold_back(scan, before, settle=settle, refresh=refresh)
        if scan.waiting != before:
            self.catalog.set_waiting(scan.waiting)
        return seconds

    def _read_all(self, scan: Scan, remember: Callable[[FileCounts], None]) -> None:
        """Read files, and those again that were refused before later ones settled the dialect."""
        for _ in range(_ROUNDS):
            self._read(scan, remember)
            refused = self._follow_dialect(scan)
            scan.unread = [scan.found.files[name] for name in refused if name in scan.found.files]
            if scan.left or not scan.unread:
                return

    def _read(self, scan: Scan, remember: Callable[[FileCounts], None]) -> None:
        begun: dict[str, float] = {}
        batch: list[FileEntry] = []
        stored = time.monotonic()
        if not scan.unread:
            return
        files = self._begin(scan, begun)
        for counted in self._reader.read(files, scan.keep, deadline=scan.deadline):
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
            scan.read[name] = None
            remember(counted)
            late = time.monotonic() - stored > _STORED_AFTER_SECONDS
            if late or len(batch) >= _STORED_AT_ONCE:
                scan.days |= self.catalog.store(batch)
                batch, stored = [], time.monotonic()
        if batch:
            scan.days |= self.catalog.store(batch)
        scan.unreadable |= self._reader.failed
        late_names = [file.name for file in self._reader.late]
        if scan.read or scan.left:
            scan.left += len(late_names)
        else:  # not even a scan of its own is long enough
            scan.large += late_names

    def _begin(self, scan: Scan, begun: dict[str, float]) -> Iterator[RawFile]:
        """Hand out the files to read, as long as there is time."""
        same: list[tuple[str, int, int, float]] = []
        for place, file in enumerate(scan.unread):
            if scan.deadline is not None and time.monotonic() >= scan.deadline:
                left = (file.name for file in scan.unread[place:])
                scan.left = sum(name not in scan.unsure for name in left)
                break
            begun[file.name] = time.time()
            if file.name in scan.unsure and _has_bytes(file, scan.known[file.name].sha256):
                same.append((file.name, file.mtime_ns, file.ctime_ns, begun[file.name]))
                continue
            self._reader.forget(file.name)
            yield self._raw_file(file.name, Path(file.path))
        if same:
            self.catalog.mark_same(same)
            scan.same.update(name for name, *_ in same)

    def _follow_dialect(self, scan: Scan) -> list[str]:
        """Take in what was decided of the dataset's dialect: files that fit it are as they were.

        Returns:
            The files that have to be read again: they were refused, or were read differently.
        """
        before, scan.reading = scan.reading, self._reading()
        scan.unsure = set()
        fixed = DatasetDialect(self.dataset, self._output, write=False).fixed
        if scan.reading == before or fixed is None or not scan.read:
            return []
        fitting: list[str] = []
        others: list[str] = []
        for entry in self.catalog.entries():
            if entry.reading != before:
                continue
            fits = entry.refused is None and (
                fixed.misfit(Dialect.model_validate(entry.dialect)) is None
            )
            (fitting if fits else others).append(entry.path)
        self.catalog.mark_read_as(fitting, scan.reading)
        return [name for name in others if name not in scan.waiting and name not in scan.large]

    def _settle_anew(self, scan: Scan, remember: Callable[[FileCounts], None]) -> None:
        """Let go of a dialect that none of the files has: the one that settled it is gone."""
        DatasetDialect(self.dataset, self._output, write=True).forget()
        scan.reading = self._reading()
        misfits = self.catalog.misfits()
        scan.unread = [scan.found.files[name] for name in misfits if name in scan.found.files]
        self._read_all(scan, remember)

    def _remove(self, scan: Scan) -> list[str]:
        """Note which files are gone; where all are, their disk may be, and nothing is dropped."""
        gone = [
            name
            for name in scan.known.keys() - scan.found.files.keys()
            if not name.startswith(scan.found.closed)
        ]
        removed = sorted(name for name in gone if scan.known[name].removed_at is None)
        if self.removed == "drop" and scan.found.files:
            self._empty_quarantine(scan, gone)  # first: nobody asks for what is forgotten again
            scan.days |= self.catalog.forget(gone) if gone else set()
        else:
            touch = bool(scan.found.files)
            days = self.catalog.mark_removed(removed, scan.now, touch=touch)
            scan.days |= days if touch else set()
            if gone and touch:  # also those that a killed scan has marked and no more
                self._empty_quarantine(scan, sorted(set(gone) - self.catalog.gone().keys()))
        return removed

    def _empty_quarantine(self, scan: Scan, names: list[str]) -> None:
        """Remove the quarantined lines of files that are forgotten, or are elsewhere by now."""
        if scan.keep is None:
            return
        for name in names:
            file = self._raw_file(name, path_below(self.dataset.raw, name))
            with contextlib.suppress(OSError), scan.keep(file):
                pass  # no lines: no file

    def _recall_gone(self, scan: Scan) -> bool:
        """Tell a catalog that was lost of the files that were gone before."""
        if self.removed != "keep" or len(scan.found.files) == 0:
            return False
        scan.gone = self._gone.read()
        there = scan.found
        forgotten = [
            entry
            for name, entry in scan.gone.items()
            if name not in scan.known and name not in there.files
        ]
        if forgotten:
            self.catalog.store(forgotten)
        return bool(forgotten)

    def _note_gone(self, scan: Scan) -> None:
        """Remember outside the catalog which files are gone."""
        if scan.keep is None or self.removed != "keep" or not scan.found.files:
            return
        gone = self.catalog.gone()
        if gone.keys() != scan.gone.keys():
            self._gone.write(self.catalog.entries(list(gone)) if gone else ())

    def _reading(self) -> str:
        """Hash of how files are read now, with the dialect that the dataset has."""
        fixed = DatasetDialect(self.dataset, self._output, write=False).fixed
        settled = fixed.model_dump_json() if fixed is not None else ""
        return f"{self._base}-{hashlib.sha256(settled.encode()).hexdigest()[:8]}"

    def _raw_file(self, name: str, path: Path) -> RawFile:
        device = device_name(name, self._reader.params, dataset=self.dataset.name)
        return RawFile(path, name, device)


def _has_bytes(file: FoundFile, sha256: str) -> bool:
    try:
        return file_sha256(Path(file.path)) == sha256
    except OSError:
        return False  # reading it tells why
