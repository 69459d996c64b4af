"""Scratch folders: for work that nobody is to see before it is done; gone however it ends."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def scratch_folder(parent: Path, purpose: str) -> Iterator[Path]:
    """Make a hidden folder that goes when the block ends.

    One that a killed process left behind goes when the next of the same purpose is made.

    Args:
        parent: Where it is made; on the disk that its files are to be renamed to.
        purpose: What its name begins with.

    Yields:
        The empty folder.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(parent, purpose)
    folder = parent / f".{purpose}-{uuid.uuid4().hex[:12]}"
    lock = FileLock(_lock_of(folder))
    with lock:
        try:
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            _lock_of(folder).unlink(missing_ok=True)


def _remove_abandoned(parent: Path, purpose: str) -> None:
    for lock in parent.glob(f".{purpose}-*.lock"):
        try:
            with FileLock(lock, timeout=0):
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
        except Timeout:
            continue  # in use


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")
