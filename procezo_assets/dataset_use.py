"""Who uses a dataset: many at once, or one who removes it.

A lock of the file system, which goes with its process however that ends. The file is removed with
the dataset, so who waited for it looks again whether it is still the one that others lock.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from procezo_assets.datasets import Dataset
from procezo_assets.errors import DatasetError

# a sensor's look takes a moment, a run may take hours
_WAITS_SECONDS = 5.0
_LOOKS_EVERY_SECONDS = 0.05


@contextmanager
def in_use(dataset: Dataset, *, wait: bool = True) -> Iterator[None]:
    """Keep a dataset from being removed while the block reads or writes what is of it.

    Args:
        dataset: The dataset.
        wait: Whether to wait a little where it is being removed.

    Raises:
        DatasetError: Where it is being removed.
    """
    held = _lock(dataset, fcntl.LOCK_SH, _WAITS_SECONDS if wait else 0)
    if held is None:
        raise DatasetError(f"dataset '{dataset.name}' is being deleted", "wait until it is gone")
    with held:
        yield


@contextmanager
def unused(dataset: Dataset) -> Iterator[None]:
    """Keep everybody else from using a dataset while the block removes it.

    Raises:
        DatasetError: Where a run, a sensor or a command uses it.
    """
    held = _lock(dataset, fcntl.LOCK_EX, _WAITS_SECONDS)
    if held is None:
        raise DatasetError(
            f"a run, a sensor or a command works on dataset '{dataset.name}'",
            "wait for it, or stop it, then run again",
        )
    with held:
        yield


def _lock(dataset: Dataset, kind: int, seconds: float) -> IO[bytes] | None:
    """Lock the dataset's file; None where others hold it all that time."""
    from tenacity import (  # noqa: PLC0415 - imported by every command
        Retrying,
        retry_if_result,
        stop_after_delay,
        wait_fixed,
    )

    attempts = Retrying(
        stop=stop_after_delay(seconds),
        wait=wait_fixed(_LOOKS_EVERY_SECONDS),
        retry=retry_if_result(lambda held: held is None),
        retry_error_callback=lambda _: None,
    )
    return attempts(_lock_now, dataset.use_lock, kind)


def _lock_now(path: Path, kind: int) -> IO[bytes] | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab")  # one for each who asks: threads wait for each other as processes do
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    file.close()
    return None
