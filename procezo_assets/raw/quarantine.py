"""Lines that could not become rows, kept with file, line number, reason and their bytes."""

from __future__ import annotations

import filecmp
import hashlib
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polars as pl

from procezo_assets.datasets import Dataset
from procezo_assets.file_names import NAME_BYTES, cut_to_bytes
from procezo_assets.raw.files import RawFile, path_below
from procezo_assets.stores.replacing import sync, temporary_beside

QUARANTINE_SCHEMA = {
    "file": pl.String(),
    "line": pl.Int64(),
    "reason": pl.String(),
    "raw": pl.Binary(),
}
"""The columns of a file of quarantined lines."""

_GROUP_BYTES = 16 * 1024**2


def quarantine_path(dataset: Dataset, flow: str, raw_name: str) -> Path:
    """Where a raw file's quarantined lines are: `quarantine/<flow>/<raw path>.parquet`.

    A name that would be longer than disks take is cut, with a hash of the whole in its place.

    Raises:
        RawFileError: Where the name leads out of that folder.
    """
    path = path_below(dataset.quarantine(flow), f"{raw_name}.parquet")
    if len(path.name.encode()) <= NAME_BYTES:
        return path
    mark = hashlib.sha256(raw_name.encode()).hexdigest()[:16]
    return path.with_name(f"{cut_to_bytes(path.name, 200)}~{mark}.parquet")


class Quarantine:
    """The quarantined lines of one raw file, written as they come; without any there is no file.

    Columns: `file` (path under `00_raw/`), `line` (from 1), `reason`, `raw` (bytes). The file that
    was there is replaced when all lines have been read, and stays where they could not be.

    Args:
        dataset: The dataset.
        flow: The flow's name.
        file: The raw file.
    """

    def __init__(self, dataset: Dataset, flow: str, file: RawFile) -> None:
        self._name = file.name
        self._path = quarantine_path(dataset, flow, file.name)
        self._waiting: list[pl.DataFrame] = []
        self._waiting_bytes = 0
        self._writer: Any = None
        self._temporary = self._path
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def add(self, lines: pl.DataFrame) -> None:
        """Keep some lines.

        Args:
            lines: `line`, `reason` and `raw`.
        """
        if lines.is_empty():
            return
        self._waiting.append(lines)
        self._waiting_bytes += int(lines.estimated_size())
        if self._waiting_bytes >= _GROUP_BYTES:
            self._write()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        with self._open:
            if kind is None:
                self._write()
            if self._writer is not None:
                self._writer.close()
            if kind is not None:
                return
            if self._writer is None:
                self._path.unlink(missing_ok=True)
            elif not _same(self._temporary, self._path):
                sync(self._temporary)
                self._temporary.replace(self._path)

    def _write(self) -> None:
        import pyarrow.parquet as pq  # noqa: PLC0415 - most files have nothing to quarantine

        if not self._waiting:
            return
        table = (
            pl.concat(self._waiting)
            .select(pl.lit(self._name).alias("file"), "line", "reason", "raw")
            .to_arrow(compat_level=pl.CompatLevel.oldest())
        )
        self._waiting, self._waiting_bytes = [], 0
        if self._writer is None:
            self._temporary = self._open.enter_context(temporary_beside(self._path))
            self._writer = pq.ParquetWriter(self._temporary, table.schema, compression="zstd")
        self._writer.write_table(table)


def _same(new: Path, old: Path) -> bool:
    return old.is_file() and filecmp.cmp(new, old, shallow=False)
