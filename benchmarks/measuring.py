"""A command measured from outside: seconds, and the peak memory of its largest process."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

# with it set, each command would compile all that it imports
_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"


class Took(NamedTuple):
    """What a command took.

    Args:
        seconds: Wall time.
        peak_mb: The largest resident set of it, or of any process that it started and waited for.
    """

    seconds: float
    peak_mb: float


def measure(command: list[str], home: Path) -> Took:
    """Run a command in a home, without its output.

    Raises:
        SystemExit: Where it fails.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment(home), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return Took(time.perf_counter() - started, usage.ru_maxrss / 1024)


def environment(home: Path) -> dict[str, str]:
    """The environment of a command that works in a home, and that may keep its bytecode."""
    inherited = {key: value for key, value in os.environ.items() if key != _NO_BYTECODE}
    return {**inherited, "PROCEZO_HOME": str(home), "DAGSTER_HOME": str(home)}
