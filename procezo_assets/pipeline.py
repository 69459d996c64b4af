"""One partition through the stages of a flow, in memory, each stage checked and written when done.

What belongs here: what happens to one day of one dataset. What does not: which days and in which
order (`runs.py`), what a treatment does to a frame (`treatments/`), how files are written
(`stores/`), and Dagster (`orchestration/`).
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import polars as pl

from procezo_assets.datasets import RAW_FOLDER, Dataset, PartKey, part_files
from procezo_assets.errors import FitError, LedgerError, PartitionError, TreatmentError
from procezo_assets.fits import StoredFit
from procezo_assets.flows import Flow, Stage
from procezo_assets.freshness import why_kept
from procezo_assets.ledger import Ledger
from procezo_assets.parameters import Parameters, parameters_hash
from procezo_assets.parsing import field_warnings, parse_device_day
from procezo_assets.raw.device_day import DeviceDay
from procezo_assets.raw.files import FileCounts
from procezo_assets.raw.source import RawSource
from procezo_assets.schemas import StageRules, check_schema
from procezo_assets.stores.column_units import read_units
from procezo_assets.stores.parquet import (
    Counts,
    Provenance,
    WrittenFile,
    file_sha256,
    read_part,
    read_provenance,
    write_partition,
)
from procezo_assets.treatments.established import run_established
from procezo_assets.treatments.model import PartAbout

Frames = dict[PartKey, pl.DataFrame]
Units = dict[PartKey, dict[str, str]]


@dataclass(frozen=True)
class StageDone:
    """A stage of a partition, written.

    Args:
        stage: Which stage.
        dataset: The dataset's name.
        day: The UTC day.
        files: The files, as written.
        before: The frames it was given, where it was given frames.
        after: The frames it made.
        ledger: The counts.
        seconds: How long it took.
        raw_files: Of `parse`, the files that the rows are from.
        warnings: What a person should look at, a sentence each.
    """

    stage: Stage
    dataset: str
    day: date
    files: Mapping[PartKey, WrittenFile]
    before: Frames = field(repr=False)
    after: Frames = field(repr=False)
    ledger: Ledger
    seconds: float
    raw_files: tuple[FileCounts, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class StageKept:
    """A partition of `parse` that was left as it is, because raw files of its rows are gone.

    Args:
        stage: Which stage.
        dataset: The dataset's name.
        day: The UTC day.
        reason: Why, in a few words.
        files: How many files it has; the stages that follow go on from these.
    """

    stage: Stage
    dataset: str
    day: date
    reason: str
    files: int


@dataclass
class PartitionContext:
    """What the partitions of a run share: one flow, one dataset.

    Args:
        flow: The flow.
        dataset: The dataset.
        params: Effective parameters, by stage name.
        rules: What holds for each stage's files, by stage name.
        source: The raw files, scanned, where `parse` is run.
        fits: The fits that stages apply, by stage name, or why there is none.
    """

    flow: Flow
    dataset: Dataset
    params: dict[str, Parameters]
    rules: dict[str, StageRules]
    source: RawSource | None = None
    fits: dict[str, StoredFit | FitError] = field(default_factory=dict)

    def fit_of(self, stage: Stage) -> StoredFit | None:
        """The fit that a stage applies; None for treatments without one.

        Raises:
            FitError: Where it needs one that is not there.
        """
        fit = self.fits.get(stage.name)
        if isinstance(fit, FitError):
            raise fit
        return fit


@dataclass
class _Made:
    """What a stage makes of a partition, not yet written.

    Args:
        frames: The frames.
        inputs: Hash of what each was made from.
        counts: What became of that, with the first of the frames made from it.
    """

    frames: Frames = field(default_factory=dict)
    inputs: dict[PartKey, str] = field(default_factory=dict)
    counts: dict[PartKey, Counts] = field(default_factory=dict)


class Partition:
    """One day of a dataset, in memory between its stages.

    Args:
        context: What all days of the run share.
        day: The UTC day.
    """

    def __init__(self, context: PartitionContext, day: date) -> None:
        self.context = context
        self.day = day
        self.frames: dict[str, Frames] = {}
        self.hashes: dict[str, dict[PartKey, str]] = {}
        self.units: dict[str, Units] = {}

    def run(self, stage: Stage) -> StageDone | StageKept:
        """Run one stage, check what it made, and write it.

        Args:
            stage: A stage that makes files; its input has been run here, or is on disk.

        Raises:
            ProcezoError: Where the stage cannot be run; nothing was written.
        """
        started = time.perf_counter()
        context = self.context
        params = context.params[stage.name]
        ledger = Ledger()
        warnings: list[str] = []
        before: Frames = {}
        raw_files: tuple[FileCounts, ...] = ()
        units = self.units[stage.output] = {}
        if stage.treatment.kind == "source":
            parsed = self._parse(stage, ledger, warnings)
            if isinstance(parsed, StageKept):
                return parsed
            made, raw_files = parsed
        else:
            before, hashes = self._input(stage)
            if stage.treatment.kind == "folder":
                made = self._run_folder(stage, params, before, hashes, ledger)
            else:
                made = self._apply(
                    stage=stage,
                    params=params,
                    before=before,
                    hashes=hashes,
                    ledger=ledger,
                    warnings=warnings,
                )
        if not ledger.balanced:
            raise LedgerError(
                f"stage '{stage.name}': {ledger.imbalances[0]}",
                "nothing was written; correct the treatment, or report it where it is built in",
            )
        after = {key: _with_output_types(frame) for key, frame in made.frames.items()}
        for key, frame in after.items():
            check_schema(context.rules[stage.name], key, frame, day=self.day)
        fit = context.fit_of(stage)
        provenance = {
            key: Provenance(
                flow=context.flow.name,
                stage=stage.name,
                treatment=stage.treatment.name,
                version=stage.treatment.version,
                parameters=parameters_hash(params),
                input=made.inputs[key],
                parts=len(after),
                fit=fit.sha256 if fit else None,
                counts=made.counts.get(key),
            )
            for key in after
        }
        folder = context.dataset.stage(stage.output)
        files = write_partition(folder, self.day, after, provenance, units)
        self.frames[stage.output] = after
        self.hashes[stage.output] = {key: file.sha256 for key, file in files.items()}
        return StageDone(
            stage=stage,
            dataset=context.dataset.name,
            day=self.day,
            files=files,
            before=before,
            after=after,
            ledger=ledger,
            seconds=time.perf_counter() - started,
            raw_files=raw_files,
            warnings=tuple(warnings),
        )

    def keep_only(self, outputs: Collection[str]) -> None:
        """Let go of the frames of stages that nothing reads any more.

        Args:
            outputs: The output folders of those that are still read.
        """
        for output in self.frames.keys() - set(outputs):
            del self.frames[output]

    def _parse(
        self, stage: Stage, ledger: Ledger, warnings: list[str]
    ) -> tuple[_Made, tuple[FileCounts, ...]] | StageKept:
        source = self.context.source
        assert source is not None  # noqa: S101 - scanned before the first day
        written = part_files(self.context.dataset.stage(stage.output), self.day).values()
        if any(path.stat().st_mtime_ns >= source.scanned_ns for path in written):
            source.scan_changes()  # another run wrote this day since: it may know newer lines
        scanned = source.scanned_ns
        if (kept := self._kept(stage, source)) is not None:
            return kept
        device_days = source.read_day_anew(self.day)
        # where it scanned again, other files may be gone
        if source.scanned_ns != scanned and (kept := self._kept(stage, source)) is not None:
            return kept
        self._protect(stage, source, device_days)
        made = _Made()
        for device, device_day in device_days.items():
            warnings.extend(field_warnings(device, device_day))
            parsed = parse_device_day(device, device_day, stage.treatment, source.params, ledger)
            for domain, part in parsed.items():
                key = PartKey(device, domain)
                made.frames[key] = part.frame
                made.inputs[key] = device_day.digest
                made.counts[key] = part.counts
                self.units[stage.output][key] = part.units
        return made, tuple(source.files_of(self.day))

    def _kept(self, stage: Stage, source: RawSource) -> StageKept | None:
        """Leave a day alone that raw files are gone of, where the flow says so.

        Raises:
            RawFileError: Where a file of the day is there, but cannot be read.
        """
        folder = self.context.dataset.stage(stage.output)
        parameters = parameters_hash(self.context.params[stage.name])
        reason = why_kept(source, self.day, folder, parameters)
        if reason is None:
            if (unreadable := source.unreadable_on(self.day)) is not None:
                raise unreadable
            return None
        files = len(part_files(folder, self.day))
        return StageKept(stage, self.context.dataset.name, self.day, reason, files)

    def _protect(
        self, stage: Stage, source: RawSource, device_days: Mapping[str, DeviceDay]
    ) -> None:
        """Refuse to write without the rows that an unreadable file gave an earlier run."""
        for file, error in source.unreadable.items():
            rows = device_days.get(file.device)
            digest = rows.digest if rows else None
            written = part_files(self.context.dataset.stage(stage.output), self.day)
            for key, path in written.items():
                footer = read_provenance(path) if key.device == file.device else None
                if footer is not None and footer.input != digest:
                    raise error

    def _input(self, stage: Stage) -> tuple[Frames, dict[PartKey, str]]:
        """The input stage's frames: from memory, or else from its files."""
        if stage.input not in self.frames:
            folder = self.context.dataset.stage(stage.input)
            paths = part_files(folder, self.day)
            self.frames[stage.input] = {key: read_part(path) for key, path in paths.items()}
            self.hashes[stage.input] = {key: file_sha256(path) for key, path in paths.items()}
            self.units[stage.input] = {key: read_units(path) for key, path in paths.items()}
            writer = self.context.flow.input_of(stage)
            written_here = writer is not None and writer.name in self.context.params
            if not paths and not written_here and not any(folder.glob("domain=*")):
                raise PartitionError(
                    f"stage '{stage.name}' reads {folder}, which has no files of any day",
                    f"run the stage that writes {stage.input} first",
                )
        return self.frames[stage.input], self.hashes[stage.input]

    def _apply(
        self,
        *,
        stage: Stage,
        params: Parameters,
        before: Frames,
        hashes: Mapping[PartKey, str],
        ledger: Ledger,
        warnings: list[str],
    ) -> _Made:
        made = _Made()
        fit = self.context.fit_of(stage)
        for key, frame in before.items():
            about = PartAbout(key.device, key.domain, self.day, key.window)
            treated = stage.treatment.apply(frame, params, about, fit.content if fit else None)
            part = Ledger()
            part.enter(f"{key.device} {key.domain}", frame, treated)
            counts = part.counts()
            ledger.add(counts)
            ledger.imbalances += part.imbalances
            warnings.extend(treated.warnings)
            for place, (window, result) in enumerate(treated.frames.items()):
                name = PartKey(key.device, key.domain, window or key.window)
                if name in made.frames:
                    raise TreatmentError(
                        f"stage '{stage.name}' makes {name.file_name(self.day)} from several "
                        f"windows of {stage.input}",
                        "let it read a stage without windows",
                    )
                made.frames[name] = result
                made.inputs[name] = hashes[key]
                if place == 0:
                    made.counts[name] = counts
                self.units[stage.output][name] = stage.treatment.units_after(
                    params, key.domain, result.columns, self.units[stage.input].get(key, {})
                )
        return made

    def _run_folder(
        self,
        stage: Stage,
        params: Parameters,
        before: Frames,
        hashes: Mapping[PartKey, str],
        ledger: Ledger,
    ) -> _Made:
        """Run a user's treatment of the established form; it may mix the files it is given."""
        source = self.context.flow.input_of(stage)
        with tempfile.TemporaryDirectory(prefix="procezo-") as scratch:
            after = run_established(
                stage.treatment,
                before,
                params,
                dataset=self.context.dataset.name,
                step=source.name if source else RAW_FOLDER,
                day=self.day,
                scratch=Path(scratch),
            )
        ledger.enter_uncounted(before.values(), after.values())
        counts = {min(after, key=_sorting): ledger.counts()} if after else {}
        return _Made(after, dict.fromkeys(after, _joint_hash(hashes)), counts)


def _with_output_types(frame: pl.DataFrame) -> pl.DataFrame:
    """Bring what a user's treatment may hand back to the types that stages have."""
    casts: list[pl.Expr] = []
    for name, dtype in frame.schema.items():
        if name == "ts" and isinstance(dtype, pl.Datetime):
            casts.append(pl.col(name).cast(pl.Datetime("us", "UTC")))
        elif dtype.is_integer():
            casts.append(pl.col(name).cast(pl.Int64))
        elif dtype.is_float():
            # NaN would make every summary of the column NaN; a value that is none is null
            casts.append(pl.col(name).cast(pl.Float64).fill_nan(None))
    return frame.with_columns(casts)


def _sorting(key: PartKey) -> tuple[str, str, str]:
    return (key.device, key.domain, key.window or "")


def _joint_hash(hashes: Mapping[PartKey, str]) -> str:
    return hashlib.sha256("\n".join(hashes.values()).encode()).hexdigest()
