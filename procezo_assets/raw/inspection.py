"""One raw file looked at as `parse` would read it, outside any flow."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from procezo_assets.errors import DialectError, RawFileError
from procezo_assets.parameters import validated
from procezo_assets.raw import kv_csv
from procezo_assets.raw.blocks import LONGEST_LINE
from procezo_assets.raw.classify import classify, read_fields
from procezo_assets.raw.containers import OpenedRaw, open_raw
from procezo_assets.raw.dialect import Dialect
from procezo_assets.raw.files import FileCounts, Limits, RawFile
from procezo_assets.raw.reader import count_lines
from procezo_assets.raw.remarks import file_remarks
from procezo_assets.raw.sniff import first_lines, sniff
from procezo_assets.raw.source_zone import ZONE_ASSUMED
from procezo_assets.raw.tally import BlockLines
from procezo_assets.treatments.parse import ParseParameters

_HALF = 0.5
_PREVIEWED = 100
_ZONED = r":[0-9]{2}[0-9:.,]* ?(?:[Zz]|[+-][0-9:]+)\s*$"
_AT_ONCE = 10_000_000  # timestamps that are held in memory to count the different ones
_CLOCK_NOT_SET = datetime(1990, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Inspection:
    """What a raw file looks like.

    Args:
        counts: What became of its lines.
        dialect: How it is written.
        params: The parameters that read it so, as a flow's `parse` takes them.
        columns: Names of the columns of values.
        duplicate_ts: Rows minus distinct timestamps.
        problems: What a person should know, a sentence each.
        preview: The first rows as they are read, `ts` and columns.
    """

    counts: FileCounts
    dialect: Dialect
    params: dict[str, Any]
    columns: tuple[str, ...]
    duplicate_ts: int
    problems: tuple[str, ...]
    preview: pl.DataFrame = field(repr=False)


def inspect_file(path: Path, given: Mapping[str, Any]) -> Inspection:
    """Read a raw file as the pipeline would, in bounded memory.

    Args:
        path: The file.
        given: Parameters of `parse`; without `format`, the file shows which it is.

    Raises:
        ProcezoError: Where it cannot be read, could be read in several ways, or no line is a row.
    """
    params = validated(ParseParameters, {"format": "csv", **given}, where="--params")
    if path.is_dir() or not path.exists():
        raise RawFileError(f"{path} is no file", "name a raw file")
    with (
        tempfile.TemporaryDirectory(prefix="procezo-") as scratch,
        open_raw(path, Path(scratch), params) as opened,
    ):
        if "format" not in given and _is_kv(opened, params):
            params = validated(ParseParameters, {**given, "format": "kv_csv"}, where="--params")
        return _inspect(path, opened, params, Path(scratch))


def _is_kv(opened: OpenedRaw, params: ParseParameters) -> bool:
    """Whether most of the first lines are a timestamp and `key:value` fields."""
    sample = first_lines(opened.texts())
    lines = pl.DataFrame(
        {"line": [line.number for line in sample], "text": [line.text for line in sample]},
        schema={"line": pl.Int64, "text": pl.String},
    )
    dialect = Dialect(format="kv_csv", delimiter=params.delimiter or ";")
    classified, _ = classify(lines, dialect, params)
    return int(classified["problem"].is_null().sum()) > _HALF * len(sample)


def _inspect(path: Path, opened: OpenedRaw, params: ParseParameters, scratch: Path) -> Inspection:
    try:
        dialect = sniff(opened.texts, opened.facts, params)
    except DialectError as error:
        raise DialectError(error.reason, f"{path}: {error.problem}", error.hint) from None
    keys: dict[str, None] = dict.fromkeys(dialect.value_columns)
    first: list[pl.DataFrame] = []
    unzoned = False

    def on_block(read: BlockLines) -> None:
        nonlocal unzoned
        if dialect.format == "kv_csv" and read.rows.height:
            _, met = kv_csv.read_fields(
                read.rows["text"], delimiter=dialect.delimiter, type_of=lambda _: None
            )
            keys.update(dict.fromkeys(met.unclaimed))
            stamps, _ = kv_csv.cut_stamps(read.rows["text"], delimiter=dialect.delimiter)
            unzoned |= not stamps.str.contains(_ZONED).all()
        if not first and read.rows.height:
            first.append(read.rows.head(_PREVIEWED))

    limits = Limits(date.min, None)
    file = RawFile(path, path.name, "")
    counts = count_lines(opened, file, params, limits, dialect=dialect, on_block=on_block)
    if not counts.rows:
        told = ", ".join(f"{reason} {n}" for reason, n in counts.quarantined.items())
        raise RawFileError(
            f"{path}: none of its {counts.lines} lines is a row" + (f": {told}" if told else ""),
            "see what it holds, and declare how it is read",
        )
    dialect = counts.dialect or dialect
    repeats = counts.duplicate_ts
    if repeats is None:
        repeats = counts.rows - _distinct(opened, dialect, params, counts.rows, scratch)
    columns = tuple(keys) if dialect.format == "csv" else tuple(sorted(keys, key=_natural))
    return Inspection(
        counts=counts,
        dialect=dialect,
        params=flow_parameters(dialect, params),
        columns=columns,
        duplicate_ts=repeats,
        problems=(
            *([ZONE_ASSUMED] if unzoned and params.zone is None else []),
            *_problems(counts, repeats),
        ),
        preview=_preview(first[0], dialect, params, columns),
    )


def flow_parameters(dialect: Dialect, params: ParseParameters) -> dict[str, Any]:
    """Write a dialect as the parameters of `parse` that read files so."""
    told: dict[str, Any] = {"delimiter": dialect.delimiter}
    if dialect.format == "kv_csv":
        told["timezone"] = dialect.timezone
    else:
        orders = dialect.date_orders
        written = dialect.timestamp_kind == "text"
        told |= {
            # timestamps alone have nothing between them that could be looked for
            "delimiter": dialect.delimiter if len(dialect.columns) > 1 else None,
            "decimal": dialect.decimal,
            "encoding": dialect.encoding,
            "sheet": dialect.sheet,
            "header_row": dialect.header_row if dialect.header_row <= dialect.header_lines else 0,
            "columns": list(dialect.columns),
            "timestamp_columns": list(dialect.timestamp_columns),
            "timestamp_format": dialect.timestamp_format,
            "date_order": orders[0] if written and len(orders) == 1 else None,
            "timezone": dialect.timezone,
            "null_values": list(params.null_values),
            "units": dict(dialect.units),
        }
    return {"format": dialect.format, **told}


def _distinct(
    opened: OpenedRaw, dialect: Dialect, params: ParseParameters, rows: int, scratch: Path
) -> int:
    """Count different timestamps; of very many, a part of them at a time."""
    parts = math.ceil(rows / _AT_ONCE)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        files = [(Path(folder) / str(part)).open("w+b") for part in range(parts)]
        try:
            for ts in _timestamps(opened, dialect, params):
                whose = (ts // 1_000_000) % parts
                for part, file in enumerate(files):
                    file.write(ts.filter(whose == part).to_numpy().tobytes())
            total = 0
            for file in files:
                file.seek(0)
                held = pl.Series(memoryview(file.read()).cast("q"), dtype=pl.Int64)
                total += held.n_unique()
            return total
        finally:
            for file in files:
                file.close()


def _timestamps(
    opened: OpenedRaw, dialect: Dialect, params: ParseParameters
) -> Iterator[pl.Series]:
    line = 1
    for texts in opened.texts():
        numbers = pl.int_range(line, line + len(texts), dtype=pl.Int64, eager=True)
        frame = pl.DataFrame({"line": numbers, "text": texts})
        line += len(texts)
        full = frame.filter(pl.col("text").str.strip_chars() != "")
        classified, _ = classify(full, dialect, params)
        rows = classified.filter(
            pl.col("problem").is_null(), pl.col("text").str.len_bytes() <= LONGEST_LINE
        )
        if params.from_:
            rows = rows.filter(pl.col("ts") >= params.from_)
        if params.to:
            rows = rows.filter(pl.col("ts") < params.to)
        yield rows["ts"].to_physical()


def _preview(
    rows: pl.DataFrame, dialect: Dialect, params: ParseParameters, columns: tuple[str, ...]
) -> pl.DataFrame:
    everything = params.model_copy(
        update={"domains": validated(ParseParameters, {"format": "csv"}, where="inspect").domains}
    )
    fields, _ = read_fields(rows["text"], dialect, everything)
    named = [f"key:{column}" for column in columns if f"key:{column}" in fields.columns]
    return pl.concat(
        [rows.select("ts"), fields.select(named).rename(lambda key: key.removeprefix("key:"))],
        how="horizontal",
    )


def _natural(key: str) -> tuple[str, int, str]:
    stem = key.rstrip("0123456789")
    return (stem, int(key[len(stem) :] or -1), key)


def _problems(counts: FileCounts, repeats: int) -> Iterator[str]:
    yield from file_remarks(counts)
    if repeats:
        yield f"{repeats} {'row repeats' if repeats == 1 else 'rows repeat'} a timestamp"
    if counts.first and counts.first < _CLOCK_NOT_SET:
        yield f"timestamps begin in {counts.first.year}: a clock that was not set?"
    if counts.last and counts.last > datetime.now(UTC):
        yield f"timestamps go on to {counts.last:%Y-%m-%d}, in the future"
    for reason, number in counts.quarantined.items():
        yield f"{number} {'line' if number == 1 else 'lines'} in quarantine: {reason}"
