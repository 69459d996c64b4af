"""What to do about raw files that came, grew, were replaced or went: decided without Dagster.

What belongs here: which days of a dataset a look at its raw files asks to be made, and what is told
of them. What does not: how files are read (`raw/`), which stages of a day are stale
(`freshness.py`), and who looks and runs (`orchestration/sensors.py`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import islice

from procezo_assets.datasets import Dataset, part_files
from procezo_assets.fits import has_fit
from procezo_assets.flows import Flow, Stage
from procezo_assets.plans import Planner, spans
from procezo_assets.raw.changes import Changes
from procezo_assets.raw.remarks import device_remarks
from procezo_assets.raw.source import RawSource
from procezo_assets.runs import raw_source, today

Span = tuple[date, date]

# days whose results are compared with their raw rows before the time is looked at again
_COMPARED_AT_ONCE = 31


@dataclass(frozen=True)
class Memory:
    """What is remembered of a dataset between two looks at it.

    Args:
        mark: Up to where the catalog's changes have been taken in; "" is none of them.
        pending: Days that may have to be made.
        untold: Days whose raw files are still to be told of.
    """

    mark: str = ""
    pending: tuple[Span, ...] = ()
    untold: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Asked:
    """Contiguous days of a dataset that are to be made in one run.

    Args:
        dataset: The dataset's name.
        first: First day.
        last: Last day.
        stages: The stages that are stale, and those that read them.
        identity: Hash of all that the run's results depend on and of what is there now: the same
            twice is the same request twice.
    """

    dataset: str
    first: date
    last: date
    stages: tuple[Stage, ...]
    identity: str


@dataclass(frozen=True)
class RawDay:
    """The raw files with rows of a day.

    Args:
        dataset: The dataset's name.
        day: The UTC day.
        files: How many files, repeated uploads left out.
        bytes: Their size, with their rows of other days.
        rows: Their rows of that day.
        quarantined: Their lines in quarantine, of whatever day.
        names: Some of their names.
    """

    dataset: str
    day: date
    files: int
    bytes: int
    rows: int
    quarantined: int
    names: tuple[str, ...]


@dataclass
class Look:
    """What a look at a dataset found.

    Args:
        memory: What to remember until the next one.
        asked: The runs to make.
        days: The raw files of days that they changed on.
        notes: What a person should know, a sentence each.
        waits: Seconds until the next file that is not still yet may be read; None without such.
        unfinished: Whether the time was up before all was looked at.
    """

    memory: Memory
    asked: list[Asked] = field(default_factory=list)
    days: list[RawDay] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    waits: float | None = None
    unfinished: bool = False


def look(
    flow: Flow,
    dataset: Dataset,
    memory: Memory,
    *,
    in_flight: Iterable[Span] = (),
    deadline: float | None = None,
    told_at_once: int = 200,
) -> Look:
    """Look at the raw files of a dataset, and decide which days are to be made.

    Days of a run that is under way wait for its end, when it shows whether it saw the change.

    Args:
        flow: The flow.
        dataset: One of its datasets.
        memory: What the last look left; an empty one the first time.
        in_flight: Days of runs that are queued or under way.
        deadline: When to stop, on the monotonic clock; the rest is left to the next look.
        told_at_once: How many days at most are told of.

    Raises:
        ProcezoError: Where the dataset cannot be looked at; nothing is forgotten.
    """
    source = raw_source(flow, dataset)
    if source is None:
        return Look(memory)
    arrivals = flow.arrivals
    changes = source.scan_changes(
        settle=arrivals.settle_seconds, refresh=60 * arrivals.refresh_minutes, deadline=deadline
    )
    touched = source.touched(memory.mark)
    in_time = [day for day in touched.days if flow.start <= day <= today()]
    pending = _days_of(memory.pending) | set(in_time)
    busy = pending & _days_of(in_flight)
    asked, late = _asked(flow, dataset, source, sorted(pending - busy), deadline)
    untold = sorted(_days_of(memory.untold) | set(in_time), reverse=True)
    return Look(
        Memory(
            mark=touched.mark,
            pending=tuple(spans(sorted(busy | late))),
            untold=tuple(spans(sorted(untold[told_at_once:]))),
        ),
        asked=asked,
        days=[_raw_day(source, day) for day in untold[:told_at_once]],
        notes=_notes(flow, source, changes),
        waits=min(changes.waiting.values(), default=None),
        unfinished=bool(changes.left or late),
    )


def _asked(
    flow: Flow, dataset: Dataset, source: RawSource, days: Sequence[date], deadline: float | None
) -> tuple[list[Asked], set[date]]:
    """The runs that days need, and the days for which there was no time."""
    if not days:
        return [], set()
    source.load_digests(days)
    if any(_fit_is_due(flow, dataset, stage) for stage in flow.stages):
        # a fit is made from all the days that its run brings
        stages = {day: _all(flow) for day in _from_to(days[0], days[-1])}
        ranges, late = [(days[0], days[-1])], set[date]()
    else:
        stages, late = _stale_stages(flow, dataset, source, days, deadline)
        ranges = spans(sorted(stages))
    asked = []
    for first, last in ranges:
        here = set[str]().union(*(stages[day] for day in _from_to(first, last)))
        chosen = tuple(stage for stage in flow.stages if stage.name in here)
        identity = _identity(flow, dataset, source, first, last)
        asked.append(Asked(dataset.name, first, last, chosen, identity))
    return asked, late


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
            for day in _from_to(plan.first, plan.last):
                stale.setdefault(day, set()).update(stage.name for stage in plan.stages)
    return stale, set()


def _all(flow: Flow) -> set[str]:
    return {stage.name for stage in flow.stages}


def _fit_is_due(flow: Flow, dataset: Dataset, stage: Stage) -> bool:
    if stage.treatment.fit is None or has_fit(dataset.stage(stage.output)):
        return False
    return bool(getattr(flow.parameters(stage, dataset.name), "fit", True))


def _identity(flow: Flow, dataset: Dataset, source: RawSource, first: date, last: date) -> str:
    """Hash raw content, recipe and what is there, so that a change back is no repetition."""
    parts = [flow.name, dataset.name, str(first), str(last)]
    for stage in flow.stages:
        version = f"{stage.treatment.name} {stage.treatment.version}"
        parts.append(f"{stage.name} {version} {flow.parameters_hash(stage, dataset.name)}")
    for day in _from_to(first, last):
        parts.append(source.identity(day))
        if flow.source is not None:
            found = part_files(dataset.stage(flow.source.output), day).values()
            parts += [f"{path.name} {path.stat().st_mtime_ns}" for path in found]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _raw_day(source: RawSource, day: date) -> RawDay:
    counts = source.files_of(day)
    return RawDay(
        dataset=source.dataset.name,
        day=day,
        files=len(counts),
        bytes=sum(one.size for one in counts),
        rows=sum(one.days[day] for one in counts),
        quarantined=sum(sum(one.quarantined.values()) for one in counts),
        names=tuple(one.file.name for one in counts[:20]),
    )


def _notes(flow: Flow, source: RawSource, changes: Changes) -> list[str]:
    name = source.dataset.name
    fate = {
        "keep": "its days stay as they are until it is back",
        "drop": "its days are made again without it",
    }[flow.arrivals.removed]
    notes = [f"{name}: raw file {gone} is gone; {fate}" for gone in changes.removed]
    notes += [f"{name}: raw file {back} is back" for back in changes.returned]
    notes += [f"{name}: {error}" for error in source.unreadable.values()]
    if changes.new or changes.changed:
        notes += _refused(source, {*changes.new, *changes.changed})
        notes += _remarks(source, changes)
    return notes


def _refused(source: RawSource, names: Collection[str]) -> list[str]:
    """Files that were quarantined as a whole, and datasets without a single row."""
    notes = [
        f"{source.dataset.name}: raw file {one.file.name} is in quarantine: {one.refused}"
        for one in source.files_with_or_without([]).values()
        if one.file.name in names and one.refused
    ]
    problem = source.why_no_rows()
    return [*notes, *([str(problem)] if problem is not None else [])]


def _remarks(source: RawSource, changes: Changes) -> list[str]:
    read = {*changes.new, *changes.changed}
    files = source.files_with_or_without(changes.days)
    remarks = device_remarks(files[name] for name in sorted(read & files.keys()))
    return [f"{source.dataset.name}: {remark}" for remark in remarks]


def _days_of(ranges: Iterable[Span]) -> set[date]:
    return {day for first, last in ranges for day in _from_to(first, last)}


def _from_to(first: date, last: date) -> list[date]:
    return [first + timedelta(days=place) for place in range((last - first).days + 1)]
