"""`procezo init`: the folders of a dataset and a flow template."""

from __future__ import annotations

import json
import re

import click

from procezo_assets.cli.home import current_home
from procezo_assets.errors import DatasetError, FlowError
from procezo_assets.treatments.registry import built_in

_STEPS = (
    "parse",
    "clean",
    "resample",
    "transform",
    "aggregate",
    "to_duckdb",
    "to_postgres",
    "exportcsv",
)


@click.command()
@click.argument("dataset")
@click.option("--flow", "name", help="Name of the flow; made from the dataset's where left out.")
def init(dataset: str, name: str | None) -> None:
    """Make the folder of DATASET for raw files, and a flow file to start from."""
    home = current_home()
    made = home.dataset(dataset)
    for name_above in home.dataset_names():
        if dataset.startswith(f"{name_above}/") or name_above.startswith(f"{dataset}/"):
            raise DatasetError(
                f"'{dataset}' and the dataset '{name_above}' would lie in one another",
                "put them side by side",
            )
    name = name or re.sub(r"[^a-z0-9_-]+", "-", dataset.lower()).strip("-_") or "flow"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise FlowError(f"'{name}' cannot be a flow's name", "use letters, digits, '_' and '-'")
    path = home.flows / f"{name}.json"
    if path.exists():
        raise FlowError(f"{path} is already there", "name another with --flow")
    made.raw.mkdir(parents=True, exist_ok=True)
    home.flows.mkdir(exist_ok=True)
    columns = (
        built_in()["parse"]
        .parameters()
        .model_dump(mode="json", by_alias=True, include={"format", "domains"})
    )
    domains = {
        domain: {key: value for key, value in spec.items() if value}
        for domain, spec in columns["domains"].items()
    }
    template = {
        "name": name,
        "description": f"All stages of {dataset}.",
        "dataset": dataset,
        "steps": [
            {"treatment": step, "params": {**columns, "domains": domains}}
            if step == "parse"
            else {"treatment": step}
            for step in _STEPS
        ],
    }
    path.write_text(json.dumps(template, indent=2, ensure_ascii=False) + "\n")
    click.echo(f"{made.raw.relative_to(home.path)}")
    click.echo(f"{path.relative_to(home.path)}")
    click.echo(
        "put raw files into the first; in the second, set format, delimiter and domains of parse "
        f"to what they hold; then: procezo check {name} && procezo flow {name}",
        err=True,
    )
