"""Verification: the files of a flow made again from the raw files, and compared byte by byte.

What belongs here: making them again in a scratch home that shares nothing with the real one but the
raw files, the fits and the dialect. What does not: what differs in a file (`comparison.py`).
"""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from procezo_assets.comparison import compare_files
from procezo_assets.dataset_use import in_use
from procezo_assets.datasets import Dataset, Home, part_files, stage_days
from procezo_assets.day_lock import day_in_turn
from procezo_assets.errors import FlowError, RawFileError
from procezo_assets.fits import has_fit
from procezo_assets.flows import Flow, Stage
from procezo_assets.freshness import known_days
from procezo_assets.raw.catalog import Catalog
from procezo_assets.raw.catalog_store import CatalogStore
from procezo_assets.raw.fixed import DIALECT_FILE
from procezo_assets.raw.source import RawSource
from procezo_assets.runs import DayFailed, Work, raw_source, run, today
from procezo_assets.scratch import scratch_folder
from procezo_assets.stores.parquet import read_provenance

# days made again before they are compared and removed: the scratch folder never holds more
_DAYS_AT_ONCE = 31


@dataclass(frozen=True)
class Difference:
    """Something that is not what the raw files and the flow make.

    Args:
        dataset: The dataset's name.
        stage: The stage's name.
        day: The UTC day.
        file: The file, relative to the dataset's folder; empty where it is about the whole day.
        what: What differs.
        remedy: What to do.
    """

    dataset: str
    stage: str
    day: date
    file: str
    what: str
    remedy: str


@dataclass
class Compared:
    """What was compared of a stage.

    Args:
        days: Days with files.
        files: Files that there are or should be.
        different: Files that are not what they should be.
    """

    days: int = 0
    files: int = 0
    different: int = 0


