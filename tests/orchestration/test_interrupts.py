"""Interrupts that Python cannot raise where they arrive."""

from __future__ import annotations

import signal
import time
import weakref

import pytest

from procezo_assets.orchestration.interrupts import no_interrupt_lost


def test_an_interrupt_that_python_cannot_raise_comes_again():
    # a shell may have told its background processes to ignore it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    class Thing:
        pass

    def callback(_ref):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), no_interrupt_lost():  # noqa: PT012 - it comes later
        thing = Thing()
        ref = weakref.ref(thing, callback)
        del thing
        assert ref() is None
        time.sleep(60)
    signal.signal(signal.SIGINT, before)
