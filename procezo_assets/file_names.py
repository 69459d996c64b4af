"""Names of files: how long they may be, and what a file is called before it is whole."""

from __future__ import annotations

import uuid
from pathlib import Path

NAME_BYTES = 255
"""How long the name of a file or folder may be, as all disks have it."""


def temporary_path(path: Path) -> Path:
    """Where a file is written before it takes its name: beside it, hidden, of a name of its own."""
    return path.with_name(f".{cut_to_bytes(path.name, 100)}.{uuid.uuid4().hex}.tmp")


def cut_to_bytes(text: str, most: int) -> str:
    """The beginning of a text that takes no more than so many bytes."""
    return text.encode()[:most].decode(errors="ignore")