@dataclass
class Verified:
    """What came of verifying a dataset.

    Args:
        days: The days that were compared, sorted.
        stages: What was compared, by stage, in the order of the flow.
        differences: How many there are.
        first: The first one, in the order of days, then of stages.
        unverifiable: Why days cannot be made again.
        left_out: Stages that were not compared, with the reason.
    """

    days: list[date]
    stages: dict[str, Compared]
    differences: int = 0
    first: Difference | None = None
    unverifiable: dict[date, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def identical(self) -> bool | None:
        """Whether nothing differs; None where nothing could be compared."""
        if self.first is None and not any(stage.files for stage in self.stages.values()):
            return None
        return self.first is None

    def add(self, difference: Difference) -> None:
        """Count a difference."""
        self.differences += 1
        self.first = self.first or difference


@contextmanager
def verification(
    flow: Flow, dataset: Dataset, *, first: date | None = None, last: date | None = None
) -> Iterator[Verification]:
    """Read the raw files of a dataset anew and find the days to verify.

    Nothing in the home changes. The scratch home is gone when the block ends, however it ends.

    Args:
        flow: The flow.
        dataset: One of its datasets.
        first: The first day to verify; None is the first there is.
        last: The last one, included; None is the last there is.

    Raises:
        ProcezoError: Where there is nothing to make the files from.
    """
    with (
        in_use(dataset),
        scratch_folder(dataset.home.state / "scratch", "verify") as folder,
    ):
        yield Verification(flow, dataset, Home(folder), first=first, last=last)


class Verification:
    """A dataset's files, to be made again and compared.

    Args:
        flow: The flow.
        dataset: The dataset.
        scratch: A home that goes afterwards.
        first: The first day to verify.
        last: The last one.
    """

    def __init__(
        self, flow: Flow, dataset: Dataset, scratch: Home, *, first: date | None, last: date | None
    ) -> None:
        self.flow = flow
        self.dataset = dataset
        self.copy = scratch.dataset(dataset.name)
        self.started_ns = time.time_ns()
        files = [stage for stage in flow.stages if stage.treatment.kind != "load"]
        self.left_out = self._without_fit(files)
        self.stages = [stage for stage in files if stage.name not in self.left_out]
        self._copy_inputs(files)
        source = self._scan()
        known = {*known_days(flow, dataset, files)}
        if known and not source.files and not source.unreadable:
            raise RawFileError(
                f"{dataset.raw} is empty: {len(known)} days cannot be made again",
                "mount its disk or bring the files back",
            )
        start = max(first or flow.start, flow.start)
        end = min(last or today(), today())
        asked = [day for day in sorted({*known, *source.days}) if start <= day <= end]
        self.unverifiable = self._gone(source, asked)
        self.days = [day for day in asked if day not in self.unverifiable]

    @property
    def steps(self) -> int:
        """How many stages of days are to be made."""
        return len(self.days) * len(self.stages)

    def run(self, advance: Callable[[int], None] | None = None) -> Verified:
        """Make the days again, a month at a time, and compare them.

        Args:
            advance: Told of how many stages of days are made.
        """
        verified = Verified(
            self.days,
            {stage.name: Compared() for stage in self.stages},
            unverifiable=self.unverifiable,
            left_out=self.left_out,
        )
        made = 0
        for start in range(0, len(self.days), _DAYS_AT_ONCE):
            days = self.days[start : start + _DAYS_AT_ONCE]
            failed: dict[date, DayFailed] = {}
            for told in self._make(days):
                if isinstance(told, DayFailed):
                    failed[told.day] = told
                made += 1
                if advance is not None:
                    advance(min(made, self.steps))
            for day in days:
                self._compare_day(day, failed.get(day), verified)
            self._clear()
        return verified

    def _make(self, days: list[date]) -> Iterator[object]:
        work = Work(self.flow, tuple(self.stages), {self.copy: days})
        # closed with this generator, so that no worker writes while the scratch home is removed
        with closing(run(work)) as events:  # type: ignore[type-var]
            for event in events:
                if getattr(event, "day", None) is not None:
                    yield event

    def _compare_day(self, day: date, failed: DayFailed | None, verified: Verified) -> None:
        """Compare a day while no run writes it; one written meanwhile is made again first.

        Raises:
            TransientStoreError: Where a run works on it for very long.
        """
        with day_in_turn(self.dataset, day):
            if self._written_meanwhile(day):
                failed = next((e for e in self._make([day]) if isinstance(e, DayFailed)), None)
            for stage in self.stages:
                if failed is not None and stage == failed.stage:
                    verified.add(
                        Difference(
                            self.dataset.name,
                            stage.name,
                            day,
                            "",
                            f"cannot be made again: {failed.reason}",
                            "",
                        )
                    )
                    return
                self._compare_stage(stage, day, verified)

    def _compare_stage(self, stage: Stage, day: date, verified: Verified) -> None:
        kept = part_files(self.dataset.stage(stage.output), day)
        made = part_files(self.copy.stage(stage.output), day)
        compared = verified.stages[stage.name]
        compared.days += bool(kept or made)
        for key in sorted({*kept, *made}, key=lambda key: tuple(part or "" for part in key)):
            compared.files += 1
            found = compare_files(
                kept.get(key), made.get(key), is_source=stage.treatment.kind == "source"
            )
            if found is None:
                continue
            compared.different += 1
            folder = Path(stage.output)
            verified.add(
                Difference(
                    self.dataset.name,
                    stage.name,
                    day,
                    key.path(folder, day).as_posix(),
                    found.what,
                    self._remedy(day, stale=found.stale),
                )
            )

    def _remedy(self, day: date, *, stale: bool) -> str:
        command = f"procezo flow {self.flow.name} --dataset {shlex.quote(self.dataset.name)}"
        if stale:
            return f"it is stale; make it again with: {command} --last"
        return (
            "it was altered after it was written, or its input was; make it again with: "
            f"{command} --from {day} --to {day}"
        )

    def _written_meanwhile(self, day: date) -> bool:
        return any(
            path.stat().st_mtime_ns >= self.started_ns
            for stage in self.stages
            for path in part_files(self.dataset.stage(stage.output), day).values()
        )

    def _without_fit(self, stages: list[Stage]) -> dict[str, str]:
        """The stages that lack their fit, and those made from them: a fit is never made here."""
        left_out: dict[str, str] = {}
        for stage in stages:
            if stage.treatment.fit is not None and not has_fit(self.dataset.stage(stage.output)):
                left_out[stage.name] = "it has no fit"
                continue
            above = self.flow.input_of(stage)
            if above is not None and above.name in left_out:
                left_out[stage.name] = f"it reads '{above.name}'"
        return left_out

    def _copy_inputs(self, stages: list[Stage]) -> None:
        """Give the copy what its files are made from: raw files, fits, the dialect."""
        self.copy.path.mkdir(parents=True)
        self.copy.raw.symlink_to(self.dataset.raw.resolve(), target_is_directory=True)
        for stage in stages:
            folder, copied = self.dataset.stage(stage.output), self.copy.stage(stage.output)
            if stage.treatment.fit is not None and has_fit(folder):
                shutil.copytree(folder / "fits", copied / "fits")
            if (folder / DIALECT_FILE).is_file():
                copied.mkdir(parents=True, exist_ok=True)
                shutil.copy2(folder / DIALECT_FILE, copied / DIALECT_FILE)

    def _scan(self) -> RawSource:
        source = raw_source(self.flow, self.copy)
        if source is None:
            raise FlowError(
                f"flow '{self.flow.name}' has no step that reads raw files",
                "only flows that begin with parse can be verified",
            )
        source.scan_changes()
        return source

    def _gone(self, source: RawSource, days: list[date]) -> dict[date, str]:
        """The days that keep rows of raw files that are gone, where the flow says to keep them."""
        stage = self.flow.source
        if stage is None or self.flow.arrivals.removed != "keep":
            return {}
        folder = self.dataset.stage(stage.output)
        kept = sorted(set(stage_days(folder)).intersection(days))
        remembered = self._remembered(source, kept)
        gone: dict[date, str] = {}
        for day in kept:
            names = remembered.get(day)
            files = part_files(folder, day)
            if not names and _as_written(files.values()):
                # a catalog may have been lost, but a device without any raw row tells as well
                devices = {key.device for key in files}
                names = sorted(devices - {one.file.device for one in source.files_of(day)})
            if names and source.unreadable_on(day) is None:
                gone[day] = f"raw file gone ({', '.join(names)})"
        return gone

    def _remembered(self, source: RawSource, days: list[date]) -> dict[date, list[str]]:
        """The files that the catalog knows and that are gone, by day; moved ones are not gone."""
        path = self.dataset.home.state / "catalog.sqlite"
        if not path.is_file():
            return {}
        catalog = Catalog(CatalogStore(path), self.flow.name, self.dataset.name)
        there = {(one.file.device, one.content) for one in source.files.values()}
        names = {*source.files, *(file.name for file in source.unreadable)}
        return {
            day: gone
            for day, files in catalog.files_by_day(days).items()
            if (
                gone := [
                    file.path
                    for file in files
                    if file.path not in names and (file.device, file.content) not in there
                ]
            )
        }

    def _clear(self) -> None:
        """Remove the files that were compared, and keep fits and the dialect."""
        for stage in self.stages:
            for folder in self.copy.stage(stage.output).glob("domain=*"):
                shutil.rmtree(folder)


def _as_written(paths: Collection[Path]) -> bool:
    """Whether the files of a day are as many as the run that wrote them wrote, none added."""
    footers = [read_provenance(path) for path in paths]
    return all(footer is not None and footer.parts == len(paths) for footer in footers)
