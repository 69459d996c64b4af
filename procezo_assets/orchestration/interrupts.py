"""Ctrl-C, and the end that the UI asks for, wherever they meet a run."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

_AGAIN_SECONDS = 0.05


@contextmanager
def no_interrupt_lost() -> Iterator[None]:
    """Send an interrupt again where Python could not raise it.

    In a callback of the garbage collector it can only print it, and the run would go on.
    """
    before = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, dg.DagsterExecutionInterruptedError | KeyboardInterrupt):
            threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGINT)).start()
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
