"""The raw files of a dataset as one flow reads them: which days they touch, and a day's rows."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path

import polars as pl

from procezo_assets.datasets import Dataset, raw_files
from procezo_assets.errors import RawFileError
from procezo_assets.raw.kv_csv import FieldCounts
from procezo_assets.raw.reader import (
    Limits,
    RawFile,
    RawLines,
    device_name,
    read_fields,
    read_lines,
)
from procezo_assets.treatments.parse import ParseParameters

# Lines of files are kept between finding their days and reading them, up to this much raw text.
_KEPT_BYTES = 256 * 1024**2
_READERS = 2


@dataclass(frozen=True)
class FileCounts:
    """What became of the lines of a raw file.

    Args:
        file: Which file.
        sha256: Hash of its bytes.
        size: Its bytes.
        lines: All its lines.
        rows: Lines that are rows.
        quarantined: Lines in quarantine, by reason.
        excluded: Rows outside the flow's own bounds.
        blank: Blank lines.
        header: Header lines.
        days: Rows by UTC day.
        first: First timestamp of a row.
        last: Last timestamp of a row.
        balanced: Whether every line ended in exactly one place.
        same_as: The file of the same device with the same bytes that is read instead.
    """

    file: RawFile
    sha256: str
    size: int
    lines: int
    rows: int
    quarantined: dict[str, int]
    excluded: int
    blank: int
    header: int
    days: dict[date, int]
    first: datetime | None
    last: datetime | None
    balanced: bool
    same_as: str | None = None


@dataclass(frozen=True)
class DeviceDay:
    """The rows of one device on one day, from whatever files they come.

    Args:
        rows: `ts` (sorted; ties by file name, then line), then string columns `key:<name>`.
        digest: sha256 of the raw lines in that order.
        fields: What was met in their fields.
    """

    rows: pl.DataFrame = field(repr=False)
    digest: str
    fields: FieldCounts


class RawSource:
    """The raw files of a dataset, read once to learn their days and again for each day's rows.

    Args:
        dataset: The dataset.
        params: How to read the files.
        limits: Which timestamps the flow takes.
    """

    def __init__(self, dataset: Dataset, params: ParseParameters, limits: Limits) -> None:
        self.dataset = dataset
        self.params = params
        self.limits = limits
        self.files: dict[str, FileCounts] = {}
        self.unreadable: dict[RawFile, RawFileError] = {}
        self._kept: dict[str, RawLines] = {}
        self._kept_bytes = 0
        self._uses: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._scanning = threading.Lock()
        self._on_read: Callable[[RawLines], None] | None = None
        self._counted: dict[str, FileCounts] = {}
        self._stats: dict[str, tuple[int, int] | None] = {}
        self.scanned_ns = 0

    def scan(self, on_read: Callable[[RawLines], None] | None = None) -> None:
        """Read every file and count its lines, days and duplicates.

        Args:
            on_read: Called with each file's lines, for instance to keep what is quarantined.
        """
        self._on_read = on_read
        self._counted, self._stats = {}, {}
        self.scan_changes()

    def scan_changes(self) -> None:
        """Read the files that are new or changed since the last scan, and forget those gone."""
        with self._scanning:
            started = time.time_ns()
            found = [self._raw_file(path) for path in raw_files(self.dataset)]
            stats = {file.name: _stat(file.path) for file in found}
            known = {
                file.name: self._counted[file.name]
                for file in found
                if file.name in self._counted
                and stats[file.name] is not None
                and stats[file.name] == self._stats[file.name]
            }
            unread = [file for file in found if file.name not in known]
            for file in unread:
                self._forget(file.name)
            self.unreadable = {file: e for file, e in self.unreadable.items() if file not in unread}
            with ThreadPoolExecutor(_READERS) as readers:
                for counted in readers.map(self._count, unread):
                    if counted is not None:
                        known[counted.file.name] = counted
            self._counted, self._stats = known, stats
            self.files = self._without_repeats(known[name] for name in sorted(known))
            self.scanned_ns = started

    def _raw_file(self, path: Path) -> RawFile:
        name = _printable(path.relative_to(self.dataset.raw).as_posix())
        return RawFile(path, name, device_name(name, self.params, dataset=self.dataset.name))

    def _without_repeats(self, counts: Iterable[FileCounts]) -> dict[str, FileCounts]:
        """Mark files that are the same as an earlier one of their device."""
        files: dict[str, FileCounts] = {}
        first_of: dict[tuple[str, str], str] = {}
        for counted in counts:
            name = counted.file.name
            earlier = first_of.setdefault((counted.file.device, counted.sha256), name)
            if earlier != name:
                self._forget(name)
            files[name] = replace(counted, same_as=None if earlier == name else earlier)
        return files

    @property
    def days(self) -> list[date]:
        """The UTC days that rows of any file belong to, sorted."""
        return sorted({day for counted in self.files.values() for day in counted.days})

    def refuse_emptiness(self, days: Collection[date]) -> None:
        """Refuse to take a folder that has lost all its files for one that never had any.

        Args:
            days: The days that earlier runs wrote.

        Raises:
            RawFileError: Where there are no raw files, but days that were made from some.
        """
        if days and not self.files and not self.unreadable:
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
        return [
            counted
            for counted in self.files.values()
            if day in counted.days and counted.same_as is None
        ]

    def unreadable_on(self, day: date) -> RawFileError | None:
        """The error of an unreadable file that may have rows of a day.

        Its name says of which day it is; one without a date may be of any day, and writing any
        without it would lose its rows.
        """
        days = {None, day}
        return next((e for file, e in self.unreadable.items() if file.named_day in days), None)

    def want(self, days: Iterable[date]) -> None:
        """Announce which days will be read, so that files are let go of after their last one."""
        for day in days:
            self._uses.update(counted.file.name for counted in self.files_of(day))

    def read_day(self, day: date) -> dict[str, DeviceDay]:
        """Read the rows of a day, by device.

        Raises:
            RawFileError: Where a file of that day cannot be read, or changed since the scan.
        """
        pieces: dict[str, list[pl.DataFrame]] = {}
        counts: dict[str, FieldCounts] = {}
        for counted in self.files_of(day):
            lines = self._lines(counted)
            rows = lines.rows.filter(pl.col("ts").dt.date() == day)
            fields, met = read_fields(lines, rows, self.params)
            located = rows.with_columns(file=pl.lit(counted.file.name)).with_columns(fields)
            if lines.columns:  # what a csv line says depends on its header
                header = (self.params.delimiter or ";").join(lines.columns)
                located = located.with_columns(text=pl.lit(header + "\n") + pl.col("text"))
            pieces.setdefault(counted.file.device, []).append(located)
            counts.setdefault(counted.file.device, FieldCounts()).add(met)
        return {device: _device_day(pieces[device], counts[device]) for device in sorted(pieces)}

    def _count(self, file: RawFile) -> FileCounts | None:
        try:
            lines = read_lines(file, self.params, self.limits)
        except RawFileError as error:
            self.unreadable[file] = error
            return None
        if self._on_read is not None:
            try:
                self._on_read(lines)
            except OSError as error:
                self.unreadable[file] = RawFileError(
                    f"raw file {file.path}: its quarantine cannot be written: {error}",
                    "free the path or the disk",
                )
                return None
        self._keep(lines)
        days = lines.rows["ts"].dt.date().value_counts(sort=False)
        reasons = lines.quarantined["reason"].value_counts(sort=False)
        return FileCounts(
            file=file,
            sha256=lines.sha256,
            size=lines.size,
            lines=lines.lines,
            rows=lines.rows.height,
            quarantined=dict(sorted(reasons.rows())),
            excluded=lines.excluded,
            blank=lines.blank,
            header=lines.header,
            days=dict(sorted(days.rows())),
            first=_instant(lines.rows["ts"].min()),
            last=_instant(lines.rows["ts"].max()),
            balanced=lines.balanced,
        )

    def _keep(self, lines: RawLines) -> None:
        with self._lock:
            if self._kept_bytes + lines.size <= _KEPT_BYTES:
                self._kept[lines.file.name] = lines
                self._kept_bytes += lines.size

    def _forget(self, name: str) -> None:
        with self._lock:
            lines = self._kept.pop(name, None)
            self._kept_bytes -= lines.size if lines else 0

    def _lines(self, counted: FileCounts) -> RawLines:
        name = counted.file.name
        with self._lock:
            lines = self._kept.get(name)
        if lines is None:
            lines = read_lines(counted.file, self.params, self.limits)
            self._keep(lines)
        if lines.sha256 != counted.sha256:
            raise RawFileError(
                f"raw file {counted.file.path} changed while it was read",
                "run again when its writer is done",
            )
        with self._lock:
            self._uses[name] -= 1
            last_use = self._uses[name] == 0
        if last_use:
            self._forget(name)
        return lines


def _device_day(pieces: list[pl.DataFrame], counts: FieldCounts) -> DeviceDay:
    rows = pl.concat(pieces, how="diagonal").sort("ts", "file", "line")
    digest = hashlib.sha256("\n".join(rows["text"]).encode())
    return DeviceDay(rows.drop("file", "line", "text"), digest.hexdigest(), counts)


def _instant(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


def _stat(path: Path) -> tuple[int, int] | None:
    """Size and time of change; None where the file cannot be asked, which counts as changed."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns)


def _printable(name: str) -> str:
    """A name that parquet and JSON can hold; one that is no UTF-8 is told apart by a hash."""
    raw = os.fsencode(name)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        path, dot, ending = raw.decode(errors="replace").rpartition(".")
        mark = hashlib.sha256(raw).hexdigest()[:8]
        return f"{mark}-{ending}" if not dot else f"{path}~{mark}.{ending}"
