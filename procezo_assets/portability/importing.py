"""Restoring a dataset from an archive: nothing appears before all of it is known to be whole."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import shlex
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from gzip import GzipFile
from pathlib import Path
from typing import Any, BinaryIO

from procezo_assets.datasets import RAW_FOLDER, Dataset, Home
from procezo_assets.disks import ROOM_LEFT_BYTES
from procezo_assets.errors import RawFileError
from procezo_assets.portability.manifest import (
    CATALOG,
    DATASET,
    MANIFEST,
    ArchiveError,
    Manifest,
    Member,
    read_manifest,
)
from procezo_assets.portability.placing import files_to_place, placing
from procezo_assets.portability.readings import MOST_BYTES, Readings, parse_readings
from procezo_assets.raw.folder import find_files
from procezo_assets.raw.gone import GONE_FILE, read_gone
from procezo_assets.raw.unpacking import MOST_RATIO, most_unpacked
from procezo_assets.scratch import scratch_folder
from procezo_assets.stores.loads import RECORD
from procezo_assets.stores.parquet import file_sha256

_RAW = f"{DATASET}/{RAW_FOLDER}"
_READ_AT_ONCE = 1 << 20
# of more than a million files; half of each entry is a checksum, which packs to no less than half
_MANIFEST_BYTES = 512 * 1024**2
_MANIFEST_RATIO = 20
_SMALL_MANIFEST = 16 * 1024**2
_HEADER_BYTES = 16 * 1024  # of one member: its header, a long name, what fills its last block
_LATEST = 2**32  # seconds since 1970
# what renaming a folder onto a folder with content, or onto a file, ends in
_TAKEN = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}


@dataclass(frozen=True)
class Imported:
    """What was restored.

    Args:
        manifest: What the archive says of itself.
        placed: Flow files and treatments that were not there before, or were replaced.
        catalog: What the catalog of the other machine knew of the raw files, by flow and file.
        lacks_days: Whether raw files were gone there whose days are results that stayed there.
        is_compared: Whether `catalog` is all of what is known there; else it was too much to read.
    """

    manifest: Manifest
    placed: tuple[str, ...]
    catalog: Readings
    lacks_days: bool
    is_compared: bool


def import_dataset(
    home: Home,
    archive: Path,
    *,
    replace_flows: bool = False,
    advance: Callable[[int], None] | None = None,
) -> Imported:
    """Restore a dataset, its flows and treatments.

    All is unpacked and compared with the manifest in a scratch folder, and treatments and flows are
    written beside their places; then the dataset is put in its place in one step, and last these.
    What they replace stays beside them, its name ending in `.bak`. Killed between these steps, the
    same import goes on where it was: a dataset that is what the archive has is left as it is.

    Args:
        home: The home to restore in.
        archive: The archive.
        replace_flows: Whether flow files and treatments of other content give way.
        advance: Told of the bytes of the archive that were read.

    Raises:
        ArchiveError: Where the archive is damaged, or would replace something.
    """
    with scratch_folder(home.datasets, "import") as scratch:
        with _damage_told(archive), _opened(archive, advance) as stream:
            manifest = _unpack(
                archive, stream, scratch, lambda found: _refuse(home, archive, found)
            )
        left_out = _left_out(manifest)
        for name in left_out:
            (scratch / name).unlink()
        _refuse_gone(archive, scratch / DATASET)
        names = files_to_place(home, scratch, replace=replace_flows)
        readings: Readings = {}
        catalog = manifest.members.get(CATALOG)
        is_compared = catalog is None or catalog.size <= MOST_BYTES
        if catalog is not None and is_compared:
            readings = _readings(archive, (scratch / CATALOG).read_bytes())
        (scratch / _RAW).mkdir(parents=True, exist_ok=True)
        target = home.dataset(manifest.dataset).path
        with placing(home, scratch, names):
            if not _is_restored(home, manifest):
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    (scratch / DATASET).rename(target)
                except OSError as error:  # one that came since is told of as one that was there
                    if error.errno not in _TAKEN or not _is_restored(home, manifest):
                        raise
    lacks_days = any(map(_is_gone_file, left_out))
    return Imported(manifest, tuple(names), readings, lacks_days, is_compared)


def _left_out(manifest: Manifest) -> set[str]:
    """The members that are not restored.

    What was loaded is in databases of another home. Without results, raw files that are gone are
    forgotten: their days would count as kept where nothing of them is, and would not be made of the
    rows that other files have.
    """
    return {
        name
        for name in manifest.members
        if name.startswith(f"{DATASET}/") and not name.startswith(f"{_RAW}/")
        if name.endswith(f"/{RECORD}") or (not manifest.with_stages and _is_gone_file(name))
    }


def _is_gone_file(name: str) -> bool:
    return name.endswith(f"/{GONE_FILE}") and name.count("/") == 2  # noqa: PLR2004 - of a stage


def _refuse_gone(archive: Path, dataset: Path) -> None:
    """Refuse what tells of raw files that are gone where no scan could read it."""
    for path in dataset.glob(f"*/{GONE_FILE}"):
        try:
            if path.parent.name != RAW_FOLDER:
                read_gone(path)
        except RawFileError as error:
            told = error.problem.removeprefix(f"{dataset.parent}/")
            raise _damaged(f"{archive.name}: {told}") from None


def _is_there(dataset: Dataset, manifest: Manifest) -> bool:
    """Whether a dataset is what would be restored, as an interrupted import leaves it.

    Results may have been made since; raw files are the archive's and no others.
    """
    left_out = _left_out(manifest)
    restored = {
        name.removeprefix(f"{DATASET}/"): member
        for name, member in manifest.members.items()
        if name.startswith(f"{DATASET}/") and name not in left_out
    }
    raw = {name.partition("/")[2] for name in restored if name.startswith(f"{RAW_FOLDER}/")}
    return (
        dataset.raw.is_dir()
        and find_files(dataset.raw).files.keys() == raw
        and all(_has_bytes(dataset.path / name, member) for name, member in restored.items())
    )


def _is_restored(home: Home, manifest: Manifest) -> bool:
    """Whether the dataset is in its place already; where it is not, its place is free.

    Raises:
        ArchiveError: Where something else has its place.
    """
    dataset = home.dataset(manifest.dataset)
    exists = dataset.path.exists() or dataset.path.is_symlink()
    if exists and not _is_there(dataset, manifest):
        raise ArchiveError(
            f"dataset '{manifest.dataset}' exists under {home.datasets} with other content",
            f"procezo delete {shlex.quote(manifest.dataset)} removes it, or import into another "
            "home",
        )
    for folder in dataset.path.parents:
        if folder == home.datasets:
            break
        if folder.exists() and not folder.is_dir():
            raise ArchiveError(
                f"{folder} is no folder, and '{manifest.dataset}' is to be in it",
                "move it away, or import into another home",
            )
        if (folder / RAW_FOLDER).exists():
            raise ArchiveError(
                f"'{manifest.dataset}' would be inside the dataset "
                f"'{folder.relative_to(home.datasets).as_posix()}'",
                "import into another home",
            )
    return exists


def _has_bytes(path: Path, member: Member) -> bool:
    return (
        path.is_file() and path.stat().st_size == member.size and file_sha256(path) == member.sha256
    )


def _refuse(home: Home, archive: Path, manifest: Manifest) -> None:
    """Refuse an archive whose dataset has no place here, before anything is unpacked."""
    if manifest.size > most_unpacked(archive.stat().st_size):
        raise ArchiveError(
            f"{archive.name} unpacks to {manifest.size:,} bytes, more than {MOST_RATIO} times its "
            "size",
            "if these are data, unpack it with tar and move its folders into place",
        )
    _is_restored(home, manifest)
    free = shutil.disk_usage(home.datasets).free
    if manifest.size + ROOM_LEFT_BYTES > free:
        raise ArchiveError(
            f"{manifest.size:,} bytes are to be unpacked, and {free:,} are free in {home.datasets}",
            "make room, or import into a home on another disk",
        )


def _unpack(
    archive: Path, stream: _Bounded, scratch: Path, check: Callable[[Manifest], None]
) -> Manifest:
    """Unpack into the scratch folder; every byte is as the manifest says, or it is refused."""
    with tarfile.open(fileobj=stream, mode="r|", errorlevel=2) as members:
        first = members.next()
        if first is None or first.name != MANIFEST or not first.isreg():
            raise ArchiveError(
                f"{archive.name} is no archive of a dataset: it does not begin with {MANIFEST}",
                "make one with procezo export",
            )
        content = members.extractfile(first)
        manifest = read_manifest(content.read() if content else b"", archive=archive.name)
        check(manifest)
        stream.allow(manifest.size + _HEADER_BYTES * (len(manifest.members) + 2))
        left = dict(manifest.members)
        # not by iteration, which would begin with the manifest again
        while (member := members.next()) is not None:
            told = f"{archive.name}: its member {member.name[:200]!r}"
            expected = left.pop(member.name, None)
            if expected is None:
                again = member.name in manifest.members or member.name == MANIFEST
                raise _damaged(f"{told} {'comes twice' if again else 'is not in the manifest'}")
            if not member.isreg():
                raise _damaged(f"{told} is no plain file")
            if member.size != expected.size:
                raise _damaged(
                    f"{told} has {member.size} bytes where the manifest says {expected.size}"
                )
            source = members.extractfile(member)
            if source is None or _write(source, scratch / member.name, member) != expected.sha256:
                raise _damaged(f"{told} is not what was exported (its checksum differs)")
    if left:
        raise _damaged(f"{archive.name} lacks {len(left)} members, such as {min(left)!r}")
    stream.read_to_end()
    return manifest


def _write(source: Any, path: Path, member: tarfile.TarInfo) -> str:  # noqa: ANN401 - tarfile's
    """Write a member and hand back its checksum; its name has been found safe."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with path.open("xb") as file:
        while block := source.read(_READ_AT_ONCE):
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())  # a power cut after the folder has its name must not empty it
    # an archive may say any time, even one that is no number
    mtime_ns = int(max(0, min(_LATEST, member.mtime)) * 1_000_000_000)
    os.utime(path, ns=(mtime_ns, mtime_ns))
    return digest.hexdigest()


