"""What to do about raw files that came, grew, were replaced or went: decided without Dagster.

What belongs here: which days of a dataset a look at its raw files asks to be made. What does not:
how files are read (`raw/`), which stages of a day are stale (`freshness.py`), what is told of the
files (`arrival_news.py`), and who looks and runs (`orchestration/sensors.py`).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import islice

from procezo_assets.arrival_news import RawDay, notes, raw_day
from procezo_assets.datasets import Dataset, part_files
from procezo_assets.fitting import fit_is_due
from procezo_assets.flows import Flow, Stage
from procezo_assets.plans import BRIDGED_DAYS, Planner, days_from_to, spans
from procezo_assets.raw.changes import Changes
from procezo_assets.raw.differences import Pace
from procezo_assets.raw.source import RawSource
from procezo_assets.runs import raw_source, today

Span = tuple[date, date]

# Seconds after which days that were asked for are looked at again, by attempt: a run may have been
# cancelled, or have failed with what it needs being away. After the last one they are left to the
# schedule, to a person, or to their next change.
AGAIN_AFTER = (60.0, 300.0, 1800.0, 7200.0)

# days whose results are compared with their raw rows before the time is looked at again
_COMPARED_AT_ONCE = 31


@dataclass(frozen=True)
class Awaited:
    """Days that were asked for and have not been seen made.

    Args:
        first: First day.
        last: Last day.
        attempt: How often they have been asked for.
        since: When, the last time, in seconds since 1970.
    """

    first: date
    last: date
    attempt: int
    since: float

    @property
    def due(self) -> float:
        """When they are to be looked at again."""
        return self.since + AGAIN_AFTER[min(self.attempt, len(AGAIN_AFTER)) - 1]


@dataclass(frozen=True)
class Memory:
    """What is remembered of a dataset between two looks at it.

    Args:
        mark: Up to where the catalog's changes have been taken in; "" is none of them.
        pending: Days that may have to be made.
        untold: Days whose raw files are still to be told of.
        awaited: Days that were asked for.
    """

    mark: str = ""
    pending: tuple[Span, ...] = ()
    untold: tuple[Span, ...] = ()
    awaited: tuple[Awaited, ...] = ()


@dataclass(frozen=True)
class Asked:
    """Contiguous days of a dataset that are to be made in one run.

    Args:
        dataset: The dataset's name.
        first: First day.
        last: Last day.
        stages: The stages that are stale, and those that read them.
        attempt: How often these days have been asked for, this time counted.
    """

    dataset: str
    first: date
    last: date
    stages: tuple[Stage, ...]
    attempt: int = 1


@dataclass
class Look:
    """What a look at a dataset found.

    Args:
        memory: What to remember until the next one.
        asked: The runs to make.
        days: The raw files of days that they changed on.
        notes: What a person should know, a sentence each.
        waits: Seconds until the next file that is not still yet may be read; None without such.
    """

    memory: Memory
    asked: list[Asked] = field(default_factory=list)
    days: list[RawDay] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    waits: float | None = None


def look(
    flow: Flow,
    dataset: Dataset,
    memory: Memory,
    *,
    in_flight: Iterable[Span] = (),
    deadline: float | None = None,
    told_at_once: int = 200,
    asked_at_once: int = 100,
    now: float | None = None,
) -> Look:
    """Look at the raw files of a dataset, and decide which days are to be made.

    Days of a run that is under way wait for its end, when it shows whether it saw the change; days
    of a file that is not still yet wait for it. Days that were asked for are looked at again later,
    whatever became of their run.

    Args:
        flow: The flow.
        dataset: One of its datasets.
        memory: What the last look left; an empty one the first time.
        in_flight: Days of runs that are queued or under way.
        deadline: When to stop, on the monotonic clock; the rest is left to the next look.
        told_at_once: How many days at most are told of.
        asked_at_once: How many runs at most are asked for.
        now: Seconds since 1970; the clock's where left out.

    Raises:
        ProcezoError: Where the dataset cannot be looked at; nothing is forgotten.
    """
    source = raw_source(flow, dataset)
    if source is None:
        return Look(memory)
    now = time.time() if now is None else now
    arrivals = flow.arrivals
    pace = Pace(arrivals.settle_seconds, 60 * arrivals.refresh_minutes, deadline)
    changes = source.scan_changes(pace)
    touched = source.touched(memory.mark)
    in_time = {day for day in touched.days if flow.start <= day <= today()}
    flying = list(in_flight)
    fitting = any(_fit_is_due(flow, dataset, stage) for stage in flow.stages)
    # a fit is made from all there is, once: days that a fault has stopped come with new ones
    new = in_time | _days_of(memory.pending)
    together = fitting and bool(new - _days_of(flying) - _written(source, new, changes))
    due, awaited = _due_again(memory.awaited, _days_of(flying), now, early=together)
    attempts = {day: one.attempt for one in memory.awaited for day in _from_to(one)}
    pending = _days_of(memory.pending) | in_time | due
    attempts = {day: 0 if day in in_time else attempts.get(day, 0) for day in pending}
    given_up = {day for day in due if attempts[day] >= len(AGAIN_AFTER)}
    busy = (pending & _days_of(flying)) | _written(source, pending, changes)
    if fitting and (changes.left or flying):
        busy = set(pending)
    asked, late = _asked(flow, dataset, source, sorted(pending - busy), deadline)
    lost = [one for one in asked if given_up.intersection(_from_to((one.first, one.last)))]
    asked = [
        replace(one, attempt=1 + max(attempts.get(day, 0) for day in _from_to(one)))
        for one in asked
        if one not in lost
    ]
    if changes.large:
        held = _days_of(flying) | {day for one in awaited for day in _from_to(one)}
        asked += _asked_to_read(flow, dataset, held=held, before=memory.awaited)
    later = _days_of((one.first, one.last) for one in asked[asked_at_once:])
    asked = asked[:asked_at_once]
    untold = sorted(_days_of(memory.untold) | in_time, reverse=True)
    return Look(
        Memory(
            mark=touched.mark,
            pending=tuple(spans(sorted(busy | late | later))),
            untold=tuple(spans(sorted(untold[told_at_once:]))),
            awaited=(
                *_without(awaited, {day for one in asked for day in _from_to(one)}),
                *(Awaited(one.first, one.last, one.attempt, now) for one in asked),
            ),
        ),
        asked=asked,
        days=[raw_day(source, day) for day in untold[:told_at_once]],
        notes=[*notes(flow, source, changes), *(_given_up(flow, one) for one in lost)],
        waits=min(changes.waiting.values(), default=None),
    )


def _due_again(
    awaited: Iterable[Awaited], flying: set[date], now: float, *, early: bool
) -> tuple[set[date], list[Awaited]]:
    """The asked days that it is time to look at again, and those that it is not.

    Args:
        awaited: What was asked for.
        flying: Days of runs that are queued or under way.
        now: Seconds since 1970.
        early: Whether others are asked for now, with which they go; not for the last time, so that
            a file that grows all day does not bring them along for ever.
    """
    due: set[date] = set()
    later: list[Awaited] = []
    for one in awaited:
        waits = now < one.due and not (early and one.attempt < len(AGAIN_AFTER))
        if waits or flying & set(_from_to(one)):
            later.append(one)
        else:
            due.update(_from_to(one))
    return due, later


def _asked_to_read(
    flow: Flow,
    dataset: Dataset,
    *,
    held: Collection[date],
    before: Iterable[Awaited],
) -> list[Asked]:
    """A run of today, which reads the files that are too large for a look, and so finds their days.

    The next look finds those touched.
    """
    day = today()
    attempt = 1 + max((one.attempt for one in before if day in _from_to(one)), default=0)
    if flow.source is None or day in held or attempt > len(AGAIN_AFTER):
        return []
    return [Asked(dataset.name, day, day, (flow.source,), attempt)]


def _without(awaited: Iterable[Awaited], asked: set[date]) -> list[Awaited]:
    return [one for one in awaited if not asked & set(_from_to(one))]


def _written(source: RawSource, days: Iterable[date], changes: Changes) -> set[date]:
    """The days with rows of a file that is not still yet, which a run has read half-written."""
    if not changes.waiting:
        return set()
    return {
        day for day in days if any(one.file.name in changes.waiting for one in source.files_of(day))
    }


def _asked(
    flow: Flow, dataset: Dataset, source: RawSource, days: Sequence[date], deadline: float | None
) -> tuple[list[Asked], set[date]]:
    """The runs that days need, and the days for which there was no time."""
    if not days:
        return [], set()
    source.load_digests(days)
    if any(_fit_is_due(flow, dataset, stage) for stage in flow.stages):
        # a fit is made from all the days that its run brings
        stages = dict.fromkeys(days_from_to(days[0], days[-1]), _all(flow))
        ranges, late = [(days[0], days[-1])], set[date]()
    else:
        stages, late = _stale_stages(flow, dataset, source, days, deadline)
        ranges = _bridged(source, spans(sorted(stages)))
    asked = []
    for first, last in ranges:
        here = set[str]().union(*(stages.get(day, ()) for day in days_from_to(first, last)))
        chosen = tuple(stage for stage in flow.stages if stage.name in here)
        asked.append(Asked(dataset.name, first, last, chosen))
    return asked, late


def _bridged(source: RawSource, ranges: Sequence[Span]) -> list[Span]:
    """Join ranges with a few days between them, where those have no rows."""
    joined: list[Span] = []
    for first, last in ranges:
        between = days_from_to(joined[-1][1], first)[1:-1] if joined else []
        if joined and len(between) <= BRIDGED_DAYS and not any(map(source.rows_of, between)):
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def _stale_stages(
    flow: Flow, dataset: Dataset, source: RawSource, days: Sequence[date], deadline: float | None
) -> tuple[dict[date, set[str]], set[date]]:
    """The stages that each day needs, of days that need any, and the days left for want of time."""
    parsed = dataset.stage(flow.source.output) if flow.source else dataset.raw
    # a day without results needs no comparison, which would read its rows
    stale = {day: _all(flow) for day in days if source.rows_of(day) and not part_files(parsed, day)}
    planner = Planner(
        flow=flow, dataset=dataset, stages=flow.stages, params={}, refit=False, full_replace=False
    )
    waiting = iter([day for day in days if day not in stale])
    while chunk := list(islice(waiting, _COMPARED_AT_ONCE)):
        if deadline is not None and time.monotonic() > deadline:
            return stale, {*chunk, *waiting}
        for plan in planner.plans(None, None, only_stale=True, touched=chunk, source=source):
            for day in days_from_to(plan.first, plan.last):
                stale.setdefault(day, set()).update(stage.name for stage in plan.stages)
    return stale, set()


def _all(flow: Flow) -> set[str]:
    return {stage.name for stage in flow.stages}


def _fit_is_due(flow: Flow, dataset: Dataset, stage: Stage) -> bool:
    return fit_is_due(stage, flow.parameters(stage, dataset.name), dataset, refit=False)


def _given_up(flow: Flow, one: Asked) -> str:
    return (
        f"{one.dataset}: {one.first} to {one.last} could not be made in {len(AGAIN_AFTER)} runs; "
        f"when the cause is gone: procezo flow {flow.name} --last"
    )


def _days_of(ranges: Iterable[Span]) -> set[date]:
    return {day for first, last in ranges for day in days_from_to(first, last)}


def _from_to(span: Span | Awaited | Asked) -> list[date]:
    if isinstance(span, tuple):
        return days_from_to(*span)
    return days_from_to(span.first, span.last)
