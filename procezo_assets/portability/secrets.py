"""Flow files without the secrets that may stand in them."""

from __future__ import annotations

import json
from collections.abc import Collection

from procezo_assets.flows import Flow
from procezo_assets.parameters import is_secret_name, is_secret_text, secret_names

_NOTIFY = "notify"
# parameters whose keys are names of columns or domains, and where parameters stand
_BY_COLUMN = frozenset({"rename", "units", "columns", "agg_method"})
_PARAMETERS = (("params",), ("steps", None, "params"), ("overrides", None, None))

_Place = tuple[str | int, ...]


def without_secrets(flow: Flow, data: bytes) -> tuple[bytes, list[str]]:
    """Take plain secrets out of a flow file.

    Args:
        flow: The flow.
        data: Its file.

    Returns:
        The file, byte for byte where it has no secret, and the places of what was taken out.
    """
    models = [stage.treatment.parameters for stage in flow.stages]
    names = {name for model in models for name in secret_names(model)}
    removed: list[str] = []
    content = _cleared(json.loads(data), (), names, removed)
    if not removed:
        return data, []
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode(), removed


def _cleared(value: object, at: _Place, names: Collection[str], removed: list[str]) -> object:
    if isinstance(value, dict):
        return {
            key: _cleared(item, (*at, key), names, removed)
            for key, item in value.items()
            if not _is_secret(item, (*at, key), names, removed)
        }
    if isinstance(value, list):
        return [
            _cleared(item, (*at, place), names, removed)
            for place, item in enumerate(value)
            if not _is_secret(item, (*at, place), names, removed)
        ]
    return value


def _is_secret(item: object, at: _Place, names: Collection[str], removed: list[str]) -> bool:
    found = isinstance(item, str) and (_has_secret_name(at, names) or is_secret_text(item))
    if found:
        removed.append(_written(at))
    return found


def _has_secret_name(at: _Place, names: Collection[str]) -> bool:
    *above, name = at
    if isinstance(name, int):
        return above == [_NOTIFY]  # an address of a notification mostly is its secret
    return not _names_columns(above) and is_secret_name(name, names)


def _names_columns(at: list[str | int]) -> bool:
    """Whether the keys of what stands at a place are names of columns."""
    return (
        bool(at)
        and at[-1] in _BY_COLUMN
        and any(
            len(at) > len(place)
            and all(known in {None, part} for known, part in zip(place, at, strict=False))
            for place in _PARAMETERS
        )
    )


def _written(at: _Place) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in at)
    return "".join(parts).removeprefix(".")
