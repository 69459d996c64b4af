"""Partition files that a loading stage has seen, and whether they are replaced meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from procezo_assets.datasets import PartKey, StoredFile, stored_files
from procezo_assets.errors import TransientStoreError
from procezo_assets.stores.loads import StageInput

_ATTEMPTS = 5

Seen = dict[tuple[str, date], dict[PartKey, StoredFile]]
"""The files of each dataset and day."""


class PartsReplacedError(TransientStoreError):
    """Another run replaced files while they were loaded."""


def parts_seen(inputs: Sequence[StageInput]) -> Seen:
    """Find the files of all days, those of each day as one run left them.

    Raises:
        TransientStoreError: Where a run works on a day for very long.
    """
    seen: Seen = {}
    for one in inputs:
        for day in one.days:
            with one.kept_still(day):
                seen[one.dataset, day] = stored_files(one.folder, day)
    return seen


def refuse_replaced(inputs: Sequence[StageInput], seen: Seen) -> None:
    """Refuse to go on with files that another run has replaced since they were seen.

    Raises:
        PartsReplacedError: Names the first day.
    """
    for one in inputs:
        for day in one.days:
            if stored_files(one.folder, day) != seen[one.dataset, day]:
                raise PartsReplacedError(
                    f"files of dataset '{one.dataset}' of {day} are replaced while they are loaded",
                    "run again when the run that writes them is done",
                )


def again_where_replaced() -> Retrying:
    """Look at the files and load them again, some times, where they are replaced meanwhile."""
    return Retrying(
        stop=stop_after_attempt(_ATTEMPTS),
        retry=retry_if_exception_type(PartsReplacedError),
        reraise=True,
    )
