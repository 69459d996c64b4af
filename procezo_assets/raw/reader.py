"""A raw file to lines that are rows, and lines that are not, each with its reason."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import polars as pl

from procezo_assets.errors import RawFileError
from procezo_assets.raw import header_csv, kv_csv
from procezo_assets.raw.timestamps import UTC_MICROSECONDS, parse_timestamps
from procezo_assets.treatments.parse import ParseParameters, claims

_DATE = re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)")

QUARANTINE_SCHEMA = pl.Schema(
    {"file": pl.String, "line": pl.Int64, "reason": pl.String, "raw": pl.Binary}
)


@dataclass(frozen=True)
class RawFile:
    """A raw file by name.

    Args:
        path: Where it is.
        name: Its path under `00_raw/`, with `/`.
        device: The logger that wrote it.
    """

    path: Path
    name: str
    device: str

    @property
    def named_day(self) -> date | None:
        """The day in its name, which says nothing about the days of its rows."""
        found = _DATE.search(self.path.name)
        try:
            return date.fromisoformat(found.group()) if found else None
        except ValueError:
            return None


@dataclass(frozen=True)
class Limits:
    """Which timestamps a flow takes.

    Args:
        start: First day; earlier rows are quarantined.
        today: The current UTC day; later rows are quarantined until their day has come.
    """

    start: date
    today: date


@dataclass(frozen=True)
class RawLines:
    """A raw file, read: every line is in exactly one of the counts.

    Args:
        file: Which file.
        sha256: Hash of its bytes.
        size: Its bytes.
        lines: How many lines it has.
        blank: Lines of nothing but blanks.
        header: Header lines.
        excluded: Rows outside the flow's own bounds.
        rows: `ts`, `line` (from 1) and `text` of the lines that are rows.
        quarantined: `file`, `line`, `reason` and `raw` (the bytes) of the others.
        columns: The header's column names, where the dialect has one.
        timestamp_place: Which column is the timestamp, where the dialect has a header.
    """

    file: RawFile
    sha256: str
    size: int
    lines: int
    blank: int
    header: int
    excluded: int
    rows: pl.DataFrame = field(repr=False)
    quarantined: pl.DataFrame = field(repr=False)
    columns: tuple[str, ...] = ()
    timestamp_place: int = 0

    @property
    def balanced(self) -> bool:
        """Whether every line ended in exactly one place."""
        ended = self.rows.height + self.quarantined.height
        return self.lines == ended + self.excluded + self.blank + self.header


def device_name(name: str, params: ParseParameters, *, dataset: str) -> str:
    """Read the device from a raw file's path under `00_raw/`.

    After the substitutions: the group of `device_pattern`; or the last `_` segment before the first
    date, or where nothing stands before the date the folder's name; or, without a date, the stem.

    Args:
        name: The path, with `/`.
        params: Substitutions and pattern.
        dataset: The dataset's name, whose last segment names files that lie in `00_raw/` itself.
    """
    path = Path(name)
    text = path.name
    for substitution in params.file_name_substitute:
        text = text.replace(substitution.src, substitution.target)
    if params.device_pattern and (found := re.search(params.device_pattern, text)):
        device = found.group("device") or ""
    elif dated := _DATE.search(text):
        segments = [part for part in text[: dated.start()].split("_") if part]
        device = segments[-1] if segments else ""
    else:
        device = Path(text).stem
    # part files begin with the device; with a dot in front they would be hidden
    return device.strip().lstrip(".") or path.parent.name or dataset.rpartition("/")[2]


def read_lines(file: RawFile, params: ParseParameters, limits: Limits) -> RawLines:
    """Read a raw file and put every line where it belongs.

    Args:
        file: Which file.
        params: How to read it.
        limits: Which timestamps the flow takes.

    Raises:
        RawFileError: Where the file cannot be read at all.
    """
    try:
        data = file.path.read_bytes()
    except OSError as error:
        raise RawFileError(
            f"raw file {file.path} cannot be read: {error.strerror}",
            "check its permissions and disk",
        ) from None
    texts = split_text(data)
    frame = pl.DataFrame(
        {"line": pl.int_range(1, len(texts) + 1, dtype=pl.Int64, eager=True), "text": texts}
    )
    blank = frame["text"].str.strip_chars() == ""
    frame = frame.filter(~blank)
    header, place = 0, 0
    columns: tuple[str, ...] = ()
    if params.format == "csv" and frame.height:
        names = header_csv.read_header(frame["text"][0], delimiter=params.delimiter or ";")
        found = header_csv.timestamp_place(names, params.timestamp_column) if names else None
        if names is None or found is None:
            frame = frame.with_columns(ts=pl.lit(None, UTC_MICROSECONDS), problem=pl.lit("header"))
        else:
            columns, place = tuple(names), found
            before = frame.height
            frame = frame.filter(pl.col("text") != frame["text"][0])
            header = before - frame.height
            frame = _classify_csv(frame, params, columns, place)
    else:
        frame = _classify_kv(frame, params)
    frame = frame.with_columns(problem=_with_limits(params, limits))
    bad = frame.filter(pl.col("problem").is_not_null() & (pl.col("problem") != "excluded"))
    rows = frame.filter(pl.col("problem").is_null()).select("ts", "line", "text")
    return RawLines(
        file=file,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        lines=len(texts),
        blank=int(blank.sum()),
        header=header,
        excluded=frame.height - bad.height - rows.height,
        rows=rows,
        quarantined=_quarantined(file.name, bad, data),
        columns=columns,
        timestamp_place=place,
    )


def read_fields(
    lines: RawLines, rows: pl.DataFrame, params: ParseParameters
) -> tuple[pl.DataFrame, kv_csv.FieldCounts]:
    """Cut some rows of a file into string columns `key:<name>`, as `parse` takes them.

    Args:
        lines: The file.
        rows: Some of its rows.
        params: How to read them.
    """
    if params.format == "csv":
        return header_csv.read_fields(
            rows["text"],
            delimiter=params.delimiter or ";",
            header=list(lines.columns),
            place=lines.timestamp_place,
            claimed=claims(params),
        )
    return kv_csv.read_fields(
        rows["text"], delimiter=params.delimiter or ";", claimed=claims(params)
    )


def split_text(data: bytes) -> pl.Series:
    r"""Cut bytes into lines at LF; CR before it, a BOM and NUL bytes are stripped.

    Bytes that are no UTF-8 become U+FFFD, so that the line fails where they matter; quarantine
    keeps the bytes themselves.
    """
    text = data.decode("utf-8", errors="replace").replace("\0", "").removeprefix("\ufeff")
    if not data:
        return pl.Series("text", [], dtype=pl.String)
    texts = text.split("\n")
    if not texts[-1] and data.endswith(b"\n"):
        texts.pop()
    return pl.Series("text", texts, dtype=pl.String).str.strip_suffix("\r")


def _classify_kv(frame: pl.DataFrame, params: ParseParameters) -> pl.DataFrame:
    stamps = parse_timestamps(
        kv_csv.timestamp_texts(frame["text"], delimiter=params.delimiter or ";"),
        tz=params.zone or "UTC",
    )
    problems = kv_csv.line_problems(frame["text"], delimiter=params.delimiter or ";")
    return frame.with_columns(stamps["ts"], problem=stamps["problem"].fill_null(problems))


def _classify_csv(
    frame: pl.DataFrame, params: ParseParameters, columns: tuple[str, ...], place: int
) -> pl.DataFrame:
    fields, problems = header_csv.split_lines(
        frame["text"], delimiter=params.delimiter or ";", width=len(columns)
    )
    stamps = parse_timestamps(fields[str(place)], tz=params.zone or "UTC")
    return frame.with_columns(stamps["ts"], problem=problems.fill_null(stamps["problem"]))


def _with_limits(params: ParseParameters, limits: Limits) -> pl.Expr:
    """The line's problem; the flow's own bounds come before the limits that quarantine."""
    ts = pl.col("ts")
    outside = pl.lit(value=False)
    if params.from_:
        outside = outside | (ts < params.from_)
    if params.to:
        outside = outside | (ts >= params.to)
    return (
        pl.when(pl.col("problem").is_not_null())
        .then("problem")
        .when(outside)
        .then(pl.lit("excluded"))
        .when(ts < midnight(limits.start))
        .then(pl.lit("before_start"))
        .when(ts >= midnight(limits.today + timedelta(days=1)))
        .then(pl.lit("future"))
    )


def midnight(day: date) -> datetime:
    """The first instant of a UTC day."""
    return datetime.combine(day, time(), UTC)


def _quarantined(name: str, bad: pl.DataFrame, data: bytes) -> pl.DataFrame:
    if bad.is_empty():
        return QUARANTINE_SCHEMA.to_frame()
    raw = data.split(b"\n")
    return bad.select(
        file=pl.lit(name),
        line="line",
        reason="problem",
        raw=pl.Series([raw[line - 1] for line in bad["line"]], dtype=pl.Binary),
    )
