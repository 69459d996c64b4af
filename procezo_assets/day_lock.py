"""Runs that wait for each other, and days that one of them works on at a time.

Also what a run that was killed has left of its days.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from procezo_assets.datasets import Dataset
from procezo_assets.errors import TransientStoreError
from procezo_assets.stores.replacing import remove_temporaries

TURN_WAIT_S = 900.0
"""How long a run waits, in seconds, for another one that is at the same."""

_UNFINISHED = ".unfinished"
_ASK_EVERY_S = 0.05


@contextmanager
def in_turn(lock: Path, doing: str, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock once no other run does.

    Args:
        lock: Its file; the folder is made.
        doing: What another run does that holds it, to tell of.
        wait: Whether to wait for it.

    Raises:
        TransientStoreError: Where another one holds it, for very long if it is waited for.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(FileLock(lock, timeout=TURN_WAIT_S if wait else 0))
        except Timeout:
            raise _taken(doing) from None
        yield


def day_in_turn(dataset: Dataset, day: date) -> AbstractContextManager[None]:
    """Keep runs from a day while the block looks at it or works on it, as `in_turn` does.

    Args:
        dataset: The dataset.
        day: The UTC day.
    """
    return in_turn(dataset.lock(day), _working(dataset, day))


@contextmanager
def working_on(dataset: Dataset, day: date) -> Iterator[None]:
    """Work on the partitions of a day once no other run does.

    Args:
        dataset: The dataset.
        day: The UTC day.

    Raises:
        TransientStoreError: Where another run works on it for very long.
    """
    with day_in_turn(dataset, day):
        mark = dataset.lock(day).with_suffix(_UNFINISHED)
        if mark.exists():  # whose run was killed while this one waited
            _remove_temporaries_of(dataset, day)
        mark.touch()
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)


@contextmanager
def kept_still(dataset: Dataset, day: date) -> Iterator[None]:
    """Keep runs from replacing the files of a day while the block looks at them.

    Args:
        dataset: The dataset.
        day: The UTC day.

    Raises:
        TransientStoreError: Where a run works on the day for very long.
    """
    lock = dataset.lock(day)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as file:  # the lock of `FileLock`, at a tenth of what that costs
        end = time.monotonic() + TURN_WAIT_S
        while not _is_shared(file):
            if time.monotonic() > end:
                raise _taken(_working(dataset, day))
            time.sleep(_ASK_EVERY_S)
        yield


def _working(dataset: Dataset, day: date) -> str:
    return f"working on {day} of dataset '{dataset.name}'"


def _taken(doing: str) -> TransientStoreError:
    return TransientStoreError(
        f"another run has been {doing} for {TURN_WAIT_S:g} seconds", "run again when it is done"
    )


def _is_shared(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def remove_unfinished(dataset: Dataset) -> None:
    """Remove what runs that were killed were writing; what cannot be removed harms nobody."""
    for mark in dataset.lock(date.min).parent.glob(f"*{_UNFINISHED}"):
        day = date.fromisoformat(mark.stem)
        # or a run works on it
        with suppress(Timeout, OSError), FileLock(dataset.lock(day), timeout=0):
            _remove_temporaries_of(dataset, day)
            mark.unlink(missing_ok=True)


def _remove_temporaries_of(dataset: Dataset, day: date) -> None:
    """Remove temporary files of a day, whichever flow's; also of folders in a dataset's place."""
    for pattern in ("*/domain=*", "domain=*"):
        for folder in dataset.path.glob(f"{pattern}/day={day}"):
            remove_temporaries(folder)
