"""Flow files without the secrets that may stand in them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from procezo_assets.flows import Flow
from procezo_assets.parameters import is_secret_name, secret_names

_IN_TEXT = re.compile(r"[a-z][a-z0-9+.-]*://[^\s]*:[^\s]*@|password\s*=", re.IGNORECASE)
_NOTIFY = "notify"


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
    found = isinstance(item, str) and bool(is_secret_name(key, names) or _IN_TEXT.search(item))
    if found:
        removed.append(where)
    return found
