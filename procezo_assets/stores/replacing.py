"""Files that are replaced whole: who reads sees the old bytes or the new ones, never a part.

A file is written under another name beside its own, brought to the disk, and renamed, so that it
is whole after a power cut, too. What a process that is killed leaves is removed by the next one
that writes into the same folder.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ENDING = ".procezo-tmp"

# by this process, in which nobody is killed alone
_looked_at: set[Path] = set()


def temporary_name(path: Path) -> Path:
    """Where a file is written before it takes its place: hidden beside it, each time another."""
    return path.with_name(f".{path.name[:50]}.{uuid.uuid4().hex}{_ENDING}")


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Write a file beside another one; it is removed when the block ends, unless renamed.

    Args:
        path: The other one; its folder is made.

    Yields:
        A path at which there is an empty file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent not in _looked_at:  # listing a folder of many files takes longer than a write
        _remove_abandoned(path.parent)
        _looked_at.add(path.parent)
    while True:
        temporary = temporary_name(path)
        with temporary.open("xb") as held:
            # who is killed lets go of it, so that it can be told from what is being written
            fcntl.flock(held, fcntl.LOCK_EX)
            if not temporary.exists():
                continue  # another process took it for abandoned before it was locked
            try:
                yield temporary
            finally:
                temporary.unlink(missing_ok=True)
            return


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file that takes the path's place when the block ends without an error.

    Args:
        path: The file to replace; its folder is made.

    Yields:
        Where to write it.
    """
    with temporary_beside(path) as temporary:
        yield temporary
        sync(temporary)
        temporary.replace(path)


@contextmanager
def replacing_together(folder: Path) -> Iterator[dict[str, Path]]:
    """Write files that take their places when the block ends, none where it ends with an error.

    Args:
        folder: Their folder, in which nobody else writes now; it is made.

    Yields:
        For the block to fill: by the name of each file, under which `temporary_name` it is whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_temporaries(folder)
    written: dict[str, Path] = {}
    try:
        yield written
        for temporary in written.values():
            sync(temporary)
        for name, temporary in written.items():
            temporary.replace(folder / name)
    finally:
        remove_temporaries(folder)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file's bytes."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def sync(path: Path) -> None:
    """Wait until a file's bytes are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporaries(folder: Path) -> None:
    """Remove what was being written in a folder in which nobody writes now."""
    for path in _temporaries(folder):
        path.unlink(missing_ok=True)


def _remove_abandoned(folder: Path) -> None:
    for path in _temporaries(folder):
        with suppress(OSError), path.open("rb") as file:  # somebody writes it, or it is gone
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)


def _temporaries(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as found:
            return [Path(entry.path) for entry in found if entry.name.endswith(_ENDING)]
    except FileNotFoundError:
        return []
