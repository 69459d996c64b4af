"""A flow as one multi-asset, whose specs are its stages.

One op works partition by partition because ranged runs of separate ops record every day of the
range as materialized even where one failed, and start no later stage for any day.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg
from pydantic import Field

from procezo_assets.datasets import Home
from procezo_assets.errors import FitWaitsError
from procezo_assets.flows import Flow, Stage
from procezo_assets.harmless import harmless
from procezo_assets.orchestration.checks import StageFindings, check_specs
from procezo_assets.orchestration.metadata import (
    PLOT_DAYS,
    Metadata,
    data_version,
    load_metadata,
    stage_metadata,
)
from procezo_assets.orchestration.partitions import flow_partitions, partition_key, partition_of
from procezo_assets.orchestration.raw_asset import raw_key
from procezo_assets.orchestration.storage_faults import patiently
from procezo_assets.parameters import parameters_hash, shown_json
from procezo_assets.pipeline import StageDone, StageKept
from procezo_assets.retries import WAITS, Waited, run_patiently
from procezo_assets.runs import DayFailed, Event, RawScanned, StageLoaded, Work

_KINDS = {
    "to_duckdb": {"duckdb"},
    "to_postgres": {"postgres"},
    "exportcsv": {"csv"},
    "exportnour": {"csv"},
}
_NAMED_FAILURES = 10

FAULT = "fault"
"""What a failed run tells of itself: whether a fit has to wait for days that it lacks."""


class FlowRunConfig(dg.Config):
    """What a run can be told."""

    params: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it
    refit: bool = False
    retry_after: list[float] = Field(
        default=list(WAITS),
        description="Seconds to wait before each further attempt at what a transient fault stops.",
    )


def stage_key(flow: Flow, stage: Stage) -> dg.AssetKey:
    """The asset key of a stage."""
    return dg.AssetKey([flow.name, stage.name])


def op_name(flow: Flow) -> str:
    """The name of the op that runs a flow's stages."""
    return f"{flow.identifier}_stages"


def flow_assets(flow: Flow, home: Home) -> dg.AssetsDefinition:
    """Make the assets of a flow.

    Args:
        flow: The flow.
        home: The home folder that its partitions live in.
    """

    @dg.multi_asset(
        name=op_name(flow),
        specs=[_spec(flow, stage) for stage in flow.stages],
        check_specs=[
            spec for stage in flow.stages for spec in check_specs(stage, stage_key(flow, stage))
        ],
        partitions_def=flow_partitions(flow),
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
    )
    def stages(
        context: dg.AssetExecutionContext, config: FlowRunConfig
    ) -> Iterator[dg.AssetCheckResult]:
        days = _asked_days(context)
        work = Work(
            flow=flow,
            stages=tuple(
                s for s in flow.stages if stage_key(flow, s) in context.selected_asset_keys
            ),
            days={home.existing_dataset(name): found for name, found in days.items()},
            run_params=config.params,
            refit=config.refit,
        )
        flow.check_run_params(config.params)
        reporter = _Reporter(context, work)
        for event in run_patiently(work, waits=config.retry_after):
            reporter.report(event)
        yield from reporter.check_results()
        reporter.raise_failures()

    return stages


def _spec(flow: Flow, stage: Stage) -> dg.AssetSpec:
    source = flow.input_of(stage)
    params = flow.parameters(stage, "")
    return dg.AssetSpec(
        stage_key(flow, stage),
        deps=[stage_key(flow, source) if source else raw_key(flow)],
        group_name=flow.identifier,
        description=stage.treatment.summary,
        kinds=_KINDS.get(stage.treatment.name, {"polars", "parquet"}),
        code_version=f"{stage.treatment.version}-{parameters_hash(params)[:12]}",
        skippable=True,
        metadata={
            "folder": f"datasets/<dataset>/{stage.output}",
            "treatment": stage.treatment.name,
            "version": stage.treatment.version,
            "parameters": dg.MetadataValue.md(f"```json\n{shown_json(params)}\n```"),
            "flow_file": flow.path.name,
            **{f"label/{name}": value or "yes" for name, value in flow.labels.items()},
        },
    )


def _asked_days(context: dg.AssetExecutionContext) -> dict[str, list[date]]:
    """The days of the run, by dataset.

    Raises:
        dagster.Failure: Where there are none: a reversed range, or no partition at all.
    """
    if not context.selected_asset_keys:
        raise dg.Failure(
            "checks are made when their stage is: materialize the stage instead",
            allow_retries=False,
        )
    keys = list(context.partition_keys) if context.has_partition_key_range else []
    if not keys and context.has_partition_key:
        keys = [context.partition_key]
    if not keys:
        raise dg.Failure(
            "the run names no partition: give one, or a range whose start is not after its end",
            allow_retries=False,
        )
    days: dict[str, list[date]] = defaultdict(list)
    for key in keys:
        dataset, day = partition_of(str(key))
        days[dataset].append(day)
    return {dataset: sorted(found) for dataset, found in days.items()}


