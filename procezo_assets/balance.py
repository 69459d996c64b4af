"""The conservation law of a dataset: where every line of its raw files and every value ended.

What belongs here: adding up what the catalog and the footers say, and comparing. What does not: the
counts of one partition while it is made (`ledger.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from procezo_assets.datasets import Dataset, part_files, stage_days
from procezo_assets.flows import Flow, Stage
from procezo_assets.freshness import stale_partitions, why_kept
from procezo_assets.ledger import Ledger
from procezo_assets.raw.catalog import Catalog
from procezo_assets.raw.files import FileCounts
from procezo_assets.raw.remarks import file_remarks
from procezo_assets.raw.source import RawSource
from procezo_assets.stores.parquet import read_provenance

DONE = "done"
NOT_RUN = "not run"
KEPT = "kept"
STALE = "stale"


@dataclass(frozen=True)
class FileBalance:
    """Where the lines of a raw file ended; each counts once.

    Args:
        path: Its name under `00_raw/`.
        device: The logger that wrote it.
        sha256: Hash of its bytes.
        size: Its bytes.
        lines: All its lines.
        header: Header lines.
        blank: Blank lines.
        rows: Lines that are rows.
        quarantined: Lines in quarantine.
        excluded: Rows outside the flow's own bounds.
        reasons: Lines in quarantine, by reason.
        first: First timestamp of a row.
        last: Last timestamp of a row.
        refused: Why the file is in quarantine as a whole, where it is.
        same_as: The file of the same device with the same content, whose rows are taken instead.
        removed: Since when it is known to be gone; None while it is there.
        remarks: What a person should know of its clock and its zone, a sentence each.
        balanced: Whether every line ended in exactly one place.
    """

    path: str
    device: str
    sha256: str
    size: int
    lines: int
    header: int
    blank: int
    rows: int
    quarantined: int
    excluded: int
    reasons: Mapping[str, int]
    first: datetime | None
    last: datetime | None
    refused: str | None
    same_as: str | None
    removed: datetime | None
    remarks: Sequence[str]
    balanced: bool


@dataclass(frozen=True)
class StageBalance:
    """What became of the rows and values of a day in one stage.

    Args:
        stage: The stage's name.
        state: `done`, `not run`, `kept`, or `stale`.
        why: Why it is not done.
        files: How many files it has.
        counts: Rows and values in, removed by reason (values by column too), added, and out.
    """

    stage: str
    state: str
    why: str
    files: int
    counts: Mapping[str, Any]


@dataclass(frozen=True)
class DayBalance:
    """A UTC day from its raw rows to the last stage.

    Args:
        day: Which day.
        state: That of the stage that reads raw files.
        raw_rows: Rows of raw files that are there.
        repeated: Of those, rows of files that are the same as another of their device.
        parsed: Rows that `parse` has, which are the others; None where it has not run.
        stages: The stages, in the order of the flow.
    """

    day: date
    state: str
    raw_rows: int
    repeated: int
    parsed: int | None
    stages: Sequence[StageBalance]


@dataclass(frozen=True)
class Balance:
    """The ledger of a dataset as one flow reads it.

    Args:
        flow: The flow's name.
        dataset: The dataset's name.
        files: Its raw files, gone ones included.
        days: Its days.
        problems: Where the law does not hold, a sentence each.
    """

    flow: str
    dataset: str
    files: Sequence[FileBalance]
    days: Sequence[DayBalance]
    problems: list[str] = field(default_factory=list)

    @property
    def balanced(self) -> bool:
        """Whether the law holds everywhere."""
        return not self.problems


def dataset_balance(
    flow: Flow, dataset: Dataset, source: RawSource, *, day: date | None = None
) -> Balance:
    """Add up what became of the lines of a dataset's raw files.

    Args:
        flow: The flow.
        dataset: One of its datasets.
        source: Its raw files as the flow reads them, scanned.
        day: The only day that is asked for; files are those with rows of it.
    """
    days = {*source.days, *source.kept_days()}
    if flow.source is not None:
        days |= set(stage_days(dataset.stage(flow.source.output)))
    if day is not None:
        days &= {day}
    missing = source.missing
    files = [
        _file_balance(counted, missing.get(name)) for name, counted in source.all_files(day).items()
    ]
    made = _Days(flow, dataset, source, sorted(days))
    balance = Balance(flow.name, dataset.name, files, list(made.balances()))
    balance.problems.extend(_file_problems(files, source))
    for one in balance.days:
        balance.problems.extend(_day_problems(flow, one))
    return balance


def _file_balance(counted: FileCounts, removed: datetime | None) -> FileBalance:
    return FileBalance(
        path=counted.file.name,
        device=counted.file.device,
        sha256=counted.sha256,
        size=counted.size,
        lines=counted.lines,
        header=counted.header,
        blank=counted.blank,
        rows=counted.rows,
        quarantined=sum(counted.quarantined.values()),
        excluded=counted.excluded,
        reasons=counted.quarantined,
        first=counted.first,
        last=counted.last,
        refused=counted.refused,
        same_as=counted.same_as,
        removed=removed,
        remarks=file_remarks(counted),
        balanced=counted.balanced and sum(counted.days.values()) == counted.rows,
    )


class _Days:
    """The days of a dataset, each from its raw rows to its last stage."""

    def __init__(
        self, flow: Flow, dataset: Dataset, source: RawSource, days: Sequence[date]
    ) -> None:
        self.flow = flow
        self.dataset = dataset
        self.source = source
        self.days = days
        self.stages = [stage for stage in flow.stages if stage.treatment.kind != "load"]
        self.stale = {
            (one.stage, one.day): one.reason
            for one in stale_partitions(flow, dataset, self.stages, days, source=source)
        }
        self.counts = {
            stage.name: partition_counts(source.catalog, dataset, stage, days)
            for stage in self.stages
        }

    def balances(self) -> Iterator[DayBalance]:
        for day in self.days:
            stages = {stage.name: self._stage(stage, day) for stage in self.stages}
            parsed = stages[self.flow.source.name] if self.flow.source is not None else None
            rows = self.source.rows_of(day, repeated=True)
            yield DayBalance(
                day=day,
                state=parsed.state if parsed else DONE,
                raw_rows=rows,
                repeated=rows - self.source.rows_of(day),
                parsed=parsed.counts.get("rows_in") if parsed else None,
                stages=list(stages.values()),
            )

    def _stage(self, stage: Stage, day: date) -> StageBalance:
        files, counts = self.counts[stage.name][day]
        why = self.stale.get((stage.name, day), "")
        state = (STALE if files else NOT_RUN) if why else DONE
        if stage.treatment.kind == "source":
            parameters = self.flow.parameters_hash(stage, self.dataset.name)
            folder = self.dataset.stage(stage.output)
            kept = why_kept(self.source, day, folder, parameters)
            if kept is not None:
                state, why = KEPT, kept
        return StageBalance(stage.name, state, why, files, counts)


def partition_counts(
    catalog: Catalog, dataset: Dataset, stage: Stage, days: Iterable[date]
) -> dict[date, tuple[int, dict[str, Any]]]:
    """How many files a stage has of each day, and the counts that their footers hold.

    Args:
        catalog: Keeps what was added up, for files that have not changed since.
        dataset: The dataset.
        stage: A stage that makes files.
        days: Which days.
    """
    folder = dataset.stage(stage.output)
    known = catalog.partitions(stage.name)
    counts: dict[date, tuple[int, dict[str, Any]]] = {}
    learned: dict[date, tuple[str, dict[str, Any]]] = {}
    for day in days:
        files = part_files(folder, day)
        stats = [
            (path.name, (about := path.stat()).st_size, about.st_mtime_ns)
            for path in files.values()
        ]
        identity = hashlib.sha256(repr(stats).encode()).hexdigest()
        before = known.get(day)
        if before is not None and before[0] == identity:
            counts[day] = (len(files), before[1])
            continue
        added = Ledger()
        devices: set[str] = set()
        for key, path in files.items():
            footer = read_provenance(path)
            if footer is None or footer.counts is None:
                continue
            part = footer.counts.copy()
            if stage.treatment.kind == "source" and key.device in devices:
                part["rows_in"] = part["rows_out"] = 0  # each domain has all rows of the device
            devices.add(key.device)
            added.add(part)
        # files that an earlier version wrote hold no counts
        counts[day] = (len(files), dict(added.counts()) if devices else {})
        learned[day] = (identity, counts[day][1])
    catalog.store_partitions(stage.name, learned)
    return counts


def _file_problems(files: Sequence[FileBalance], source: RawSource) -> list[str]:
    problems = [
        f"raw file {file.path} has {file.lines} lines, of which "
        f"{file.rows + file.quarantined + file.excluded + file.blank + file.header} are accounted "
        "for"
        for file in files
        if not file.balanced
    ]
    return problems + [error.problem for error in source.unreadable.values()]


def _day_problems(flow: Flow, day: DayBalance) -> list[str]:
    problems: list[str] = []
    stages = {one.stage: one for one in day.stages}
    for one in day.stages:
        counts = one.counts
        if not counts or one.state not in {DONE, KEPT}:
            continue
        accounted = (
            counts["rows_in"]
            - sum(counts["rows_removed"].values())
            + sum(counts["rows_added"].values())
        )
        if accounted != counts["rows_out"]:
            problems.append(
                f"{day.day}, {one.stage}: {counts['rows_out']} rows out, {accounted} accounted for"
            )
    rows = day.raw_rows - day.repeated
    source = flow.source
    if source is not None and stages[source.name].state == DONE and day.parsed not in {None, rows}:
        problems.append(f"{day.day}: raw files have {rows} rows, {source.name} has {day.parsed}")
    return problems
