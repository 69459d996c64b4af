"""What stages have on disk, listed once, and what footers say, kept for files that do not change.

Of years of many devices that is 100,000 files, each of which would take longer to open than all
else that a command asks of it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from procezo_assets.datasets import PartKey, StoredFile, all_stored_files, stored_files
from procezo_assets.errors import StoreError
from procezo_assets.stores.parquet import read_provenance

Files = Mapping[PartKey, StoredFile]

# a file may change again within the tick of its clock, and look the same
_SURE_AFTER_NS = 2_000_000_000


class Footer(NamedTuple):
    """What tells whether a file would be made anew; as of `Provenance`. `input` may be left out."""

    treatment: str
    version: str
    parameters: str
    parts: int
    fit: str | None
    input: str = ""


class KeptFooters(Protocol):
    """What was kept of footers, by stage and day: whose they are, and what they say."""

    def footers(self, stage: str, days: Collection[date]) -> dict[date, tuple[str, list[Any]]]:
        """What was kept of the files of a stage's partitions."""

    def store_footers(self, stage: str, found: Mapping[date, tuple[str, list[Any]]]) -> None:
        """Keep what the files of a stage's partitions are."""


class StageListing:
    """The files of stages, as they were when they were first asked for.

    Args:
        whole: Whether a stage is listed whole at the first question; else day by day, which is
            faster for a few days of many.
    """

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole
        self._stages: dict[Path, dict[date, dict[PartKey, StoredFile]]] = {}
        self._identities: dict[tuple[Path, date], str] = {}

    def of(self, folder: Path, day: date) -> Files:
        """The files of a partition."""
        if self._whole:
            return self.days(folder).get(day, {})
        known = self._stages.setdefault(folder, {})
        if day not in known:
            known.clear()  # days are looked at in their order, each once
            known[day] = stored_files(folder, day)
        return known[day]

    def identity(self, folder: Path, day: date) -> str:
        """What is another where a file of a partition is."""
        if (folder, day) not in self._identities:
            described = [(*key, *file[1:]) for key, file in self.of(folder, day).items()]
            digest = hashlib.sha256(repr(described).encode()).hexdigest()
            self._identities[folder, day] = digest
        return self._identities[folder, day]

    def days(self, folder: Path) -> Mapping[date, Files]:
        """The files of all partitions of a stage, by day; of one that is listed whole."""
        if folder not in self._stages:
            self._stages[folder] = all_stored_files(folder)
        return self._stages[folder]


class FooterReader:
    """Reads the footers of a stage's files, where it is not known what they say.

    Args:
        stage: The stage's name.
        days: The days that will be asked for.
        kept: Keeps what they say; None reads them each time.
        inputs: Whether `input` is wanted of those that are recalled. It makes each footer another
            one, which takes ten times as long.
    """

    def __init__(
        self, stage: str, days: Collection[date], kept: KeptFooters | None, *, inputs: bool
    ) -> None:
        self._stage = stage
        self._kept = kept
        self._inputs = inputs
        self._known = kept.footers(stage, days) if kept is not None else {}
        self._learned: dict[date, tuple[str, list[Any]]] = {}
        self._sure_before = time.time_ns() - _SURE_AFTER_NS

    def read(self, day: date, files: Files, identity: str) -> dict[PartKey, Footer | None]:
        """The footers of a partition's files; None of what is not ours or is damaged.

        Args:
            day: The partition's day.
            files: Its files.
            identity: Theirs, as of `StageListing`.
        """
        if not files:
            return {}
        known, content = self._known.get(day, ("", []))
        if known == identity:
            footers = [Footer(*said) for said in content[0]]
            if len(footers) == 1:
                return dict.fromkeys(files, footers[0])
            return {key: footers[which] for key, which in zip(files, content[1], strict=True)}
        self._known.pop(day, None)
        found = {key: _footer(file) for key, file in files.items()}
        # what cannot be read now may be another time
        if None not in found.values() and self._stay(files):
            said = [
                footer if self._inputs or footer is None else footer._replace(input="")
                for footer in found.values()
            ]
            different = list(dict.fromkeys(said))
            which = [different.index(footer) for footer in said]
            self._learn(day, identity, [different, which if len(different) > 1 else None])
        return found

    def made_of(self, day: date) -> str:
        """The identity of the inputs that files are known to be made of, once their day is read.

        Empty where that is not known.
        """
        _, (_, _, *inputs) = self._known.get(day, ("", [None, None]))
        return inputs[0] if inputs else ""

    def learn_made_of(self, day: date, inputs: Files, identity: str) -> None:
        """Keep of which inputs the files of a day are made, where both can be told again."""
        if day in self._known and self._stay(inputs):
            files, content = self._known[day]
            self._learn(day, files, [*content[:2], identity])

    def keep(self) -> None:
        """Keep what was read, if that can be; it is only read again otherwise."""
        if self._kept is not None and self._learned:
            with suppress(StoreError):
                self._kept.store_footers(self._stage, self._learned)
            self._learned = {}

    def _learn(self, day: date, files: str, content: list[Any]) -> None:
        self._known[day] = self._learned[day] = (files, content)

    def _stay(self, files: Files) -> bool:
        return all(file.ctime_ns < self._sure_before for file in files.values())


def _footer(file: StoredFile) -> Footer | None:
    found = read_provenance(Path(file.path))
    if found is None:
        return None
    return Footer(
        found.treatment, found.version, found.parameters, found.parts, found.fit, found.input
    )
