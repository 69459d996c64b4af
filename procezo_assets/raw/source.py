"""The raw files of a dataset as one flow reads them: which days they touch, and a day's rows."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from procezo_assets.datasets import Dataset, raw_files
from procezo_assets.errors import RawFileError
from procezo_assets.raw.classify import read_fields
from procezo_assets.raw.dialect import Dialect
from procezo_assets.raw.files import FileCounts, Limits, RawFile, device_name, midnight
from procezo_assets.raw.kv_csv import FieldCounts
from procezo_assets.raw.scanning import FileReader, Keep, size_and_mtime
from procezo_assets.treatments.parse import ParseParameters

_HASHED_ROWS = 1 << 16


@dataclass(frozen=True)
class DeviceDay:
    """The rows of one device on one day, from whatever files they come.

    Args:
        rows: `ts` (sorted; ties by file name, then line), then string columns `key:<name>`.
        digest: sha256 of the raw lines in that order.
        fields: What was met in their fields.
        units: Unit by key, where the flow or the files' headers name one.
    """

    rows: pl.DataFrame = field(repr=False)
    digest: str
    fields: FieldCounts
    units: Mapping[str, str] = field(default_factory=dict)


class RawSource:
    """The raw files of a dataset, read once to learn their days and again for each day's rows.

    Only the blocks of a file that hold rows of a day are read for it. What is in memory does not
    grow with the files: blocks that are being read, rows that are kept, and the days asked for.

    Args:
        dataset: The dataset.
        params: How to read the files.
        limits: Which timestamps the flow takes.
        output: The folder of the stage that reads them, where the dataset's dialect is kept; None
            settles it for this reading alone.
    """

    def __init__(
        self,
        dataset: Dataset,
        params: ParseParameters,
        limits: Limits,
        *,
        output: str | None = None,
    ) -> None:
        self.dataset = dataset
        self.params = params
        self.limits = limits
        self.files: dict[str, FileCounts] = {}
        self.unreadable: dict[RawFile, RawFileError] = {}
        self.scanned_ns = 0
        self._reader = FileReader(dataset, params, limits, output=output)
        self._scanning = threading.Lock()
        self._keep: Keep | None = None
        self._counted: dict[str, FileCounts] = {}

    def scan(self, keep: Keep | None = None) -> None:
        """Read every file and count its lines, days and duplicates.

        Args:
            keep: Opens for each file what keeps its quarantined lines, such as `Quarantine`.
        """
        self._keep = keep
        self._counted = {}
        self.scan_changes()

    def scan_changes(self) -> None:
        """Read the files that are new or changed since the last scan, and forget those gone.

        In three steps, so that what is known may come from elsewhere: `_find` lists the files,
        `_is_known` tells which of them need not be read, and the reader reads the others in the
        order of their names and yields their counts, which hold all that is needed to read days.
        """
        with self._scanning:
            started = time.time_ns()
            found = self._find()
            known = {file.name: self._counted[file.name] for file in found if self._is_known(file)}
            unread = [file for file in found if file.name not in known]
            for file in unread:
                self._reader.forget(file.name)
            for counted in self._reader.read(unread, self._keep):
                known[counted.file.name] = counted
            self._counted = known
            self.files = self._without_repeats(known[name] for name in sorted(known))
            self.unreadable = self._reader.failed
            self.scanned_ns = started

    def _find(self) -> list[RawFile]:
        """The dataset's raw files, by path."""
        return [self._raw_file(path) for path in raw_files(self.dataset)]

    def _is_known(self, file: RawFile) -> bool:
        """Whether a file is as it was when its lines were counted."""
        counted = self._counted.get(file.name)
        return counted is not None and size_and_mtime(file.path) == (counted.size, counted.mtime_ns)

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
                self._reader.forget(name)
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
        """Announce which days will be read, so that rows are let go of after their last one."""
        for day in days:
            for counted in self.files_of(day):
                self._reader.kept.want(
                    (counted.file.name, place) for place in _places(counted, day)
                )

    def read_day(self, day: date) -> dict[str, DeviceDay]:
        """Read the rows of a day, by device.

        Raises:
            RawFileError: Where a file of that day cannot be read, or changed since the scan.
        """
        pieces: dict[str, list[pl.DataFrame]] = {}
        counts: dict[str, FieldCounts] = {}
        units: dict[str, dict[str, str]] = {}
        for counted, rows in self._rows_of(day):
            assert counted.dialect is not None  # noqa: S101 - a refused file has no rows
            fields, met = read_fields(rows["text"], counted.dialect, self.params)
            pieces.setdefault(counted.file.device, []).append(
                _located(counted, rows).with_columns(fields)
            )
            counts.setdefault(counted.file.device, FieldCounts()).add(met)
            units.setdefault(counted.file.device, {}).update(_units_by_key(counted.dialect))
        days: dict[str, DeviceDay] = {}
        for device in sorted(pieces):
            rows = _sorted(pieces.pop(device))
            digest = _digest(rows["text"])
            rows = rows.drop("file", "line", "text")
            days[device] = DeviceDay(rows, digest, counts[device], units[device])
        return days

    def day_digests(self, day: date) -> dict[str, str]:
        """The digests that `read_day` gives, without reading what the rows say."""
        pieces: dict[str, list[pl.DataFrame]] = {}
        for counted, rows in self._rows_of(day):
            pieces.setdefault(counted.file.device, []).append(_located(counted, rows))
        return {device: _digest(_sorted(pieces[device])["text"]) for device in sorted(pieces)}

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


def _units_by_key(dialect: Dialect) -> dict[str, str]:
    """The units of a file's columns, by short name and by what the header says in full."""
    headers = zip(dialect.columns, dialect.headers, strict=False)
    in_full = {
        header: dialect.units[name] for name, header in headers if header and name in dialect.units
    }
    return {**in_full, **dialect.units}


def _places(counted: FileCounts, day: date) -> list[int]:
    return [place for place, block in enumerate(counted.blocks) if day in block.days]


def _located(counted: FileCounts, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with what orders them and what they mean."""
    located = rows.with_columns(file=pl.lit(counted.file.name))
    identity = counted.dialect.identity if counted.dialect is not None else ""
    if identity:
        located = located.with_columns(text=pl.lit(identity + "\n") + pl.col("text"))
    return located


def _sorted(pieces: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(pieces, how="diagonal").sort("ts", "file", "line")


def _digest(texts: pl.Series) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(texts), _HASHED_ROWS):
        if start:
            digest.update(b"\n")
        digest.update(texts.slice(start, _HASHED_ROWS).str.join("\n").item().encode())
    return digest.hexdigest()


def _printable(name: str) -> str:
    """A name that parquet and JSON can hold; one that is no UTF-8 is told apart by a hash."""
    raw = os.fsencode(name)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        path, dot, ending = raw.decode(errors="replace").rpartition(".")
        mark = hashlib.sha256(raw).hexdigest()[:8]
        return f"{mark}-{ending}" if not dot else f"{path}~{mark}.{ending}"
