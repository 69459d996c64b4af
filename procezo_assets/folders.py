"""One treatment on folders, outside any flow and without Dagster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from procezo_assets.datasets import RAW_FOLDER, Dataset, Home, stage_days
from procezo_assets.errors import PartitionError
from procezo_assets.flow_files import DEFAULT_START
from procezo_assets.flows import Flow, Stage
from procezo_assets.runs import Event, Work, raw_source, run
from procezo_assets.treatments.model import Treatment

_INPUT = "input"
_OUTPUT = "output"


@dataclass(frozen=True)
class FolderPair(Dataset):
    """Two folders in the place of a dataset's stages.

    Args:
        home: The home folder, for locks and the user's treatments.
        name: The name that results carry: that of the output folder.
        input_folder: What is read.
        output_folder: What is written.
    """

    input_folder: Path
    output_folder: Path

    @property
    def path(self) -> Path:
        """The folder for what comes beside results, such as quarantine."""
        return self.output_folder

    @property
    def raw(self) -> Path:
        """The folder of raw files."""
        return self.input_folder

    @property
    def catalog(self) -> None:
        """Folders anywhere are read anew each time."""
        return

    def stage(self, output: str) -> Path:
        """The folder that is read or written."""
        return self.output_folder if output == _OUTPUT else self.input_folder


def run_on_folders(
    home: Home,
    treatment: Treatment,
    input_folder: Path,
    output_folder: Path,
    params: Mapping[str, Any],
) -> Iterator[Event]:
    """Run a treatment on all days of a folder.

    Args:
        home: The home folder.
        treatment: What to run.
        input_folder: Raw files for `parse`, otherwise `domain=…/day=…/*.parquet`.
        output_folder: Where results go.
        params: The treatment's parameters.

    Returns:
        What happens, as it happens.

    Raises:
        PartitionError: Where there is nothing to read.
        ParameterError: Where a parameter is wrong.
    """
    is_source = treatment.kind == "source"
    stage = Stage(
        name=treatment.name,
        label=None,
        treatment=treatment,
        input=RAW_FOLDER if is_source else _INPUT,
        output=_OUTPUT,
        params=params,
    )
    flow = Flow(
        name="run",
        path=Path("procezo run"),
        description="",
        patterns=(),
        stages=(stage,),
        start=DEFAULT_START,
        overrides={},
    )
    name = output_folder.resolve().name
    dataset = FolderPair(home, name, input_folder.resolve(), output_folder.resolve())
    flow.parameters(stage, name)
    if is_source:
        source = raw_source(flow, dataset, keep=False)  # the run itself keeps what is no row
        if source is not None:
            source.scan()
        days: list[date] = source.days if source is not None else []
    else:
        days = stage_days(dataset.input_folder)
    problem = source.why_no_rows() if is_source and source is not None else None
    if problem is not None:
        raise problem
    if not days:
        found = "raw rows" if is_source else "partitions (domain=…/day=…/*.parquet)"
        raise PartitionError(f"there are no {found} in {input_folder}", "name another folder")
    return run(Work(flow, (stage,), {dataset: days}))
