"""The raw files of a dataset as one flow reads them: which days they touch, and a day's rows."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

import polars as pl

from procezo_assets.datasets import Dataset
from procezo_assets.errors import CatalogLostError, RawFileChangedError, RawFileError
from procezo_assets.raw.catalog import Catalog
from procezo_assets.raw.catalog_store import CatalogStore
from procezo_assets.raw.catalog_update import CatalogUpdate, Removed
from procezo_assets.raw.changes import Changes, Touched
from procezo_assets.raw.classify import read_fields
from procezo_assets.raw.device_day import (
    DeviceDay,
    digest_of,
    located,
    sorted_rows,
    units_by_key,
)
from procezo_assets.raw.differences import Pace
from procezo_assets.raw.files import FileCounts, Limits, RawFile, midnight
from procezo_assets.raw.folder import FoundFile
from procezo_assets.raw.inventory import Inventory
from procezo_assets.raw.kv_csv import FieldCounts, refuse_too_many
from procezo_assets.raw.scanning import FileReader, Keep
from procezo_assets.treatments.parse import ParseParameters

P = ParamSpec("P")
T = TypeVar("T")


class RawSource:
    """The raw files of a dataset, read once to learn their days and again for each day's rows.

    What was learned is in a catalog: files that it knows as they are need not be read to know
    their days. Only the blocks of a file that hold rows of a day are read for it. What is in memory
    does not grow with the files: blocks that are being read, rows that are kept, and the days asked
    for.

    Args:
        dataset: The dataset.
        params: How to read the files.
        limits: Which timestamps the flow takes.
        output: The folder of the stage that reads them, where the dataset's dialect is kept; None
            settles it for this reading alone.
        catalog: What is known of the files; without one, it is kept in memory.
        removed: Whether days of files that are gone are kept as they are, or made without them.
        keep: Opens for each file what keeps its quarantined lines, such as `Quarantine`; without,
            scans leave nothing behind but the catalog.
    """

    def __init__(
        self,
        dataset: Dataset,
        params: ParseParameters,
        limits: Limits,
        *,
        output: str | None = None,
        catalog: Catalog | None = None,
        removed: Removed = "keep",
        keep: Keep | None = None,
    ) -> None:
        self.dataset = dataset
        self.params = params
        self.limits = limits
        self.scanned_ns = 0
        self.catalog = catalog or Catalog(CatalogStore(None), "", dataset.name)
        self._reader = FileReader(dataset, params, limits, output=output)
        update = CatalogUpdate(self._reader, self.catalog, removed=removed, output=output)
        self._inventory = Inventory(self._reader, update)
        self._files: dict[str, FileCounts] | None = None
        self._days: list[date] | None = None
        self._digests: dict[date, tuple[str, dict[str, str]]] = {}
        self._scanning = threading.RLock()
        self._keep = keep

    def scan(self, keep: Keep | None = None) -> Changes:
        """Read the files that the catalog does not know, and learn which are gone.

        Args:
            keep: What keeps quarantined lines from now on.
        """
        self._keep = keep or self._keep
        return self.scan_changes()

    def scan_changes(self, pace: Pace | None = None) -> Changes:
        """Read the files that the catalog does not know, and that are ready to be read.

        Args:
            pace: Which are; all where left out.
        """
        with self._scanning:
            started = time.time_ns()
            changes = self._inventory.scan(self._keep, pace or Pace())
            self._files = self._days = None
            self._digests = {}
            self.scanned_ns = started
            return changes

    @property
    def files(self) -> dict[str, FileCounts]:
        """What became of the lines of every file that is there, by name."""
        if self._files is None:
            self._files = self._asked(self._inventory.files)
        return self._files

    def all_files(self, day: date | None = None) -> dict[str, FileCounts]:
        """What became of the lines of every file, gone ones included, by name.

        Args:
            day: The only day that the files are to have rows of.
        """
        return self._asked(self._inventory.all_files, day)

    def files_with_or_without(self, days: Collection[date]) -> dict[str, FileCounts]:
        """What became of the lines of files that have rows of some days, or none at all."""
        return self._asked(self._inventory.files_with_or_without, days)

    @property
    def found(self) -> dict[str, FoundFile]:
        """The files that are there, by name, as the last scan found them."""
        return self._inventory.found

    @property
    def unreadable(self) -> dict[RawFile, RawFileError]:
        """The files that could not be read, and why."""
        return self._inventory.unreadable

    @property
    def missing(self) -> dict[str, datetime]:
        """The files that are gone, by name, and since when that is known.

        One whose content is there, packed or not, under another name of its device is not gone.
        """
        return self._asked(self._inventory.missing)

    @property
    def days(self) -> list[date]:
        """The UTC days that rows of any file belong to, sorted."""
        if self._days is None:
            self._days = sorted(self._asked(self.catalog.days))
        return self._days

    def touched(self, mark: str) -> Touched:
        """The days whose rows may have changed since a mark, whoever scanned since.

        Args:
            mark: That of an earlier call; "" names all days.
        """
        return self._asked(self.catalog.touched, mark)

    def kept_days(self) -> list[date]:
        """The days of files that are gone, which are left as they are until these are back."""
        if self._inventory.removed == "drop":
            return []
        return sorted(self._asked(self._inventory.gone_by_day))

    def why_kept(self, day: date, devices: Collection[str]) -> str | None:
        """Why a day is left as it is, in a few words; None where it is made from its raw rows.

        Args:
            day: The UTC day.
            devices: Whose results of that day are there, made as the flow would make them.
        """
        if self._inventory.removed == "drop":
            return None
        gone = self._asked(self._inventory.gone_by_day).get(day)
        if gone:
            more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
            return f"raw file {gone[0]}{more} is gone"
        lost = set(devices) - {file.device for file in self._asked(self._inventory.of_day, day)}
        if lost:  # a catalog that was lost itself knows nothing of files that were gone before
            lost -= self._asked(self.catalog.devices_of, day)
        return f"the raw files of {min(lost)} are gone" if lost else None

    def refuse_emptiness(self, days: Collection[date]) -> None:
        """Refuse to take a folder that has lost all its files for one that never had any.

        Args:
            days: The days that earlier runs wrote.

        Raises:
            RawFileError: Where there are no raw files, but days that were made from some.
        """
        if days and not self._inventory.found:
            raise RawFileError(
                f"{self.dataset.raw} is empty, but there are results of {len(days)} days, which "
                "stay",
                "mount its disk or bring the files back; where it is meant, delete the stage "
                "folders of the dataset",
            )

    def why_no_rows(self) -> RawFileError | None:
        """Why no line is a row, where lines were quarantined or a file could not be read."""
        if self.days:
            return None
        if self.unreadable:
            return next(iter(self.unreadable.values()))
        reasons: Counter[str] = Counter()
        for counted in self.files.values():
            reasons.update(counted.quarantined)
        if not reasons:
            return None  # the flow's own bounds leave nothing, or there is nothing
        told = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
        return RawFileError(
            f"no line of the {len(self.files)} raw files of dataset '{self.dataset.name}' is a "
            f"row: {told}",
            f"parse reads format '{self.params.format}' with delimiter "
            f"'{self.params.delimiter or ';'}' from {self.limits.start} on: set them, or "
            "see the quarantine folder",
        )

    def files_of(self, day: date) -> list[FileCounts]:
        """The files with rows of a day, without repeated uploads, by name."""
        return self._asked(self._inventory.counts_of_day, day)

    def rows_of(self, day: date, *, repeated: bool = False) -> int:
        """How many rows of a day its files have.

        Args:
            day: The UTC day.
            repeated: Whether repeated uploads count again.
        """
        files = self._asked(self._inventory.of_day, day, repeated=repeated)
        return sum(file.rows for file in files)

    def identity(self, day: date) -> str:
        """Hash of what the rows of a day are read from, and how."""
        return self._asked(self._inventory.identity, day)

    def unreadable_on(self, day: date) -> RawFileError | None:
        """The error of an unreadable file that has rows of a day, as far as is known.

        It had some when it was last read, or its name says so. What it may have beyond that touches
        its days once it can be read.
        """
        if not self.unreadable:
            return None
        known = [file.path for file in self._asked(self._inventory.of_day, day, repeated=True)]
        for file, error in self.unreadable.items():
            inside = (name == file.name or name.startswith(f"{file.name}/") for name in known)
            if file.named_day == day or any(inside):
                return error
        return None

    def want(self, days: Collection[date]) -> None:
        """Announce which days will be read, so that rows are let go of after their last one."""
        self._asked(self._inventory.load_days, days)
        for day in days:
            for counted in self.files_of(day):
                self._reader.want(counted, _places(counted, day))

    def read_day(self, day: date) -> dict[str, DeviceDay]:
        """Read the rows of a day, by device.

        Raises:
            RawFileError: Where a file of that day cannot be read, or changed since the scan.
            PartitionError: Where a device has more columns than a day can have.
        """
        pieces: dict[str, list[pl.DataFrame]] = {}
        counts: dict[str, FieldCounts] = {}
        units: dict[str, dict[str, str]] = {}
        keys: dict[str, set[str]] = {}
        for counted, rows in self._rows_of(day):
            fields, met = read_fields(rows["text"], counted.read_by, self.params)
            pieces.setdefault(counted.file.device, []).append(
                located(counted, rows).with_columns(fields)
            )
            keys.setdefault(counted.file.device, set()).update(fields.columns)
            refuse_too_many(keys[counted.file.device])
            counts.setdefault(counted.file.device, FieldCounts()).add(met)
            units.setdefault(counted.file.device, {}).update(units_by_key(counted.read_by))
        days: dict[str, DeviceDay] = {}
        for device in sorted(pieces):
            rows = sorted_rows(pieces.pop(device))
            digest = digest_of(rows["text"])
            rows = rows.drop("file", "line", "text")
            days[device] = DeviceDay(rows, digest, counts[device], units[device])
        self._store_digests(day, {device: one.digest for device, one in days.items()})
        return days

    def read_day_anew(self, day: date) -> dict[str, DeviceDay]:
        """Read the rows of a day of the files as they are, also of those replaced since the scan.

        Raises:
            RawFileError: Where a file of that day cannot be read, or changes all the time.
        """
        try:
            return self.read_day(day)
        except RawFileChangedError:
            self.scan_changes()
            return self.read_day(day)

    def load_digests(self, days: Collection[date]) -> None:
        """Learn what is known of the digests of days, all at once."""
        self._asked(self._inventory.load_days, days)
        self._digests |= self._asked(self.catalog.digests, days)

    def day_digests(self, day: date) -> dict[str, str]:
        """The digests that `read_day` gives, by device, read only where they are not known.

        Raises:
            RawFileError: Where a file of that day cannot be read, or changed since the scan.
        """
        if day not in self._digests:
            self._digests |= self._asked(self.catalog.digests, [day])
        identity, digests = self._digests.get(day, ("", {}))
        if identity != self.identity(day):
            digests = self._read_digests(day)
            self._store_digests(day, digests)
        return digests

    def footers(self, stage: str, days: Collection[date]) -> dict[date, tuple[str, list[Any]]]:
        """What was kept of the files of a stage's partitions."""
        return self._asked(self.catalog.footers, stage, days)

    def store_footers(self, stage: str, found: Mapping[date, tuple[str, list[Any]]]) -> None:
        """Keep what the files of a stage's partitions are."""
        self._asked(self.catalog.store_footers, stage, found)

    def knows_digests(self, day: date) -> bool:
        """Whether the digests of a day can be told without reading it."""
        return self._digests.get(day, ("", {}))[0] == self.identity(day)

    def _store_digests(self, day: date, digests: dict[str, str]) -> None:
        found = (self.identity(day), digests)
        if self._digests.get(day) != found:
            self._digests[day] = found
            self._asked(self.catalog.store_digests, {day: found})

    def _read_digests(self, day: date) -> dict[str, str]:
        pieces: dict[str, list[pl.DataFrame]] = {}
        for counted, rows in self._rows_of(day):
            pieces.setdefault(counted.file.device, []).append(located(counted, rows))
        return {device: digest_of(sorted_rows(pieces[device])["text"]) for device in sorted(pieces)}

    def _rows_of(self, day: date) -> Iterator[tuple[FileCounts, pl.DataFrame]]:
        """The rows of a day, file by file: `ts`, `line` and `text`."""
        start = midnight(day)
        mine = pl.col("ts").is_between(start, start + timedelta(days=1), closed="left")
        for counted in self.files_of(day):
            places = _places(counted, day)
            yield (
                counted,
                pl.concat([self._reader.rows(counted, place).filter(mine) for place in places]),
            )

    def _asked(self, question: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Ask the catalog; where it was damaged, fill it again first."""
        try:
            return question(*args, **named)
        except CatalogLostError:
            self.scan_changes()
            return question(*args, **named)


def _places(counted: FileCounts, day: date) -> list[int]:
    return [place for place, block in enumerate(counted.blocks) if day in block.days]
