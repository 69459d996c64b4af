"""`procezo export` and `procezo import`: a dataset as one portable file."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from procezo_assets.cli.home import current_home, load
from procezo_assets.cli.output import size_text
from procezo_assets.cli.progress import progress_bar
from procezo_assets.datasets import Home
from procezo_assets.flows import Flow, FlowSet
from procezo_assets.harmless import harmless
from procezo_assets.portability.exporting import default_name, export_dataset, size_of
from procezo_assets.portability.importing import Imported, import_dataset
from procezo_assets.portability.manifest import CATALOG, ArchiveError
from procezo_assets.portability.readings import later_reading
from procezo_assets.runs import raw_source


@click.command("export")
@click.argument("dataset")
@click.option("--with-stages", is_flag=True, help="Results too: stages, quarantine, exports.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The archive to write; <dataset>_<date>.tar.gz in the current folder where unset.",
)
def export(*, dataset: str, with_stages: bool, output: Path | None) -> None:
    """Write DATASET into one archive: raw files, flows, treatments, fits, catalog, checksums.

    Plain passwords in flows are left out. Restore it with procezo import.
    """
    home = current_home()
    _, flows = load(home)
    chosen = home.existing_dataset(dataset)
    size = size_of(chosen, with_stages=with_stages)
    with progress_bar("bytes, read twice", 2 * size) as advance:
        done = export_dataset(
            chosen,
            _flows_of(flows, dataset),
            output or Path.cwd() / default_name(dataset),
            with_stages=with_stages,
            advance=advance,
        )
    for warning in done.warnings:
        click.echo(harmless(f"warning: {warning}"), err=True)
    counts = ", ".join(
        f"{n:,} {name.replace('_', ' ')}" for name, n in done.manifest.counts.items()
    )
    click.echo(
        f"{done.path}: {size_text(done.size)} of {size_text(done.manifest.size)}, {counts}, "
        f"flows: {', '.join(done.manifest.flows) or 'none'}"
    )


@click.command("import")
@click.argument("file", type=click.Path(exists=True, path_type=Path, dir_okay=False))
@click.option(
    "--replace-flows", is_flag=True, help="Replace flow files and treatments of other content."
)
def import_(*, file: Path, replace_flows: bool) -> None:
    """Restore the dataset of the archive FILE, with its flows and treatments.

    Checksums are compared before anything appears; what exists with other content is refused.
    Treatments are programs: import them only from people you trust.
    """
    home = current_home()
    with progress_bar("bytes", file.stat().st_size) as advance:
        done = import_dataset(home, file, replace_flows=replace_flows, advance=advance)
    name = done.manifest.dataset
    counts = done.manifest.counts
    results = ", with results" if done.manifest.with_stages else ""
    click.echo(
        f"dataset '{name}': {counts.get('raw_files', 0):,} raw files{results}, checksums right"
    )
    for placed in done.placed:
        click.echo(harmless(f"restored {placed}"))
    if done.lacks_days:
        click.echo(
            "warning: raw files were gone when this was exported, and results did not come along: "
            "what was kept of their days is not here; export it --with-stages to have it",
            err=True,
        )
    if not done.is_compared:
        click.echo(
            f"warning: {CATALOG} of this archive is too large: how raw files are read here is not "
            "compared with it",
            err=True,
        )
    _, flows = load(home)
    for error in flows.problems.values():
        click.echo(f"flow left out: {error}", err=True)
    chosen = [flow for flow in _flows_of(flows, name) if flow.name in done.manifest.flows]
    told = [(flow, line) for flow in chosen for line in _read_again(home, done, flow)]
    last = " --last" if done.manifest.with_stages else ""
    for flow in chosen:
        click.echo(f"next: procezo flow {flow.name} --dataset {shlex.quote(name)}{last}")
    if told:
        flow, line = told[0]
        raise ArchiveError(
            f"dataset '{name}' was restored whole, but flow '{flow.name}' reads {len(told)} things "
            f"differently here: {line}",
            f"it was exported with version {done.manifest.project}; see procezo ledger "
            f"{shlex.quote(name)}",
        )


def _read_again(home: Home, done: Imported, flow: Flow) -> list[str]:
    """Read the raw files as the flow does, and compare with what was known of them."""
    if flow.name not in done.catalog:
        return []
    source = raw_source(flow, home.existing_dataset(done.manifest.dataset))
    if source is None:
        return []
    source.scan_changes()
    found = {
        name: {
            "sha256": counted.sha256,
            "lines": counted.lines,
            "rows": counted.rows,
            "quarantined": dict(counted.quarantined),
        }
        for name, counted in source.files.items()
    }
    return later_reading(done.catalog[flow.name], found)


def _flows_of(flows: FlowSet, dataset: str) -> list[Flow]:
    return [flow for flow in flows.flows.values() if flow.takes_dataset(dataset)]
