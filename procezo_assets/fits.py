"""Fits: readable JSON under a stage's folder, one a version, named by its content's hash."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
from pydantic import TypeAdapter

from procezo_assets.datasets import Dataset, PartKey, StoredFile, stage_days, stored_files
from procezo_assets.day_lock import kept_still
from procezo_assets.errors import FitError, FitWaitsError
from procezo_assets.parameters import Parameters
from procezo_assets.stores.replacing import write_atomically
from procezo_assets.strict_json import MOST_STATE_BYTES, read_small_file, shaped_json
from procezo_assets.treatments.model import Fit, Treatment

_FOLDER = "fits"
_CURRENT = "current"
_ATTEMPTS = 5

_NAME = re.compile(r"[0-9a-f]{16}\.json")
_fit_shape = TypeAdapter(Fit)

_Days = dict[date, dict[PartKey, StoredFile]]


@dataclass(frozen=True)
class StoredFit:
    """A fit and its name.

    Args:
        content: What the treatment made.
        sha256: Hash of the file's bytes.
        path: The file.
    """

    content: Fit
    sha256: str
    path: Path


def has_fit(stage_folder: Path) -> bool:
    """Tell whether a stage has a fit, sound or damaged."""
    return (stage_folder / _FOLDER / _CURRENT).is_file()


def current_fit(stage_folder: Path) -> StoredFit | None:
    """Read the fit that a stage applies, if it has one.

    Args:
        stage_folder: The fitted stage's folder.

    Raises:
        FitError: Where the file is damaged.
    """
    path = stage_folder / _FOLDER / _CURRENT
    if not has_fit(stage_folder):
        return None
    try:
        path = path.with_name(_named(read_small_file(path)))
        data = read_small_file(path, most=MOST_STATE_BYTES)
        return StoredFit(shaped_json(data, _fit_shape), hashlib.sha256(data).hexdigest(), path)
    except (OSError, ValueError) as error:
        raise FitError(f"fit {path} cannot be read: {error}", "fit again with --refit") from None


def _named(pointer: bytes) -> str:
    """The name of the current fit, which is one of those beside it."""
    name = pointer.decode(errors="replace").strip()
    if not _NAME.fullmatch(name):
        raise ValueError("it names no fit")
    return name


def make_fit(
    treatment: Treatment,
    params: Parameters,
    *,
    dataset: Dataset,
    input_folder: Path,
    stage_folder: Path,
) -> StoredFit:
    """Fit on all available days and make the result the current fit.

    Args:
        treatment: A treatment that has a fit.
        params: Its parameters.
        dataset: Whose days they are.
        input_folder: The input stage's folder.
        stage_folder: The fitted stage's folder.

    Raises:
        FitError: Where there are no days to fit on.
        FitWaitsError: Where other runs replace them again and again.
        TransientStoreError: Where a run works on a day for very long.
    """
    content = _fitted(treatment, params, dataset, input_folder)
    data = (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
    try:
        shaped_json(data, _fit_shape)
    except ValueError as error:
        raise FitError(
            f"the fit of treatment '{treatment.name}' cannot be kept: {error}",
            "let it be JSON that can be read again",
        ) from None
    digest = hashlib.sha256(data).hexdigest()
    path = stage_folder / _FOLDER / f"{digest[:16]}.json"
    write_atomically(path, data)
    write_atomically(path.with_name(_CURRENT), f"{path.name}\n".encode())
    return StoredFit(content, digest, path)


def _fitted(treatment: Treatment, params: Parameters, dataset: Dataset, folder: Path) -> Fit:
    """Fit on days none of which is replaced meanwhile, as it is not made again by itself."""
    for _ in range(_ATTEMPTS):
        days = _days(dataset, folder)
        try:
            content = _fit(treatment, params, folder, days)
        except (OSError, pl.exceptions.PolarsError):
            if not _are_replaced(folder, days):
                raise
        else:
            if not _are_replaced(folder, days):
                return content
    raise FitWaitsError(
        f"the days in {folder} are replaced while they are fitted on",
        "run again when the run that writes them is done",
    )


def _days(dataset: Dataset, folder: Path) -> _Days:
    """List the files of all days, those of each day as one run left them."""
    days: _Days = {}
    for day in stage_days(folder):
        with kept_still(dataset, day):
            days[day] = stored_files(folder, day)
    return days


def _are_replaced(folder: Path, days: _Days) -> bool:
    return any(stored_files(folder, day) != files for day, files in days.items())


def _fit(treatment: Treatment, params: Parameters, input_folder: Path, days: _Days) -> Fit:
    if treatment.fit is None:
        raise FitError(f"treatment '{treatment.name}' has no fit")
    files: dict[str, list[Path]] = {}
    for stored in days.values():
        for key, file in stored.items():
            if treatment.fits_domain is None or treatment.fits_domain(params, key.domain):
                files.setdefault(key.device, []).append(Path(file.path))
    if not files:
        raise FitError(
            f"there is nothing to fit on in {input_folder}", "run the stages before it first"
        )
    frames = {
        device: pl.concat(
            [
                pl.scan_parquet(path, glob=False, hive_partitioning=False).drop("device")
                for path in paths
            ],
            how="diagonal_relaxed",
        )
        for device, paths in files.items()
    }
    return treatment.fit(frames, params)
