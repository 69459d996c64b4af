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
from typing import Any, Self

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

# what `run_server.execute` takes, of runs that have no process yet, by run id
_Asked = dict[str, tuple[str, str, str]]

# forks of a process with libraries of Apple's loaded may crash there
_FORKS = sys.platform == "linux"


class ForkingRunLauncher(RunLauncher[Any], ConfigurableClass):
    """Starts runs in half a second, and knows when the process of one was killed.

    Dagster's own launcher starts each run in a new interpreter, which takes seconds to import
    everything, and takes a run whose process was killed for running for ever.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        self._server: subprocess.Popen[str] | None = None
        self._asked: _Asked = {}
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
        request = (str(running_folder()), run.run_id, serialize_value(args))
        if _FORKS:
            self._ask(*request)
        else:
            _in_background(_start_each, {run.run_id: request})

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
            self._let_go()
            if self._server is not None:  # it ends when it has started what it was asked for
                try:
                    self._server.wait(_SERVER_ENDS_WITHIN)
                except subprocess.TimeoutExpired:
                    self._server.terminate()
                    self._server.wait()
            self._server = None

    def _ask(self, folder: str, run_id: str, args: str) -> None:
        line = json.dumps({"folder": folder, "run_id": run_id, "args": args})
        with self._lock:
            if self._server is None or self._server.poll() is not None:
                self._let_go()
                self._server = _popen(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                self._asked = {}
                _in_background(_start_what_is_left, self._server, self._asked)
            assert self._server.stdin is not None  # noqa: S101 - it is a pipe
            self._asked[run_id] = (folder, run_id, args)
            try:
                self._server.stdin.write(line + "\n")
                self._server.stdin.flush()
            except BrokenPipeError:  # it has just ended
                _in_background(_start_each, self._asked)

    def _let_go(self) -> None:
        if self._server is not None and self._server.stdin is not None:
            with suppress(BrokenPipeError):  # what it has not read, nobody will
                self._server.stdin.close()


def _start_what_is_left(server: subprocess.Popen[str], asked: _Asked) -> None:
    """Hear from the server which runs it has started, and when it ends start the others."""
    assert server.stdout is not None  # noqa: S101 - it is a pipe
    with server.stdout:
        for line in server.stdout:
            asked.pop(line.strip(), None)
    _start_each(asked)


def _start_each(asked: _Asked) -> None:
    """Give each run an interpreter of its own."""
    # what is not there any more, another thread has
    requests = [asked.pop(run_id, None) for run_id in list(asked)]
    started = [_popen(*request) for request in requests if request]
    for process in started:
        process.wait()


def _in_background(work: Callable[..., None], *args: Any) -> None:  # noqa: ANN401 - passed on
    threading.Thread(target=work, args=args, daemon=True).start()


def running_folder() -> Path:
    """Where the marks of the instance's running runs are."""
    return Path(os.environ.get("DAGSTER_HOME") or ".").absolute() / ".procezo" / "running"


def _popen(
    *args: str, stdin: int = subprocess.DEVNULL, stdout: int | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", _SERVER, *args], stdin=stdin, stdout=stdout, text=True
    )
