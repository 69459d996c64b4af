"""Which partitions are missing or stale, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from procezo_assets.datasets import Dataset, PartKey, StoredFile, part_files, stage_days
from procezo_assets.errors import FitError, RawFileError
from procezo_assets.fits import current_fit
from procezo_assets.flows import Flow, Stage
from procezo_assets.parameters import parameters_hash
from procezo_assets.raw.source import RawSource
from procezo_assets.stored_stages import Files, Footer, FooterReader, KeptFooters, StageListing
from procezo_assets.stores.loads import load_digest, read_record
from procezo_assets.stores.parquet import Provenance, file_sha256, read_provenance
from procezo_assets.treatments.model import load_identity

# a day that is kept and has no files of `parse` is nothing that a run can work on
_NOTHING_KEPT = "nothing kept"


@dataclass(frozen=True)
class Stale:
    """A partition of a stage that a run would change.

    Args:
        stage: The stage's name.
        day: The UTC day.
        reason: Why, in a few words.
    """

    stage: str
    day: date
    reason: str


def stale_partitions(
    flow: Flow,
    dataset: Dataset,
    stages: Iterable[Stage],
    days: Iterable[date],
    *,
    source: RawSource | None = None,
    run_params: Mapping[str, Any] | None = None,
    read: bool = True,
    listing: StageListing | None = None,
    kept: KeptFooters | None = None,
) -> list[Stale]:
    """List what is missing or stale, day by day, each stage in the order of the flow.

    Args:
        flow: The flow.
        dataset: One of its datasets.
        stages: Which stages.
        days: Which days.
        source: The dataset's raw files, scanned, to compare raw lines too; without it only
            parameters, treatment versions, fits and input files are compared. Days that are kept
            because raw files are gone are not stale for `parse`.
        run_params: Parameters over all others.
        read: Whether the lines of days are read whose raw files have changed, to learn whether
            their rows have; else they count as stale.
        listing: The files of stages, where they have been listed.
        kept: Keeps what was read of them, where there is no `source` to do so.
    """
    days = sorted(days)
    listing = listing or StageListing(whole=False)
    checks = [
        _StageCheck(
            flow,
            dataset,
            stage,
            run_params,
            footers=FooterReader(
                stage.name, days, source or kept, inputs=stage.treatment.kind == "source"
            ),
        )
        for stage in stages
    ]
    found: list[Stale] = []
    if source is not None:
        source.load_digests(days)
    for day in days:
        for check in checks:
            reason = check.reason(day, listing, source, read=read)
            if reason == _NOTHING_KEPT:
                break
            if reason:
                found.append(Stale(check.stage.name, day, reason))
    for check in checks:
        check.footers.keep()
    return found


def why_kept(source: RawSource, day: date, folder: Path, parameters: str) -> str | None:
    """Why `parse` leaves a day as it is; None where it makes it from its raw rows.

    Args:
        source: The raw files, scanned.
        day: The UTC day.
        folder: The folder of `parse`.
        parameters: Hash of its effective parameters.
    """
    footers = {key: read_provenance(path) for key, path in part_files(folder, day).items()}
    return source.why_kept(day, _made_so(footers, parameters))


def _made_so(footers: Mapping[PartKey, Footer | Provenance | None], parameters: str) -> set[str]:
    """The devices whose files were made with the parameters of now."""
    return {
        key.device for key, footer in footers.items() if footer and footer.parameters == parameters
    }


def known_days(
    flow: Flow,
    dataset: Dataset,
    stages: Collection[Stage],
    listing: StageListing | None = None,
) -> list[date]:
    """List the days that stages, or the stages that they read, have files for or have loaded.

    Args:
        flow: The flow.
        dataset: One of its datasets.
        stages: Which stages.
        listing: Lists their files, where these are wanted as well.
    """
    days_of = listing.days if listing is not None else stage_days
    folders: set[str] = set()
    for stage in stages:
        folders.add(stage.output)
        writer = flow.input_of(stage)
        if writer is not None:
            folders.add(writer.output)
    days = {day for folder in folders for day in days_of(dataset.stage(folder))}
    for stage in stages:
        days |= read_record(dataset.stage(stage.output)).days.keys()
    return sorted(days)


def affected_days(
    flow: Flow, stages: Iterable[Stage], stale: Iterable[Stale]
) -> dict[str, set[date]]:
    """The days on which stages are stale or read what is, directly or not: by stage, inputs first.

    Args:
        flow: The flow.
        stages: Which stages to choose from.
        stale: What is stale.
    """
    affected: dict[str, set[date]] = {}
    for one in stale:
        affected.setdefault(one.stage, set()).add(one.day)
    for stage in flow.stages:  # inputs come first
        writer = flow.input_of(stage)
        if writer is not None and writer.name in affected:
            affected[stage.name] = affected.get(stage.name, set()) | affected[writer.name]
    chosen = {stage.name for stage in stages}
    return {
        stage.name: affected[stage.name]
        for stage in flow.stages
        if stage.name in chosen and stage.name in affected
    }


class _StageCheck:
    """Compares the files of one stage with what a run would write now."""

    def __init__(
        self,
        flow: Flow,
        dataset: Dataset,
        stage: Stage,
        run_params: Mapping[str, Any] | None,
        *,
        footers: FooterReader,
    ) -> None:
        self.stage = stage
        self.footers = footers
        self._folder = dataset.stage(stage.output)
        self._input = dataset.stage(stage.input)
        params = flow.parameters(stage, dataset.name, run_params)
        self._parameters = parameters_hash(params)
        self._fit: str | None = None
        self._fit_damaged = False
        if stage.treatment.fit is not None:
            try:
                fit = current_fit(self._folder)
                self._fit = fit.sha256 if fit else None
            except FitError:  # the run says why
                self._fit_damaged = True
        self._identity = load_identity(stage.treatment, params, dataset.home)
        self._record = read_record(self._folder)
        self._target_gone = any(
            not (dataset.home.path / name).exists() for name in self._record.targets
        )

    def reason(
        self, day: date, listing: StageListing, source: RawSource | None, *, read: bool
    ) -> str | None:
        """Why a partition would change; None where it would not."""
        if self.stage.treatment.kind == "load":
            return self._load_reason(day)
        files = listing.of(self._folder, day)
        footers = self.footers.read(day, files, listing.identity(self._folder, day))
        is_source = self.stage.treatment.kind == "source"
        if (
            is_source
            and source is not None
            and source.why_kept(day, _made_so(footers, self._parameters)) is not None
        ):
            return None if files else _NOTHING_KEPT
        for footer in footers.values():
            if reason := self._differs(footer):
                return reason
            if footer is not None and footer.parts != len(files):
                return "file missing"
        if is_source:
            return self._compare_lines(footers, source, day, read=read)
        return self._compare_inputs(footers, day, listing)

    def _load_reason(self, day: date) -> str | None:
        known = self._record.days.get(day)
        if known is None:
            return "not loaded" if part_files(self._input, day) else None
        if self._target_gone:
            return "what was loaded is gone"
        return None if known == load_digest(self._input, day, self._identity) else "input changed"

    def _differs(self, footer: Footer | None) -> str | None:
        if footer is None:
            return "unreadable"
        if footer.parameters != self._parameters:
            return "parameters changed"
        if (footer.treatment, footer.version) != (
            self.stage.treatment.name,
            self.stage.treatment.version,
        ):
            return "treatment changed"
        if self._fit_damaged:
            return "fit unreadable"
        if footer.fit != self._fit:
            return "fit changed"
        return None

    @staticmethod
    def _compare_lines(
        footers: Mapping[PartKey, Footer | None],
        source: RawSource | None,
        day: date,
        *,
        read: bool,
    ) -> str | None:
        if source is None:
            return None
        made_from = {key.device: footer.input for key, footer in footers.items() if footer}
        if not made_from:
            return "missing" if source.rows_of(day) else None
        if not read and not source.knows_digests(day):
            return "raw files changed"
        try:
            if made_from == source.day_digests(day):
                return None
        except RawFileError:
            # the run says why; a file that is being written is told of when it is still
            return "raw files cannot be read" if source.unreadable else None
        return "raw lines changed"

    def _compare_inputs(
        self, footers: Mapping[PartKey, Footer | None], day: date, listing: StageListing
    ) -> str | None:
        files, inputs = listing.of(self._folder, day), listing.of(self._input, day)
        if not files:
            return "missing" if inputs else None
        identity = listing.identity(self._input, day)
        before = self.footers.made_of(day)
        if before == identity:
            return None
        reason = (
            _compare_all(files, inputs, replaced=bool(before))
            if self.stage.treatment.kind == "folder"
            else _compare_parts(footers, files, inputs, replaced=bool(before))
        )
        if reason is None:
            self.footers.learn_made_of(day, inputs, identity)
        return reason


def _compare_all(files: Files, inputs: Files, *, replaced: bool) -> str | None:
    """Compare the files of a treatment that mixes what it is given."""
    oldest = min(file.mtime_ns for file in files.values())
    later = any(file.mtime_ns > oldest for file in inputs.values())
    return "input changed" if replaced or later else None


def _compare_parts(
    footers: Mapping[PartKey, Footer | None], files: Files, inputs: Files, *, replaced: bool
) -> str | None:
    """Compare files with those of their device and domain.

    What is seen for the first time is told by its time, as hashing all files of a large home takes
    hours: an input that is older than what was made of it has not changed since. What has changed
    since it was last seen is told by its content, as clocks may go back.
    """
    made = {(key.device, key.domain) for key in files}
    of_part: dict[tuple[str, str], list[StoredFile]] = {part: [] for part in made}
    digests: dict[tuple[str, str], set[str]] = {}
    left_out: list[StoredFile] = []
    for key, file in inputs.items():
        of_part.get((key.device, key.domain), left_out).append(file)
    for key, footer in footers.items():
        file, part = files[key], (key.device, key.domain)
        if not of_part[part]:
            return "input is gone"
        if not replaced and all(one.mtime_ns <= file.mtime_ns for one in of_part[part]):
            continue
        try:
            if part not in digests:
                digests[part] = {file_sha256(Path(one.path)) for one in of_part[part]}
        except OSError:
            return "input cannot be read"
        if _made_of(footer, file) not in digests[part]:
            return "input changed"
    # a part without a result may have been left out on purpose, unless it came later; nothing has
    # its digest, so that time alone tells
    newest = max(file.mtime_ns for file in files.values())
    later = any(file.mtime_ns > newest for file in left_out)
    return "input changed" if later else None


def _made_of(footer: Footer | None, file: StoredFile) -> str | None:
    if footer is not None and footer.input:
        return footer.input
    found = read_provenance(Path(file.path))
    return found.input if found is not None else None
