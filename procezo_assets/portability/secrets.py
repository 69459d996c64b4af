"""Flow files without the secrets that may stand in them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from procezo_assets.flows import Flow

# what flow files of all kinds call a secret; a treatment's own are known by their type
_NAMES = frozenset({"password", "passwd", "url", "secret", "token", "api_key", "apikey"})
_IN_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s]*:[^/\s]*@", re.IGNORECASE)
_NOTIFY = "notify"


def without_secrets(flow: Flow, data: bytes) -> tuple[bytes, list[str]]:
    """Take plain secrets out of a flow file.

    Args:
        flow: The flow.
        data: Its file.

    Returns:
        The file, byte for byte where it has no secret, and the places of what was taken out.
    """
    names = _NAMES | _secret_parameters(flow)
    removed: list[str] = []
    content = _cleared(json.loads(data), "", names, removed)
    if not removed:
        return data, []
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode(), removed


def _cleared(value: Any, where: str, names: Collection[str], removed: list[str]) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {
            key: _cleared(item, f"{where}.{key}".lstrip("."), names, removed)
            for key, item in value.items()
            if not _is_secret(key, item, f"{where}.{key}".lstrip("."), names, removed)
        }
    if isinstance(value, list):
        places = [(item, f"{where}[{place}]") for place, item in enumerate(value)]
        return [
            _cleared(item, place, names, removed)
            for item, place in places
            # an address of a notification mostly is its secret
            if not _is_secret(_NOTIFY if where == _NOTIFY else "", item, place, names, removed)
        ]
    return value


def _is_secret(
    key: str, item: object, where: str, names: Collection[str], removed: list[str]
) -> bool:
    found = isinstance(item, str) and bool(
        key.lower() in names or key == _NOTIFY or _IN_ADDRESS.match(item)
    )
    if found:
        removed.append(where)
    return found


def _secret_parameters(flow: Flow) -> set[str]:
    """The names of parameters that treatments declare as secret."""
    found: set[str] = set()
    for stage in flow.stages:
        schema = stage.treatment.parameters.model_json_schema(by_alias=True)
        for name, described in schema.get("properties", {}).items():
            options = [described, *described.get("anyOf", [])]
            if any(option.get("format") == "password" for option in options):
                found.add(name.lower())
    return found
