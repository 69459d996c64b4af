"""`procezo init`: the folders of a dataset and a flow to start from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from procezo_assets.cli.home import JsonObject, current_home, load
from procezo_assets.datasets import Dataset
from procezo_assets.errors import DatasetError, DialectError, FlowError
from procezo_assets.flows import LONGEST_FLOW_NAME, check_flow_name
from procezo_assets.harmless import harmless
from procezo_assets.raw.folder import find_files
from procezo_assets.templates import place


@click.command()
@click.argument("dataset")
@click.option("--flow", "name", help="Name of the flow; made from the dataset's where left out.")
@click.option(
    "--like",
    type=click.Path(path_type=Path),
    help="Make the flow fit this raw file; where left out, the dataset's first, if there is one.",
)
@click.option(
    "--params",
    "given",
    type=JsonObject(),
    default="{}",
    help='Parameters of parse that the file needs: {"date_order": "DMY"}.',
)
def init(dataset: str, name: str | None, like: Path | None, given: dict[str, Any]) -> None:
    """Make the folder of DATASET for raw files, and a flow file to start from.

    Where there is a raw file to look at, the flow is made to fit it.
    """
    from procezo_assets.flow_templates import valvometry_template  # noqa: PLC0415 - loads Polars

    home = current_home()
    made = home.dataset(dataset)
    for name_above in home.dataset_names():
        if dataset.startswith(f"{name_above}/") or name_above.startswith(f"{dataset}/"):
            raise DatasetError(
                f"'{dataset}' and the dataset '{name_above}' would lie in one another",
                "put them side by side",
            )
    _, flows = load(home)
    served_by = [flow.name for flow in flows.flows.values() if flow.takes_dataset(dataset)]
    if served_by:
        if name or like:
            raise FlowError(
                f"flow '{served_by[0]}' takes the dataset '{dataset}' already",
                "narrow its datasets first, or leave --flow and --like out to go on with it",
            )
        made.raw.mkdir(parents=True, exist_ok=True)
        click.echo(f"{made.raw.relative_to(home.path)}")
        click.echo(
            f"flow '{served_by[0]}' takes this dataset: put your raw files there, then: "
            f"procezo flow {served_by[0]} --last",
            err=True,
        )
        return
    name = name or _derived_name(dataset)
    check_flow_name(name)
    path = home.flows / f"{name}.json"
    if path.exists():
        raise FlowError(f"{path} is already there", "name another with --flow")
    like = like or _first_raw_file(made)
    problems: tuple[str, ...] = ()
    if like:
        template, problems = _fitting(name, dataset, like, given)
    else:
        template = valvometry_template(name, dataset)
    made.raw.mkdir(parents=True, exist_ok=True)
    home.flows.mkdir(exist_ok=True)
    for shipped in ("dagster.yaml", "workspace.yaml"):  # so that `dagster dev` can be started here
        place(shipped, home.path / shipped)
    path.write_text(json.dumps(template, indent=2, ensure_ascii=False) + "\n")
    click.echo(f"{made.raw.relative_to(home.path)}")
    click.echo(f"{path.relative_to(home.path)}")
    for problem in problems:
        click.echo(harmless(f"note: {problem}"), err=True)
    click.echo(harmless(_advice(name, like)), err=True)


def _derived_name(dataset: str) -> str:
    letters = re.sub(r"[^a-z0-9_-]+", "-", dataset.lower()).strip("-_")
    return letters[:LONGEST_FLOW_NAME] or "flow"


def _first_raw_file(dataset: Dataset) -> Path | None:
    found = find_files(dataset.raw).files
    return Path(found[min(found)].path) if found else None


def _fitting(
    name: str, dataset: str, like: Path, given: dict[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    from procezo_assets.flow_templates import (  # noqa: PLC0415 - loads Polars
        fitting_template,
        left_out,
    )
    from procezo_assets.raw.inspection import inspect_file  # noqa: PLC0415

    try:
        found = inspect_file(like, given)
    except DialectError as error:  # there is no flow yet in which to set anything
        hint = f"{error.hint}, by --params '{{\"NAME\": value}}'" if error.hint else ""
        raise DialectError(error.reason, error.problem, hint) from None
    unused = [
        f"column '{column}' is left out of the flow: its first rows are {what}"
        for column, what in left_out(found, given).items()
    ]
    return fitting_template(name, dataset, found, given), (*found.problems, *unused)


def _advice(name: str, like: Path | None) -> str:
    go = f"procezo check {name} && procezo flow {name}"
    if like is None:
        return (
            "the flow is that of a valvometer; for other files, remove it, put them into the "
            f"first, and init again looks at them; then: {go}"
        )
    return f"the flow fits {like.name}: look it over, put your raw files into the first; then: {go}"
