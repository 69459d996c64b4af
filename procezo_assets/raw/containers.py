"""Raw files opened: unpacked, as text that can be read block by block, whatever they come in.

A plain file is read where it lies. What is packed (gz, bz2, xz, zip), a spreadsheet, or text of two
or four bytes a character becomes a temporary file of UTF-8 lines without a name, so that nothing is
left of it even after a crash; a small one stays in memory.
"""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import hashlib
import lzma
import os
import tempfile
import threading
import weakref
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

import polars as pl

from procezo_assets.errors import (
    DialectError,
    ProcezoError,
    RawFileChangedError,
    RawFileError,
    TransientRawFileError,
)
from procezo_assets.faults import is_transient
from procezo_assets.raw.blocks import BLOCK_BYTES, Stretch, split_text, whole_lines
from procezo_assets.raw.dialect import OpenedFacts
from procezo_assets.raw.encodings import narrow_encoding, transcode, wide_encoding
from procezo_assets.raw.folder import leads_out
from procezo_assets.raw.spreadsheets import is_spreadsheet, write_sheet
from procezo_assets.raw.unpacking import PIECE, Room
from procezo_assets.treatments.parse import ParseParameters

_IN_MEMORY = 8 * 1024**2
_FIRST_TEXTS = 256 * 1024
_MOST_TEXTS = BLOCK_BYTES
_LAYERS = 3
_PACKED: dict[str, tuple[bytes, Callable[[IO[bytes]], IO[bytes]]]] = {
    "gzip": (
        b"\x1f\x8b\x08",
        lambda file: cast("IO[bytes]", gzip.GzipFile(fileobj=file, mode="rb")),
    ),
    "bz2": (b"BZh", bz2.BZ2File),
    "xz": (b"\xfd7zXZ\x00", lzma.LZMAFile),
}
_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # .xls, and .xlsx under a password
_DAMAGE = (None, errno.EINVAL)  # a library's own, or a place before the file's start


class OpenedRaw:
    """A raw file whose lines can be read from any place, by several threads.

    Args:
        path: The file.
        stream: Its unpacked bytes.
        stat: Of the file as it was opened; what is appended later is left for the next reading.
        facts: What is known of it so far.
        codec: What the unpacked bytes are.
        newline: What ends a line.
        sha256: Hash of the file's bytes where it had to be unpacked; a plain one is hashed as its
            lines are read.
        content: Hash of what is inside, where the file is packed.
    """

    def __init__(
        self,
        path: Path,
        stream: IO[bytes],
        *,
        stat: os.stat_result,
        facts: OpenedFacts,
        codec: str,
        newline: bytes,
        sha256: str | None,
        content: str | None,
    ) -> None:
        self.path = path
        self.facts = facts
        self.size = stat.st_size
        self.mtime_ns = stat.st_mtime_ns
        self.unpacked = sha256 is not None
        self.codec = codec
        self.newline = newline
        self._length = stream.seek(0, os.SEEK_END) if self.unpacked else stat.st_size
        self._sha256 = sha256
        self._content = content
        self._stream = stream
        self._close = weakref.finalize(self, stream.close)
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file, and of what was unpacked."""
        self._close()

    @property
    def sha256(self) -> str:
        """Hash of the file's bytes."""
        if self._sha256 is None:
            for _ in self.stretches():
                pass
        return cast("str", self._sha256)

    @property
    def content(self) -> str:
        """Hash of the bytes that are inside: the same however they are packed."""
        return self._content or self.sha256

    def read_at(self, offset: int, size: int) -> bytes:
        """Read bytes from a place; fewer only at the end.

        Raises:
            RawFileError: Where the file has become shorter, or its disk fails.
        """
        wanted = max(0, min(size, self._length - offset))
        try:
            with self._turn:
                self._stream.seek(offset)
                data = self._stream.read(wanted)
        except OSError as error:
            raise unreadable(self.path, error) from None
        if len(data) < wanted:
            raise changed(self.path)
        return data

    def stretches(self) -> Iterator[Stretch]:
        """The lines from the first to the last; at the end the hash is known."""
        digest = None if self._sha256 else hashlib.sha256()
        offset = 0

        def read(size: int) -> bytes:
            nonlocal offset
            data = self.read_at(offset, size)
            offset += len(data)
            if digest:
                digest.update(data)
            return data

        yield from whole_lines(read, newline=self.newline, block_bytes=BLOCK_BYTES)
        if digest:
            self._sha256 = digest.hexdigest()

    def texts(self) -> Iterator[pl.Series]:
        """The texts of the lines from the first on, a few at first and then more."""
        offset = 0
        block_bytes = _FIRST_TEXTS

        def read(size: int) -> bytes:
            nonlocal offset, block_bytes
            data = self.read_at(offset, min(size, block_bytes))
            offset += len(data)
            block_bytes *= 4
            return data

        first = True
        for stretch in whole_lines(read, newline=self.newline, block_bytes=_MOST_TEXTS):
            yield self.split(stretch.data, first=first)
            first = False

    def split(self, data: bytes, *, first: bool) -> pl.Series:
        """Cut bytes of this file into the texts of its lines."""
        return split_text(data, codec=self.codec, newline=self.newline, first=first)


