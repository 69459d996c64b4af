"""Writing a dataset, and what its results are made with, into one archive."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

from procezo_assets.dataset_use import in_use
from procezo_assets.datasets import RAW_FOLDER, Dataset, Home
from procezo_assets.flows import Flow
from procezo_assets.portability.manifest import (
    CATALOG,
    DATASET,
    FLOWS,
    MANIFEST,
    TREATMENTS,
    ArchiveError,
    Manifest,
    Member,
    is_safe,
)
from procezo_assets.portability.readings import COMPARED, MOST_BYTES
from procezo_assets.portability.secrets import without_secrets
from procezo_assets.raw.catalog import Catalog
from procezo_assets.raw.catalog_store import CatalogStore
from procezo_assets.raw.fixed import DIALECT_FILE
from procezo_assets.raw.folder import find_files, leads_out
from procezo_assets.raw.gone import GONE_FILE, GoneFiles
from procezo_assets.stores.loads import RECORD
from procezo_assets.stores.replacing import sync, temporary_beside
from procezo_assets.treatments.model import BUILT_IN

_READ_AT_ONCE = 1 << 20

_CatalogRows = dict[str, dict[str, dict[str, Any]]]

# what was loaded is in databases that do not come along
_STAYS = frozenset({RECORD})


@dataclass(frozen=True)
class Exported:
    """What was put into an archive.

    Args:
        path: The archive.
        size: Its bytes.
        manifest: What it says of itself.
        warnings: What a person should look at, a sentence each.
    """

    path: Path
    size: int
    manifest: Manifest
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Piece:
    """A member to be: a file on disk, or bytes."""

    name: str
    source: Path | bytes
    mtime: float

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        if isinstance(self.source, bytes):
            yield io.BytesIO(self.source)
            return
        with self.source.open("rb") as file:
            yield file


def export_dataset(
    dataset: Dataset,
    flows: list[Flow],
    output: Path,
    *,
    with_stages: bool = False,
    advance: Callable[[int], None] | None = None,
) -> Exported:
    """Write a dataset's archive: its raw files, flows, treatments, fits and catalog rows.

    Members are sorted and carry the times of their files, so that two archives of the same files
    differ in nothing but when they were made. Links are stored as the files they point to; one that
    leads elsewhere is refused, as what is there may be nobody's to give away.

    Args:
        dataset: The dataset.
        flows: The flows that take it.
        output: The archive to write; it appears when it is whole.
        with_stages: Whether stage folders, quarantine and exports go in, too.
        advance: Told of the bytes done; all bytes are gone through twice.

    Raises:
        ArchiveError: Where the archive exists, a file changes while it is read, or a link leads
            out of its folder.
    """
    if output.exists():
        raise ArchiveError(f"{output} exists", "name another file with --output, or move it away")
    if not output.parent.is_dir():
        raise ArchiveError(f"there is no folder {output.parent}", "make it, or name another file")
    with in_use(dataset):
        return _export(dataset, flows, output, with_stages=with_stages, advance=advance)


def _export(
    dataset: Dataset,
    flows: list[Flow],
    output: Path,
    *,
    with_stages: bool,
    advance: Callable[[int], None] | None,
) -> Exported:
    pieces, counts, warnings = _pieces(dataset, flows, with_stages=with_stages)
    for piece in pieces:
        if not is_safe(piece.name):
            shown = piece.name.encode(errors="replace").decode()
            raise ArchiveError(f"{shown} has a name that no archive can hold", "rename it")
    done = _Progress(advance)
    members = {piece.name: _measured(piece, done) for piece in pieces}
    manifest = Manifest(
        project=version("procezo-assets"),
        dataset=dataset.name,
        created=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        with_stages=with_stages,
        flows=[flow.name for flow in flows],
        counts=counts,
        members=members,
    )
    with temporary_beside(output) as temporary:
        with temporary.open("wb") as file:
            _write(file, manifest, pieces, done)
        sync(temporary)
        size = temporary.stat().st_size
        _appear(temporary, output)
    return Exported(output, size, manifest, tuple(warnings))


def default_name(dataset: str) -> str:
    """The file name of an archive that is given none."""
    return f"{dataset.replace('/', '_')}_{datetime.now(UTC):%Y-%m-%d}.tar.gz"


def size_of(dataset: Dataset, *, with_stages: bool) -> int:
    """The bytes that an archive is made of, for a progress bar."""
    return sum(path.stat().st_size for _, path in _dataset_files(dataset, with_stages=with_stages))


class _Progress:
    """How many bytes were gone through."""

    def __init__(self, advance: Callable[[int], None] | None) -> None:
        self._advance = advance
        self._done = 0

    def add(self, size: int) -> None:
        self._done += size
        if self._advance is not None:
            self._advance(self._done)


def _pieces(
    dataset: Dataset, flows: list[Flow], *, with_stages: bool
) -> tuple[list[_Piece], dict[str, int], list[str]]:
    warnings: list[str] = []
    pieces = [
        _Piece(f"{DATASET}/{name}", path, path.stat().st_mtime)
        for name, path in _dataset_files(dataset, with_stages=with_stages)
    ]
    if not with_stages:
        warnings += [
            f"the days of {len(gone)} raw files that are gone are kept as results, which stay "
            "here: --with-stages takes them along"
            for output in sorted({flow.source.output for flow in flows if flow.source})
            if (gone := GoneFiles(dataset, output).read())
        ]
    raw = [piece for piece in pieces if piece.name.startswith(f"{DATASET}/{RAW_FOLDER}/")]
    counts = {"raw_files": len(raw)}
    for flow in flows:
        data, removed = without_secrets(flow, flow.path.read_bytes())
        pieces.append(_Piece(f"{FLOWS}/{flow.path.name}", data, flow.path.stat().st_mtime))
        warnings += [
            f"a plain secret of {flow.path.name} was left out of the archive: {place}; "
            'write {"env": "NAME"} in the flow'
            for place in removed
        ]
    pieces += _treatments(dataset.home, flows)
    rows = _catalog_rows(dataset, flows)
    if rows:
        data = (json.dumps(rows, sort_keys=True) + "\n").encode()
        if len(data) <= MOST_BYTES:
            pieces.append(_Piece(CATALOG, data, 0))
        else:
            warnings.append(
                f"what is known of {len(raw):,} raw files is too much for {CATALOG} and was left "
                "out: import will not compare how they are read"
            )
    for name in ("lines", "rows"):
        known = [sum(entry[name] for entry in files.values()) for files in rows.values()]
        if known:
            counts[name] = max(known)
    return sorted(pieces, key=lambda piece: piece.name), counts, warnings


def _dataset_files(dataset: Dataset, *, with_stages: bool) -> Iterator[tuple[str, Path]]:
    """The files of a dataset that go along, each with its path under the dataset's folder."""
    for found in find_files(dataset.raw).files.values():
        path = _within(Path(found.path), dataset.raw)
        yield path.relative_to(dataset.path).as_posix(), path
    for folder in sorted(dataset.path.iterdir()):
        if folder.name == RAW_FOLDER or folder.name.startswith(".") or not folder.is_dir():
            continue
        chosen = folder.rglob("*") if with_stages else _inputs(folder)
        for path in chosen:
            relative = path.relative_to(dataset.path)
            hidden = any(part.startswith(".") for part in relative.parts)
            if path.is_file() and not hidden and path.name not in _STAYS:
                yield relative.as_posix(), _within(path, dataset.path)


