"""Which processes execute runs: each holds a lock on a file with its number.

A lock goes with its process, however that ends, so that a run whose process was killed can be told
from one that works. Every Dagster process imports this module: it imports nothing heavy.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def marked_as_running(folder: Path, run_id: str) -> Iterator[None]:
    """Say, as long as the block lasts, that this process executes a run.

    Args:
        folder: Where the marks of an instance's runs are.
        run_id: Dagster's id of the run.
    """
    path = folder / run_id
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("w") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)
        mark.write(f"{os.getpid()} {socket.gethostname()}")
        mark.flush()
        yield
        path.unlink(missing_ok=True)


def is_marked(folder: Path, run_id: str) -> bool:
    """Tell whether a process has said that it executes a run, and not that it is done."""
    return (folder / run_id).exists()


def is_alive(folder: Path, run_id: str) -> bool:
    """Tell whether a process that executes a run is there."""
    return _read(folder, run_id) is not None


def process_of(folder: Path, run_id: str) -> int | None:
    """The process of this machine that executes a run; None where there is none."""
    process, _, host = (_read(folder, run_id) or "").partition(" ")
    return int(process) if process and host == socket.gethostname() else None


def _read(folder: Path, run_id: str) -> str | None:
    """What a process has written that is still there."""
    try:
        with (folder / run_id).open() as mark:
            try:
                fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return mark.read()
    except FileNotFoundError:
        pass
    return None


def forget_killed(folder: Path, run_id: str) -> None:
    """Remove the mark of a run whose process was killed."""
    if not is_alive(folder, run_id):
        (folder / run_id).unlink(missing_ok=True)
