"""`procezo check`: are the flows and treatments of the home right?"""

from __future__ import annotations

import stat

import click

from procezo_assets.cli.home import current_home, format_option, load
from procezo_assets.cli.output import print_json
from procezo_assets.datasets import Home
from procezo_assets.errors import ProcezoError
from procezo_assets.flows import Flow
from procezo_assets.harmless import harmless
from procezo_assets.portability.secrets import without_secrets
from procezo_assets.settings import load_settings
from procezo_assets.templates import lacking

# without these, runs start slowly, killed ones stay, and what treatments print is lost
_NEEDED = {"storage", "compute_logs", "run_launcher"}


@click.command()
@click.argument("flows", nargs=-1)
@format_option
def check(flows: tuple[str, ...], output_format: str) -> None:
    """Check all flows and treatments of the home, or the FLOWS named."""
    home = current_home()
    registry, found = load(home)
    problems = {**found.problems, **registry.problems}
    if flows:
        wanted = [found.get(name) for name in flows]
        problems = {}
    else:
        wanted = list(found.flows.values())
    warnings = [warning for flow in wanted for warning in _warnings(flow, flow.datasets(home))]
    warnings += [
        f"datasets/{name} is left out: it has a name that no dataset can have; rename the folder"
        for name in home.refused_names()
    ]
    warnings += _instance_warnings(home)
    if output_format == "json":
        print_json(
            {
                "flows": [flow.name for flow in wanted],
                "problems": [str(error) for error in problems.values()],
                "warnings": warnings,
            }
        )
    else:
        for flow in wanted:
            click.echo(f"{flow.name}: {len(flow.stages)} stages, right")
    for warning in warnings:
        click.echo(harmless(f"warning: {warning}"), err=True)
    if len(problems) > 1:
        for error in problems.values():
            click.echo(str(error), err=True)
        raise ProcezoError(f"{len(problems)} files are wrong", "correct them as said above")
    for error in problems.values():
        raise error


def _warnings(flow: Flow, datasets: list[str]) -> list[str]:
    _, secrets = without_secrets(flow, flow.path.read_bytes())
    warnings = [
        f"{flow.path.name}: {place} is a secret that stands in the flow file{_readers(flow)}; "
        'where it takes {"env": "NAME"}, name an environment variable instead'
        for place in secrets
    ]
    if not datasets:
        warnings.append(f"{flow.path.name}: there is no dataset {' or '.join(flow.patterns)} yet")
    if flow.notify:
        from procezo_assets.notices import addresses  # noqa: PLC0415 - only here Apprise is needed

        warnings += [str(one) for one in addresses(flow) if isinstance(one, ProcezoError)]
    return warnings


def _readers(flow: Flow) -> str:
    shared = flow.path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
    return ", which others on this machine can read" if shared else ""


def _instance_warnings(home: Home) -> list[str]:
    if (load_settings().dagster_home or home.path) != home.path:
        return []  # that of another folder is its owner's
    path = home.path / "dagster.yaml"
    missing = [name for name in lacking("dagster.yaml", path) if name in _NEEDED]
    if not missing:
        return []
    what = f"{path} has no {', '.join(missing)}, as one of an earlier version"
    return [f"{what}; rename it, and the next `procezo flow` brings the present one"]
