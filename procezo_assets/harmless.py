"""Texts from outside as they may be shown: none of them steers a terminal or turns a line round."""

from __future__ import annotations

import re

# control characters, line ends that are none in ASCII, marks that turn the direction of writing,
# and halves of characters, which no terminal and no database takes
_STEERS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)

# `_` is left: it makes nothing but emphasis, and half of all names have one
_MARKS = re.compile(r"[\\`*\[\]<>|!&]")


def harmless(text: str) -> str:
    """A text from a file, a file's name or a database with what steers written as escapes."""
    return _STEERS.sub(lambda found: _escape(found.group()), text)


def harmless_json(text: str) -> str:
    """A JSON text that means the same and has nothing in it that steers, line ends aside."""
    return _STEERS.sub(
        lambda found: found.group() if found.group() == "\n" else f"\\u{ord(found.group()):04x}",
        text,
    )


def steers(text: str) -> bool:
    """Whether a text holds what `harmless` would escape."""
    return _STEERS.search(text) is not None


def plain_markdown(text: str) -> str:
    """A text that Markdown shows as it is: no link, image, HTML or table comes of it."""
    return _MARKS.sub(r"\\\g<0>", harmless(text))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
