"""What the bytes of a raw file are: which encoding of text."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import IO, Any

from procezo_assets.errors import DialectError
from procezo_assets.raw.unpacking import PIECE
from procezo_assets.treatments.parse import ParseParameters

_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_C1 = range(0x80, 0xA0)  # bytes that Latin-1 does not use for text, and Windows does
_SIGNS_OF_UTF16 = 16  # fewer bytes say nothing


def wide_encoding(head: bytes, declared: str | None) -> str | None:
    """The encoding, where its bytes cannot be cut at line ends as they are."""
    if declared:
        probe: Any = bytes(range(256))
        ascii_bytes = bytes(range(128))
        one_byte_each = len(probe.decode(declared, errors="replace")) == len(probe)
        plain = ascii_bytes.decode(declared, errors="replace") == ascii_bytes.decode()
        is_utf8 = codecs.lookup(declared).name in {"utf-8", "ascii", "utf-8-sig"}
        return None if is_utf8 or (one_byte_each and plain) else declared
    for bom, encoding in _BOMS.items():
        # without a NUL it is two stray bytes before something else
        if head.startswith(bom) and b"\0" in head:
            return encoding
    if len(head) >= _SIGNS_OF_UTF16:
        even, odd = head[0::2].count(0), head[1::2].count(0)
        most = len(head) * 2 // 5
        if odd > most and not even:
            return "utf-16-le"
        if even > most and not odd:
            return "utf-16-be"
    return None


def narrow_encoding(head: bytes, params: ParseParameters) -> str:
    """UTF-8; or what Windows writes, in a file with a header where UTF-8 makes no sense."""
    if params.format == "kv_csv":
        return "utf-8"
    if not _is_latin(head):
        return "utf-8"
    windows = any(byte in _C1 for byte in head)
    try:
        head.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252" if windows else "latin-1"


def _is_latin(head: bytes) -> bool:
    """Whether most lines beyond ASCII are no UTF-8, and the first of them is none.

    A line of another encoding hardly ever is UTF-8 by chance. So names of columns that are tell of
    all the file, however many damaged lines follow.
    """
    text = codecs.getincrementaldecoder("utf-8")(errors="replace").decode(head)
    lines = [line for line in text.split("\n") if not line.isascii()]
    broken = ["\ufffd" in line for line in lines]
    return any(broken[:1]) and 2 * sum(broken) > len(broken)


def transcode(path: Path, source: IO[bytes], target: IO[bytes], encoding: str) -> None:
    """Write text as UTF-8; what is none becomes U+FFFD.

    Args:
        path: The raw file, for the error.
        source: Its bytes.
        target: Where the text goes.
        encoding: What the bytes are.

    Raises:
        DialectError: Where no replacement mends it, such as a byte order that is not said.
    """
    source.seek(0)
    try:
        decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        while piece := source.read(PIECE):
            target.write(decoder.decode(piece).encode(errors="replace"))
        target.write(decoder.decode(b"", final=True).encode(errors="replace"))
    except UnicodeError as error:
        raise DialectError(
            "encoding",
            f"raw file {path} is not written in {encoding}: {error}",
            "set encoding to what it is, such as utf-16-le",
        ) from None
