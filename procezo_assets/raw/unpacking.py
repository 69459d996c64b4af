"""How much may become of a packed file: small ones unpack to what no disk holds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import IO

from procezo_assets.disks import ROOM_LEFT_BYTES
from procezo_assets.errors import DialectError, RawFileError

PIECE = 1024**2
# Lines of a logger that stands still, twelve zeros and the time, are 30 times smaller as gzip and
# 173 times as xz; bytes that are all alike are 1,000 and 7,000 times smaller.
MOST_RATIO = 200
_ALWAYS = 256 * 1024**2
_ROOM_ASKED_EVERY = 64 * 1024**2


def most_unpacked(size: int) -> int:
    """How many bytes may become of a packed file of so many."""
    return max(_ALWAYS, MOST_RATIO * size)


class Room:
    """What may be written while one raw file is unpacked, through all its layers.

    Args:
        path: The file.
        size: Its bytes.
        scratch: The folder that is unpacked into.
    """

    def __init__(self, path: Path, size: int, scratch: Path) -> None:
        self.path = path
        self._most = most_unpacked(size)
        self._scratch = scratch
        self._written = 0
        self._asked_at = 0

    def copy(self, source: IO[bytes], target: IO[bytes]) -> None:
        """Copy what is unpacked, in pieces.

        Raises:
            DialectError: Where it is more than becomes of data.
            RawFileError: Where it would fill the disk.
        """
        while piece := source.read(PIECE):
            self._written += len(piece)
            if self._written > self._most:
                raise DialectError(
                    "archive_bomb",
                    f"raw file {self.path} unpacks to more than {self._most // 1024**2:,} MB, "
                    f"{MOST_RATIO} times its size",
                    "if these are data, unpack it in its folder",
                )
            if self._written - self._asked_at > _ROOM_ASKED_EVERY:
                self._ask_for_room()
            target.write(piece)

    def _ask_for_room(self) -> None:
        self._asked_at = self._written
        if shutil.disk_usage(self._scratch).free < _ROOM_ASKED_EVERY + ROOM_LEFT_BYTES:
            raise RawFileError(
                f"raw file {self.path} cannot be read: there is no room in {self._scratch} to "
                "unpack it",
                "make room",
            )