def _readings(archive: Path, data: bytes) -> Readings:
    try:
        return parse_readings(data)
    except ValueError:
        raise _damaged(f"{archive.name}: its {CATALOG} is no catalog") from None


def _damaged(problem: str) -> ArchiveError:
    return ArchiveError(problem, "nothing was restored; copy or export it again")


@contextmanager
def _damage_told(archive: Path) -> Iterator[None]:
    """Tell what the readers of gzip and tar say of damage, in one line."""
    try:
        yield
    except gzip.BadGzipFile as error:
        if "Not a gzipped file" in str(error):
            raise ArchiveError(
                f"{archive.name} is no archive", "name one that `procezo export` has written"
            ) from None
        raise _damaged(f"{archive.name} is damaged: {error}") from None
    # what a header says where a number should be is told as a ValueError
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        raise _damaged(f"{archive.name} is damaged: {str(error) or 'it ends early'}") from None
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise _damaged(f"{archive.name}: two members want one path, {error.filename}") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ArchiveError(
                f"{archive.name} has a path that is too long for this disk",
                "nothing was restored; import it into a home that lies less deep",
            ) from None
        if error.errno is not None:  # the disk, not the archive
            raise
        raise _damaged(f"{archive.name} is damaged: {error}") from None


@contextmanager
def _opened(archive: Path, advance: Callable[[int], None] | None) -> Iterator[_Bounded]:
    with archive.open("rb") as file, GzipFile(fileobj=file, mode="rb") as unpacked:
        yield _Bounded(unpacked, file, advance)


class _Bounded(io.RawIOBase):
    """Unpacked bytes, of which no more come than the archive may have: small files unpack big."""

    def __init__(
        self, unpacked: GzipFile, file: BinaryIO, advance: Callable[[int], None] | None
    ) -> None:
        super().__init__()
        self._unpacked = unpacked
        self._file = file
        self._advance = advance
        self._left = _MANIFEST_BYTES
        self._is_manifest = True

    def allow(self, size: int) -> None:
        self._left = size
        self._is_manifest = False

    def read(self, size: int = -1) -> bytes:
        data = self._unpacked.read(size)
        self._left -= len(data)
        unpacked = _MANIFEST_BYTES - self._left
        if self._is_manifest and unpacked > max(
            _SMALL_MANIFEST, _MANIFEST_RATIO * self._file.tell()
        ):
            raise tarfile.ReadError("its manifest unpacks to more than a manifest can")
        if self._left < 0:
            raise tarfile.ReadError("it holds more than its manifest says")
        if self._advance is not None:
            self._advance(self._file.tell())
        return data

    def read_to_end(self) -> None:
        """Read what follows the last member, so that gzip compares its checksum."""
        while self.read(_READ_AT_ONCE):
            pass
