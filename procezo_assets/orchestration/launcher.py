"""How queued runs get a process: forked from one that has imported everything.

Every Dagster process imports this module: it imports nothing that it does not need.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

# dagster.yaml can only name a class, and Dagster exports none of these.
from dagster._core.launcher import (
    CheckRunHealthResult,
    LaunchRunContext,
    RunLauncher,
    WorkerStatus,
)
from dagster._core.storage.dagster_run import DagsterRun
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from procezo_assets.orchestration.running import (
    forget_killed,
    is_alive,
    is_marked,
    process_of,
)

_SERVER = "procezo_assets.orchestration.run_server"

_SERVER_ENDS_WITHIN = 20.0

# forks of a process with libraries of Apple's loaded may crash there
_FORKS = sys.platform == "linux"


class ForkingRunLauncher(RunLauncher[Any], ConfigurableClass):
    """Starts runs in half a second, and knows when the process of one was killed.

    Dagster's own launcher starts each run in a new interpreter, which takes seconds to import
    everything, and takes a run whose process was killed for running for ever.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        self._server: _Server | None = None
        self._lock = threading.Lock()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What dagster.yaml said."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """It takes nothing from dagster.yaml."""
        return {}

    @classmethod
    def from_config_value(
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Mapping[str, Any],  # noqa: ARG003 - Dagster's signature
    ) -> Self:
        """Make the launcher; it starts nothing before the first run."""
        return cls(inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Give a run its process."""
        from dagster._grpc.types import ExecuteRunArgs  # noqa: PLC0415
        from dagster._serdes import serialize_value  # noqa: PLC0415

        run = context.dagster_run
        if context.job_code_origin is None:
            raise ValueError(f"run {run.run_id} does not say where its code is")
        args = ExecuteRunArgs(
            job_origin=context.job_code_origin,
            run_id=run.run_id,
            instance_ref=self._instance.get_ref(),
        )
        request = _Request(str(running_folder()), run.run_id, serialize_value(args))
        if not _FORKS:
            _wait_for(_popen(*request))
            return
        with self._lock:
            if self._server is not None and self._server.has_ended:
                self._server.close()
                self._server = None
            self._server = self._server or _Server(self._not_started)
            self._server.ask(request)

    def _not_started(self, request: _Request, error: OSError) -> None:
        run = self._instance.get_run_by_id(request.run_id)
        if run is not None:
            self._instance.report_run_failed(run, f"its process could not be started: {error}")

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run, whichever process asks."""
        run = self._instance.get_run_by_id(run_id)
        process = process_of(running_folder(), run_id)
        if run is None or run.is_finished or process is None:
            return False
        self._instance.report_run_canceling(run)
        os.kill(process, signal.SIGTERM)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether Dagster may ask for the health of a run's process."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Tell whether a run that has started still has its process."""
        folder = running_folder()
        if not is_marked(folder, run.run_id):
            # it just ended, or Dagster's own commands execute it, which say nothing
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if is_alive(folder, run.run_id):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        forget_killed(folder, run.run_id)
        return CheckRunHealthResult(WorkerStatus.FAILED, "its process was killed")

    def dispose(self) -> None:
        """Let the server go; runs that it started go on."""
        with self._lock:
            if self._server is not None:
                self._server.close()
            self._server = None


class _Request(NamedTuple):
    """What `run_server.execute` takes."""

    folder: str
    run_id: str
    args: str


class _Server:
    """The process that forks runs, and the runs that it has not said to have started.

    When it ends, be it that it cannot even begin, these are started without it.

    Args:
        not_started: Told of a run that could not be started at all.
    """

    def __init__(self, not_started: Callable[[_Request, OSError], None]) -> None:
        self._process = _popen(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._asked: dict[str, _Request] = {}
        self._not_started = not_started
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def has_ended(self) -> bool:
        """Whether it takes no more."""
        return self._process.poll() is not None

    def ask(self, request: _Request) -> None:
        """Have a run started."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._asked[request.run_id] = request
        try:
            self._process.stdin.write(json.dumps(request._asdict()) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:  # it has just ended, and so may the reader have
            self._start_what_is_left()

    def close(self) -> None:
        """Wait until all is started, with the server or without."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        with suppress(BrokenPipeError):  # what it has not read, it never will
            self._process.stdin.close()
        try:
            self._process.wait(_SERVER_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        with self._process.stdout as started:
            for line in started:
                self._asked.pop(line.strip(), None)
        self._start_what_is_left()

    def _start_what_is_left(self) -> None:
        while self._asked:
            try:
                _, request = self._asked.popitem()
            except KeyError:  # another thread was faster
                return
            try:
                _wait_for(_popen(*request))
            except OSError as error:
                self._not_started(request, error)


def running_folder() -> Path:
    """Where the marks of the instance's running runs are."""
    return Path(os.environ.get("DAGSTER_HOME") or ".").absolute() / ".procezo" / "running"


def _wait_for(process: subprocess.Popen[str]) -> None:
    """Take note of a process's end, whenever that is."""
    threading.Thread(target=process.wait, daemon=True).start()


def _popen(
    *args: str, stdin: int = subprocess.DEVNULL, stdout: int | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", _SERVER, *args], stdin=stdin, stdout=stdout, text=True
    )