class _Reporter:
    """Tells Dagster what happens in a run."""

    def __init__(self, context: dg.AssetExecutionContext, work: Work) -> None:
        self._context = context
        self._work = work
        self._findings: dict[str, StageFindings] = {s.name: StageFindings() for s in work.stages}
        self._failures: list[DayFailed] = []
        self._plot = max(len(days) for days in work.days.values()) <= PLOT_DAYS

    def report(self, event: Event | Waited) -> None:
        if isinstance(event, StageDone):
            self._findings[event.stage.name].enter(event)
            metadata = stage_metadata(event, plot=self._plot)
            self._materialized(event.stage, event.dataset, event.day, metadata, data_version(event))
        elif isinstance(event, StageLoaded):
            for day in event.result.rows:
                metadata = load_metadata(event, day)
                self._materialized(event.stage, event.result.dataset, day, metadata)
        elif isinstance(event, RawScanned):
            self._scanned(event)
        elif isinstance(event, StageKept):
            self._findings[event.stage.name].enter(event)
            self._context.log.warning(
                "%s %s is left as it is at %s: %s",
                event.dataset,
                event.day,
                event.stage.name,
                harmless(event.reason),
            )
        elif isinstance(event, Waited):
            self._context.log.warning(
                "trying %d days again in %g s: %s", event.days, event.seconds, event.reason
            )
        else:
            self._failed(event)

    def check_results(self) -> Iterator[dg.AssetCheckResult]:
        selected = self._context.selected_asset_check_keys
        for stage in self._work.stages:
            key = stage_key(self._work.flow, stage)
            if stage.treatment.kind == "load":
                continue
            for result in self._findings[stage.name].results(stage, key):
                if dg.AssetCheckKey(key, result.check_name or "") in selected:
                    yield result

    def raise_failures(self) -> None:
        """Fail the run, naming the partitions that failed and why."""
        if not self._failures:
            return
        # first what a fit waits for, then the days that wait with it
        failures = sorted(
            self._failures,
            key=lambda one: (isinstance(one.error, FitWaitsError), one.dataset, one.day),
        )
        alike: dict[tuple[str, str], list[DayFailed]] = defaultdict(list)
        for one in failures:
            alike[one.stage.name, one.reason].append(one)
        told = [
            f"{_days_text(group)} at {stage}: {reason}" for (stage, reason), group in alike.items()
        ]
        more = len(told) - _NAMED_FAILURES
        raise dg.Failure(
            "; ".join(told[:_NAMED_FAILURES]) + (f"; and {more} more" if more > 0 else ""),
            metadata={
                "failed": dg.MetadataValue.json(told),
                FAULT: any(one.is_fault and one.stage.treatment.kind != "load" for one in failures),
            },
            allow_retries=False,
        )

    def _materialized(
        self, stage: Stage, dataset: str, day: date, metadata: Metadata, version: str | None = None
    ) -> None:
        patiently(
            self._context.log_event,
            dg.AssetMaterialization(
                stage_key(self._work.flow, stage),
                partition=partition_key(dataset, day),
                metadata=metadata,
                tags={"dagster/data_version": version} if version else None,
            ),
        )

    def _scanned(self, event: RawScanned) -> None:
        source = event.source
        asked = set(self._work.days[source.dataset])
        self._findings[event.stage.name].enter_scan(event, asked)
        quarantined = sum(sum(one.quarantined.values()) for one in source.files.values())
        self._context.log.info(
            "%s: %d raw files, %d lines, %d quarantined, read in %.2f s",
            source.dataset.name,
            len(source.files),
            sum(one.lines for one in source.files.values()),
            quarantined,
            event.seconds,
        )
        for error in source.unreadable.values():
            self._context.log.error(str(error))

    def _failed(self, event: DayFailed) -> None:
        self._failures.append(event)
        if event.stage.name in self._findings:
            self._findings[event.stage.name].enter(event)
        self._context.log.error(
            "%s %s failed at %s: %s", event.dataset, event.day, event.stage.name, event.reason
        )
        if event.trace:
            self._context.log.debug(event.trace)


def _days_text(failures: list[DayFailed]) -> str:
    first = f"{failures[0].dataset} {failures[0].day}"
    return first if len(failures) == 1 else f"{first} and {len(failures) - 1} more days"
