"""JSON that people or strangers wrote: read as a whole, or refused in a sentence.

Python's own reader takes what is no JSON (NaN), lets the last of repeated keys win without a word,
and ends in errors of its own kind where texts are nested deeply or hold halves of characters.
"""

from __future__ import annotations

import json
import math
import stat
from pathlib import Path
from typing import Any

MOST_BYTES = 4 * 1024**2
_DEEPEST = 64


def strict_json(data: bytes | str) -> Any:  # noqa: ANN401 - any JSON value
    """Read a JSON text.

    Raises:
        ValueError: Where it is none, is larger than 4 MB, nested more than 64 levels deep, repeats
            a key, or has numbers that are not finite or characters that no database takes.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"it has {len(data):,} bytes, and {MOST_BYTES:,} are the most")
    try:
        value = json.loads(
            data, object_pairs_hook=_without_repeats, parse_constant=_refuse, parse_float=_finite
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check(value)
    return value


def read_small_file(path: Path) -> bytes:
    """Read a file that a person wrote; one that is too large, or no file, is not even opened.

    Raises:
        OSError: Where it cannot be read.
        ValueError: Where it is none, such as a pipe, or too large.
    """
    found = path.stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise ValueError("it is no plain file")
    if found.st_size > MOST_BYTES:
        raise ValueError(f"it has {found.st_size:,} bytes, and {MOST_BYTES:,} are the most")
    return path.read_bytes()


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the key {name!r} stands twice in one object")
            seen.add(name)
    return found


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is beyond what a number can be")
    return value


def _check(value: object, at: tuple[str | int, ...] = ()) -> None:
    if len(at) > _DEEPEST:
        raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
    if isinstance(value, str):
        _check_text(value, at)
    elif isinstance(value, dict):
        for name, inner in value.items():
            _check_text(name, (*at, name))
            _check(inner, (*at, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            _check(inner, (*at, place))


def _check_text(text: str, at: tuple[str | int, ...]) -> None:
    if "\0" in text:
        raise ValueError(f"{_named(at)} has a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{_named(at)} has half a character (a lone surrogate)") from None


def _named(at: tuple[str | int, ...]) -> str:
    """Where a text stands; the text itself may be a password."""
    return repr(".".join(str(part)[:40] for part in at)) if at else "the text"
