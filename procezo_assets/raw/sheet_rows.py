"""A program that reads a spreadsheet on stdin and writes one of its sheets as lines on stdout.

A process of its own, as a file of some kilobytes may ask for terabytes of memory, which ends the
process that reads it. It imports nothing of this package, so that it starts in no time.

The first line is JSON: `{"sheet": name}` and the rows follow; or `{"sheets": […]}` where there is
none of that name, `{"problem": text}` where the file cannot be read, `{"locked": true}` where it is
under a password. The exit code is 3 where the memory that it may have is too little. It ends within
a second of the process that asked, which may be killed.
"""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import python_calamine

_WHOLE = 2**53
_TOO_LARGE = 3
_SECONDS_TO_SAY_SO = 10
_LOOKS_EVERY_S = 0.5


def main() -> None:
    """Read what the arguments ask for: sheet, delimiter, decimal mark, bytes, seconds, who asks."""
    wanted, delimiter, decimal, most_bytes, most_seconds, asking = json.loads(sys.argv[1])
    threading.Thread(target=_end_with, args=(asking,), daemon=True).start()
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    # at the hard limit it is SIGKILL, which others send as well
    resource.setrlimit(resource.RLIMIT_CPU, (most_seconds, most_seconds + _SECONDS_TO_SAY_SO))
    with open(0, "rb", closefd=False) as file:
        file.seek(0)
        said, sheet = _opened(file, wanted)
    with io.TextIOWrapper(
        sys.stdout.buffer, encoding="utf-8", errors="replace", newline=""
    ) as text:
        text.write(json.dumps(said) + "\n")
        if sheet is not None:
            lines = csv.writer(text, delimiter=delimiter, lineterminator="\n")
            lines.writerows(_rows(sheet, decimal))


def _end_with(process: int) -> None:
    """End when the process that started this one is gone.

    The pipe tells only who writes, and no line is written before a sheet has been read. The library
    lets other threads run meanwhile.
    """
    while os.getppid() == process:
        time.sleep(_LOOKS_EVERY_S)
    os._exit(1)


def _opened(file: Any, wanted: str | None) -> tuple[dict[str, Any], Any]:  # noqa: ANN401 - untyped library
    """What is to be said of the file, and the sheet."""
    try:
        workbook = python_calamine.CalamineWorkbook.from_filelike(file)
        names = list(workbook.sheet_names)
        name = names[0] if wanted is None and names else wanted
        if name not in names:
            return {"sheets": names}, None
        return {"sheet": name}, workbook.get_sheet_by_name(name)
    except python_calamine.PasswordError:
        return {"locked": True}, None
    except BaseException as error:
        # what the reader does not foresee comes as a panic, which is no Exception
        if isinstance(error, python_calamine.CalamineError) or _is_panic(error):
            return {"problem": str(error)}, None
        raise


def _rows(sheet: Any, decimal: str) -> Iterator[list[str]]:  # noqa: ANN401 - untyped library
    for row in sheet.iter_rows():
        cells = [_cell(value, decimal) for value in row]
        yield cells if any(cells) else []


def _cell(value: object, decimal: str) -> str:
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < _WHOLE
        return str(int(value)) if whole else repr(value).replace(".", decimal)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return " ".join(str(value).splitlines())


def _is_panic(error: BaseException) -> bool:
    return type(error).__name__ == "PanicException"


if __name__ == "__main__":
    try:
        main()
    except MemoryError:
        sys.exit(_TOO_LARGE)
