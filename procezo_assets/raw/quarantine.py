"""Lines that could not become rows, kept with file, line number, reason and their bytes."""

from __future__ import annotations

import io
from pathlib import Path

from procezo_assets.datasets import Dataset
from procezo_assets.raw.reader import RawLines
from procezo_assets.stores.parquet import write_atomically


def quarantine_path(dataset: Dataset, flow: str, raw_name: str) -> Path:
    """Where a raw file's quarantined lines are: `quarantine/<flow>/<raw path>.parquet`."""
    return dataset.quarantine(flow) / f"{raw_name}.parquet"


def write_quarantine(dataset: Dataset, flow: str, lines: RawLines) -> None:
    """Keep a raw file's quarantined lines; a file without any has no quarantine file.

    Columns: `file` (path under `00_raw/`), `line` (from 1), `reason`, `raw` (bytes).
    """
    path = quarantine_path(dataset, flow, lines.file.name)
    if lines.quarantined.is_empty():
        path.unlink(missing_ok=True)
        return
    buffer = io.BytesIO()
    lines.quarantined.write_parquet(buffer, compression="zstd")
    data = buffer.getvalue()
    if not path.is_file() or path.read_bytes() != data:
        write_atomically(path, data)
