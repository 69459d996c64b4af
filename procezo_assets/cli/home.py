"""What commands share: the home, its flows, options that several commands take."""

from __future__ import annotations

import shlex
from datetime import date
from typing import Any

import click

from procezo_assets.datasets import Home
from procezo_assets.errors import FlowError, did_you_mean
from procezo_assets.flow_files import load_flows
from procezo_assets.flows import Flow, FlowSet
from procezo_assets.settings import load_settings
from procezo_assets.strict_json import strict_json
from procezo_assets.treatments.registry import Registry, load_registry

format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print the result.",
)


class Day(click.ParamType[date]):
    """A whole UTC day, YYYY-MM-DD."""

    name = "day"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> date:
        """Read the day."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"'{value}' is no day; write YYYY-MM-DD", param, ctx)


class JsonObject(click.ParamType[dict[str, Any]]):
    """A JSON object."""

    name = "json"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, Any]:
        """Read the object."""
        if isinstance(value, dict):
            return value
        try:
            parsed = strict_json(str(value))
        except ValueError as error:
            self.fail(f"it is no JSON: {error}", param, ctx)  # it may hold a password
        if not isinstance(parsed, dict):
            self.fail('it is no JSON object; write {"name": value}', param, ctx)
        return parsed


params_option = click.option(
    "--params",
    type=JsonObject(),
    default="{}",
    help='Parameters over all others: {"name": value}, or {"stage": {"name": value}}.',
)


flow_option = click.option(
    "--flow", "flow_name", help="As this flow reads it, where several read the dataset."
)


def reading_flows(flows: FlowSet, dataset: str, name: str | None) -> list[Flow]:
    """The flows that read the raw files of a dataset, or the one that is named.

    Raises:
        FlowError: Where there is none.
    """
    reading = {
        flow.name: flow
        for flow in flows.flows.values()
        if flow.source is not None and flow.takes_dataset(dataset)
    }
    if name is not None:
        flows.get(name)
        if name not in reading:
            raise FlowError(
                f"flow '{name}' does not read dataset '{dataset}'", did_you_mean(name, reading)
            )
        return [reading[name]]
    if not reading:
        raise FlowError(
            f"no flow reads the raw files of dataset '{dataset}'",
            f'name it in the "datasets" of one, or make one: procezo init {shlex.quote(dataset)}',
        )
    return list(reading.values())


def current_home() -> Home:
    """The home folder of the environment."""
    return Home(load_settings().home)


def load(home: Home) -> tuple[Registry, FlowSet]:
    """Load a home's treatments and flows."""
    registry = load_registry(home)
    return registry, load_flows(home, registry)
