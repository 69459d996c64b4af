"""Flows and stages: which datasets, which treatments, which parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from procezo_assets.datasets import Home, identifier, matches_pattern
from procezo_assets.errors import FlowError, ParameterError, ProcezoError, did_you_mean
from procezo_assets.parameters import (
    Parameters,
    ZoneName,
    parameter_names,
    parameters_hash,
    plain_secrets,
    validated,
)
from procezo_assets.treatments.model import Treatment

# the name of the raw files among the stages
RAW_STAGE = "raw"

LONGEST_FLOW_NAME = 100
_FLOW_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{LONGEST_FLOW_NAME - 1}}}")

_CRON_FIELDS = 5


def check_flow_name(name: str, where: str = "") -> None:
    """Refuse what cannot be a flow's name.

    Args:
        name: The name.
        where: Names the file, for the error.

    Raises:
        FlowError: Where it cannot.
    """
    if not _FLOW_NAME.fullmatch(name):
        raise FlowError(
            f"{where}'{name}' cannot be a flow's name",
            f"use letters, digits, '_' and '-', at most {LONGEST_FLOW_NAME}",
        )


class Schedule(BaseModel):
    """When a flow runs by itself."""

    model_config = ConfigDict(extra="forbid")

    cron: str
    timezone: ZoneName = "UTC"

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        # only flows with a schedule need it
        from croniter import CroniterBadDateError, croniter  # noqa: PLC0415

        fields = _CRON_FIELDS if not value.startswith("@") else 1
        if len(value.split()) != fields or not croniter.is_valid(value):
            raise ValueError(f"'{value}' is no cron expression (such as '0 3 * * *')")
        try:
            croniter(value, datetime.now(UTC)).get_next()
        except CroniterBadDateError:
            raise ValueError(f"'{value}' never comes (such as '0 3 * * *')") from None
        return value


@dataclass(frozen=True)
class Arrivals:
    """How a flow takes raw files that come, grow and go.

    Args:
        settle_seconds: How long a file must have been still before it is read.
        refresh_minutes: How often, at most, a file that never is still is read.
        removed: What becomes of the days of a raw file that is gone: `keep` leaves them as they
            are until it is back, `drop` makes them again without it.
        lookback_days: How many last days a scheduled run makes again, besides what is new or
            failed.
    """

    settle_seconds: float = 2.0
    refresh_minutes: float = 10.0
    removed: Literal["keep", "drop"] = "keep"
    lookback_days: int = 0


@dataclass(frozen=True)
class Stage:
    """One step of a flow, ready to run.

    Args:
        name: The output folder without its number; the asset's name.
        label: The step's own `name`, where it has one.
        treatment: What it does.
        input: The folder it reads.
        output: The folder it writes.
        params: What the step says, over what the flow says.
    """

    name: str
    label: str | None
    treatment: Treatment
    input: str
    output: str
    params: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Flow:
    """A recipe: its datasets and its stages.

    Args:
        name: The flow's name.
        path: The file it comes from.
        description: What it is for.
        patterns: Names or patterns of its datasets.
        stages: In an order in which every stage comes after its input.
        start: The first day.
        params: What applies to every stage that has such a parameter.
        overrides: Parameters by dataset pattern and stage name.
        labels: What people filter by.
        schedule: When it runs by itself.
        arrivals: How it takes raw files that come, grow and go.
        notify: Apprise addresses that are told of failed runs and of checks that turn red; one
            in the environment is named as `{"env": NAME}`.
    """

    name: str
    path: Path
    description: str
    patterns: tuple[str, ...]
    stages: tuple[Stage, ...]
    start: date
    overrides: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    schedule: Schedule | None = None
    arrivals: Arrivals = Arrivals()
    notify: tuple[str | Mapping[str, str], ...] = field(default=(), repr=False)

    @property
    def identifier(self) -> str:
        """The name as Dagster's jobs and groups and database schemas have it."""
        return identifier(self.name)

    @property
    def source(self) -> Stage | None:
        """The stage that reads raw files, if the flow has one."""
        return next((stage for stage in self.stages if stage.treatment.kind == "source"), None)

    def takes_dataset(self, dataset: str) -> bool:
        """Tell whether a dataset is one of the flow's."""
        return any(matches_pattern(dataset, pattern) for pattern in self.patterns)

    def datasets(self, home: Home) -> list[str]:
        """List the flow's datasets on disk."""
        return home.matching_datasets(self.patterns)

    def stage(self, text: str) -> Stage:
        """Find a stage by its name, its step's `name`, its output folder, or its treatment.

        Raises:
            FlowError: Where none or several are meant.
        """
        for names in (
            {stage.name: stage for stage in self.stages},
            {stage.label: stage for stage in self.stages},
            {stage.output: stage for stage in self.stages},
        ):
            if text in names:
                return names[text]
        by_treatment = [stage for stage in self.stages if stage.treatment.name == text]
        if len(by_treatment) == 1:
            return by_treatment[0]
        stages = [stage.name for stage in self.stages]
        if by_treatment:
            several = ", ".join(stage.name for stage in by_treatment)
            raise FlowError(
                f"flow '{self.name}' has several steps with treatment '{text}'",
                f"name one: {several}",
            )
        raise FlowError(f"flow '{self.name}' has no step '{text}'", did_you_mean(text, stages))

    def between(self, first: str | None, last: str | None) -> list[Stage]:
        """List the stages from one to another, in the order of the flow.

        Raises:
            FlowError: Where a name is wrong or the first comes after the last.
        """
        start = self.stages.index(self.stage(first)) if first else 0
        end = self.stages.index(self.stage(last)) if last else len(self.stages) - 1
        if start > end:
            raise FlowError(f"step '{first}' comes after step '{last}' in flow '{self.name}'")
        return list(self.stages[start : end + 1])

    def input_of(self, stage: Stage) -> Stage | None:
        """The stage that writes a stage's input; None where it reads raw files."""
        return next((other for other in self.stages if other.output == stage.input), None)

    def lineage(self, stage: Stage) -> Iterator[Stage]:
        """Go from a stage up to what it is made from, the stage itself first."""
        at: Stage | None = stage
        while at is not None:
            yield at
            at = self.input_of(at)

    def parameters(
        self, stage: Stage, dataset: str, run_params: Mapping[str, Any] | None = None
    ) -> Parameters:
        """Merge and validate a stage's parameters: flow, step, dataset's override, run.

        Args:
            stage: One of the flow's.
            dataset: The dataset's name.
            run_params: By parameter name, or by stage name and parameter name.

        Raises:
            ParameterError: Names what is wrong.
        """
        merged = dict(stage.params)
        for pattern, by_step in self.overrides.items():
            if matches_pattern(dataset, pattern):
                for step, params in by_step.items():
                    if self.stage(step) == stage:
                        merged.update(params)
        merged.update(_run_params_of(self, stage, run_params or {}))
        where = f"{self.path.name}, step '{stage.label or stage.name}'"
        return validated(stage.treatment.parameters, merged, where=where)

    def parameters_hash(
        self, stage: Stage, dataset: str, run_params: Mapping[str, Any] | None = None
    ) -> str:
        """Hash a stage's effective parameters."""
        return parameters_hash(self.parameters(stage, dataset, run_params))

    def check_run_params(self, run_params: Mapping[str, Any]) -> None:
        """Refuse run parameters that no stage of the flow has, that are wrong, or that are secret.

        Raises:
            FlowError: Names the parameter and the nearest valid name.
            ParameterError: Names what is wrong.
        """
        by_stage = {stage.name: stage for stage in self.stages}
        known = {
            name for stage in self.stages for name in parameter_names(stage.treatment.parameters)
        }
        for name in run_params:
            if name not in known and name not in by_stage:
                raise FlowError(
                    f"no step of flow '{self.name}' has a parameter '{name}'",
                    did_you_mean(name, known | set(by_stage)),
                )
            if name not in known and not isinstance(run_params[name], Mapping):
                raise ParameterError(
                    f"what is given for step '{name}' is no object",
                    f'write {{"{name}": {{"parameter": value}}}}',
                )
        for stage in self.stages:
            params = self.parameters(stage, "", run_params)
            if plain_secrets(params) & _run_params_of(self, stage, run_params).keys():
                raise FlowError(
                    "a password in the parameters of a run would be kept in Dagster's database",
                    'name an environment variable instead: {"env": "PGPASSWORD"}',
                )


@dataclass(frozen=True)
class FlowSet:
    """The flows of a home, and the files that are none.

    Args:
        flows: By name.
        problems: What is wrong, by file name.
    """

    flows: Mapping[str, Flow]
    problems: Mapping[str, ProcezoError]

    def get(self, name: str) -> Flow:
        """Return a flow by its name.

        Raises:
            FlowError: Where there is none, or its file is wrong.
        """
        if name in self.flows:
            return self.flows[name]
        if f"{name}.json" in self.problems:
            raise self.problems[f"{name}.json"]
        left_out = f" ({', '.join(self.problems)} left out: procezo check)" if self.problems else ""
        raise FlowError(f"there is no flow '{name}'{left_out}", did_you_mean(name, self.flows))


def _run_params_of(flow: Flow, stage: Stage, run_params: Mapping[str, Any]) -> dict[str, Any]:
    names = {one.name for one in flow.stages}
    known = set(parameter_names(stage.treatment.parameters))
    everywhere = {
        name: value
        for name, value in run_params.items()
        if name in known and not (name in names and isinstance(value, dict))
    }
    own = run_params.get(stage.name)
    return {**everywhere, **(own if isinstance(own, dict) else {})}