def _within(path: Path, folder: Path) -> Path:
    """A path that no link leads out of its folder."""
    if leads_out(path, os.path.realpath(folder)):
        raise ArchiveError(
            f"{path} is a link that leads out of {folder}",
            "put the file itself there, or remove it",
        )
    return path


def _inputs(folder: Path) -> Iterator[Path]:
    """What results are made with beside raw files: fits, and how these are read or were gone."""
    yield from (folder / "fits").glob("*")
    yield folder / DIALECT_FILE
    yield folder / GONE_FILE


def _treatments(home: Home, flows: list[Flow]) -> Iterator[_Piece]:
    """The users' treatments that the flows name."""
    origins = {
        Path(stage.treatment.origin)
        for flow in flows
        for stage in flow.stages
        if stage.treatment.origin != BUILT_IN
    }
    for origin in sorted(origins):
        for path in [origin] if origin.is_file() else sorted(origin.rglob("*")):
            relative = path.relative_to(home.treatments)
            ours = not any(p.startswith(".") or p == "__pycache__" for p in relative.parts)
            if path.is_file() and ours:
                name = f"{TREATMENTS}/{relative.as_posix()}"
                yield _Piece(name, _within(path, home.treatments), path.stat().st_mtime)


def _catalog_rows(dataset: Dataset, flows: list[Flow]) -> _CatalogRows:
    """What the catalog knows of the raw files that import compares, by flow and file."""
    path = dataset.home.state / "catalog.sqlite"
    if not path.is_file():
        return {}
    rows: _CatalogRows = {}
    for flow in flows:
        entries = Catalog(CatalogStore(path), flow.name, dataset.name).entries()
        found = {
            entry.path: {name: getattr(entry, name) for name in COMPARED}
            for entry in entries
            if entry.removed_at is None
        }
        if found:
            rows[flow.name] = found
    return rows


def _measured(piece: _Piece, done: _Progress) -> Member:
    digest, size = hashlib.sha256(), 0
    with piece.open() as file:
        while block := file.read(_READ_AT_ONCE):
            digest.update(block)
            size += len(block)
            done.add(len(block))
    return Member(size=size, sha256=digest.hexdigest())


def _write(file: BinaryIO, manifest: Manifest, pieces: list[_Piece], done: _Progress) -> None:
    data = (json.dumps(manifest.model_dump(), indent=1) + "\n").encode()
    # no name and no time in the gzip header: they would differ between archives of the same
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        archive.addfile(_header(MANIFEST, len(data), 0), io.BytesIO(data))
        for piece in pieces:
            member = manifest.members[piece.name]
            with piece.open() as source:
                watched = _Watched(source, done)
                try:
                    archive.addfile(_header(piece.name, member.size, piece.mtime), watched)
                    grown = bool(source.read(1))
                except OSError as error:
                    if error.errno is not None:  # the disk
                        raise
                    grown = True  # tarfile's way to say that a file ended early
            if grown or watched.digest.hexdigest() != member.sha256:
                raise ArchiveError(
                    f"{piece.name} changed while it was exported",
                    "run again when its writer is done",
                )


class _Watched(io.RawIOBase):
    """A file that hashes what is read of it."""

    def __init__(self, file: BinaryIO, done: _Progress) -> None:
        super().__init__()
        self._file = file
        self._progress = done
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        self._progress.add(len(data))
        return data


def _header(name: str, size: int, mtime: float) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size = size
    header.mtime = mtime  # a fraction where there is one: freshness compares times
    header.mode = 0o644
    return header


def _appear(temporary: Path, output: Path) -> None:
    """Give an archive its name, unless another took it meanwhile."""
    try:
        output.hardlink_to(temporary)
    except FileExistsError:
        raise ArchiveError(f"{output} exists", "name another file with --output") from None
    except OSError:  # a disk without hard links
        temporary.replace(output)
