"""A run: many partitions of a flow, several at once, one's trouble never another's.

What belongs here: which days go through which stages, in which phases, and what is told of it.
What does not: what happens to one day (`pipeline.py`), when a fit is made (`fitting.py`), and who
asks (`orchestration/`, `cli/`).
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from procezo_assets.dataset_use import in_use
from procezo_assets.datasets import Dataset, stage_days
from procezo_assets.day_lock import remove_unfinished, working_on
from procezo_assets.errors import DatasetError, FitError, ProcezoError, RawFileError, one_line
from procezo_assets.faults import is_transient
from procezo_assets.fits import StoredFit
from procezo_assets.fitting import fit_is_due, provided_fit
from procezo_assets.flows import Flow, Stage
from procezo_assets.harmless import harmless
from procezo_assets.loading import load_in_turn, stage_input
from procezo_assets.parameters import Parameters
from procezo_assets.pipeline import Partition, PartitionContext, StageDone, StageKept
from procezo_assets.raw.catalog import Catalog
from procezo_assets.raw.catalog_store import CatalogStore
from procezo_assets.raw.files import Limits
from procezo_assets.raw.quarantine import Quarantine
from procezo_assets.raw.source import RawSource
from procezo_assets.schemas import stage_rules
from procezo_assets.stores.loads import Loaded, StageInput
from procezo_assets.treatments.parse import ParseParameters

if TYPE_CHECKING:
    from typing_extensions import TypeIs

_DAYS_AT_ONCE = 2


@dataclass(frozen=True)
class DayFailed:
    """A partition that stopped at a stage; what was there before is still there.

    Args:
        stage: At which stage.
        dataset: The dataset's name.
        day: The UTC day.
        error: Why.
        trace: The traceback.
        where: File and line of the user's treatment that raised it, if one did.
    """

    stage: Stage
    dataset: str
    day: date
    error: Exception | SystemExit
    trace: str = field(default="", repr=False)
    where: str = ""

    @property
    def reason(self) -> str:
        """Why, in one line."""
        text = str(self.error)
        if not isinstance(self.error, ProcezoError):
            text = f"{type(self.error).__name__}: {text}"
        if self.where:
            text = f"{text} ({self.where})"
        return one_line(text)

    @property
    def is_fault(self) -> bool:
        """Whether neither its rows nor a treatment stopped it: it may come through unchanged."""
        known = isinstance(self.error, OSError | RawFileError)
        return is_transient(self.error) or (known and not self.where)


@dataclass(frozen=True)
class StageLoaded:
    """A loading stage, done with one dataset.

    Args:
        stage: Which stage.
        result: What it loaded.
        seconds: How long it took, for all datasets of the run.
    """

    stage: Stage
    result: Loaded
    seconds: float


@dataclass(frozen=True)
class RawScanned:
    """The raw files of a dataset, read.

    Args:
        stage: The stage that reads them.
        source: The files and their counts.
        seconds: How long it took.
    """

    stage: Stage
    source: RawSource
    seconds: float


Event = StageDone | StageKept | DayFailed | StageLoaded | RawScanned


@dataclass(frozen=True)
class Work:
    """What a run is asked to do.

    Args:
        flow: The flow.
        stages: Which of its stages, in the order of the flow.
        days: Which days, by dataset.
        run_params: Parameters of this run, over all others.
        refit: Whether fits are made anew.
        left: The names of the stages that a day has left, by dataset and day, where it is not all
            of them: an earlier attempt has made the others.
        lacking: Days by dataset that a fault has stopped for good, and that a fit would lack.
    """

    flow: Flow
    stages: tuple[Stage, ...]
    days: Mapping[Dataset, Sequence[date]]
    run_params: Mapping[str, Any] = field(default_factory=dict)
    refit: bool = False
    left: Mapping[tuple[str, date], Collection[str]] = field(default_factory=dict)
    lacking: Mapping[str, Collection[date]] = field(default_factory=dict)

    def days_through(self, dataset: Dataset, *stages: Stage) -> list[date]:
        """The days of a dataset that have any of some stages left, sorted."""
        names = {stage.name for stage in stages}
        return sorted(
            day
            for day in self.days[dataset]
            if names.intersection(self.left.get((dataset.name, day), names))
        )


def today() -> date:
    """The current UTC day."""
    return datetime.now(UTC).date()


def raw_source(
    flow: Flow,
    dataset: Dataset,
    run_params: Mapping[str, Any] | None = None,
    *,
    keep: bool = True,
) -> RawSource | None:
    """The raw files of a dataset as a flow reads them, not yet scanned; None without `parse`.

    Args:
        flow: The flow.
        dataset: One of its datasets.
        run_params: Parameters over all others.
        keep: Whether scans keep what is quarantined, and settle the dataset's dialect.
    """
    if flow.source is None:
        return None
    params = flow.parameters(flow.source, dataset.name, run_params)
    if not isinstance(params, ParseParameters):
        return None
    return RawSource(
        dataset,
        params,
        Limits(flow.start, today()),
        output=flow.source.output,
        catalog=Catalog(CatalogStore(dataset.catalog), flow.name, dataset.name),
        removed=flow.arrivals.removed,
        keep=partial(Quarantine, dataset, flow.name) if keep else None,
    )


def run(work: Work) -> Iterator[Event]:
    """Do the work, and tell of each stage of each partition the moment it is done.

    A day that fails stops at its stage, is told of as `DayFailed`, and stops no other day. Stages
    that act on many days run at the end, over the days that did not fail.

    Args:
        work: What to do.

    Yields:
        The events, in the order in which they happen.

    Raises:
        ProcezoError: Where a dataset cannot be worked on at all.
    """
    for dataset in work.days:  # a wrong parameter of the last stage stops the first
        for stage in work.stages:
            work.flow.parameters(stage, dataset.name, work.run_params)
    with ExitStack() as used:
        days: dict[Dataset, Sequence[date]] = {}
        for dataset, its in work.days.items():
            try:
                used.enter_context(in_use(dataset))
                remove_unfinished(dataset)
                used.callback(remove_unfinished, dataset)  # of runs killed beside this one, too
                days[dataset] = its
            except (DatasetError, OSError) as error:  # never another's trouble
                stage = work.stages[0]
                yield from (_failed(stage, dataset.name, day, error) for day in its)
        yield from _run(replace(work, days=days))


def _run(work: Work) -> Iterator[Event]:
    stopped: set[tuple[str, date]] = set()
    loads = [stage for stage in work.stages if stage.treatment.kind == "load"]
    if any(stage.treatment.kind != "load" for stage in work.stages):
        for dataset in work.days:
            for event in _DatasetRun(work, dataset).run():
                if _stops(event):
                    stopped.add((event.dataset, event.day))
                yield event
    for stage in loads:
        yield from _load(work, stage, stopped)


def _stops(event: Event) -> TypeIs[DayFailed | StageKept]:
    """Whether a day goes no further: it failed, or is kept and has nothing to be made of."""
    return isinstance(event, DayFailed) or (isinstance(event, StageKept) and not event.files)


class _DatasetRun:
    """The partitions of one dataset through the stages that make files."""

    def __init__(self, work: Work, dataset: Dataset) -> None:
        self.work = work
        self.flow = work.flow
        self.dataset = dataset
        self.stages = [stage for stage in work.stages if stage.treatment.kind != "load"]
        params = {
            stage.name: self.flow.parameters(stage, dataset.name, work.run_params)
            for stage in self.stages
        }
        rules = {
            stage.name: stage_rules(self.flow, stage, dataset.name, params) for stage in self.stages
        }
        self.context = PartitionContext(self.flow, dataset, params, rules)
        self._stopped: set[date] = set()
        self._missing = list(work.lacking.get(dataset.name, ()))

    def run(self) -> Iterator[Event]:
        for event in self._events():
            if _stops(event):
                self._stopped.add(event.day)
            if isinstance(event, DayFailed) and event.is_fault:
                self._missing.append(event.day)
            yield event

    def _events(self) -> Iterator[Event]:
        yield from self._begin()
        for phase in self._phases():
            days = self.work.days_through(self.dataset, *phase)
            days = [day for day in days if day not in self._stopped]
            if not days:  # and a fit would be made of what the run was to replace
                continue
            for stage in phase:
                if stage.treatment.fit is not None:
                    self.context.fits[stage.name] = self._fit_of(stage)
            yield from self._run_days(phase, days)

    def _begin(self) -> Iterator[Event]:
        """Read the raw files; where that fails, so do the days that need it."""
        first = self.stages[0]
        try:
            scanned = self._scan() if first.treatment.kind == "source" else None
        except (Exception, SystemExit) as error:  # noqa: BLE001 - never another dataset's trouble
            for day in self.work.days_through(self.dataset, first):
                yield _failed(first, self.dataset.name, day, error)
        else:
            if scanned is not None:
                yield scanned

    def _scan(self) -> RawScanned:
        started = time.perf_counter()
        source = raw_source(self.flow, self.dataset, self.work.run_params)
        stage = self.flow.source
        assert source is not None  # noqa: S101 - a source stage is among the stages
        assert stage is not None  # noqa: S101
        source.scan()
        source.refuse_emptiness(stage_days(self.dataset.stage(stage.output)))
        source.want(self.work.days_through(self.dataset, stage))
        self.context.source = source
        return RawScanned(stage, source, time.perf_counter() - started)

    def _phases(self) -> Iterator[list[Stage]]:
        """Split the stages before each one whose fit must be made from all days first."""
        phase: list[Stage] = []
        for stage in self.stages:
            params = self.context.params[stage.name]
            if fit_is_due(stage, params, self.dataset, refit=self.work.refit):
                if phase:
                    yield phase
                phase = []
            phase.append(stage)
        if phase:
            yield phase

    def _fit_of(self, stage: Stage) -> StoredFit | FitError:
        return provided_fit(
            stage,
            self.context.params[stage.name],
            self.dataset,
            refit=self.work.refit,
            missing=self._missing,
        )

    def _run_days(self, phase: list[Stage], days: list[date]) -> Iterator[Event]:
        """Work on a few days at once, and hand on what they tell as they tell it."""
        told: SimpleQueue[Event | None] = SimpleQueue()
        waiting = iter(days)
        with ThreadPoolExecutor(_DAYS_AT_ONCE) as workers:
            # no more days in the air than workers: what they tell holds their frames
            for day in islice(waiting, _DAYS_AT_ONCE):
                workers.submit(self._run_day, phase, day, told)
            left = len(days)
            while left:
                event = told.get()
                if event is not None:
                    yield event
                    continue
                left -= 1
                for day in islice(waiting, 1):
                    workers.submit(self._run_day, phase, day, told)

    def _run_day(self, phase: list[Stage], day: date, told: SimpleQueue[Event | None]) -> None:
        """Run the stages of a day; None tells that it is over."""
        partition = Partition(self.context, day)
        left = self.work.left.get((self.dataset.name, day))
        phase = [stage for stage in phase if left is None or stage.name in left]
        stage = phase[0]
        try:
            with working_on(self.dataset, day):
                for place, stage in enumerate(phase):
                    told.put(event := partition.run(stage))
                    if _stops(event):
                        break
                    del event  # holds the frames, too
                    partition.keep_only({later.input for later in phase[place + 1 :]})
        except (Exception, SystemExit) as error:  # noqa: BLE001 - never another day's trouble
            told.put(_failed(stage, self.dataset.name, day, error))
        finally:
            told.put(None)


def _load(work: Work, stage: Stage, stopped: set[tuple[str, date]]) -> Iterator[Event]:
    """Load the days that came through: datasets with the same parameters together."""
    started = time.perf_counter()
    groups: list[tuple[Parameters, list[StageInput]]] = []
    for dataset in work.days:
        days = work.days_through(dataset, stage)
        good = tuple(day for day in days if (dataset.name, day) not in stopped)
        if not good:
            continue
        params = work.flow.parameters(stage, dataset.name, work.run_params)
        alike = next((inputs for other, inputs in groups if other == params), None)
        if alike is None:
            groups.append((params, alike := []))
        alike.append(stage_input(work.flow, stage, dataset, good))
    for params, inputs in groups:
        try:
            results = load_in_turn(stage, params, inputs)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - other loads have their turn
            for one in inputs:
                for day in one.days:
                    yield _failed(stage, one.dataset, day, error)
            continue
        for result in results:
            for day, reason in result.failed.items():
                yield DayFailed(stage, result.dataset, day, ProcezoError(reason))
            yield StageLoaded(stage, result, time.perf_counter() - started)


def _failed(stage: Stage, dataset: str, day: date, error: Exception | SystemExit) -> DayFailed:
    """Tell of a failure, without the frames that its traceback holds."""
    trace = "\n".join(map(harmless, "".join(traceback.format_exception(error)).splitlines()))
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(stage.treatment.origin)
    ]
    where = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
    error.__cause__ = error.__context__ = None
    return DayFailed(stage, dataset, day, error.with_traceback(None), trace, where)
