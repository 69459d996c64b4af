"""Commands in processes of their own, forked from one that has imported the libraries.

Starting Python and importing Dagster, Polars and pandera takes four seconds; a fork takes none.
Like `procezo_assets.orchestration.run_server`, the process that is forked imports libraries and
uses none, so that each command sees the project and its home anew.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from migrations import migrations_read_once

from procezo_assets.orchestration.run_server import PRELOADED

_SECONDS = 120

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        *PRELOADED,
        "dagster._core.definitions.antlr_asset_selection.antlr_asset_selection",
        "dagster._core.definitions.repository_definition.repository_data_builder",
        "dagster._core.instance.factory",
        "python_calamine",
        "rich.progress",
    ]
)


def run_command(
    name: str,
    args: list[str],
    cwd: Path,
    env: dict[str, str],
    *,
    prepare: Callable[..., None] | None = None,
    kill_after: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `procezo` or `dagster` as a process of its own, with nothing to read from.

    Args:
        name: Which of them.
        args: What follows its name.
        cwd: Its folder.
        env: Its environment.
        prepare: Called in the process before the command is; it must survive pickling.
        kill_after: Seconds after which it is killed.
    """
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        given = {"name": name, "args": args, "cwd": cwd, "env": env, "out": out, "err": err}
        process = _context.Process(target=_run, kwargs={**given, "prepare": prepare})
        process.start()
        if kill_after is not None:
            process.join(kill_after)
            process.kill()
        process.join(_SECONDS)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired([name, *args], _SECONDS)
        code = process.exitcode
        # who is killed early has made neither
        said = [path.read_text() if path.exists() else "" for path in (out, err)]
        process.close()
        return subprocess.CompletedProcess([name, *args], code, *said)


def _run(
    *,
    name: str,
    args: list[str],
    cwd: Path,
    env: dict[str, str],
    out: Path,
    err: Path,
    prepare: Callable[..., None] | None,
) -> None:
    gc.freeze()  # as run_server does: no command looks through what was imported
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, out, os.O_WRONLY | os.O_CREAT),
        (2, err, os.O_WRONLY | os.O_CREAT),
    ):
        os.dup2(os.open(path, flags, 0o600), number)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, closefd=False) for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = [name, *args]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.simplefilter("default")
    if name == "dagster":
        from dagster._cli import main  # noqa: PLC0415
    else:
        from procezo_assets.cli import main  # noqa: PLC0415
    if prepare is not None:
        prepare()
    with migrations_read_once():
        main()
