"""The table of a spreadsheet as lines of text."""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from procezo_assets.errors import DialectError
from procezo_assets.treatments.parse import ParseParameters

_WHOLE = 2**53
_TELLING = ("xl/workbook.xml", "xl/workbook.bin", "content.xml")


def is_spreadsheet(file: IO[bytes]) -> bool:
    """Tell whether a zip is a spreadsheet."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except Exception:  # noqa: BLE001 - a damaged zip raises whatever its parser stumbles over
        return False
    return any(name in _TELLING for name in names)


def write_sheet(path: Path, file: IO[bytes], target: IO[bytes], params: ParseParameters) -> str:
    """Write a sheet as delimited lines, one a row.

    Timestamps are ISO 8601, a line end in a cell becomes a blank; fields are separated by commas
    and numbers have a point where the flow does not say otherwise.

    Args:
        path: For errors.
        file: The spreadsheet.
        target: Where to write.
        params: Names the sheet (the first where unset), delimiter and decimal mark.

    Returns:
        The sheet's name.

    Raises:
        DialectError: Where it is damaged, locked, or has no such sheet.
    """
    import python_calamine  # noqa: PLC0415 - only spreadsheets need it

    wanted = params.sheet
    try:
        workbook = python_calamine.CalamineWorkbook.from_filelike(file)
        names = list(workbook.sheet_names)
        name = names[0] if wanted is None and names else wanted
        if name in names:
            _write_rows(workbook.get_sheet_by_name(name), target, params)
            return str(name)
    except python_calamine.PasswordError:
        raise DialectError(
            "archive_password", f"raw file {path} is under a password", "save it without one"
        ) from None
    except BaseException as error:
        # what the reader does not foresee comes as a panic, which is no Exception
        if isinstance(error, python_calamine.CalamineError) or _is_panic(error):
            raise DialectError(
                "damaged_archive",
                f"raw file {path} is a damaged spreadsheet: {error}",
                "fetch it again from where it came from",
            ) from None
        raise
    raise DialectError(
        "sheet",
        f"raw file {path} has no sheet '{name}'",
        "set sheet to one of: " + ", ".join(names),
    )


def _write_rows(sheet: Any, target: IO[bytes], params: ParseParameters) -> None:  # noqa: ANN401 - untyped library
    # as the other files of the dataset are declared to be, so that one reading fits all
    delimiter = (params.delimiter or "").strip(" ") or ","
    decimal = "," if params.decimal == "," and delimiter != "," else "."
    text = io.TextIOWrapper(target, encoding="utf-8", errors="replace", newline="")
    try:
        lines = csv.writer(text, delimiter=delimiter, lineterminator="\n")
        for row in sheet.iter_rows():
            cells = [_cell(value, decimal) for value in row]
            lines.writerow(cells if any(cells) else [])
    finally:
        text.detach()


def _cell(value: object, decimal: str) -> str:
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < _WHOLE
        return str(int(value)) if whole else repr(value).replace(".", decimal)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return " ".join(str(value).splitlines())


def _is_panic(error: BaseException) -> bool:
    return type(error).__name__ == "PanicException"
