"""What a scan of a dataset's raw files found different from the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date


@dataclass(frozen=True)
class Changes:
    """What is different from what the catalog knew before a scan.

    Names are paths under `00_raw/`, sorted. A scan by another command may have told the catalog
    before; what is to be run is asked for by `RawSource.touched`, which forgets nothing.

    Args:
        new: Files read for the first time.
        changed: Files read again: grown, replaced, or to be read in another way.
        removed: Files that are gone.
        returned: Files that were gone and are back.
        days: The days touched: of rows of these files, now or before.
        waiting: Seconds until a file that is not still yet may be read.
        left: How many files are left for the next scan, because the time was up.
        large: Of those that are left, the files that only a scan without a deadline reads, such as
            a run's of whatever day: reading one would take longer than there is time.
        busy: Whether nothing was read because another scan of the same files is under way.
    """

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()
    days: tuple[date, ...] = ()
    waiting: Mapping[str, float] = field(default_factory=dict)
    left: int = 0
    large: tuple[str, ...] = ()
    busy: bool = False

    def __bool__(self) -> bool:
        """Whether anything was different."""
        return bool(self.new or self.changed or self.removed or self.returned)


@dataclass(frozen=True)
class Touched:
    """The days whose raw rows may differ from what they were at a mark.

    Args:
        days: Sorted. A day is named again whenever its rows may have changed; whether they did is
            told by `freshness.stale_partitions`.
        mark: To be kept, for instance in a sensor's cursor, and given the next time.
    """

    days: tuple[date, ...]
    mark: str
