"""What to do about a file that cannot be written."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOM_LEFT_BYTES = 64 * 1024**2
"""What unpacking leaves free, for all else that writes."""

# what SQLite, DuckDB and a partition need to write anything
_ROOM_BYTES = 16 * 1024**2


def remedy(path: Path) -> str:
    """What to do about a file that cannot be written: a hint to end an error with.

    Args:
        path: The file, or where it was to be.
    """
    try:
        free = shutil.disk_usage(next(folder for folder in path.parents if folder.is_dir())).free
    except OSError:
        free = _ROOM_BYTES
    if free < _ROOM_BYTES:
        return f"its disk is full ({free:,} bytes are free): make room and run again"
    return "look at its disk and permissions"
