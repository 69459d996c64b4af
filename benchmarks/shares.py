"""Where the seconds of `procezo flow` go; `bench.py` runs it in a home of its own.

    python benchmarks/shares.py FLOW

Prints, as JSON, the seconds that threads spend in each part. Two days are worked on at once and
wait for one another, so together these are more than the command takes.
"""

from __future__ import annotations

import functools
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import ParamSpec, TypeVar
from unittest.mock import patch

from procezo_assets import pipeline
from procezo_assets.cli import main as procezo
from procezo_assets.orchestration import assets
from procezo_assets.orchestration.event_log import EventLog, SqliteStorage
from procezo_assets.raw.source import RawSource
from procezo_assets.schemas import load_pandera
from procezo_assets.treatments.model import Treatment

P = ParamSpec("P")
T = TypeVar("T")

# none of them calls another
PARTS = (
    ("read", RawSource, "scan_changes"),
    ("read", RawSource, "read_day"),
    ("compute", pipeline, "parse_device_day"),
    ("compute", Treatment, "apply"),
    ("validate", pipeline, "check_schema"),
    ("write", pipeline, "write_partition"),
    ("Dagster", EventLog, "store_event"),
    ("Dagster", SqliteStorage, "__init__"),
    ("plots and metadata", assets, "stage_metadata"),
)


def main() -> None:
    """Run the flow in this process, with its parts timed."""
    load_pandera()
    # of one thread that never waits: what Python and the imports above have taken, too
    seconds: dict[str, float] = defaultdict(float, start=time.process_time())
    lock = threading.Lock()

    def timed(name: str, function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def timing(*args: P.args, **named: P.kwargs) -> T:
            started = time.perf_counter()
            try:
                return function(*args, **named)
            finally:
                with lock:
                    seconds[name] += time.perf_counter() - started

        return timing

    for name, owner, function in PARTS:
        patch.object(owner, function, timed(name, getattr(owner, function))).start()
    sys.argv = ["procezo", "flow", sys.argv[1]]
    with patch.object(sys, "stdout", sys.stderr):
        try:
            procezo()
        except SystemExit as ended:
            if ended.code:
                raise
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
