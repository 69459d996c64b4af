"""Which runs a flow needs: of which days, through which stages, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import groupby
from typing import Any

from procezo_assets.datasets import Dataset
from procezo_assets.errors import FlowError, PartitionError, RawFileError
from procezo_assets.fitting import fit_is_due
from procezo_assets.flows import Flow, Stage
from procezo_assets.freshness import Stale, affected_days, known_days, stale_partitions
from procezo_assets.parameters import Parameters
from procezo_assets.raw.changes import Changes
from procezo_assets.raw.source import RawSource
from procezo_assets.runs import raw_source, today
from procezo_assets.stored_stages import StageListing

BRIDGED_DAYS = 7
"""Days without rows that a run goes across: to start another one costs seconds."""

_RUNS_A_RANGE = 4


@dataclass(frozen=True)
class Plan:
    """One run: contiguous days of a dataset.

    Args:
        dataset: The dataset's name.
        first: First day.
        last: Last day.
        stages: Which stages.
        stale: What is missing or stale, where that is why it runs.
        refit: Whether the run makes its fits anew.
        fits_on_others: Whether it makes a fit from days of the runs before it.
    """

    dataset: str
    first: date
    last: date
    stages: tuple[Stage, ...]
    stale: tuple[Stale, ...] = ()
    refit: bool = False
    fits_on_others: bool = False


def spans(days: Sequence[date], *, bridged: int = 0) -> list[tuple[date, date]]:
    """Group sorted days into ranges, across gaps of at most `bridged` days."""
    ranges: list[tuple[date, date]] = []
    for day in days:
        if ranges and day - ranges[-1][1] <= timedelta(days=bridged + 1):
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges


def days_from_to(first: date, last: date) -> list[date]:
    """List the days from one to another, both included."""
    return [first + timedelta(days=place) for place in range((last - first).days + 1)]


@dataclass(frozen=True)
class Planner:
    """Works out which runs a dataset needs.

    Args:
        flow: The flow.
        dataset: One of its datasets.
        stages: The stages that are asked for.
        params: Parameters of the runs.
        refit: Whether fits are made anew.
        full_replace: Whether everything is made anew, and fits where the flow says `"fit": true`.
        dry: Whether nothing is to be left behind but what the catalog learns.
        unreadable: Why raw files could not be read; their days are left as they are.
        warnings: What became of raw files that are new or changed, where no day may tell of it.
    """

    flow: Flow
    dataset: Dataset
    stages: tuple[Stage, ...]
    params: dict[str, Any]
    refit: bool
    full_replace: bool
    dry: bool = False
    unreadable: list[RawFileError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def plans(
        self,
        first: date | None,
        last: date | None,
        *,
        only_stale: bool,
        touched: Collection[date] | None = None,
        source: RawSource | None = None,
    ) -> list[Plan]:
        """List the runs, in the order in which they must be made.

        Args:
            first: The first day that is asked for.
            last: The last one.
            only_stale: Whether only what is missing or stale is made.
            touched: The only days that are looked at.
            source: The raw files, where they have been scanned.
        """
        listing = StageListing(whole=True) if touched is None else None
        if any(stage.treatment.kind == "source" for stage in self.stages):
            source = source or self._scanned(listing)
        else:
            source = None
        _check_asked(self.flow, first, last)
        days = [
            day
            for day in (self._days(source, listing) if touched is None else self._of_flow(touched))
            if (not first or day >= first) and (not last or day <= last)
        ]
        if only_stale:
            return self._stale_plans(days, source, listing)
        if not days and (first or last):
            raise PartitionError(
                f"dataset '{self.dataset.name}' has no rows between {first or 'its start'} and "
                f"{last or 'now'}",
                "see procezo status",
            )
        return self._split(spans(days, bridged=BRIDGED_DAYS), self.stages)

    def _scanned(self, listing: StageListing | None) -> RawSource | None:
        """The raw files, scanned.

        Raises:
            RawFileError: Where there is nothing to make, or nothing left of what was made.
        """
        source = raw_source(self.flow, self.dataset, self.params, keep=not self.dry)
        if source is None:
            return None
        self._warn_of_quarantine(source, source.scan())
        self.unreadable.extend(source.unreadable.values())
        known = known_days(self.flow, self.dataset, self.stages, listing)
        source.refuse_emptiness(known)
        problem = source.why_no_rows()
        made = set(known)
        if problem is not None and (not made or made - set(source.kept_days())):
            raise problem  # rather than leave nothing of what earlier runs made
        return source

    def _warn_of_quarantine(self, source: RawSource, changes: Changes) -> None:
        """A line that is no row changes no day, so that no run tells of it."""
        reasons: Counter[str] = Counter()
        for name in {*changes.new, *changes.changed} & source.files.keys():
            reasons.update(source.files[name].quarantined)
        if reasons:
            told = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
            self.warnings.append(
                f"new or changed raw files have lines in quarantine ({told}): "
                f"procezo quarantine {self.dataset.name}"
            )

    def _days(self, source: RawSource | None, listing: StageListing | None) -> list[date]:
        """The days that raw rows or files of stages are of, within the flow's partitions."""
        days = {*known_days(self.flow, self.dataset, self.stages, listing)}
        days |= set(source.days if source is not None else ())
        return self._of_flow(days)

    def _of_flow(self, days: Iterable[date]) -> list[date]:
        return sorted(day for day in days if self.flow.start <= day <= today())

    def _stale_plans(
        self, days: list[date], source: RawSource | None, listing: StageListing | None
    ) -> list[Plan]:
        stale = stale_partitions(
            self.flow,
            self.dataset,
            self.stages,
            days,
            source=source,
            run_params=self.params,
            listing=listing,
            kept=source or raw_source(self.flow, self.dataset, self.params, keep=not self.dry),
        )
        stale += [
            Stale(stage.name, day, "to be fitted again")
            for stage in self.stages
            if stage.treatment.fit is not None and self.refit
            for day in days
        ]
        affected = affected_days(self.flow, self.stages, stale)
        stages = [stage for stage in self.flow.stages if stage.name in affected]
        ranges = spans(sorted({one.day for one in stale}))
        if any(self.fit_is_due(stage) for stage in stages):
            # the fit is made from all days, so that all go through a stage before any goes on
            return self._split(ranges, stages, tuple(stale))
        plans: list[Plan] = []
        for first, last in ranges:
            for start, end, names in _alike(days_from_to(first, last), affected):
                chosen = [stage for stage in stages if stage.name in names]
                plans += self._split([(start, end)], chosen, tuple(stale))
        return plans

    def _split(
        self,
        ranges: Sequence[tuple[date, date]],
        stages: Sequence[Stage],
        stale: tuple[Stale, ...] = (),
    ) -> list[Plan]:
        """One run a range; where a fit is due, all ranges up to it before any goes through it."""
        phases: list[list[Stage]] = [[]]
        for stage in stages:
            if len(ranges) > 1 and phases[-1] and self.fit_is_due(stage):
                phases.append([])
            phases[-1].append(stage)
        return [
            Plan(
                dataset=self.dataset.name,
                first=start,
                last=end,
                stages=tuple(phase),
                stale=tuple(one for one in stale if start <= one.day <= end),
                refit=start == ranges[0][0] and self._refits(phase),
                fits_on_others=place > 0,
            )
            for place, phase in enumerate(phases)
            for start, end in ranges
        ]

    def _refits(self, stages: Sequence[Stage]) -> bool:
        """Whether a run through some stages is to make fits anew."""
        fitted = [stage for stage in stages if stage.treatment.fit is not None]
        if not self.full_replace:
            return self.refit and bool(fitted)
        return self.refit or any(self._wants_fit(stage) for stage in fitted)

    def fit_is_due(self, stage: Stage) -> bool:
        """Tell whether a run through a stage would make its fit."""
        anew = self.refit or (self.full_replace and self._wants_fit(stage))
        return fit_is_due(stage, self._parameters(stage), self.dataset, refit=anew)

    def _wants_fit(self, stage: Stage) -> bool:
        return bool(getattr(self._parameters(stage), "fit", True))

    def _parameters(self, stage: Stage) -> Parameters:
        return self.flow.parameters(stage, self.dataset.name, self.params)


def _alike(
    days: Sequence[date], affected: Mapping[str, Collection[date]]
) -> list[tuple[date, date, set[str]]]:
    """Split contiguous days where other stages are affected, as after a run that was interrupted.

    Not where that makes many runs: to start one takes as long as to make some days again.
    """

    def stages_on(day: date) -> set[str]:
        return {name for name, its in affected.items() if day in its}

    groups = [(names, list(alike)) for names, alike in groupby(days, key=stages_on)]
    if len(groups) > _RUNS_A_RANGE:
        return [(days[0], days[-1], set[str]().union(*(names for names, _ in groups)))]
    return [(alike[0], alike[-1], names) for names, alike in groups]


def _check_asked(flow: Flow, first: date | None, last: date | None) -> None:
    for option, day in (("--from", first), ("--to", last)):
        if day and day < flow.start and option == "--to":
            raise FlowError(f"{option} {day} is before the flow's start {flow.start}")
        if day and day > today() and option == "--from":
            raise FlowError(f"{option} {day} is in the future")
