"""The table of a spreadsheet as lines of text."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from typing import IO

from procezo_assets.errors import DialectError, RawFileError
from procezo_assets.raw import sheet_rows
from procezo_assets.raw.unpacking import Room
from procezo_assets.treatments.parse import ParseParameters

_TELLING = ("xl/workbook.xml", "xl/workbook.bin", "content.xml")
# a million rows of a hundred columns take 3.3 GB and 15 s
_MOST_MEMORY = 4 * 1024**3
_MOST_SECONDS = 300
# names of sheets have 31 characters; in a file they may have gigabytes
_MOST_SAID = 64 * 1024
# it says so itself, had the time it may have, or was refused memory within its library
_TOO_LARGE = {3, -signal.SIGXCPU, -signal.SIGABRT}


def is_spreadsheet(file: IO[bytes]) -> bool:
    """Tell whether a zip is a spreadsheet."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except Exception:  # noqa: BLE001 - a damaged zip raises whatever its parser stumbles over
        return False
    return any(name in _TELLING for name in names)


def write_sheet(file: IO[bytes], target: IO[bytes], params: ParseParameters, room: Room) -> str:
    """Write a sheet as delimited lines, one a row.

    Timestamps are ISO 8601, a line end in a cell becomes a blank; fields are separated by commas
    and numbers have a point where the flow does not say otherwise.

    Args:
        file: The spreadsheet.
        target: Where to write.
        params: Names the sheet (the first where unset), delimiter and decimal mark.
        room: Which raw file it is, and how much may be written.

    Returns:
        The sheet's name.

    Raises:
        DialectError: Where it is damaged, locked, has no such sheet, or takes too much memory.
        RawFileError: Where its reader was stopped, which says nothing of the file.
    """
    path = room.path
    # as the other files of the dataset are declared to be, so that one reading fits all
    delimiter = (params.delimiter or "").strip(" ") or ","
    decimal = "," if params.decimal == "," and delimiter != "," else "."
    asked = [params.sheet, delimiter, decimal, _MOST_MEMORY, _MOST_SECONDS, os.getpid()]
    reader = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-P", sheet_rows.__file__, json.dumps(asked)],
        stdin=file.fileno(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for this process, which then ends that one
    )
    try:
        lines = reader.stdout
        assert lines is not None  # noqa: S101 - it was asked for
        first_line = lines.readline(_MOST_SAID + 1)
        if len(first_line) > _MOST_SAID:
            raise _damaged(room, f"its sheets have names of more than {_MOST_SAID // 1024} KB")
        room.copy(lines, target)
        code = reader.wait()
    finally:
        reader.kill()
        reader.communicate()
    if code in _TOO_LARGE:
        raise DialectError(
            "spreadsheet_too_large",
            f"raw file {path} is a spreadsheet that cannot be read in {_MOST_SECONDS} s with "
            f"{_MOST_MEMORY // 1024**3} GB of memory (exit code {code})",
            "save its table as CSV",
        )
    if code:
        raise RawFileError(
            f"raw file {path}: the program that reads spreadsheets was stopped (exit code {code})",
            "run again; where it is stopped again, free memory or save its table as CSV",
        )
    said = json.loads(first_line)
    if said.get("locked"):
        raise DialectError(
            "archive_password", f"raw file {path} is under a password", "save it without one"
        )
    if "problem" in said:
        raise _damaged(room, said["problem"])
    if "sheets" in said:
        raise DialectError(
            "sheet",
            f"raw file {path} has no sheet '{params.sheet}'",
            "set sheet to one of: " + ", ".join(said["sheets"]),
        )
    return str(said["sheet"])


def _damaged(room: Room, problem: str) -> DialectError:
    return DialectError(
        "damaged_archive",
        f"raw file {room.path} is a damaged spreadsheet: {problem}",
        "fetch it again from where it came from",
    )
