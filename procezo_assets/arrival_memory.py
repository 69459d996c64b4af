"""What a flow's sensor remembers between two ticks, in files that its cursor names.

Dagster keeps the cursor of every tick, of which there are thousands a day: it has to be small. What
it names is written before the tick ends, but holds only once Dagster has kept the cursor, so that
a tick that came to nothing is repeated from the same memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from procezo_assets.arrivals import Awaited, Memory, Span
from procezo_assets.stores.replacing import write_atomically

# a tick may be evaluated by the UI too, for a look at what it would do
_KEPT = 4


@dataclass
class FlowMemory:
    """What is remembered of a flow.

    Args:
        datasets: The memories of its datasets, by name.
        turn: The dataset whose turn it is, where the last tick had no time for it.
    """

    datasets: dict[str, Memory] = field(default_factory=dict)
    turn: str = ""


class Memories:
    """The memories of a flow, by cursor.

    Args:
        folder: Where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, cursor: str | None) -> FlowMemory:
        """Read what a cursor names; what is lost is begun anew, which repeats no run."""
        if not cursor or not cursor.isalnum():
            return FlowMemory()
        try:
            values = json.loads((self._folder / f"{cursor}.json").read_bytes())
            return FlowMemory(
                {
                    name: Memory(mark, _spans(pending), _spans(untold), _awaited(awaited))
                    for name, (mark, pending, untold, awaited) in values["datasets"].items()
                },
                values["turn"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return FlowMemory()

    def keep(self, memory: FlowMemory, before: str | None) -> str:
        """Write a memory, and let go of old ones.

        Args:
            memory: What to keep.
            before: The cursor that still holds.

        Returns:
            The cursor that names it; the same for the same memory.
        """
        datasets = {
            name: [
                one.mark,
                _texts(one.pending),
                _texts(one.untold),
                [[str(a.first), str(a.last), a.attempt, round(a.since)] for a in one.awaited],
            ]
            for name, one in sorted(memory.datasets.items())
        }
        text = json.dumps({"datasets": datasets, "turn": memory.turn}, separators=(",", ":"))
        cursor = hashlib.sha256(text.encode()).hexdigest()[:16]
        path = self._folder / f"{cursor}.json"
        if cursor == before and path.exists():
            return cursor
        write_atomically(path, text.encode())
        self._forget_but({cursor, before or ""})
        return cursor

    def _forget_but(self, kept: set[str]) -> None:
        others = [path for path in self._folder.glob("*.json") if path.stem not in kept]
        for path in sorted(others, key=lambda one: one.stat().st_mtime_ns)[:-_KEPT]:
            path.unlink(missing_ok=True)


def _spans(texts: Iterable[Sequence[str]]) -> tuple[Span, ...]:
    return tuple((date.fromisoformat(first), date.fromisoformat(last)) for first, last in texts)


def _awaited(rows: Iterable[tuple[str, str, int, float]]) -> tuple[Awaited, ...]:
    return tuple(
        Awaited(date.fromisoformat(first), date.fromisoformat(last), attempt, since)
        for first, last, attempt, since in rows
    )


def _texts(spans: Iterable[Span]) -> list[list[str]]:
    return [[str(first), str(last)] for first, last in spans]
