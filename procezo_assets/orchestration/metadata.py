"""What a materialization shows: counts, times, sources, a preview, a plot."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import dagster as dg
import polars as pl

from procezo_assets.datasets import PartKey
from procezo_assets.harmless import harmless, plain_markdown
from procezo_assets.ledger import Ledger
from procezo_assets.pipeline import StageDone
from procezo_assets.plots import day_svg, most_changed_column
from procezo_assets.raw.remarks import file_remarks
from procezo_assets.runs import StageLoaded

PLOT_DAYS = 31  # longer runs draw no plots: SQLite stores each byte nearly three times

_PREVIEW_ROWS = 5
_PREVIEW_COLUMNS = 8
_CELL_CHARACTERS = 100
_SCHEMA_COLUMNS = 1000

Metadata = dict[str, Any]


def stage_metadata(done: StageDone, *, plot: bool) -> Metadata:
    """Describe a stage of a partition.

    Args:
        done: What was written.
        plot: Whether `clean` draws the day before and after.
    """
    ledger = done.ledger
    rows = sum(frame.height for frame in done.after.values())
    times = [
        instant
        for frame in done.after.values()
        for instant in (frame["ts"].min(), frame["ts"].max())
        if isinstance(instant, datetime)
    ]
    metadata: Metadata = _plot(done) if plot and done.stage.treatment.name == "clean" else {}
    metadata |= {
        "rows_in": ledger.rows_in,
        "rows_out": rows,
        "values_in": ledger.values_in,
        "values_out": ledger.values_out,
        "removed": _counts(ledger.rows_removed, ledger.removed_by_reason()),
        "added": _counts(ledger.rows_added, ledger.added_by_reason()),
        "devices": ", ".join(sorted({key.device for key in done.after})) or "none",
        "files": len(done.files),
        "bytes": sum(file.size for file in done.files.values()),
        "seconds": round(done.seconds, 3),
    }
    if times:
        metadata["first_ts"] = dg.MetadataValue.timestamp(min(times))
        metadata["last_ts"] = dg.MetadataValue.timestamp(max(times))
    if by_column := _by_column(ledger):
        metadata["removed_by_column"] = dg.MetadataValue.json(by_column)
    if done.raw_files:
        metadata["raw_files"] = dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {
                        "file": harmless(one.file.name),
                        "sha256": one.sha256,
                        "rows": one.days[done.day],
                        "remarks": harmless("; ".join(file_remarks(one))),
                    }
                )
                for one in done.raw_files
            ]
        )
    if done.warnings:
        metadata["warnings"] = dg.MetadataValue.md(
            "\n".join(f"- {plain_markdown(warning)}" for warning in done.warnings)
        )
    if done.after:
        key, frame = max(done.after.items(), key=lambda item: (item[1].height, item[1].width))
        metadata["preview"] = dg.MetadataValue.md(_preview(key, frame))
        metadata["dagster/column_schema"] = _column_schema(frame)
    metadata["dagster/partition_row_count"] = rows
    return metadata


def load_metadata(loaded: StageLoaded, day: date) -> Metadata:
    """Describe what a loading stage did with a day."""
    metadata: Metadata = {
        "dagster/partition_row_count": loaded.result.rows.get(day, 0),
        "rows_out": loaded.result.rows.get(day, 0),
        "tables": dg.MetadataValue.md("\n".join(map(as_code, loaded.result.tables))),
        "seconds_of_run": round(loaded.seconds, 3),
    }
    if loaded.result.warnings:
        metadata["warnings"] = dg.MetadataValue.md(
            "\n".join(f"- {plain_markdown(warning)}" for warning in loaded.result.warnings)
        )
    return metadata


def data_version(done: StageDone) -> str:
    """Hash a partition's files, so that Dagster knows whether a re-run changed anything."""
    hashes = "\n".join(sorted(file.sha256 for file in done.files.values()))
    return hashlib.sha256(hashes.encode()).hexdigest()[:32]


def as_code(name: str) -> str:
    """A line of a Markdown list that shows a name, whatever is in it."""
    return "- `{}`".format(harmless(name).replace("`", "'"))


def _counts(rows: Mapping[str, int], values: Mapping[str, int]) -> dg.JsonMetadataValue:
    return dg.MetadataValue.json({"rows": dict(rows), "values": dict(values)})


def _by_column(ledger: Ledger) -> dict[str, dict[str, int]]:
    return {reason: dict(columns) for reason, columns in ledger.values_removed.items()}


def _preview(key: PartKey, frame: pl.DataFrame) -> str:
    shown = frame.head(_PREVIEW_ROWS).select(frame.columns[:_PREVIEW_COLUMNS])
    lines = [
        "| " + " | ".join(map(_cell, shown.columns)) + " |",
        "|" + "---|" * shown.width,
    ]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in shown.rows()]
    window = f", {key.window}" if key.window else ""
    more = frame.width - shown.width
    return "\n".join(
        [
            f"{_cell(key.device)}, {key.domain}{window}: "
            f"first {shown.height} of {frame.height} rows"
            + (f", {more} more columns" if more else ""),
            "",
            *lines,
        ]
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return value.strftime("%H:%M:%S.%f").rstrip("0").rstrip(".")
    return plain_markdown(str(value)[:_CELL_CHARACTERS])


def _column_schema(frame: pl.DataFrame) -> dg.TableSchema:
    return dg.TableSchema(
        [
            dg.TableColumn("ts", "timestamp[us, UTC]"),
            dg.TableColumn("device", "string"),
            *(
                dg.TableColumn(harmless(name[:_CELL_CHARACTERS]), str(dtype).lower())
                for name, dtype in list(frame.schema.items())[:_SCHEMA_COLUMNS]
                if name != "ts"
            ),
        ]
    )


def _plot(done: StageDone) -> Metadata:
    """Draw the day before and after for the column that lost most values."""
    best: tuple[int, PartKey, str] | None = None
    for key, after in done.after.items():
        before = done.before.get(key)
        if before is None:
            continue  # a user's own `clean` may make domains that were not there
        column = most_changed_column(before, after)
        if column is None:
            continue
        lost = before[column].count() - after[column].count()
        if best is None or lost > best[0]:
            best = (lost, key, column)
    if best is None:
        return {}
    _, key, column = best
    title = f"{key.device}, {done.day}"
    svg = day_svg(done.before[key], done.after[key], column, title=title)
    data = base64.b64encode(svg.encode()).decode()
    return {
        "plot": dg.MetadataValue.md(f"![{plain_markdown(title)}](data:image/svg+xml;base64,{data})")
    }
