"""Names and paths: the home folder, datasets, stage folders and the files of a partition."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from procezo_assets.errors import DatasetError, did_you_mean
from procezo_assets.file_names import NAME_BYTES
from procezo_assets.harmless import steers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RAW_FOLDER = "00_raw"
QUARANTINE_FOLDER = "quarantine"

_DATASET_SEGMENT = re.compile(r"[^\x00-\x1f\x7f/\\|:*?\"<>,]+")
_DAY_FOLDER = re.compile(r"day=(\d{4}-\d{2}-\d{2})")


@dataclass(frozen=True)
class Home:
    """The folder with `datasets/`, `flows/` and `treatments/`.

    Args:
        path: The absolute path of the home.
    """

    path: Path

    @property
    def datasets(self) -> Path:
        """The folder of all datasets."""
        return self.path / "datasets"

    @property
    def flows(self) -> Path:
        """The folder of flow files."""
        return self.path / "flows"

    @property
    def treatments(self) -> Path:
        """The folder of the user's own treatments."""
        return self.path / "treatments"

    @property
    def state(self) -> Path:
        """The folder of what the project keeps for itself: locks and the embedded server."""
        return self.path / ".procezo"

    @property
    def warehouse(self) -> Path:
        """The DuckDB file."""
        return self.path / "warehouse.duckdb"

    def dataset(self, name: str) -> Dataset:
        """Name a dataset, whether or not it exists.

        Raises:
            DatasetError: Where the name cannot be a dataset's.
        """
        return Dataset(self, check_dataset_name(name))

    def existing_dataset(self, name: str) -> Dataset:
        """Name a dataset that has a `00_raw/` folder.

        Raises:
            DatasetError: Where there is none of that name.
        """
        dataset = self.dataset(name)
        if not dataset.raw.is_dir():
            raise DatasetError(
                f"there is no dataset '{name}' under {self.datasets}",
                did_you_mean(name, self.dataset_names())
                + f" (procezo init {shlex.quote(name)} makes it)",
            )
        return dataset

    def dataset_names(self) -> list[str]:
        """List the datasets on disk: every folder above a `00_raw/`, by its path, sorted."""
        return sorted(filter(is_dataset_name, self._find_datasets(self.datasets, "")))

    def refused_names(self) -> list[str]:
        """List the folders above a `00_raw/` that no command takes, as of their names."""
        found = self._find_datasets(self.datasets, "")
        return sorted(
            name
            for name in found
            if not is_dataset_name(name) and not any(s.startswith(".") for s in name.split("/"))
        )

    def matching_datasets(self, patterns: Iterable[str]) -> list[str]:
        """List the datasets on disk that one of the patterns names.

        Args:
            patterns: Names or shell patterns; `*` stays within one folder level.
        """
        return [
            name
            for name in self.dataset_names()
            if any(matches_pattern(name, pattern) for pattern in patterns)
        ]

    def _find_datasets(self, folder: Path, prefix: str) -> Iterator[str]:
        try:
            with os.scandir(folder) as found:
                entries = [entry for entry in found if _is_folder(entry)]
        except OSError:  # gone, or nobody's business: no dataset of ours
            return
        if prefix and any(entry.name == RAW_FOLDER for entry in entries):
            yield prefix
            return
        if prefix and not is_dataset_name(prefix):
            return  # also the end of links that go in circles
        for entry in entries:
            yield from self._find_datasets(
                folder / entry.name, f"{prefix}/{entry.name}" if prefix else entry.name
            )


