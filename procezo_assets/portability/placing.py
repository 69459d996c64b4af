"""Putting an archive's flows and treatments in their places: all that is needed, or nothing."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from procezo_assets.datasets import Home
from procezo_assets.portability.manifest import FLOWS, TREATMENTS, ArchiveError
from procezo_assets.stores.replacing import sync, temporary_beside

_NOTHING_YET = "nothing was restored; move it away"


def files_to_place(home: Home, unpacked: Path, *, replace: bool) -> list[str]:
    """Name the flow files and treatments that are not in their places yet, and can be put there.

    Args:
        home: The home.
        unpacked: The folder that the archive was unpacked into.
        replace: Whether files of other content give way.

    Raises:
        ArchiveError: Where something else has the place of one of them.
    """
    names: list[str] = []
    for folder in (TREATMENTS, FLOWS):
        for path in sorted((unpacked / folder).rglob("*")):
            if not path.is_file():
                continue
            name = path.relative_to(unpacked).as_posix()
            there = home.path / name
            _refuse_blocked(home, name)
            if there.is_file() and filecmp.cmp(there, path, shallow=False):
                continue
            if there.is_file() and not replace:
                raise ArchiveError(
                    f"{name} exists here with other content",
                    f"{_NOTHING_YET}, or take the archive's with --replace-flows",
                )
            names.append(name)
    return names


@contextmanager
def placing(home: Home, unpacked: Path, names: Sequence[str]) -> Iterator[None]:
    """Put files in their places when the block ends, none where it ends with an error.

    All are written beside their places before the block begins, so that no full disk is met after
    it. What they replace is kept under a name ending in `.bak` that nothing has yet.

    Args:
        home: The home.
        unpacked: The folder that the archive was unpacked into.
        names: What `files_to_place` gave.
    """
    moves: list[tuple[Path, Path]] = []
    with ExitStack() as held:

        def write(source: Path, target: Path, mode_of: Path | None) -> None:
            temporary = held.enter_context(temporary_beside(target))
            shutil.copyfile(source, temporary)
            if mode_of is not None:  # a password may be put back into it
                shutil.copymode(mode_of, temporary)
            sync(temporary)
            moves.append((temporary, target))

        for name in names:
            path = home.path / name
            replaced = path if path.is_file() else None
            kept = _kept_name(path) if replaced else None
            if kept is not None:
                write(path, kept, path)
            write(unpacked / name, path, replaced)
        yield
        for temporary, target in moves:
            temporary.replace(target)


def _refuse_blocked(home: Home, name: str) -> None:
    """Refuse what can have no place: where a folder is to be is a file, or the other way round."""
    there = home.path / name
    for folder in reversed(there.parents):
        if folder.is_relative_to(home.path) and _is_taken(folder) and not folder.is_dir():
            raise ArchiveError(f"{folder} is no folder, and {name} is to be in it", _NOTHING_YET)
    if _is_taken(there) and not there.is_file():
        raise ArchiveError(f"{there} is no plain file, as the archive's is", _NOTHING_YET)


def _is_taken(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _kept_name(path: Path) -> Path | None:
    """Where a file is kept that is replaced; None where it is kept already."""
    kept, number = path.with_name(f"{path.name}.bak"), 1
    while _is_taken(kept):
        if kept.is_file() and filecmp.cmp(kept, path, shallow=False):
            return None
        number += 1
        kept = path.with_name(f"{path.name}.{number}.bak")
    return kept
