"""Rows of blocks kept between reading them to count and reading them for their days."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import polars as pl

_KEPT_BYTES = 256 * 1024**2


class BlockKey(NamedTuple):
    """Which rows: those of a block of some bytes, read in one way.

    Args:
        file: The file.
        offset: Where the block begins.
        crc32: Of its bytes.
        first_line: The number of its first line.
        reading: Hash of how they are read.
    """

    file: str
    offset: int
    crc32: int
    first_line: int
    reading: int


class KeptBlocks:
    """Rows of blocks in bounded memory.

    Args:
        limit: Bytes of all rows together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rows: OrderedDict[BlockKey, pl.DataFrame] = OrderedDict()
        self._keys: dict[str, set[BlockKey]] = {}
        self._bytes = 0
        self._uses: Counter[BlockKey] = Counter()
        self._wanted = False
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Bytes of what is kept."""
        return self._bytes

    def __contains__(self, key: BlockKey) -> bool:
        return key in self._rows

    def want(self, keys: Iterable[BlockKey]) -> None:
        """Announce a use of each block, so that they are let go of after their last one."""
        with self._lock:
            self._wanted = True
            self._uses.update(keys)

    def offer(self, key: BlockKey, rows: pl.DataFrame) -> None:
        """Keep rows where there is room; what came first stays, as it is asked for first."""
        with self._lock:
            self._keep(key, rows)

    def take(self, key: BlockKey) -> pl.DataFrame | None:
        """The rows of a block, which is one use of it; None where they are not kept."""
        with self._lock:
            left = self._uses.pop(key, 1) - 1  # who did not announce a use has one
            if left > 0:
                self._uses[key] = left
            rows = self._rows.get(key)
            if rows is None:
                return None
            if self._wanted and left <= 0:
                self._drop(key)
            else:
                self._rows.move_to_end(key)
            return rows

    def put(self, key: BlockKey, rows: pl.DataFrame) -> None:
        """Keep rows that were read again for those who still want them, in place of the oldest."""
        with self._lock:
            if self._wanted and self._uses[key] <= 0:
                return
            size = rows.estimated_size()
            while self._rows and self._bytes + size > self._limit:
                self._drop(next(iter(self._rows)))
            self._keep(key, rows)

    def forget(self, file: str) -> None:
        """Let go of all blocks of a file."""
        with self._lock:
            for key in list(self._keys.get(file, ())):
                self._drop(key)

    def _keep(self, key: BlockKey, rows: pl.DataFrame) -> None:
        self._drop(key)
        size = int(rows.estimated_size())
        if self._bytes + size <= self._limit:
            self._rows[key] = rows
            self._keys.setdefault(key.file, set()).add(key)
            self._bytes += size

    def _drop(self, key: BlockKey) -> None:
        rows = self._rows.pop(key, None)
        if rows is None:
            return
        self._bytes -= int(rows.estimated_size())
        of_file = self._keys[key.file]
        of_file.discard(key)
        if not of_file:
            del self._keys[key.file]


_shared: ContextVar[KeptBlocks | None] = ContextVar("shared", default=None)


@contextmanager
def blocks_shared() -> Iterator[None]:
    """Let all that is read in here use what was kept before, so that a plan and its run read once.

    It is bounded together, whatever the number of datasets.
    """
    before = _shared.set(KeptBlocks(_KEPT_BYTES))
    try:
        yield
    finally:
        _shared.reset(before)


def kept_blocks() -> KeptBlocks:
    """What is shared here, or else something new."""
    return _shared.get() or KeptBlocks(_KEPT_BYTES)
