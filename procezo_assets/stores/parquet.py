"""The parquet files of a stage's partition: written whole, replaced in one step, read back."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import ClassVar

import polars as pl
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from procezo_assets.datasets import PartKey, part_files
from procezo_assets.errors import PartitionError
from procezo_assets.stores.column_units import schema_with_units
from procezo_assets.stores.replacing import sync, temporary_name
from procezo_assets.strict_json import shaped_json

_FOOTER_KEY = "procezo"


class Counts(TypedDict):
    """What became of rows and values: how many, by reason, and of values by reason and column."""

    rows_in: int
    rows_out: int
    rows_removed: dict[str, int]
    rows_added: dict[str, int]
    values_in: int
    values_out: int
    values_removed: dict[str, dict[str, int]]
    values_added: dict[str, dict[str, int]]


@dataclass(frozen=True)
class Provenance:
    """What a file was made from; the same for every run that makes the same bytes.

    Args:
        flow: The flow's name.
        stage: The stage's name.
        treatment: The treatment's name.
        version: The treatment's version.
        parameters: sha256 of the effective parameters.
        input: sha256 of the parquet file it was made from; of `parse`, of its sorted raw lines.
        parts: How many files the partition has, so that a missing one is noticed.
        fit: sha256 of the fit, for treatments that have one.
        counts: What became of the rows and values of the file's input (`Ledger.counts`); in the
            first of the files that are made from it, so that they add up.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    flow: str
    stage: str
    treatment: str
    version: str
    parameters: str
    input: str
    parts: int
    fit: str | None = None
    counts: Counts | None = None


_provenance = TypeAdapter(Provenance)


@dataclass(frozen=True)
class WrittenFile:
    """A parquet file as it was written.

    Args:
        path: Where it is.
        sha256: Hash of its bytes.
        size: Its bytes.
    """

    path: Path
    sha256: str
    size: int


def write_partition(
    folder: Path,
    day: date,
    frames: Mapping[PartKey, pl.DataFrame],
    provenance: Mapping[PartKey, Provenance],
    units: Mapping[PartKey, Mapping[str, str]] | None = None,
) -> dict[PartKey, WrittenFile]:
    """Replace the files of a partition.

    Each file is written under a temporary name and renamed; files that the partition no longer has
    go in the same step, after the new ones are there.

    Args:
        folder: The stage's folder.
        day: The UTC day.
        frames: `ts`, then values; the column `device` is put between them.
        provenance: What goes into each file's footer.
        units: Unit by column, into the metadata of each file's fields.
    """
    encoded = {
        key: _encode(_with_device(frame, key.device), provenance[key], (units or {}).get(key))
        for key, frame in frames.items()
    }
    before = part_files(folder, day)
    pending: list[tuple[Path, Path]] = []
    written: dict[PartKey, WrittenFile] = {}
    try:
        for key, data in encoded.items():
            path = key.path(folder, day)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = temporary_name(path)
            pending.append((temporary, path))
            temporary.write_bytes(data)
            sync(temporary)
            written[key] = WrittenFile(path, hashlib.sha256(data).hexdigest(), len(data))
        while pending:
            temporary, path = pending[0]
            temporary.replace(path)
            pending.pop(0)
    finally:
        for temporary, _ in pending:
            temporary.unlink(missing_ok=True)
    for key, path in before.items():
        if key not in written:
            path.unlink(missing_ok=True)
            for emptied in (path.parent, path.parent.parent):
                with contextlib.suppress(OSError):  # not empty: other files live there
                    emptied.rmdir()
    return written


def read_part(path: Path) -> pl.DataFrame:
    """Read a file of a partition: `ts`, then values, without the column `device`.

    Raises:
        PartitionError: Where it cannot be read.
    """
    try:
        return pl.read_parquet(path, glob=False, hive_partitioning=False).drop("device")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise PartitionError(
            f"{path} cannot be read: {error}", "run the stage that writes it again"
        ) from None


def read_provenance(path: Path) -> Provenance | None:
    """Read a file's footer; None where it is not one of ours or is damaged."""
    try:
        footer = pl.read_parquet_metadata(path).get(_FOOTER_KEY, "")
        return shaped_json(footer, _provenance)
    except (OSError, ValueError, pl.exceptions.PolarsError):
        return None


def file_sha256(path: Path) -> str:
    """Hash a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _with_device(frame: pl.DataFrame, device: str) -> pl.DataFrame:
    values = [column for column in frame.columns if column not in {"ts", "device"}]
    return frame.select("ts", pl.lit(device, pl.String).alias("device"), *values)


def _encode(frame: pl.DataFrame, provenance: Provenance, units: Mapping[str, str] | None) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(
        buffer,
        compression="zstd",
        row_group_size=1 << 20,
        metadata={_FOOTER_KEY: json.dumps(asdict(provenance), sort_keys=True)},
        arrow_schema=schema_with_units(frame, units) if units else None,
    )
    return buffer.getvalue()
