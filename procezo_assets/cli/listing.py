"""`procezo list` and `procezo describe`: what there is."""

from __future__ import annotations

import json
from typing import Any

import click

from procezo_assets.cli.home import current_home, format_option, load
from procezo_assets.cli.output import print_json, print_table
from procezo_assets.harmless import harmless
from procezo_assets.raw.folder import find_files
from procezo_assets.treatments.model import Treatment
from procezo_assets.treatments.registry import load_registry


@click.group("list")
def list_() -> None:
    """List flows, treatments, steps or datasets."""


@list_.command()
@format_option
def flows(output_format: str) -> None:
    """List the flows of the home."""
    home = current_home()
    _, found = load(home)
    for error in found.problems.values():
        click.echo(f"flow left out: {error}", err=True)
    records = [
        {
            "flow": flow.name,
            "file": flow.path.name,
            "datasets": list(flow.patterns),
            "stages": [stage.name for stage in flow.stages],
            "start": flow.start,
            "description": flow.description,
        }
        for flow in found.flows.values()
    ]
    _print(records, output_format)


@list_.command()
@format_option
def treatments(output_format: str) -> None:
    """List the treatments that flows can name."""
    registry = load_registry(current_home())
    for name, error in registry.problems.items():
        click.echo(harmless(f"treatment '{name}' left out: {error}"), err=True)
    records = [
        {"treatment": one.name, "does": one.summary, "from": one.origin}
        for _, one in sorted(registry.treatments.items())
    ]
    _print(records, output_format)


@list_.command()
@click.option("--flow", "name", help="Only the steps of this flow.")
@format_option
def steps(name: str | None, output_format: str) -> None:
    """List the steps of flows."""
    _, found = load(current_home())
    chosen = [found.get(name)] if name else list(found.flows.values())
    records = [
        {
            "flow": flow.name,
            "stage": stage.name,
            "name": stage.label or "",
            "treatment": stage.treatment.name,
            "input": stage.input,
            "output": stage.output,
        }
        for flow in chosen
        for stage in flow.stages
    ]
    _print(records, output_format)


@list_.command()
@format_option
def datasets(output_format: str) -> None:
    """List the datasets of the home."""
    home = current_home()
    _, found = load(home)
    records = [
        {
            "dataset": name,
            "raw_files": len(find_files(home.dataset(name).raw).files),
            "flows": [flow.name for flow in found.flows.values() if flow.takes_dataset(name)],
        }
        for name in home.dataset_names()
    ]
    _print(records, output_format)


@click.command()
@click.argument("treatment")
@format_option
def describe(treatment: str, output_format: str) -> None:
    """Show what TREATMENT does and the parameters it takes."""
    found = load_registry(current_home()).get(treatment)
    parameters = _parameters(found)
    if output_format == "json":
        print_json(
            {
                "treatment": found.name,
                "does": found.summary,
                "version": found.version,
                "from": found.origin,
                "inputs": list(found.inputs),
                "output": found.output,
                "parameters": parameters,
                "json_schema": found.parameters.model_json_schema(by_alias=True),
            }
        )
        return
    click.echo(harmless(f"{found.name}: {found.summary}"))
    standard = f"{' or '.join(found.inputs) or 'any'} to {found.output or 'any'}"
    click.echo(harmless(f"version {found.version}, {found.origin}; {standard}"))
    print_table(
        ["parameter", "default", "meaning"],
        [
            [p["name"], json.dumps(p["default"], ensure_ascii=False), p["description"]]
            for p in parameters
        ],
    )


def _parameters(treatment: Treatment) -> list[dict[str, Any]]:
    fields = treatment.parameters.model_fields
    defaults = {
        (field.alias or name): field.get_default(call_default_factory=True, validated_data={})
        for name, field in fields.items()
        if not field.is_required()
    }
    dumped = treatment.parameters.model_construct(**defaults).model_dump(mode="json", by_alias=True)
    return [
        {
            "name": field.alias or name,
            "default": dumped.get(field.alias or name) if not field.is_required() else "required",
            "description": field.description or "",
        }
        for name, field in fields.items()
    ]


def _print(records: list[dict[str, Any]], output_format: str) -> None:
    if output_format == "json":
        print_json(records)
        return
    columns = list(records[0]) if records else ["nothing"]
    rows = [
        [", ".join(value) if isinstance(value, list) else value for value in record.values()]
        for record in records
    ]
    print_table([column.replace("_", " ") for column in columns], rows)
