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
from procezo_assets.datasets import Dataset
from procezo_assets.errors import DatasetError
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
            with suppress(DatasetError):  # of which the run tells
                used.enter_context(in_use(dataset))
        yield from _attempts(work, waits, sleep)


def _attempts(
    work: Work, waits: Sequence[float], sleep: Callable[[float], None]
) -> Iterator[Event | Waited]:
    todo = [work]
    for attempt, seconds in enumerate((*waits, None)):
        again: list[Work] = []
        stopped: list[DayFailed] = []
        reason = ""
        for one in todo:
            try:
                for event in run(one):
                    if isinstance(event, DayFailed) and seconds and is_transient(event.error):
                        stopped.append(event)
                    elif attempt == 0 or not isinstance(event, RawScanned):  # told of already
                        yield event
            except OSError as error:
                if not seconds or not is_transient(error):
                    raise
                again.append(one)
                reason = str(error)
        again += _remaining(work, stopped)
        if not again or not seconds:
            return
        yield Waited(
            seconds=seconds,
            days=sum(len(days) for one in again for days in one.days.values()),
            reason=stopped[0].reason if stopped else reason,
        )
        sleep(seconds)
        todo = again


def _remaining(work: Work, stopped: Sequence[DayFailed]) -> list[Work]:
    """What the stopped days have left, by the stage that they were stopped at."""
    groups: dict[str, dict[Dataset, list[date]]] = defaultdict(lambda: defaultdict(list))
    datasets = {dataset.name: dataset for dataset in work.days}
    for event in stopped:
        groups[event.stage.name][datasets[event.dataset]].append(event.day)
    return [
        replace(work, stages=_stages_from(work, name), days=days, refit=False)
        for name, days in groups.items()
    ]


def _stages_from(work: Work, name: str) -> tuple[Stage, ...]:
    """The stage that a day was stopped at, and those that it never came to."""
    names = [stage.name for stage in work.stages]
    at = work.stages[names.index(name)]
    if at.treatment.kind == "load":
        return (at,)
    return tuple(
        stage
        for place, stage in enumerate(work.stages)
        if place >= names.index(name) or stage.treatment.kind == "load"
    )
