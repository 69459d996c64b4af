"""Faults that pass by themselves, and runs that wait for them to.

Only the days and stages that such a fault stopped are tried again, in the same run: what was
written stays, and checks are made once, of everything.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import date

from procezo_assets.dataset_use import in_use
from procezo_assets.errors import DatasetError, FitWaitsError
from procezo_assets.faults import is_transient
from procezo_assets.flows import Stage
from procezo_assets.runs import DayFailed, Event, RawScanned, Work, run

# seconds before each further attempt
WAITS = (5.0, 20.0, 60.0)


@dataclass(frozen=True)
class Waited:
    """A run is about to try again.

    Args:
        seconds: How long it waits before.
        days: How many days it tries again.
        reason: What stopped the first of them.
    """

    seconds: float
    days: int
    reason: str


def run_patiently(
    work: Work, *, waits: Sequence[float] = WAITS, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Event | Waited]:
    """Do the work as `runs.run` does, and try again what transient faults have stopped.

    Args:
        work: What to do.
        waits: Seconds to wait before each further attempt.
        sleep: How to wait.

    Yields:
        The events of all attempts; a failure only where no further attempt is made.
    """
    with ExitStack() as used:  # also between two attempts
        for dataset in work.days:
            with suppress(DatasetError, OSError):  # of which the run tells
                used.enter_context(in_use(dataset))
        yield from _attempts(work, waits, sleep)


def _attempts(
    work: Work, waits: Sequence[float], sleep: Callable[[float], None]
) -> Iterator[Event | Waited]:
    scanned: set[str] = set()
    lacking: dict[str, set[date]] = defaultdict(set)
    for seconds in (*waits, None):
        stopped: list[DayFailed] = []
        for event in run(work):
            if isinstance(event, DayFailed) and seconds and is_transient(event.error):
                stopped.append(event)
                continue
            if isinstance(event, RawScanned):
                if event.source.dataset.name in scanned:  # told of already
                    continue
                scanned.add(event.source.dataset.name)
            if isinstance(event, DayFailed) and event.is_fault:
                lacking[event.dataset].add(event.day)
            yield event
        if not stopped or not seconds:
            return
        days = {(event.dataset, event.day) for event in stopped}
        yield Waited(seconds=seconds, days=len(days), reason=stopped[0].reason)
        sleep(seconds)
        work = replace(_remaining(work, stopped), lacking=lacking)


def _remaining(work: Work, stopped: Sequence[DayFailed]) -> Work:
    """What the stopped days have left: the stage that each was stopped at, and those after it."""
    left: dict[tuple[str, date], set[str]] = defaultdict(set)
    for event in stopped:
        left[event.dataset, event.day].update(_names_from(work, event.stage))
    names = set[str]().union(*left.values())
    days = {
        dataset: [day for day in its if (dataset.name, day) in left]
        for dataset, its in work.days.items()
    }
    return replace(
        work,
        stages=tuple(stage for stage in work.stages if stage.name in names),
        days={dataset: its for dataset, its in days.items() if its},
        # else a day would be given another fit than those that came through
        refit=work.refit and any(isinstance(event.error, FitWaitsError) for event in stopped),
        left=left,
    )


def _names_from(work: Work, at: Stage) -> set[str]:
    """A stage, and those that a day that was stopped at it never came to."""
    if at.treatment.kind == "load":
        return {at.name}
    place = work.stages.index(at)
    return {stage.name for stage in work.stages if stage.treatment.kind == "load"} | {
        stage.name for stage in work.stages[place:]
    }
