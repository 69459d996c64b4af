"""Rows of blocks kept between reading them to count and reading them for their days."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable

import polars as pl

Key = tuple[str, int]


class KeptBlocks:
    """Rows of blocks, by file and place, in bounded memory.

    Args:
        limit: Bytes of all rows together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rows: OrderedDict[Key, pl.DataFrame] = OrderedDict()
        self._places: dict[str, set[int]] = {}
        self._bytes = 0
        self._uses: Counter[Key] = Counter()
        self._wanted = False
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Bytes of what is kept."""
        return self._bytes

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def want(self, keys: Iterable[Key]) -> None:
        """Announce a use of each block, so that they are let go of after their last one."""
        with self._lock:
            self._wanted = True
            self._uses.update(keys)

    def offer(self, key: Key, rows: pl.DataFrame) -> None:
        """Keep rows where there is room; what came first stays, as it is asked for first."""
        with self._lock:
            self._keep(key, rows)

    def take(self, key: Key) -> pl.DataFrame | None:
        """The rows of a block, which is one use of it; None where they are not kept."""
        with self._lock:
            self._uses[key] -= 1
            rows = self._rows.get(key)
            if rows is None:
                return None
            if self._wanted and self._uses[key] <= 0:
                self._drop(key)
            else:
                self._rows.move_to_end(key)
            return rows

    def put(self, key: Key, rows: pl.DataFrame) -> None:
        """Keep rows that were read again for those who still want them, in place of the oldest."""
        with self._lock:
            if self._wanted and self._uses[key] <= 0:
                return
            size = rows.estimated_size()
            while self._rows and self._bytes + size > self._limit:
                self._drop(next(iter(self._rows)))
            self._keep(key, rows)

    def forget(self, name: str) -> None:
        """Let go of all blocks of a file."""
        with self._lock:
            for place in list(self._places.get(name, ())):
                self._drop((name, place))

    def _keep(self, key: Key, rows: pl.DataFrame) -> None:
        self._drop(key)
        size = int(rows.estimated_size())
        if self._bytes + size <= self._limit:
            self._rows[key] = rows
            self._places.setdefault(key[0], set()).add(key[1])
            self._bytes += size

    def _drop(self, key: Key) -> None:
        rows = self._rows.pop(key, None)
        if rows is None:
            return
        self._bytes -= int(rows.estimated_size())
        places = self._places[key[0]]
        places.discard(key[1])
        if not places:
            del self._places[key[0]]
