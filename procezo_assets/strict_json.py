"""JSON that people or strangers wrote: read as a whole, or refused in a sentence.

Python's own reader takes what is no JSON (NaN), lets the last of repeated keys win without a word,
and ends in errors of its own kind where texts are nested deeply or hold halves of characters.
"""

from __future__ import annotations

import json
import math
import stat
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

MOST_BYTES = 4 * 1024**2
MOST_STATE_BYTES = 64 * 1024**2
"""The largest file in which a home remembers something, such as a fit; most are small."""
_DEEPEST = 64


_Shape = TypeVar("_Shape")


def strict_json(data: bytes | str, *, most: int = MOST_BYTES) -> Any:  # noqa: ANN401 - any JSON value
    """Read a JSON text.

    Args:
        data: The text.
        most: How many bytes it may have.

    Raises:
        ValueError: Where it is none, is larger, nested more than 64 levels deep, repeats a key, or
            has numbers that are not finite or characters that no database takes.
    """
    if len(data) > most:
        raise ValueError(_too_large(len(data), most))
    try:
        value = json.loads(
            data, object_pairs_hook=_without_repeats, parse_constant=_refuse, parse_float=_finite
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check(value)
    return value


def shaped_json(
    data: bytes | str, shape: TypeAdapter[_Shape], *, most: int = MOST_STATE_BYTES
) -> _Shape:
    """Read what a home remembers as JSON, which may be damaged, or from another home.

    Args:
        data: The text.
        shape: What it must be.
        most: How many bytes it may have.

    Raises:
        ValueError: Where it is something else, in a sentence.
    """
    value = strict_json(data, most=most)
    try:
        return shape.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None


def shaped_file(path: Path, shape: TypeAdapter[_Shape], *, most: int = MOST_STATE_BYTES) -> _Shape:
    """Read a file in which a home remembers something, as `shaped_json`.

    Raises:
        OSError: Where it cannot be read.
        ValueError: Where it is something else, in a sentence.
    """
    return shaped_json(read_small_file(path, most=most), shape, most=most)


def read_small_file(path: Path, *, most: int = MOST_BYTES) -> bytes:
    """Read a file that a person wrote; one that is too large, or no file, is not even opened.

    Args:
        path: The file.
        most: How many bytes it may have.

    Raises:
        OSError: Where it cannot be read.
        ValueError: Where it is none, such as a pipe, or too large.
    """
    found = path.stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise ValueError("it is no plain file")
    if found.st_size > most:
        raise ValueError(_too_large(found.st_size, most))
    return path.read_bytes()


def _too_large(size: int, most: int) -> str:
    return f"it has {size:,} bytes, and {most:,} are the most"


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
