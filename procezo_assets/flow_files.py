"""Flow files: read, checked as a whole, refused in one line where wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from procezo_assets.datasets import QUARANTINE_FOLDER, RAW_FOLDER, Home, check_dataset_name
from procezo_assets.errors import FlowError, ProcezoError, did_you_mean
from procezo_assets.flows import (
    RAW_STAGE,
    Arrivals,
    Flow,
    FlowSet,
    Schedule,
    Stage,
    check_flow_name,
)
from procezo_assets.parameters import parameter_names, validated
from procezo_assets.strict_json import read_small_file, strict_json
from procezo_assets.treatments.model import BUILT_IN, Treatment
from procezo_assets.treatments.parse import ParseParameters
from procezo_assets.treatments.registry import Registry

DEFAULT_START = date(2020, 1, 1)

_OUTPUT = re.compile(r"(?:[0-9]{1,9}_)?([A-Za-z][A-Za-z0-9_-]{0,99})")


class StepDeclaration(BaseModel):
    """A step as a flow file has it."""

    model_config = ConfigDict(extra="forbid")

    treatment: str
    name: str | None = None
    input: str | None = None
    output: str | None = None
    params: dict[str, Any] = {}


class SecretAddress(BaseModel):
    """An address kept in an environment variable."""

    model_config = ConfigDict(extra="forbid")

    env: str = Field(min_length=1)


class FlowDeclaration(BaseModel):
    """A flow file."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    description: str = ""
    dataset: str | None = None
    datasets: list[str] | None = None
    params: dict[str, Any] = {}
    start: date | None = None
    labels: dict[str, str] | list[str] = Field(default_factory=dict)
    schedule: Schedule | None = None
    settle_seconds: float = Field(Arrivals.settle_seconds, ge=0, le=86_400)
    refresh_minutes: float = Field(Arrivals.refresh_minutes, gt=0, le=10_080)
    removed: Literal["keep", "drop"] = Arrivals.removed
    lookback_days: int = Field(Arrivals.lookback_days, ge=0, le=3_660)
    notify: list[str | SecretAddress] = Field(default_factory=list)
    overrides: dict[str, dict[str, dict[str, Any]]] = {}
    steps: list[StepDeclaration] = Field(min_length=1)

    @field_validator("schedule", mode="before")
    @classmethod
    def _plain_cron(cls, value: object) -> object:
        return {"cron": value} if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _bounds_at_top(cls, values: object) -> object:
        """The established tool also takes `from` and `to` beside `params`."""
        if not isinstance(values, dict) or not isinstance(values.get("params", {}), dict):
            return values
        bounds = {key: values[key] for key in ("from", "to") if key in values}
        rest = {key: value for key, value in values.items() if key not in bounds}
        return {**rest, "params": {**bounds, **rest.get("params", {})}} if bounds else rest

    @model_validator(mode="after")
    def _names_datasets(self) -> FlowDeclaration:
        if (self.dataset is None) == (self.datasets is None):
            raise ValueError("a flow needs either 'dataset' or 'datasets'")
        return self


def load_flows(home: Home, registry: Registry) -> FlowSet:
    """Load all flow files of a home; a wrong one does not take the others down.

    Args:
        home: The home folder.
        registry: The treatments that steps can name.
    """
    flows: dict[str, Flow] = {}
    problems: dict[str, ProcezoError] = {}
    names = home.dataset_names()
    datasets: dict[str, list[str]] = {}
    for path in sorted(home.flows.glob("*.json")) if home.flows.is_dir() else []:
        try:
            flow = read_flow(path, registry)
            its = [name for name in names if flow.takes_dataset(name)]
            for other in flows.values():
                _refuse_collision(flow, its, other, datasets[other.name])
        except ProcezoError as error:
            problems[path.name] = error
        else:
            flows[flow.name], datasets[flow.name] = flow, its
    return FlowSet(flows, problems)


