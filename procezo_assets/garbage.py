"""How often Python looks for garbage, where looking takes long and finds none.

All of it at other times: frames hang in cycles, and a run that never looks takes half again as much
memory.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Make many small objects without looking for garbage among them.

    Of 100,000 files, that would take a third of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def kept_for_good() -> Iterator[None]:
    """Import modules without looking for garbage among what they make, now or later.

    Dagster's import takes a quarter less.
    """
    with nothing_collected():
        yield
    gc.freeze()


def end_at_once() -> None:
    """Let this process end without looking for garbage, which after a run takes a second.

    Not where DuckDB is at work: it would take what it made for leaks, and say so in 50 lines.
    """
    atexit.register(lambda: gc.unfreeze() if "duckdb" in sys.modules else gc.freeze())


@contextmanager
def little_garbage() -> Iterator[None]:
    """Do not look for garbage among what is there already, which takes a sixth of a run's time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