@dataclass(frozen=True)
class Dataset:
    """One experiment: the folder above a `00_raw/`.

    Args:
        home: The home it lives in.
        name: Its path under `datasets/`, with `/` between folders.
    """

    home: Home
    name: str

    @property
    def path(self) -> Path:
        """The dataset's folder."""
        return self.home.datasets / self.name

    @property
    def raw(self) -> Path:
        """The folder of raw files."""
        return self.path / RAW_FOLDER

    def stage(self, output: str) -> Path:
        """The folder of a stage.

        Args:
            output: The stage's output folder, such as `20_clean`.
        """
        return self.path / output

    def quarantine(self, flow: str) -> Path:
        """The folder of the lines that a flow could not read."""
        return self.path / QUARANTINE_FOLDER / flow

    @property
    def catalog(self) -> Path | None:
        """The database of what is known of raw files; None where they are of no home."""
        return self.home.state / "catalog.sqlite"

    @property
    def use_lock(self) -> Path:
        """The file that is locked by who uses the dataset, and by who removes it."""
        return self.home.state / "locks" / self.name / ".in-use"

    def lock(self, day: date) -> Path:
        """The file that runs lock while they work on a day of this dataset."""
        return self.home.state / "locks" / self.name / f"{day}.lock"

    def fit_lock(self, output: str) -> Path:
        """The file that runs lock while they make or choose the fit of a stage."""
        return self.home.state / "locks" / self.name / f"fit-{output}.lock"


class PartKey(NamedTuple):
    """What one file of a partition holds.

    Args:
        device: The logger.
        domain: The group of columns.
        window: The aggregation window, where the stage has one (`10s`).
    """

    device: str
    domain: str
    window: str | None = None

    def file_name(self, day: date) -> str:
        """Name the parquet file: `<device>__<domain>__<day>[__<window>].parquet`."""
        window = f"__{self.window}" if self.window else ""
        return f"{self.device}__{self.domain}__{day}{window}.parquet"

    def path(self, folder: Path, day: date) -> Path:
        """The file's path under a stage's folder."""
        return folder / f"domain={self.domain}" / f"day={day}" / self.file_name(day)


class StoredFile(NamedTuple):
    """One file of a partition, as it is on disk.

    Args:
        path: Where it is.
        size: Its bytes.
        mtime_ns: When it was last changed, or says it was.
        ctime_ns: When it, or what is known of it, was last changed, whatever it says.
        inode: Which file that is; one that takes its place is another.
    """

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def part_files(folder: Path, day: date) -> dict[PartKey, Path]:
    """Find the files of a stage's partition.

    Args:
        folder: The stage's folder.
        day: The UTC day.

    Returns:
        The path of each file, in the order of their keys.
    """
    return {key: Path(entry.path) for key, entry in _parts(folder, day).items()}


def stored_files(folder: Path, day: date) -> dict[PartKey, StoredFile]:
    """Find the files of a stage's partition, with what tells whether they have changed.

    Args:
        folder: The stage's folder.
        day: The UTC day.

    Returns:
        Each file, in the order of their keys; those that are gone by now are left out.
    """
    found = {key: _stored(entry) for key, entry in _parts(folder, day).items()}
    return {key: file for key, file in found.items() if file is not None}


def all_stored_files(folder: Path) -> dict[date, dict[PartKey, StoredFile]]:
    """Find the files of all partitions of a stage at once, by day, each as `stored_files`."""
    found: dict[date, dict[PartKey, StoredFile]] = {}
    for domain_entry in _entries(folder, "domain="):
        names = _PartNames(domain_entry.name.removeprefix("domain="))
        for day_entry in _entries(domain_entry.path, "day="):
            day = _day_of(day_entry.name)
            if day is None:
                continue
            for key, entry in _keys(day_entry.path, names, str(day)):
                file = _stored(entry)
                if file is not None:
                    found.setdefault(day, {})[key] = file
    return {day: dict(sorted(found[day].items(), key=_in_order)) for day in sorted(found)}


def stage_days(folder: Path) -> list[date]:
    """List the days that a stage has files for, sorted."""
    days = {
        day
        for domain_entry in _entries(folder, "domain=")
        for day_entry in _entries(domain_entry.path, "day=")
        if (day := _day_of(day_entry.name))
        and any(entry.name.endswith(".parquet") for entry in _entries(day_entry.path))
    }
    return sorted(days)