def open_raw(
    path: Path, scratch: Path, params: ParseParameters, *, within: Path | None = None
) -> OpenedRaw:
    """Open a raw file.

    Args:
        path: The file.
        scratch: A folder for temporary files; it is made where it is missing.
        params: What the flow says of encoding and sheet.
        within: The folder that it may not lead out of by links.

    Raises:
        RawFileError: Where the file or the disk cannot be read or written.
        DialectError: Where it is damaged, locked, or not one table.
    """
    if within is not None and leads_out(path, os.path.realpath(within)):
        raise RawFileError(
            f"raw file {path} cannot be read: it is a link that leads out of {within}",
            "put the file itself there",
        )
    try:
        stream = path.open("rb", buffering=0)  # a buffer would hide that the file was replaced
    except OSError as error:
        raise unreadable(path, error) from None
    try:
        with _closed_on_error(stream):
            return _opened(path, stream, scratch, params)
    except OSError as error:
        raise unreadable(path, error) from None


def _opened(path: Path, stream: IO[bytes], scratch: Path, params: ParseParameters) -> OpenedRaw:
    stat = os.fstat(stream.fileno())
    file, sha256, sheet = stream, None, None
    containers: list[str] = []
    room = Room(path, stat.st_size, scratch)
    while (kind := _container(file)) and len(containers) < _LAYERS:
        sha256 = sha256 or _hash(stream)
        containers.append(kind)
        with file:
            made = _temporary(scratch)
            with _closed_on_error(made):
                sheet = _unpack(kind, file, made, params, room)
        file = made
    content = _hash(file) if containers else None
    declared = params.encoding
    encoding = wide_encoding(_head(file), declared)
    if encoding:
        sha256 = sha256 or _hash(stream)
        with file:
            made = _temporary(scratch)
            with _closed_on_error(made):
                transcode(path, file, made, encoding)
        file = made
    head = _head(file)
    codec = "utf-8" if encoding else declared or narrow_encoding(head, params)
    return OpenedRaw(
        path,
        file,
        stat=stat,
        facts=OpenedFacts(encoding or codec, " in ".join(reversed(containers)) or None, sheet),
        codec=codec,
        # as loggers of the last century end their lines
        newline=b"\r" if b"\n" not in head and b"\r" in head else b"\n",
        sha256=sha256,
        content=content,
    )


def _temporary(scratch: Path) -> IO[bytes]:
    scratch.mkdir(parents=True, exist_ok=True)
    file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=str(scratch))  # noqa: SIM115 - kept
    return cast("IO[bytes]", file)


@contextlib.contextmanager
def _closed_on_error(file: IO[bytes]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        file.close()
        raise


def unreadable(path: Path, error: OSError) -> RawFileError:
    """The error of a file that cannot be read."""
    kind = TransientRawFileError if is_transient(error) else RawFileError
    return kind(
        f"raw file {path} cannot be read: {error.strerror or error}",
        "check its permissions and disk",
    )


def changed(path: Path) -> RawFileChangedError:
    """The error of a file that is not what it was."""
    return RawFileChangedError(
        f"raw file {path} changed while it was read", "run again when its writer is done"
    )


def _head(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(PIECE)


def _hash(file: IO[bytes]) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(PIECE):
        digest.update(piece)
    return digest.hexdigest()


def _container(file: IO[bytes]) -> str | None:
    """What a file comes in, by its first bytes: a suffix may be wrong or missing."""
    file.seek(0)
    start = file.read(16)
    for kind, (magic, _) in _PACKED.items():
        if start.startswith(magic) and (kind != "bz2" or start[4:10] == b"1AY&SY"):
            return kind
    if start.startswith(_OLE):
        return "xlsx"
    if start.startswith((_ZIP, _EMPTY_ZIP)):
        return "xlsx" if is_spreadsheet(file) else "zip"
    return None


def _unpack(
    kind: str, file: IO[bytes], target: IO[bytes], params: ParseParameters, room: Room
) -> str | None:
    """Write what is inside; the sheet's name where it is one."""
    path = room.path
    file.seek(0)
    if kind == "xlsx":
        return write_sheet(file, target, params, room)
    try:
        if kind == "zip":
            with zipfile.ZipFile(file) as archive, archive.open(_member(path, archive)) as inside:
                room.copy(inside, target)
        else:
            with _PACKED[kind][1](file) as inside:
                room.copy(inside, target)
    except ProcezoError:
        raise
    except Exception as error:  # a damaged archive raises whatever its library stumbles over
        if isinstance(error, OSError) and error.errno not in _DAMAGE:
            raise
        raise DialectError(
            "damaged_archive",
            f"raw file {path} is a damaged {kind} file: {str(error) or type(error).__name__}",
            "fetch it again from where it came from",
        ) from None
    return None


def _member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The one data file of a zip, next to what operating systems add of their own."""
    members = [
        member
        for member in archive.infolist()
        if not member.is_dir()
        and not any(part.startswith((".", "__MACOSX")) for part in member.filename.split("/"))
    ]
    if len(members) != 1:
        named = ", ".join(member.filename for member in members[:5]) or "none"
        raise DialectError(
            "archive_members",
            f"raw file {path} holds {len(members)} files ({named}), not one",
            "unpack it in its folder",
        )
    if members[0].flag_bits & 1:
        raise DialectError(
            "archive_password", f"raw file {path} is under a password", "unpack it in its folder"
        )
    return members[0]
