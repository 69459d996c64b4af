"""User's treatments in the established form: a folder with `treatment.json` and `run.py`."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field, PydanticUserError, create_model

from procezo_assets.datasets import PartKey
from procezo_assets.errors import TreatmentError
from procezo_assets.harmless import steers
from procezo_assets.parameters import Parameters
from procezo_assets.strict_json import read_small_file, strict_json
from procezo_assets.treatments.model import Treatment
from procezo_assets.treatments.treated import Frame

_TYPES: dict[str, type] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "list": list,
    "dict": dict,
}
_REQUIRED = object()
_LONGEST_NAME = 100

# run.py may keep state in its module and prints to stdout, so one call at a time
_ONE_AT_A_TIME = threading.Lock()

Run = Callable[[str, str, dict[str, Any]], None]


def load_established(folder: Path) -> Treatment:
    """Load a treatment from its folder.

    Args:
        folder: Holds `treatment.json` (`name`, `description`, `params` with `type`, `default` and
            `description`) and `run.py` with `run(input_dir, output_dir, params)`.

    Raises:
        TreatmentError: Where one is missing or wrong.
    """
    declaration = folder / "treatment.json"
    script = folder / "run.py"
    for path in (declaration, script):
        if not path.is_file():
            raise TreatmentError(
                f"treatment folder {folder} has no {path.name}",
                "it needs treatment.json and run.py",
            )
    try:
        declared = strict_json(read_small_file(declaration))
        params = {
            name: _field(name, spec) for name, spec in dict(declared.get("params", {})).items()
        }
        summary = str(declared.get("description", ""))
        name = str(declared.get("name", folder.name))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise TreatmentError(f"{declaration}: {error}", "see docs/treatments.md") from None
    if not name or len(name) > _LONGEST_NAME or steers(name):
        raise TreatmentError(
            f"{declaration}: {name[:40]!r} cannot be a treatment's name", "use letters and digits"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a parameter may be called `copy` or `schema`
            model = create_model(f"{name}_parameters", __base__=Parameters, **params)
    except (PydanticUserError, TypeError, ValueError, NameError) as error:
        problem = str(error).partition("\n")[0]
        raise TreatmentError(
            f"{declaration}: a parameter cannot have that name: {problem}", "rename it"
        ) from None
    digest = hashlib.sha256()
    for path in sorted([declaration, *filter(Path.is_file, folder.rglob("*.py"))]):
        digest.update(path.read_bytes())
    return Treatment(
        name=name,
        kind="folder",
        version=digest.hexdigest()[:12],
        parameters=model,
        function=_load_run(script),
        summary=summary,
        origin=str(folder),
    )


def run_established(
    treatment: Treatment,
    frames: Mapping[PartKey, Frame],
    params: Parameters,
    *,
    dataset: str,
    step: str,
    day: date,
    scratch: Path,
) -> dict[PartKey, Frame]:
    """Run a treatment on one partition in a scratch folder of the established layout.

    Args:
        treatment: One that `load_established` made.
        frames: The partition: `ts`, then values.
        params: Its parameters.
        dataset: The dataset's name, the established «experience».
        step: The input stage's name, which file names hold.
        day: The partition's day.
        scratch: An empty folder.

    Returns:
        What it wrote, read back.

    Raises:
        TreatmentError: Where a file it wrote is not named as the layout asks, or has no `ts`.
    """
    folders = {name: scratch / name for name in ("input", "output")}
    experience = dataset.replace("/", "-")
    for folder in folders.values():
        folder.mkdir()
    for key, frame in frames.items():
        window = f"__{key.window}" if key.window else ""
        folder = folders["input"] / f"domain={key.domain}"
        folder.mkdir(exist_ok=True)
        frame.write_parquet(folder / f"{experience}__{key.device}__{step}{window}__{day}.parquet")
    with _ONE_AT_A_TIME, contextlib.redirect_stdout(sys.stderr):
        try:
            treatment.function(
                str(folders["input"]), str(folders["output"]), params.model_dump(by_alias=True)
            )
        except SystemExit as error:  # would end the whole run, not this partition
            raise TreatmentError(
                f"treatment '{treatment.name}' called sys.exit({error.code!r})"
            ) from None
    devices = {key.device for key in frames}
    return {
        _key_of(path, treatment, day, experience, devices): _read_back(path, treatment)
        for path in sorted(folders["output"].glob("domain=*/*.parquet"))
    }


def _key_of(
    path: Path, treatment: Treatment, day: date, experience: str, devices: Iterable[str]
) -> PartKey:
    domain = path.parent.name.removeprefix("domain=")
    start, end = f"{experience}__", f"__{day}"
    if path.stem.startswith(start) and path.stem.endswith(end):
        rest = path.stem[len(start) : -len(end)]
        # names of loggers may hold the separator; those that came in are known
        known = [device for device in devices if rest.startswith(f"{device}__")]
        device = max(known, key=len, default=rest.partition("__")[0])
        _, *windows = rest[len(device) + 2 :].split("__")
        if device and rest != device and len(windows) <= 1:
            return PartKey(device, domain, windows[0] if windows else None)
    raise TreatmentError(
        f"treatment '{treatment.name}' wrote {path.parent.name}/{path.name}",
        f"name it {experience}__<device>__<step>__[<window>__]{day}.parquet",
    )


def _read_back(path: Path, treatment: Treatment) -> Frame:
    frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
    if "ts" not in frame.columns:
        raise TreatmentError(
            f"treatment '{treatment.name}' wrote {path.name} without the column ts",
            "keep ts as a column, not as an index",
        )
    # the established layout writes NaN where this one writes null
    return frame.drop("device", strict=False).with_columns(pl.selectors.float().fill_nan(None))


def _field(name: str, spec: Any) -> Any:  # noqa: ANN401 - create_model takes pairs of any types
    if not isinstance(spec, dict) or "type" not in spec:
        raise ValueError(f"parameter '{name}' needs a type")
    kinds = [_TYPES.get(kind) for kind in str(spec["type"]).split("|")]
    if None in kinds:
        raise ValueError(f"parameter '{name}': unknown type '{spec['type']}'; {', '.join(_TYPES)}")
    annotation: Any = kinds[0]
    for kind in kinds[1:]:
        annotation |= kind
    default = spec.get("default", _REQUIRED)
    description = str(spec.get("description", ""))
    if default is _REQUIRED:
        return (annotation, Field(description=description))
    return (annotation, Field(default, description=description))


def _load_run(script: Path) -> Run:
    name = f"procezo_user_treatments.{script.parent.name}"
    spec = importlib.util.spec_from_file_location(name, script)
    if spec is None or spec.loader is None:
        raise TreatmentError(f"{script} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and annotations are resolved through it
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise TreatmentError(
            f"{script} fails to import: {type(error).__name__}: {error}", "correct it"
        ) from error
    run = getattr(module, "run", None)
    if not callable(run):
        raise TreatmentError(f"{script} has no run(input_dir, output_dir, params)")
    found: Run = run
    return found
