"""A process that has imported what runs need, and forks one process for each run.

Importing Dagster, Polars and pandera takes most of the time that a small run takes. This process
does it once. It imports nothing of this project or of a home, so that each run sees the code and
flows as they are on disk, and it uses nothing of what it imports: Polars starts its threads at the
first use, and threads do not survive a fork.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

PRELOADED = (
    "dagster",
    "dagster._cli.api",
    "dagster._core.executor.in_process",
    "dagster._core.storage.fs_io_manager",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.workspace.autodiscovery",
    "adbc_driver_postgresql.dbapi",
    "croniter",
    "dagster_postgres",
    "duckdb",
    "filelock",
    "pandera.backends.polars.register",
    "pandera.polars",
    "pandera.strategies.base_strategies",
    "polars",
    "psycopg",
    "pyarrow.parquet",
    "pydantic_settings",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite",
    "tenacity",
    "upath.implementations.local",
    "xml.etree.ElementTree",
)


def serve() -> None:
    """Fork a process for each line on stdin: a JSON object with `folder`, `run_id` and `args`.

    The `run_id` goes to stdout when its process is there. What processes print goes to stderr.
    """
    started = os.dup(1)
    os.dup2(2, 1)
    # Ctrl-C is for the runs; this process ends with the one that started it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError as error:  # it is only slower without; what is needed, the run says
            sys.stderr.write(f"procezo: {name} cannot be imported beforehand: {error}\n")
    gc.freeze()  # what was imported is no garbage: no run looks through it, or copies it for that
    for line in sys.stdin:
        request = json.loads(line)
        if os.fork() == 0:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.close(started)
            _exit_after(request)
        with suppress(BrokenPipeError):  # whoever asked is gone; its run goes on
            os.write(started, f"{request['run_id']}\n".encode())
    gc.unfreeze()  # else DuckDB takes at the exit what it made for leaks


def _exit_after(request: Mapping[str, str]) -> None:
    code = 1
    try:
        execute(**request)
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may return into the loop of the parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def execute(folder: str, run_id: str, args: str) -> None:
    """Execute a run in this process.

    Args:
        folder: Where the marks of running runs are.
        run_id: Dagster's id of the run.
        args: What `dagster api execute_run` takes.
    """
    # what other launchers run as a command
    from dagster._cli.api import execute_run_command  # noqa: PLC0415

    from procezo_assets.orchestration.interrupts import no_interrupt_lost  # noqa: PLC0415
    from procezo_assets.orchestration.running import marked_as_running  # noqa: PLC0415

    # without its dataset the run could not have been queued; asking again takes a while
    os.environ["PROCEZO_REGISTER_DATASETS"] = "0"
    with marked_as_running(Path(folder), run_id), no_interrupt_lost():
        execute_run_command.main(args=[args], standalone_mode=False)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        execute(*sys.argv[1:])
    else:
        serve()
