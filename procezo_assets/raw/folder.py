"""Which raw files a folder has, each with its size and times, in one pass."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import NamedTuple


class FoundFile(NamedTuple):
    """A raw file in its folder.

    Args:
        name: Its path under the folder, with `/`.
        path: Where it is.
        size: Its bytes; -1 where it cannot be asked.
        mtime_ns: When it was changed.
        ctime_ns: When it, or its name or permissions, were changed.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    ctime_ns: int


class FoundFiles(NamedTuple):
    """What a folder has.

    Args:
        files: By name.
        closed: Beginnings of names of which nothing is known: folders that cannot be opened.
    """

    files: dict[str, FoundFile]
    closed: tuple[str, ...]


def find_files(folder: Path) -> FoundFiles:
    """Find the files of a folder at any depth; hidden ones are left out.

    What cannot be read is found too, so that reading it fails instead of passing for nothing: a
    folder that cannot be opened, a link whose target is gone, or that leads out of the folder.
    Links to folders within are followed. Pipes, sockets and devices are left out: nothing can be
    read from them for good.
    """
    within = os.path.realpath(folder)
    files: dict[str, FoundFile] = {}
    closed: list[str] = []
    entered: set[tuple[int, int]] = set()
    pending = [(str(folder), "")]
    while pending:
        path, prefix = pending.pop()
        try:
            about = os.stat(path)  # noqa: PTH116 - paths are texts here: there may be many
            if (about.st_dev, about.st_ino) in entered:  # a link back up
                continue
            entered.add((about.st_dev, about.st_ino))
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    name = prefix + entry.name
                    shown = name if name.isascii() else storable(name)
                    if entry.is_symlink() and leads_out(entry.path, within):
                        files[shown] = FoundFile(shown, entry.path, -1, 0, 0)
                        closed.append(f"{name}/")
                        continue
                    if _is_folder(entry):
                        pending.append((entry.path, f"{name}/"))
                        continue
                    found = _found(entry, shown)
                    if found is not None:
                        files[found.name] = found
        except OSError:
            if prefix or folder.exists():
                closed.append(prefix)
                name = storable(prefix.rstrip("/")) or "."
                files[name] = FoundFile(name, path, -1, 0, 0)
    return FoundFiles(files, tuple(closed))


def leads_out(path: Path | str, within: str) -> bool:
    """Whether a path, all links followed, lies outside of a folder.

    Args:
        path: The path.
        within: The folder, without links.
    """
    real = os.path.realpath(path)
    return os.path.commonpath([real, within]) != within


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle: reading it tells
        return False


def _found(entry: os.DirEntry[str], name: str) -> FoundFile | None:
    try:
        about = entry.stat()
    except OSError:
        return FoundFile(name, entry.path, -1, 0, 0)
    if not stat.S_ISREG(about.st_mode):
        return None
    return FoundFile(name, entry.path, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


def storable(name: str) -> str:
    """A name that parquet and JSON can hold; one that is no UTF-8 is told apart by a hash."""
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8 stand in it as surrogates
        raw = os.fsencode(name)
        path, dot, ending = raw.decode(errors="replace").rpartition(".")
        mark = hashlib.sha256(raw).hexdigest()[:8]
        return f"{mark}-{ending}" if not dot else f"{path}~{mark}.{ending}"
    return name
