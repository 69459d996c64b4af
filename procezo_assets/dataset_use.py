"""Who uses a dataset: many at once, or one who removes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import ReadWriteLock, Timeout

from procezo_assets.datasets import Dataset
from procezo_assets.errors import DatasetError

# a sensor's look takes a moment, a run may take hours
_WAITS_SECONDS = 5.0


@contextmanager
def in_use(dataset: Dataset) -> Iterator[None]:
    """Keep a dataset from being removed while the block reads or writes what is of it.

    Raises:
        DatasetError: Where it is being removed.
    """
    try:
        with _lock(dataset).read_lock(_WAITS_SECONDS):
            yield
    except Timeout:
        raise DatasetError(
            f"dataset '{dataset.name}' is being deleted", "wait until it is gone"
        ) from None


@contextmanager
def unused(dataset: Dataset) -> Iterator[None]:
    """Keep everybody else from using a dataset while the block removes it.

    Raises:
        DatasetError: Where a run, a sensor or a command uses it.
    """
    try:
        with _lock(dataset).write_lock(_WAITS_SECONDS):
            yield
    except Timeout:
        raise DatasetError(
            f"a run, a sensor or a command works on dataset '{dataset.name}'",
            "wait for it, or stop it, then run again",
        ) from None


def _lock(dataset: Dataset) -> ReadWriteLock:
    dataset.use_lock.parent.mkdir(parents=True, exist_ok=True)
    # one for each who asks: threads wait for each other as processes do
    return ReadWriteLock(dataset.use_lock, is_singleton=False)
