"""Bytes to blocks of whole lines, and blocks to texts: what bounds the memory that a file takes."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

# Larger blocks take more memory and are no faster; one takes some 50 MB while it is read.
BLOCK_BYTES = 4 * 1024**2
BLOCK_LINES = 1 << 18
LONGEST_LINE = 1024**2
KEPT_OF_LONG_LINE = 64 * 1024

_BOM = "\ufeff"
# encodings that have ASCII's bytes for ASCII's characters
_LIKE_ASCII = {"ascii", "cp1252", "iso8859-1", "utf-8", "utf-8-sig"}
# texts of up to so many bytes are no views in Arrow
_HELD_IN_VIEW = 12


class Stretch(NamedTuple):
    """Some whole lines, or the beginning of one that is too long to be held.

    Args:
        data: The bytes; of a line that is too long the first ones.
        size: How many bytes of the stream it stands for.
        lines: How many lines it has; the last may not be ended.
        too_long: Whether it is one line that is too long.
    """

    data: bytes
    size: int
    lines: int
    too_long: bool = False


def whole_lines(
    read: Callable[[int], bytes], *, newline: bytes = b"\n", block_bytes: int
) -> Iterator[Stretch]:
    """Cut a stream into stretches that end where a line ends; the last ends where the stream does.

    Args:
        read: Hands out the next bytes, at most so many; none at the end.
        newline: What ends a line, one byte.
        block_bytes: How much is read at once. No stretch is larger than twice that and a line of
            `LONGEST_LINE`.
    """
    pending = b""
    while chunk := read(block_bytes):
        cut = chunk.rfind(newline) + 1
        if cut:
            yield from _few_lines(b"".join((pending, memoryview(chunk)[:cut])), newline)
            pending = chunk[cut:]
            continue
        pending += chunk
        if len(pending) > block_bytes + LONGEST_LINE:
            kept, size, end = pending[:KEPT_OF_LONG_LINE], len(pending), 0
            while not end and (chunk := read(block_bytes)):
                end = chunk.find(newline) + 1
                size += end or len(chunk)
            yield Stretch(kept, size, 1, too_long=True)
            pending = chunk[end:]
    if pending:
        yield from _few_lines(pending, newline)


def _few_lines(data: bytes, newline: bytes) -> Iterator[Stretch]:
    """Halve a stretch of many short lines: a line takes memory of its own."""
    # bytes.count lets no other thread work
    ends = int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord(newline)))
    middle = data.find(newline, len(data) // 2) + 1
    if ends <= BLOCK_LINES or not 0 < middle < len(data):
        yield Stretch(data, len(data), ends + (not data.endswith(newline)))
        return
    yield from _few_lines(data[:middle], newline)
    yield from _few_lines(data[middle:], newline)


def split_text(
    data: bytes, *, codec: str = "utf-8", newline: bytes = b"\n", first: bool = True
) -> pl.Series:
    r"""Cut bytes into lines at LF; CR before it, a BOM and NUL bytes are stripped.

    Bytes that are none of the codec's become U+FFFD, so that the line fails where they matter;
    quarantine keeps the bytes themselves.

    Args:
        data: Whole lines.
        codec: What the bytes are.
        newline: What ends a line; CR in files of old loggers that know no LF.
        first: Whether these are the file's first bytes, where a BOM may stand.
    """
    if not data:
        return pl.Series("text", [], dtype=pl.String)
    if newline == b"\n" and codecs.lookup(codec).name in _LIKE_ASCII and data.isascii():
        texts = _split_in_place(data)
        if texts is not None:
            return texts
    text = data.decode(codec, errors="replace")
    if "\0" in text:
        text = text.replace("\0", "")
    if first:
        text = text.removeprefix(_BOM)
    if data.endswith(newline):
        text = text[:-1]
    # one string that Polars cuts: a Python string a line takes four times the memory
    texts = pl.Series("text", [text], dtype=pl.String).str.split(newline.decode()).explode()
    return texts.str.strip_suffix("\r")


def _split_in_place(data: bytes) -> pl.Series | None:
    """Cut ASCII into texts that are views of it, in a sixth of the time that copies take.

    None where a line is so short that Arrow would hold it in the view itself, or has NUL bytes.
    """
    import pyarrow as pa  # noqa: PLC0415 - imported by every command, needed by few

    if b"\0" in data:
        return None
    characters = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(characters == ord(b"\n"))
    if not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    starts = np.append(0, ends[:-1] + 1)
    ends = ends - (characters[ends - 1] == ord(b"\r"))
    lengths = ends - starts
    if lengths.min() <= _HELD_IN_VIEW:
        return None
    fours = np.ndarray((len(data) - 3,), "<u4", data, strides=(1,))
    views = np.zeros((len(ends), 4), "<u4")
    views[:, 0], views[:, 1], views[:, 3] = lengths, fours[starts], starts
    buffers = [None, pa.py_buffer(views), pa.py_buffer(data)]
    array = pa.Array.from_buffers(pa.string_view(), len(views), buffers)
    return pl.Series("text", array)


def line_bytes(data: bytes, places: list[int], *, newline: bytes = b"\n") -> pl.Series:
    """The bytes of some lines of a block, without what ends them.

    Args:
        data: Whole lines.
        places: Which lines, from 0, sorted.
        newline: What ends a line.
    """
    raw: list[bytes] = []
    start, at = 0, 0
    for place in places:
        while at < place:
            start = data.index(newline, start) + 1
            at += 1
        end = data.find(newline, start)
        end = len(data) if end < 0 else end
        raw.append(data[start : end if end - start <= LONGEST_LINE else start + KEPT_OF_LONG_LINE])
    return pl.Series("raw", raw, dtype=pl.Binary)
