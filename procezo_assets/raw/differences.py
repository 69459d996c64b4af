"""Which raw files a scan has to read: those that are not as the catalog knows them, and still."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from procezo_assets.errors import RawFileError
from procezo_assets.raw.catalog_rows import FileEntry, KnownFile, WaitingFile
from procezo_assets.raw.files import PACKED_SUFFIXES, RawFile
from procezo_assets.raw.folder import FoundFile, FoundFiles
from procezo_assets.raw.scanning import Keep

# a file may be written again, to the same size, within the time that its file system tells apart
_TOLD_APART_SECONDS = 2.0
# bytes that take some seconds to read; what is packed is more than it looks
_LARGE = 64 * 1024**2
_LARGE_PACKED = 8 * 1024**2
_SPREADSHEETS = (".xlsx", ".xlsm")


@dataclass(frozen=True)
class Pace:
    """Which files a scan reads now, and which it leaves to a later one.

    Args:
        settle: How many seconds a file must have been still; None reads it as it is.
        refresh: After how many seconds of waiting a file is read though it is not still.
        deadline: When reading stops, on the monotonic clock; large files are not begun at all, and
            none while another scan of the same files is under way. None waits for that and reads
            all.
        now: The time, in seconds since 1970; the clock's where left out.
    """

    settle: float | None = None
    refresh: float | None = None
    deadline: float | None = None
    now: float | None = None


@dataclass
class Scan:
    """A scan under way.

    Args:
        reading: Hash of how files are read.
        keep: Opens what keeps a file's quarantined lines.
        now: The time, in seconds since 1970.
        deadline: When no further file is begun, on the monotonic clock.
        found: What the folder has.
        known: What the catalog knew before.
        unread: Files to read, by name.
        unsure: Of those, the ones that look as they did: their bytes tell.
        waiting: Files that are not still yet, or were so and are not read yet.
        read: Names of files that were read, in that order.
        unreadable: Files that could not be read.
        gone: Files that are gone, as they are remembered outside the catalog.
        same: Names of files that were only looked at again, and have the same bytes.
        large: Names of unread files that take longer than there is time.
        left: How many of the unread files were not begun.
        days: The days touched.
    """

    reading: str
    keep: Keep | None
    now: float
    deadline: float | None
    found: FoundFiles = field(default_factory=lambda: FoundFiles({}, ()))
    known: dict[str, KnownFile] = field(default_factory=dict)
    unread: list[FoundFile] = field(default_factory=list)
    unsure: set[str] = field(default_factory=set)
    waiting: dict[str, WaitingFile] = field(default_factory=dict)
    read: dict[str, None] = field(default_factory=dict)
    unreadable: dict[RawFile, RawFileError] = field(default_factory=dict)
    gone: dict[str, FileEntry] = field(default_factory=dict)
    same: set[str] = field(default_factory=set)
    large: list[str] = field(default_factory=list)
    left: int = 0
    days: set[date] = field(default_factory=set)


def compare(scan: Scan, today: date | None) -> list[str]:
    """Sort out what is to be read.

    Args:
        scan: What was found, and what is known.
        today: The current UTC day; lines of the future that have become rows are read again.

    Returns:
        The names of files that were gone and are back.
    """
    returned: list[str] = []
    due = today.isoformat() if today else ""
    for name, file in scan.found.files.items():
        known = scan.known.get(name)
        if known is None:
            scan.unread.append(file)
            continue
        _, size, mtime_ns, ctime_ns, _, reading, read_at, removed_at, first_due, kept = known
        if (
            size != file.size
            or mtime_ns != file.mtime_ns
            or reading != scan.reading
            or (first_due is not None and first_due <= due)
            or not (kept or scan.keep is None)
        ):
            scan.unread.append(file)
        elif ctime_ns != file.ctime_ns or (
            # of a clock ahead of ours, the times that it has are all there is to go by
            read_at - _TOLD_APART_SECONDS < mtime_ns / 1e9 <= scan.now + _TOLD_APART_SECONDS
        ):
            scan.unread.append(file)
            scan.unsure.add(name)
        if removed_at is not None:
            returned.append(name)
    scan.unread.sort()
    return sorted(returned)


def put_off_large(scan: Scan) -> None:
    """Take the files out that take longer to read than a scan with a deadline has."""
    if scan.deadline is None:
        return
    scan.large = [file.name for file in scan.unread if _is_large(file)]
    scan.unread = [file for file in scan.unread if not _is_large(file)]


def _is_large(file: FoundFile) -> bool:
    is_packed = file.name.lower().endswith((*PACKED_SUFFIXES, *_SPREADSHEETS))
    return file.size > (_LARGE_PACKED if is_packed else _LARGE)


def hold_back(
    scan: Scan, before: Mapping[str, WaitingFile], *, settle: float, refresh: float | None
) -> dict[str, float]:
    """Take the files out that are not still yet.

    Args:
        scan: What is to be read.
        before: The files that waited at the last scan.
        settle: How many seconds a file must have been still.
        refresh: After how many seconds of waiting a file is read though it is not still.

    Returns:
        How many seconds each of them is to wait yet.
    """
    seconds: dict[str, float] = {}
    ready: list[FoundFile] = []
    for file in scan.unread:
        seen = before.get(file.name)
        is_still = seen is not None and (seen.size, seen.mtime_ns) == (file.size, file.mtime_ns)
        waiting = WaitingFile(
            file.size,
            file.mtime_ns,
            first_seen=seen.first_seen if seen else scan.now,
            still_since=seen.still_since if seen and is_still else scan.now,
        )
        left = settle - (scan.now - waiting.still_since)
        age = scan.now - file.mtime_ns / 1e9
        if age >= 0:  # else its clock is not ours
            left = min(left, settle - age)
        if refresh is not None:
            left = min(left, refresh - (scan.now - waiting.first_seen))
        if file.size < 0 or left <= 0 or file.name in scan.unsure:
            ready.append(file)
            if seen is not None and file.size >= 0:
                scan.waiting[file.name] = (
                    waiting  # until it is read, for which there may be no time
                )
        else:
            scan.waiting[file.name] = waiting
            seconds[file.name] = left
    scan.unread = ready
    return seconds
