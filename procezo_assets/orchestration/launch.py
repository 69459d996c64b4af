"""Runs that commands ask for, on the instance that the Dagster UI shows."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg

# dg.execute_job makes runs that the UI cannot execute again: they name no code location
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin

from procezo_assets.datasets import Home, identifier
from procezo_assets.errors import HomeError
from procezo_assets.flows import Flow, Stage
from procezo_assets.garbage import little_garbage
from procezo_assets.orchestration.assets import FAULT, op_name, stage_key
from procezo_assets.orchestration.checks import check_warnings
from procezo_assets.orchestration.code_location import build_defs
from procezo_assets.orchestration.interrupts import no_interrupt_lost
from procezo_assets.orchestration.launcher import running_folder
from procezo_assets.orchestration.partitions import partition_tags, register_datasets
from procezo_assets.orchestration.printed import KEEP_PRINTED
from procezo_assets.orchestration.running import marked_as_running
from procezo_assets.orchestration.storage_faults import told_in_one_line, without_statement
from procezo_assets.settings import load_settings
from procezo_assets.templates import place

_POLL_SECONDS = 0.5

# what Dagster calls the code location of a module
LOCATION_NAME = "procezo_assets.definitions"


@dataclass(frozen=True)
class Request:
    """A run of contiguous days of one dataset.

    Args:
        flow: The flow.
        dataset: The dataset's name.
        first: First day.
        last: Last day.
        stages: Which stages.
        run_params: Parameters of this run, over all others.
        refit: Whether fits are made anew.
    """

    flow: Flow
    dataset: str
    first: date
    last: date
    stages: Sequence[Stage]
    run_params: Mapping[str, Any]
    refit: bool = False


@dataclass(frozen=True)
class StageSummary:
    """What a run did in one stage.

    Args:
        stage: The stage's name.
        partitions: How many partitions were materialized.
        files: Files written.
        rows: Rows that went out.
        removed: Values removed, by reason; rows by `<reason> rows`.
        seconds: Time spent, summed over partitions.
        tables: Tables and files that a loading stage filled.
        warnings: What a person should look at.
    """

    stage: str
    partitions: int
    files: int
    rows: int
    removed: dict[str, int]
    seconds: float
    tables: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Args:
        run_id: Dagster's id of the run.
        success: Whether every partition succeeded.
        failure: Why not, in one line.
        is_fault: Whether a fault stopped days, so that a fit made now would lack them.
        stages: What was done, by stage, in the order of the flow.
    """

    run_id: str
    success: bool
    failure: str
    stages: tuple[StageSummary, ...]
    is_fault: bool = False


def prepare_instance(home: Home) -> None:
    """Make the home Dagster's own home where DAGSTER_HOME names no other, with our settings."""
    given = load_settings().dagster_home
    if given is None:
        os.environ["DAGSTER_HOME"] = str(home.path)
    elif not given.is_absolute() or not given.is_dir():
        raise HomeError(
            f"DAGSTER_HOME {given} is not the absolute path of a folder",
            "make it, or unset the variable to use the home folder",
        )
    os.environ.setdefault(KEEP_PRINTED, "0")
    # Ctrl-C leaves SQLite connections to the garbage collector, which complains of its own thread
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    if Path(os.environ["DAGSTER_HOME"]) == home.path:
        place("dagster.yaml", home.path / "dagster.yaml")
        place("workspace.yaml", home.path / "workspace.yaml")  # what `dagster dev` looks for


def launch(
    home: Home, request: Request, on_progress: Callable[[int], None] | None = None
) -> Outcome:
    """Run some stages of contiguous days of a dataset, in this process.

    Args:
        home: The home folder; `prepare_instance` has been called.
        request: What to run.
        on_progress: Called now and then with the number of stage partitions done.

    Returns:
        How it ended; a failed run is no exception.

    Raises:
        StoreError: Where Dagster's storage fails while it is used.
        click.ClickException: Where it cannot be opened.
        KeyboardInterrupt: After Ctrl-C; the run is recorded as failed.
    """
    flow = request.flow
    flow_job_of.cache_clear()  # what was true for an earlier run need not be for this one
    job = dg.build_reconstructable_job(
        __name__,
        "flow_job_of",
        reconstructable_kwargs={"home": str(home.path), "flow": flow.name},
    )
    with told_in_one_line(), dg.DagsterInstance.get() as instance:
        register_datasets(home, [flow], instance)
        run = _create_run(instance, job, request)
        with (
            _polled(run.run_id, on_progress),
            marked_as_running(running_folder(), run.run_id),
            no_interrupt_lost(),
            little_garbage(),
        ):
            result = execute_run(job, run, instance)
        if _was_interrupted(result):
            raise KeyboardInterrupt
        return Outcome(
            run_id=result.run_id,
            success=result.success,
            failure="" if result.success else _failure(result),
            stages=_summaries(instance, result.run_id, flow),
            is_fault=not result.success and _is_fault(result),
        )


@lru_cache(maxsize=4)
def flow_job_of(home: str, flow: str) -> dg.JobDefinition:
    """Build a flow's job; Dagster calls it, several times a run, wherever it runs the job."""
    # its datasets are known since the run was created
    return build_defs(Home(Path(home)), register=False).resolve_job_def(identifier(flow))


