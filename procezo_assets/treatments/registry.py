"""Which treatments there are: those of this package, then the user's own over them."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from procezo_assets import treatments
from procezo_assets.datasets import Home
from procezo_assets.errors import ProcezoError, TreatmentError, did_you_mean
from procezo_assets.treatments.established import load_established
from procezo_assets.treatments.model import Treatment, marked_treatments
from procezo_assets.treatments.native_pandas import with_pandas


@dataclass(frozen=True)
class Registry:
    """The treatments that flows can name.

    Args:
        treatments: By name.
        problems: User's treatments that could not be loaded, by file name without ending.
    """

    treatments: dict[str, Treatment]
    problems: dict[str, ProcezoError]

    def get(self, name: str) -> Treatment:
        """Return a treatment by its name.

        Raises:
            TreatmentError: Where there is none, or it could not be loaded.
        """
        if name in self.treatments:
            return self.treatments[name]
        if name in self.problems:
            raise self.problems[name]
        raise TreatmentError(f"unknown treatment '{name}'", did_you_mean(name, self.treatments))


@lru_cache(maxsize=1)
def built_in() -> dict[str, Treatment]:
    """The treatments of this package, by name."""
    found: dict[str, Treatment] = {}
    for module in pkgutil.iter_modules(treatments.__path__, treatments.__name__ + "."):
        for treatment in _treatments_of(importlib.import_module(module.name)):
            found[treatment.name] = treatment
    return found


def load_registry(home: Home) -> Registry:
    """Load all treatments that a home can use.

    A module `<home>/treatments/<name>.py` holds functions marked with `@treatment`; a folder
    `<home>/treatments/<name>/` holds `treatment.json` and `run.py`. One that cannot be loaded does
    not take the others down.

    Args:
        home: The home folder.
    """
    found = dict(built_in())
    problems: dict[str, ProcezoError] = {}
    entries = sorted(home.treatments.iterdir()) if home.treatments.is_dir() else []
    for path in entries:
        if path.name.startswith((".", "_")):
            continue
        try:
            if path.is_dir():
                own = [load_established(path)]
            elif path.suffix == ".py":
                own = _load_native(path)
            else:
                continue
        except ProcezoError as error:
            problems[path.stem] = error
            found.pop(path.stem, None)  # an override that fails is no reason to run the built-in
        else:
            found.update({one.name: _in_place_of(built_in().get(one.name), one) for one in own})
    return Registry(found, problems)


def _in_place_of(built_in: Treatment | None, own: Treatment) -> Treatment:
    """Let a treatment that overrides a built-in one stand at its folders, unless it says others."""
    if built_in is None:
        return own
    return replace(own, inputs=own.inputs or built_in.inputs, output=own.output or built_in.output)


def _load_native(path: Path) -> list[Treatment]:
    if not path.is_file():
        raise TreatmentError(f"treatment file {path} is no plain file", "move it away")
    try:
        source = path.read_bytes()
    except OSError as error:
        raise TreatmentError(
            f"treatment file {path} cannot be read: {error.strerror}", "set its permissions"
        ) from None
    digest = hashlib.sha256(source).hexdigest()[:12]
    name = f"procezo_user_treatments.{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TreatmentError(f"treatment file {path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations are resolved through it
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise TreatmentError(
            f"treatment file {path} fails to import: {type(error).__name__}: {error}",
            "correct it, or move it out of the folder",
        ) from error
    found = _treatments_of(module)
    if not found:
        raise TreatmentError(
            f"treatment file {path} registers nothing",
            "mark its function with @treatment from procezo_assets.treatments",
        )
    return [
        # the source is part of the version: an edited treatment makes its partitions stale
        replace(with_pandas(one), version=f"{one.version}+{digest}", origin=str(path))
        for one in found
    ]


def _treatments_of(module: ModuleType) -> list[Treatment]:
    return [
        treatment
        for function in vars(module).values()
        if getattr(function, "__module__", None) == module.__name__
        for treatment in marked_treatments(function)
    ]
