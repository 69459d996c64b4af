"""Names of files: how long they may be, and whether they stay where they belong."""

from __future__ import annotations

NAME_BYTES = 255
"""How long the name of a file or folder may be, as all disks have it."""


def cut_to_bytes(text: str, most: int) -> str:
    """The beginning of a text that takes no more than so many bytes."""
    return text.encode()[:most].decode(errors="ignore")


def stays_below(name: str) -> bool:
    """Tell whether a name, put after a folder's, is a path that no part of leads out of it."""
    return not name.startswith("/") and "\0" not in name and ".." not in name.split("/")
