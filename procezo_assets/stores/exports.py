"""Exports: the files that a stage's days are joined into, a file a device."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import polars as pl
from pydantic import Field, field_validator, model_validator

from procezo_assets.disks import remedy
from procezo_assets.errors import PartitionError, StoreError
from procezo_assets.file_names import NAME_BYTES
from procezo_assets.parameters import Instant, Parameters
from procezo_assets.stores.export_columns import ExportColumn, exported, joined
from procezo_assets.stores.loads import Loaded, StageInput
from procezo_assets.stores.replacing import replacing_together, temporary_name
from procezo_assets.stores.seen_parts import (
    Seen,
    again_where_replaced,
    parts_seen,
    refuse_replaced,
)

_DATE = r"\d{4}-\d{2}-\d{2}"


class ExportParameters(Parameters):
    """What every export can be told."""

    aggregation: str = Field(
        "10s", min_length=1, description="The window to export; ignored where the input has none."
    )
    domain: str = Field("bio_signal", min_length=1, description="The domain to export.")
    columns: dict[str, ExportColumn] = Field(
        {},
        description="The columns to export in this order: source column to its new name, or to "
        "{name, dtype, decimals}; all under their own names where empty.",
    )
    from_: Instant = Field(
        None, alias="from", description="Rows before this instant are left out (ISO 8601)."
    )
    to: Instant = Field(None, description="Rows at or after this instant are left out (ISO 8601).")
    span: Literal["all", "day"] = Field(
        "all", description="all: one file a device over all days present; day: one a day."
    )

    @field_validator("columns", mode="before")
    @classmethod
    def _names_are_columns(cls, columns: object) -> object:
        if not isinstance(columns, Mapping):
            return columns
        return {
            source: {"name": column} if isinstance(column, str) else column
            for source, column in columns.items()
        }

    @model_validator(mode="after")
    def _check(self) -> ExportParameters:
        if self.from_ and self.to and self.from_ >= self.to:
            raise ValueError(f"'from' {self.from_} is not before 'to' {self.to}")
        return self


@dataclass(frozen=True)
class Export:
    """How one kind of export is written.

    Args:
        suffix: Of the files (`.csv`).
        tz: The zone of the dates in the files' names.
        columns: Source columns and what they become; all under their own names where empty.
        declared: Whether a column that the data lacks is exported all the same, empty.
        own: The columns that the export has of its own, made of `ts` and `device`.
        write: Writes the frame of its own columns and the exported ones to a path.
    """

    suffix: str
    tz: str
    columns: Mapping[str, ExportColumn]
    declared: bool
    own: tuple[pl.Expr, ...]
    write: Callable[[pl.LazyFrame, Path], None]


def export(inputs: Iterable[StageInput], params: ExportParameters, how: Export) -> list[Loaded]:
    """Write the files of each dataset, and remove those that they take the place of.

    Args:
        inputs: The datasets and the days of this run.
        params: What to export.
        how: How it is written.

    Returns:
        What was written, one a dataset. Where a device has an unreadable file, its older export
        stays and its days are failed.

    Raises:
        StoreError: Where the folder cannot be written.
        TransientStoreError: Where other runs replace the files again and again, or work on a day
            for very long.
    """
    return [
        again_where_replaced()(lambda one=one: _Exporting(one, params, how).run()) for one in inputs
    ]


class _Exporting:
    """The export of one dataset."""

    def __init__(self, stage_input: StageInput, params: ExportParameters, how: Export) -> None:
        self.input = stage_input
        self.params = params
        self.how = how
        self.rows: dict[date, int] = dict.fromkeys(stage_input.days, 0)
        self.written: dict[str, Path] = {}
        self.stale: set[str] = set()
        self.failed: dict[date, str] = {}
        self.warnings: list[str] = []
        self.lacking: dict[str, set[str]] = defaultdict(set)
        self.unfit: dict[str, int] = defaultdict(int)
        self.bare: set[str] = set()

    def run(self) -> Loaded:
        whole = self.params.span == "all"
        days = tuple(self.input.days_present()) if whole else self.input.days
        looked_at = [replace(self.input, days=days)]
        seen = parts_seen(looked_at)
        try:
            with replacing_together(self.input.output) as self.written:
                self._export(seen, days)
                refuse_replaced(looked_at, seen)
            for name in self.stale - self.written.keys():
                (self.input.output / name).unlink(missing_ok=True)
        except OSError as error:
            refuse_replaced(looked_at, seen)  # a file that went away may be all that is wrong
            raise StoreError(
                f"cannot export into {self.input.output}: {error.strerror or error}",
                f"the exports that are there are whole; {remedy(self.input.output)}",
            ) from error
        self.warnings.extend(
            f"column '{column}' is missing from the data of {', '.join(sorted(devices))}: "
            "exported empty"
            for column, devices in self.lacking.items()
        )
        if self.bare:
            self.warnings.append(
                "none of the columns that are exported by default are in the data of "
                f"{', '.join(sorted(self.bare))}: set the parameter columns"
            )
        self.warnings.extend(
            f"{count} values of column '{column}' do not fit its type: exported empty"
            for column, count in self.unfit.items()
        )
        return Loaded(
            dataset=self.input.dataset,
            rows={day: count for day, count in self.rows.items() if day not in self.failed},
            tables=tuple(f"{self.input.output.name}/{name}" for name in self.written),
            files=tuple(self.input.output / name for name in self.written),
            failed=self.failed,
            warnings=tuple(self.warnings),
        )

    def _export(self, seen: Seen, days: Iterable[date]) -> None:
        files, window = self._files(seen)
        names = _FileNames(self.input, window, self.how.suffix)
        if self.params.span == "all":
            self._write(files, names)
            return
        for day in days:
            of_day = {device: {day: paths[day]} for device, paths in files.items() if day in paths}
            self._write(of_day, replace(names, day=day))

    def _files(self, seen: Seen) -> tuple[dict[str, dict[date, Path]], str | None]:
        """Find the files to export by device and day, and the window that they have, if any."""
        found = [
            (day, key, Path(file.path))
            for (_, day), parts in seen.items()
            for key, file in parts.items()
            if key.domain == self.params.domain
        ]
        windows = {key.window for _, key, _ in found if key.window}
        window = self.params.aggregation if windows else None
        files: dict[str, dict[date, Path]] = defaultdict(dict)
        for day, key, path in found:
            if key.window == window:
                files[key.device][day] = path
        if not files:
            wanted = f" and window '{window}'" if window else ""
            have = f" (it has {', '.join(sorted(windows))})" if windows else ""
            self.warnings.append(
                f"nothing was exported: stage '{self.input.stage}' has no files of domain "
                f"'{self.params.domain}'{wanted}{have}"
            )
        return dict(sorted(files.items())), window

    def _write(self, files: Mapping[str, Mapping[date, Path]], names: _FileNames) -> None:
        """Write a file a device, and note the files that these take the place of."""
        older = names.existing()
        stale = {name for several in older.values() for name in several}
        for device, paths in files.items():
            try:
                self._write_device(device, paths, names)
            except (PartitionError, pl.exceptions.PolarsError) as error:
                reason = " ".join(f"device '{device}' was not exported: {error}".split())
                self.warnings.append(reason)
                self.failed.update((day, reason) for day in self.input.days if day in paths)
                stale -= older.get(device, set())
                continue
        self.stale |= stale

    def _write_device(self, device: str, paths: Mapping[date, Path], names: _FileNames) -> None:
        """Write the file of a device, if it has rows."""
        frame, columns = joined(paths)
        if self.params.from_ is not None:
            frame = frame.filter(pl.col("ts") >= self.params.from_)
        if self.params.to is not None:
            frame = frame.filter(pl.col("ts") < self.params.to)
        outputs = {
            name: exported(name, spec, columns.get(name))
            for name, spec in self._outputs(device, columns)
        }
        counts = (
            frame.group_by(pl.col("ts").dt.date().alias("__day"))
            .agg(
                pl.len().alias("__rows"),
                pl.col("ts").min().alias("__first"),
                pl.col("ts").max().alias("__last"),
                *(
                    (pl.col(name).is_not_null() & value.is_null()).sum().alias(name)
                    for name, value in outputs.items()
                    if name in columns
                ),
            )
            .collect(engine="streaming")
        )
        for day, rows in counts.select("__day", "__rows").iter_rows():
            if day in self.rows:
                self.rows[day] += rows
        for name in outputs:
            if name in columns and (lost := int(counts[name].sum())):
                self.unfit[name] += lost
        if counts.is_empty():
            return
        if self.how.columns and not outputs:
            self.bare.add(device)
        dates = [
            instant.astimezone(ZoneInfo(self.how.tz)).date()
            for instant in (*counts["__first"], *counts["__last"])
        ]
        name = names.of(device, min(dates), max(dates))
        temporary = temporary_name(self.input.output / name)
        self.how.write(frame.select(*self.how.own, *outputs.values()), temporary)
        self.written[name] = temporary

    def _outputs(
        self, device: str, columns: Mapping[str, pl.DataType]
    ) -> Iterator[tuple[str, ExportColumn]]:
        """Choose the columns to export of those that a device has."""
        if not self.how.columns:
            yield from ((name, ExportColumn()) for name in columns if name not in {"ts", "device"})
            return
        for name, spec in self.how.columns.items():
            if name in columns or self.how.declared:
                yield name, spec
            if name not in columns and self.how.declared:
                self.lacking[name].add(device)


@dataclass(frozen=True)
class _FileNames:
    """Names of export files: `<dataset>_<device>_<stage>[_<window>]_<first>_<last>`.

    Of a file of one day, that day takes the place of the first and last.
    """

    input: StageInput
    window: str | None
    suffix: str
    day: date | None = None

    @property
    def _before(self) -> str:
        return f"{self.input.dataset.replace('/', '-')}_"

    @property
    def _after(self) -> str:
        return f"_{self.input.stage}_{self.window}_" if self.window else f"_{self.input.stage}_"

    def of(self, device: str, first: date, last: date) -> str:
        """Name a device's file by the dates of its first and last row, or by its one day."""
        dates = str(self.day) if self.day else f"{first}_{last}"
        name = f"{self._before}{device}{self._after}{dates}{self.suffix}"
        if len(name.encode()) > NAME_BYTES:
            raise PartitionError(
                f"its file would have a name of {len(name.encode())} bytes, and disks take "
                f"{NAME_BYTES}",
                "shorten the name of the dataset, or of the device with file_name_substitute",
            )
        return name

    def existing(self) -> dict[str, set[str]]:
        """Find the files of the same kind (of the same day) that are there, by device."""
        dates = str(self.day) if self.day else f"{_DATE}_{_DATE}"
        pattern = re.compile(
            f"{re.escape(self._before)}(?P<device>.+){re.escape(self._after)}{dates}"
            f"{re.escape(self.suffix)}"
        )
        found: dict[str, set[str]] = defaultdict(set)
        for path in self.input.output.iterdir():
            if match := pattern.fullmatch(path.name):
                found[match["device"]].add(path.name)
        return found
