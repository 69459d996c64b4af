"""Transactions that a server may never answer: how long they are waited for.

What the network can tell ends a connection within a minute (`Address.conninfo`). A server that is
frozen, or whose disk is, keeps its connections and says nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from procezo_assets.errors import TransientStoreError

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Cursor

T = TypeVar("T")

LOOK_EVERY_S = 30.0
"""How often, in seconds, a server that has not answered is asked for another connection."""

SILENT_LOOKS = 3
"""How many times in a row it may refuse to say anything."""

LONGEST_S = 3600.0
"""How long, in seconds, a transaction may take on a server that does answer others."""

_ANSWER_WITHIN_S = 5
_CANCEL_WITHIN_S = 2.0


class GivenUpError(Exception):
    """Nobody waits for the transaction any more: it must not be committed."""


class Waiting:
    """What a transaction and who waits for it know of each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._over = False
        self.committing = False
        self._cursor: Cursor | None = None

    def works_with(self, cursor: Cursor) -> None:
        """Say what to cancel, or refuse to begin where nobody waits.

        Raises:
            GivenUpError: Where that is so, as after a connection that came too late.
        """
        with self._lock:
            if self._over:
                raise GivenUpError
            self._cursor = cursor

    def begin_commit(self) -> None:
        """Note that a commit is sent next, or refuse it where nobody waits.

        Raises:
            GivenUpError: Where that is so.
        """
        with self._lock:
            if self._over:
                raise GivenUpError
            self.committing = True

    def give_up(self) -> None:
        """Have the server stop, if it listens, and see to it that nothing is committed later."""
        with self._lock:
            self._over = True
        cancelling = threading.Thread(target=self._cancel, daemon=True)
        cancelling.start()
        cancelling.join(_CANCEL_WITHIN_S)

    def _cancel(self) -> None:
        from adbc_driver_manager import Error  # noqa: PLC0415 - imported by every command

        with suppress(Error):
            if self._cursor is not None:
                self._cursor.adbc_cancel()


def unless_silent(conninfo: str, whose: str, work: Callable[[Waiting], T]) -> T:
    """Do work with a server, as long as the server gives signs of life.

    Args:
        conninfo: How to connect to it.
        whose: How it is called in errors.
        work: What to do, in a thread of its own; it says when it commits.

    Returns:
        What the work returned.

    Raises:
        TransientStoreError: Where the server is silent, or takes for ever.
    """
    waiting = Waiting()
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work(waiting))
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        why = _wait_for(done, conninfo)
    finally:
        finished = done.done()
        if not finished:
            waiting.give_up()
    if finished:
        return done.result()
    outcome = (
        "the day is loaded or not: run again"
        if waiting.committing
        else "nothing of the day was changed"
    )
    raise TransientStoreError(
        f"PostgreSQL at {whose} {why}", f"look at the server and its disk; {outcome}"
    )


def _wait_for(done: Future[T], conninfo: str) -> str:
    """Wait until work is done, or say why it is waited for no longer."""
    silent, waited = 0, 0.0
    while not wait([done], LOOK_EVERY_S).done:
        waited += LOOK_EVERY_S
        silent = 0 if _answers(conninfo) else silent + 1
        if silent >= SILENT_LOOKS:
            return f"has not answered for {silent * LOOK_EVERY_S:g} seconds"
        if waited >= LONGEST_S:
            return f"answers, but has not ended a transaction in {waited:g} seconds"
    return ""


def _answers(conninfo: str) -> bool:
    """Whether a server says anything to who connects, be it no."""
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - as above
    from psycopg.pq import PGconn, Ping  # noqa: PLC0415 - as above

    asked = make_conninfo(conninfo, connect_timeout=_ANSWER_WITHIN_S)
    return PGconn.ping(asked.encode()) in {Ping.OK, Ping.REJECT}
