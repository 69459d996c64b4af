"""A raw file by name, what a flow takes of it, and what became of its lines."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from procezo_assets.errors import RawFileError
from procezo_assets.file_names import NAME_BYTES, stays_below
from procezo_assets.harmless import steers
from procezo_assets.raw.dialect import Dialect
from procezo_assets.treatments.parse import ParseParameters

# of what packs another file, whose name stands before it
PACKED_SUFFIXES = (".gz", ".bz2", ".xz", ".zip")
_DATA_SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".log")

# what else is in the name of a part file: separators, day, a window, suffix
_AROUND_DEVICE = len("____2026-01-01__9999min.parquet")

_DATE = re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)")


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
        today: The current UTC day; later rows are quarantined until their day has come. None for
            who only looks at a file.
    """

    start: date
    today: date | None

    @property
    def first(self) -> datetime:
        """The first instant that is taken."""
        return midnight(self.start)

    @property
    def end(self) -> datetime:
        """The first instant that is no longer taken; the end of year 9999 where all are."""
        if self.today is None or self.today == date.max:
            return datetime.max.replace(tzinfo=UTC)
        return midnight(self.today + timedelta(days=1))


@dataclass(frozen=True)
class Block:
    """A stretch of whole lines of a raw file.

    Args:
        offset: Where it begins, in the file's unpacked bytes.
        size: Its bytes.
        crc32: Of those bytes, so that a file that was replaced is noticed.
        first_line: The number of its first line, from 1.
        days: The UTC days of its rows, sorted.
    """

    offset: int
    size: int
    crc32: int
    first_line: int
    days: tuple[date, ...]


@dataclass(frozen=True)
class FileCounts:
    """What became of the lines of a raw file, and how to read them again.

    Args:
        file: Which file.
        sha256: Hash of its bytes.
        content: Hash of the bytes inside, however they are packed.
        size: Its bytes.
        mtime_ns: When it was last changed, as it was opened.
        lines: All its lines.
        rows: Lines that are rows.
        quarantined: Lines in quarantine, by reason.
        excluded: Rows outside the flow's own bounds.
        blank: Blank lines.
        header: Header lines.
        days: Rows by UTC day.
        first: First timestamp of a row.
        last: Last timestamp of a row.
        dialect: How its lines are read; None where it was refused.
        blocks: Where its lines are.
        notes: What a person may want to know, by name: `out_of_order` (rows earlier than the row
            before), `behind` (rows earlier than the latest row before), `clock_back_s` (the largest
            step back, in whole seconds), and what was settled by a policy.
        duplicate_ts: Rows minus distinct timestamps; None where that was not counted, which is
            where rows are out of order.
        earliest_future: The first day of rows that are quarantined as of the future.
        refused: Why none of its lines is read, where that is so.
        same_as: The file of the same device with the same content that is read instead.
    """

    file: RawFile
    sha256: str
    content: str
    size: int
    mtime_ns: int
    lines: int
    rows: int
    quarantined: dict[str, int]
    excluded: int
    blank: int
    header: int
    days: dict[date, int]
    first: datetime | None
    last: datetime | None
    dialect: Dialect | None = None
    blocks: tuple[Block, ...] = field(default=(), repr=False)
    notes: dict[str, int] = field(default_factory=dict)
    duplicate_ts: int | None = None
    earliest_future: date | None = None
    refused: str | None = None
    same_as: str | None = None

    @property
    def read_by(self) -> Dialect:
        """How its rows are read.

        Raises:
            ValueError: Where it was refused, and has none.
        """
        if self.dialect is None:
            raise ValueError(f"{self.file.name} was refused: it has no rows")
        return self.dialect

    @property
    def balanced(self) -> bool:
        """Whether every line ended in exactly one place."""
        ended = self.rows + sum(self.quarantined.values())
        return self.lines == ended + self.excluded + self.blank + self.header


def path_below(folder: Path, name: str) -> Path:
    """The path that a raw file's name, or one made of it, has below a folder.

    Names come from archives and other homes, too: what is there is read, replaced and removed.

    Raises:
        RawFileError: Where the name leads out of the folder.
    """
    if not stays_below(name):
        raise RawFileError(
            f"{name!r} is no name of a raw file: it leads out of {folder}",
            "correct gone.json, where it stands, and remove .procezo/catalog.sqlite, which is "
            "filled again",
        )
    return folder / name


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
        device = _stem(text)
    # part files begin with the device; with a dot in front they would be hidden
    return device.strip().lstrip(".") or path.parent.name or dataset.rpartition("/")[2]


def device_problem(device: str, params: ParseParameters) -> str | None:
    """Why files and databases cannot be named after a device; None where they can.

    Args:
        device: The logger, as its files name it.
        params: Its domains stand in the names of part files, too.
    """
    if steers(device) or "\\" in device:
        return f"names a device {device!r}, which has control characters or '\\'"
    most = NAME_BYTES - _AROUND_DEVICE - max(map(len, params.domains))
    size = len(device.encode())
    if size > most:
        return f"names a device of {size} bytes, and names of files leave it {most}"
    return None


def _stem(name: str) -> str:
    """The name without its suffix; of what is packed, also without that of the file inside."""
    path = Path(name)
    if path.suffix.lower() in PACKED_SUFFIXES:
        path = path.with_suffix("")
        return path.stem if path.suffix.lower() in _DATA_SUFFIXES else path.name
    return path.stem


def midnight(day: date) -> datetime:
    """The first instant of a UTC day."""
    return datetime.combine(day, time(), UTC)