def _create_run(
    instance: dg.DagsterInstance, job: ReconstructableJob, request: Request
) -> dg.DagsterRun:
    """Create the run as the UI would, so that it can be executed again from there."""
    flow = request.flow
    definition = job.get_definition()
    repository = RemoteRepositoryOrigin(
        code_location_origin=RegisteredCodeLocationOrigin(LOCATION_NAME),
        repository_name="__repository__",
    )
    return instance.create_run_for_job(
        job_def=definition,
        run_config=_run_config(request),
        tags={
            **definition.run_tags,
            **partition_tags(flow, request.dataset, request.first, request.last),
        },
        asset_selection={stage_key(flow, stage) for stage in request.stages},
        job_code_origin=job.get_python_origin(),
        remote_job_origin=repository.get_job_origin(definition.name),
    )


def _run_config(request: Request) -> dict[str, Any]:
    return {
        "ops": {
            op_name(request.flow): {
                "config": {
                    "params": dict(request.run_params),
                    "refit": request.refit,
                    # whoever started the command is there to start it again
                    "retry_after": [],
                }
            }
        },
        # the command says what happened; the whole log is in the UI
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }


def _was_interrupted(result: dg.JobExecutionResult) -> bool:
    """Whether Ctrl-C ended the run, which Dagster turns into the failure of a step."""
    return any(
        event.is_step_failure
        and event.step_failure_data.error is not None
        and event.step_failure_data.error.cls_name == dg.DagsterExecutionInterruptedError.__name__
        for event in result.all_events
    )


def _failure(result: dg.JobExecutionResult) -> str:
    for event in result.all_events:
        data = event.event_specific_data
        if event.is_step_failure and event.step_failure_data.user_failure_data:
            return str(event.step_failure_data.user_failure_data.description)
        error = getattr(data, "error", None)
        if event.is_step_failure and error is not None:
            return without_statement((error.cause or error).message)
    for event in result.all_events:
        if event.is_failure:
            return " ".join((event.message or "the run failed").split())
    return "the run failed"


def _is_fault(result: dg.JobExecutionResult) -> bool:
    """Whether a fault stopped days; a run that did not come to tell of them was stopped by one."""
    told = [
        event.step_failure_data.user_failure_data.metadata
        for event in result.all_events
        if event.is_step_failure and event.step_failure_data.user_failure_data
    ]
    return not told or any(FAULT not in one or bool(one[FAULT].value) for one in told)


def _summaries(instance: dg.DagsterInstance, run_id: str, flow: Flow) -> tuple[StageSummary, ...]:
    found: dict[str, list[Mapping[str, Any]]] = {stage.name: [] for stage in flow.stages}
    for record in _materializations(instance, run_id):
        materialization = record.asset_materialization
        if materialization is not None:
            values = {name: value.value for name, value in materialization.metadata.items()}
            found[materialization.asset_key.path[-1]].append(values)
    warnings = _warnings(instance, run_id)
    return tuple(
        _summary(name, entries, warnings.get(name, []))
        for name, entries in found.items()
        if entries
    )


def _warnings(instance: dg.DagsterInstance, run_id: str) -> dict[str, list[str]]:
    """What checks that warn have found, by stage."""
    warnings: dict[str, list[str]] = {}
    kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    for record in instance.all_logs(run_id, of_type=kind):
        verdict = record.dagster_event and record.dagster_event.asset_check_evaluation_data
        if verdict and not verdict.passed and verdict.severity == dg.AssetCheckSeverity.WARN:
            values = {name: value.value for name, value in verdict.metadata.items()}
            told = warnings.setdefault(verdict.asset_key.path[-1], [])
            told.extend(check_warnings(verdict.check_name, values))
    return warnings


def _summary(stage: str, entries: list[Mapping[str, Any]], found: Sequence[str]) -> StageSummary:
    removed: dict[str, int] = {}
    tables: dict[str, None] = {}
    warnings: dict[str, None] = dict.fromkeys(found)
    for entry in entries:
        counts = entry.get("removed", {})
        named = {f"{reason} rows": count for reason, count in counts.get("rows", {}).items()}
        for reason, count in {**named, **counts.get("values", {})}.items():
            removed[reason] = removed.get(reason, 0) + count
        tables.update(dict.fromkeys(_bullets(entry.get("tables", ""))))
        if "tables" in entry:  # what stages of files warn of is in their checks
            warnings.update(dict.fromkeys(_bullets(entry.get("warnings", ""))))
    return StageSummary(
        stage=stage,
        partitions=len(entries),
        files=sum(entry.get("files", 0) for entry in entries),
        rows=sum(entry.get("rows_out", 0) for entry in entries),
        removed=removed,
        seconds=sum(entry.get("seconds", 0) for entry in entries)
        + max(entry.get("seconds_of_run", 0) for entry in entries),
        tables=tuple(tables),
        warnings=tuple(warnings),
    )


def _bullets(text: str) -> list[str]:
    return [line.removeprefix("- ").strip("`") for line in text.splitlines()]


def _materializations(instance: dg.DagsterInstance, run_id: str) -> Iterator[dg.EventLogEntry]:
    yield from instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)


@contextmanager
def _polled(run_id: str, on_progress: Callable[[int], None] | None) -> Iterator[None]:
    """Follow the run from the event log, as any other process would."""
    if on_progress is None:
        yield
        return
    stop = threading.Event()

    def follow() -> None:
        # its own instance: SQLite's connections must be closed by the thread that opened them
        with dg.DagsterInstance.get() as instance:
            while not stop.wait(_POLL_SECONDS):
                on_progress(sum(1 for _ in _materializations(instance, run_id)))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
