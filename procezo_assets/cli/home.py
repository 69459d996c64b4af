"""What commands share: the home, its flows, options that several commands take."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import click

from procezo_assets.datasets import Home
from procezo_assets.flow_files import load_flows
from procezo_assets.flows import FlowSet
from procezo_assets.settings import load_settings
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
            parsed = json.loads(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is no JSON: {error}", param, ctx)
        if not isinstance(parsed, dict):
            self.fail(f'{value!r} is no JSON object; write {{"name": value}}', param, ctx)
        return parsed


params_option = click.option(
    "--params",
    type=JsonObject(),
    default="{}",
    help='Parameters over all others: {"name": value}, or {"stage": {"name": value}}.',
)


def current_home() -> Home:
    """The home folder of the environment."""
    return Home(load_settings().home)


def load(home: Home) -> tuple[Registry, FlowSet]:
    """Load a home's treatments and flows."""
    registry = load_registry(home)
    return registry, load_flows(home, registry)