def read_flow(path: Path, registry: Registry) -> Flow:
    """Read one flow file.

    Args:
        path: The JSON file.
        registry: The treatments that steps can name.

    Raises:
        FlowError: Names file, step, parameter and the nearest valid name.
    """
    try:
        values = strict_json(read_small_file(path))
    except OSError as error:
        raise FlowError(f"{path.name} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise FlowError(f"{path.name} is no JSON: {error}", "correct it there") from None
    if not isinstance(values, dict):
        raise FlowError(f"{path.name} is no flow", 'start with {"name": …, "steps": […]}')
    declared = validated(FlowDeclaration, values, where=path.name)
    name = declared.name or path.stem
    check_flow_name(name, f"{path.name}: ")
    stages = _stages(declared, path, registry)
    flow = Flow(
        name=name,
        path=path,
        description=declared.description,
        patterns=_patterns(declared, path),
        stages=stages,
        start=declared.start or _start(declared, path),
        overrides=declared.overrides,
        labels=declared.labels
        if isinstance(declared.labels, dict)
        else dict.fromkeys(declared.labels, ""),
        schedule=declared.schedule,
        arrivals=Arrivals(
            settle_seconds=declared.settle_seconds,
            refresh_minutes=declared.refresh_minutes,
            removed=declared.removed,
            lookback_days=declared.lookback_days,
        ),
        notify=tuple(
            address if isinstance(address, str) else address.model_dump()
            for address in declared.notify
        ),
    )
    _check_parameters(flow, declared)
    return flow


def _patterns(declared: FlowDeclaration, path: Path) -> tuple[str, ...]:
    patterns = declared.datasets if declared.datasets is not None else [declared.dataset or ""]
    for pattern in patterns:
        try:
            check_dataset_name(re.sub(r"[*?]|\[[^]/]*\]", "x", pattern))
        except ProcezoError as error:
            raise FlowError(f"{path.name}: {error.problem}", error.hint) from None
    return tuple(patterns)


def _start(declared: FlowDeclaration, path: Path) -> date:
    text = declared.params.get("from") or ""
    if not text:
        return DEFAULT_START
    try:
        instant = datetime.fromisoformat(str(text))
        return (instant.astimezone(UTC) if instant.tzinfo else instant).date()
    except (ValueError, OverflowError):
        raise FlowError(f"{path.name}, params: 'from' {text!r} is no ISO 8601 time") from None


def _stages(declared: FlowDeclaration, path: Path, registry: Registry) -> tuple[Stage, ...]:
    stages: list[Stage] = []
    for number, step in enumerate(declared.steps, 1):
        where = f"{path.name}, step {number} ('{step.name or step.treatment}')"
        try:
            treatment = registry.get(step.treatment)
        except ProcezoError as error:
            raise FlowError(f"{where}: {error.problem}", error.hint) from None
        known = set(parameter_names(treatment.parameters))
        inherited = {name: value for name, value in declared.params.items() if name in known}
        output = step.output or treatment.output
        match = _OUTPUT.fullmatch(output)
        if not match or output in {RAW_FOLDER, QUARANTINE_FOLDER}:
            raise FlowError(
                f"{where}: output '{output}' cannot be a stage's folder", "write it as 20_clean"
            )
        if match.group(1) == RAW_STAGE:
            raise FlowError(
                f"{where}: output '{output}' would make a stage '{RAW_STAGE}', which is what the "
                "raw files are called",
                f"give it another name, such as {output}_read",
            )
        stage = Stage(
            name=match.group(1),
            label=step.name,
            treatment=treatment,
            input=step.input or _standard_input(treatment, stages),
            output=output,
            params={**inherited, **step.params},
        )
        _refuse_duplicate(stage, stages, where)
        stages.append(stage)
    return _ordered(stages, path)


def _standard_input(treatment: Treatment, earlier: list[Stage]) -> str:
    """The preferred standard input that an earlier step writes."""
    written = {stage.output for stage in earlier}
    for folder in treatment.inputs:
        if folder in written or folder == RAW_FOLDER:
            return folder
    if treatment.inputs:
        return treatment.inputs[0]
    return earlier[-1].output if earlier else RAW_FOLDER


def _refuse_duplicate(stage: Stage, earlier: Iterable[Stage], where: str) -> None:
    for other in earlier:
        if other.output == stage.output:
            raise FlowError(
                f"{where}: output '{stage.output}' is already written by step '{other.name}'",
                "give it an output of its own, such as 61_exportcsv_raw",
            )
        if other.name == stage.name:
            raise FlowError(
                f"{where}: outputs '{other.output}' and '{stage.output}' both make a stage "
                f"'{stage.name}'",
                f"give one output another name, such as {stage.output}_again",
            )
        if other.label and other.label == stage.label:
            raise FlowError(f"{where}: two steps have the name '{stage.label}'", "rename one")


def _ordered(stages: list[Stage], path: Path) -> tuple[Stage, ...]:
    """Check that the steps are a graph, and return them so that inputs come first."""
    writers = {stage.output: stage for stage in stages}
    for stage in stages:
        where = f"{path.name}, step '{stage.label or stage.name}'"
        if stage.treatment.kind == "source":
            if stage.input != RAW_FOLDER:
                raise FlowError(
                    f"{where}: treatment '{stage.treatment.name}' reads raw files",
                    f"its input is {RAW_FOLDER}",
                )
            continue
        writer = writers.get(stage.input)
        if writer is None:
            readable = [one.output for one in stages if one.treatment.kind != "load"]
            hint = did_you_mean(stage.input, set(readable) - {stage.output})
            raise FlowError(f"{where}: nothing writes its input '{stage.input}'", hint)
        if writer.treatment.kind == "load":
            raise FlowError(
                f"{where}: its input '{stage.input}' is what '{writer.name}' exports",
                f"take the input of '{writer.name}', {writer.input}",
            )
    sources = [stage.name for stage in stages if stage.treatment.kind == "source"]
    if len(sources) > 1:
        raise FlowError(
            f"{path.name}: steps {' and '.join(sources)} both read raw files",
            "keep one, or make two flows",
        )
    try:
        order = TopologicalSorter({stage.output: [stage.input] for stage in stages}).static_order()
        outputs = [folder for folder in order if folder in writers]
    except CycleError as error:
        raise FlowError(
            f"{path.name}: the steps go in a circle: {' → '.join(error.args[1])}",
            "let one of them read an earlier folder",
        ) from None
    positions = {stage.output: place for place, stage in enumerate(stages)}
    for stage in stages:
        if stage.input in positions and positions[stage.input] > positions[stage.output]:
            raise FlowError(
                f"{path.name}, step '{stage.label or stage.name}': its input '{stage.input}' is "
                "written by a later step",
                f"move '{writers[stage.input].name}' before it",
            )
    return tuple(sorted((writers[output] for output in outputs), key=stages.index))


def _check_parameters(flow: Flow, declared: FlowDeclaration) -> None:
    known = {name for stage in flow.stages for name in parameter_names(stage.treatment.parameters)}
    for name in declared.params:
        if name not in known:
            raise FlowError(
                f"{flow.path.name}, params: no step has a parameter '{name}'",
                did_you_mean(name, known),
            )
    for stage in flow.stages:
        _check_domains(flow, stage)
        _check_one_dataset(flow, stage)
    for pattern, by_step in flow.overrides.items():
        where = f"{flow.path.name}, overrides '{pattern}'"
        for step, params in by_step.items():
            try:
                stage = flow.stage(step)
            except FlowError as error:
                raise FlowError(f"{where}: {error.problem}", error.hint) from None
            validated(
                stage.treatment.parameters,
                {**stage.params, **params},
                where=f"{where}, step '{step}'",
            )


def _check_domains(flow: Flow, stage: Stage) -> None:
    """Refuse a misspelt domain, which would leave the real one untreated without a word."""
    params = flow.parameters(stage, "")
    source = flow.source
    upstream = list(flow.lineage(stage))
    if source is None or stage.treatment.domains_named is None or source not in upstream:
        return
    if any(one.treatment.origin != BUILT_IN for one in upstream):
        return  # a user's treatment may make domains of its own
    declared = flow.parameters(source, "")
    known = declared.domains if isinstance(declared, ParseParameters) else {}
    for name in stage.treatment.domains_named(params):
        if name not in known:
            raise FlowError(
                f"{flow.path.name}, step '{stage.label or stage.name}': no step makes a domain "
                f"'{name}'",
                did_you_mean(name, known),
            )


def _check_one_dataset(flow: Flow, stage: Stage) -> None:
    """Refuse a load that would mix datasets, where the flow takes more than one."""
    several = len(flow.patterns) > 1 or any(set("*?[") & set(name) for name in flow.patterns)
    if not several or stage.treatment.one_dataset_only is None:
        return
    problem = stage.treatment.one_dataset_only(flow.parameters(stage, ""))
    if problem:
        raise FlowError(
            f"{flow.path.name}, step '{stage.label or stage.name}': {problem}",
            f"the flow takes several datasets: {', '.join(flow.patterns)}",
        )


def _refuse_collision(
    flow: Flow, datasets: Sequence[str], other: Flow, others: Sequence[str]
) -> None:
    """Refuse two flows that cannot be told apart, or that write the same files.

    Args:
        flow: One flow.
        datasets: Its datasets on disk.
        other: The other flow.
        others: The other one's datasets on disk.
    """
    if other.identifier == flow.identifier:
        raise FlowError(
            f"{flow.path.name}: flow '{flow.name}' has the same name in Dagster as "
            f"'{other.name}' of {other.path.name} ({flow.identifier})",
            "rename one of them",
        )
    shared = {stage.output for stage in flow.stages} & {stage.output for stage in other.stages}
    if not shared:
        return
    named = [pattern for pattern in flow.patterns if other.takes_dataset(pattern)]
    named += [pattern for pattern in other.patterns if flow.takes_dataset(pattern)]
    common = named or sorted({*datasets} & {*others})
    if common:
        raise FlowError(
            f"{flow.path.name}: flow '{flow.name}' writes {', '.join(sorted(shared))} "
            f"of dataset '{common[0]}', which flow '{other.name}' ({other.path.name}) writes too",
            "one flow serves the first fill and the daily run: keep one of them "
            "(procezo flow NAME, then procezo flow NAME --last), or give this one its own "
            "output folders",
        )
