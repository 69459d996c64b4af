"""What loading stages are given and hand back, and which partitions they have loaded."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from procezo_assets.datasets import Home, PartKey, part_files, stage_days
from procezo_assets.day_lock import in_turn, kept_still
from procezo_assets.stores.parquet import read_provenance
from procezo_assets.stores.replacing import write_atomically
from procezo_assets.strict_json import shaped_file

RECORD = "loaded.json"
"""The file in which a loading stage remembers what it loaded."""


@dataclass(frozen=True)
class StageInput:
    """The partitions that a loading treatment is to load: one dataset, one input stage.

    Args:
        home: The home folder.
        flow: The flow's name.
        dataset: The dataset's name.
        stage: The input stage's name (`aggregated`).
        folder: The input stage's folder.
        output: The folder of the loading stage itself, for exports.
        days: The days to load, sorted; their files are complete.
        step: The loading stage's name.
    """

    home: Home
    flow: str
    dataset: str
    stage: str
    folder: Path
    output: Path
    days: tuple[date, ...]
    step: str

    def parts(self, day: date) -> dict[PartKey, Path]:
        """The parquet files of a day, by device, domain and window."""
        return part_files(self.folder, day)

    def kept_still(self, day: date) -> AbstractContextManager[None]:
        """Keep runs from replacing the files of a day while the block looks at them."""
        return kept_still(self.home.dataset(self.dataset), day)

    def days_present(self) -> list[date]:
        """All days of the dataset that the input stage has files for, sorted."""
        return stage_days(self.folder)


@dataclass(frozen=True)
class Loaded:
    """What a loading treatment did with one dataset.

    Args:
        dataset: The dataset's name.
        rows: Rows loaded, by day.
        tables: The tables or files that hold them now, for people.
        files: The files that hold them now; where one is gone, the days count as not loaded.
        failed: Days that could not be loaded, with the reason of each.
        warnings: What a person should look at, a sentence each.
    """

    dataset: str
    rows: Mapping[date, int]
    tables: tuple[str, ...]
    files: tuple[Path, ...] = ()
    failed: Mapping[date, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadRecord:
    """What a loading stage remembers of one dataset, as JSON beside its exports.

    Args:
        days: Digest of what was loaded, by day; days without any files are not listed.
        targets: Files that the loads went to or made, relative to the home.
    """

    days: Mapping[date, str]
    targets: tuple[str, ...] = ()


_record = TypeAdapter(LoadRecord)


def read_record(stage_folder: Path) -> LoadRecord:
    """Read what a loading stage remembers; nothing where it cannot be read."""
    try:
        return shaped_file(stage_folder / RECORD, _record)
    except (OSError, ValueError):
        return LoadRecord({})  # the days count as not loaded, and loading again is harmless


@contextmanager
def turn_to_load(inputs: Sequence[StageInput]) -> Iterator[None]:
    """Keep other runs from the same loading stage of these datasets, from reading to record.

    Without, what an earlier run had read could be loaded over what a later one made and loaded.

    Raises:
        TransientStoreError: Where another run loads for very long.
    """
    with ExitStack() as held:
        # in one order for all, so that no two wait for each other
        for one in sorted(inputs, key=lambda one: str(one.output)):
            # not by its path, of which a home may have several
            folder = one.home.state / "locks" / one.dataset
            lock = folder / f"loaded-{one.output.name}.lock"
            doing = f"loading '{one.step}' of dataset '{one.dataset}'"
            held.enter_context(in_turn(lock, doing))
        yield


def digests_to_load(given: StageInput, identity: str) -> dict[date, str | None]:
    """Hash what is to be loaded of each day, before it is read; None where there are no files.

    What is replaced while it is loaded has another digest afterwards, and counts as not loaded.

    Args:
        given: What is to be loaded.
        identity: How and where to (see `load_digest`).
    """
    return {
        day: load_digest(given.folder, day, identity) if given.parts(day) else None
        for day in given.days
    }


def record_loaded(given: StageInput, digests: Mapping[date, str | None], result: Loaded) -> None:
    """Remember days as loaded; only whose turn it is does that.

    Args:
        given: What was to be loaded.
        digests: The days that were, each with what `digests_to_load` said.
        result: What the treatment handed back.
    """
    known = {**read_record(given.output).days, **digests}
    content = {
        "days": {str(day): known[day] for day in sorted(known) if known[day] is not None},
        "targets": [os.path.relpath(path, given.home.path) for path in result.files],
    }
    write_atomically(given.output / RECORD, (json.dumps(content, indent=0) + "\n").encode())


def load_digest(input_folder: Path, day: date, identity: str) -> str:
    """Hash what a loading stage would load of a day: the provenance of its files, how, where to."""
    described = [
        [*(part or "" for part in key), _origin(path)]
        for key, path in part_files(input_folder, day).items()
    ]
    text = json.dumps([described, identity], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _origin(path: Path) -> dict[str, Any] | None:
    found = read_provenance(path)
    if found is None:
        return None
    origin = asdict(found)
    del origin["counts"]  # they follow from the rest
    return origin