def _parts(folder: Path, day: date) -> dict[PartKey, os.DirEntry[str]]:
    found: dict[PartKey, os.DirEntry[str]] = {}
    for domain_entry in _entries(folder, "domain="):
        names = _PartNames(domain_entry.name.removeprefix("domain="))
        found.update(_keys(f"{domain_entry.path}/day={day}", names, str(day)))
    return dict(sorted(found.items(), key=_in_order))


def _keys(folder: str, names: _PartNames, day: str) -> Iterator[tuple[PartKey, os.DirEntry[str]]]:
    for entry in _entries(folder):
        key = names.read(entry.name, day)
        if key is not None:
            yield key, entry


class _PartNames:
    """Reads the names of files of one domain; most are known from other days.

    Args:
        domain: The group of columns.
    """

    def __init__(self, domain: str) -> None:
        self._domain = domain
        self._known: dict[str, PartKey] = {}

    def read(self, name: str, day: str) -> PartKey | None:
        """What a file holds; None where the name is not a part's."""
        middle = f"__{self._domain}__{day}"
        elsewhere = name.replace(middle, "\0", 1)
        key = self._known.get(elsewhere)
        if key is not None:
            return key
        stem, suffix, rest = name.rpartition(".parquet")
        device, separator, window = stem.rpartition(middle)
        if not (suffix and not rest and separator and device) or name.startswith("."):
            return None
        key = PartKey(device, self._domain, window.removeprefix("__") or None)
        if day not in elsewhere:  # else it is not the day alone that tells them apart
            self._known[elsewhere] = key
        return key


def _in_order(item: tuple[PartKey, object]) -> tuple[str, str, str]:
    key = item[0]
    return (key.device, key.domain, key.window or "")


def _stored(entry: os.DirEntry[str]) -> StoredFile | None:
    try:
        found = entry.stat()
    except OSError:
        return None
    return StoredFile(entry.path, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere, or in a circle
        return False


def identifier(name: str) -> str:
    """A name with everything outside [A-Za-z0-9_] as `_`, as Dagster and databases ask."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def matches_pattern(name: str, pattern: str) -> bool:
    """Tell whether a dataset's name fits a shell pattern, folder level by folder level."""
    names, patterns = name.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))


def is_dataset_name(name: str) -> bool:
    """Tell whether a name can be a dataset's."""
    segments = name.split("/")
    return len(name) <= 200 and all(  # noqa: PLR2004 - partition keys and paths stay in their limits
        _DATASET_SEGMENT.fullmatch(segment)
        and not steers(segment)
        and len(segment.encode()) <= NAME_BYTES
        and segment == segment.strip()
        and not segment.startswith(".")
        and segment != RAW_FOLDER
        and "..." not in segment  # Dagster's separator in partition ranges
        for segment in segments
    )


def check_dataset_name(name: str) -> str:
    """Return a dataset's name, or refuse it.

    Raises:
        DatasetError: Where it is absolute, has `..`, `|` or control characters, or is too long.
    """
    if not is_dataset_name(name):
        raise DatasetError(
            f"{name!r} cannot be a dataset's name",
            "use letters, digits, '-', '_', '.' and blanks, with '/' between folders",
        )
    return name


def _day_of(folder: str) -> date | None:
    match = _DAY_FOLDER.fullmatch(folder)
    try:
        return date.fromisoformat(match.group(1)) if match else None
    except ValueError:  # a folder of February 30 is not ours
        return None


def _entries(folder: Path | str, prefix: str = "") -> list[os.DirEntry[str]]:
    """What a folder has that begins so; nothing where it is no folder. Paths would take longer."""
    try:
        with os.scandir(folder) as found:
            return (
                [entry for entry in found if entry.name.startswith(prefix)] if prefix else [*found]
            )
    except (FileNotFoundError, NotADirectoryError):
        return []
