"""Raw files that are gone, remembered outside the catalog, which is a cache and may be lost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter

from procezo_assets.datasets import RAW_FOLDER, Dataset
from procezo_assets.disks import remedy
from procezo_assets.errors import RawFileError
from procezo_assets.file_names import stays_below
from procezo_assets.raw.catalog_rows import FileEntry
from procezo_assets.raw.entries import counts_of
from procezo_assets.raw.files import RawFile
from procezo_assets.stores.replacing import write_atomically
from procezo_assets.strict_json import read_small_file, shaped_json

GONE_FILE = "gone.json"

_MOST_BYTES = 256 * 1024**2  # of 180,000 files, here as in an archive


def _with_content(entry: Any) -> Any:  # noqa: ANN401 - any JSON value
    """What was written before there was `content`."""
    return {"content": entry.get("sha256"), **entry} if isinstance(entry, dict) else entry


_entries = TypeAdapter(list[Annotated[FileEntry, BeforeValidator(_with_content)]])


class GoneFiles:
    """The files that are gone and whose days are kept, in a readable file beside these days.

    Without it, a catalog that is filled again would know nothing of them, and their days would be
    made without their rows.

    Args:
        dataset: The dataset.
        output: The folder of the stage that reads its raw files; None where there is none.
    """

    def __init__(self, dataset: Dataset, output: str | None) -> None:
        self._path = dataset.stage(output) / GONE_FILE if output else None

    def read(self) -> dict[str, FileEntry]:
        """What was known of each file when it was there, by name.

        Raises:
            RawFileError: Where the file is damaged, or names what is no raw file's place.
        """
        if self._path is None:
            return {}
        return read_gone(self._path)

    def write(self, entries: Iterable[FileEntry]) -> None:
        """Replace what is remembered; of no files, nothing is left.

        Raises:
            RawFileError: Where it cannot be written, or not be read again.
        """
        if self._path is None:
            return
        # where its lines were is of no use any more
        plain = [replace(one, more={**one.more, "blocks": []}) for one in entries]
        data = _entries.dump_json(plain, indent=1) + b"\n"
        if len(data) > _MOST_BYTES:
            raise RawFileError(
                f"{self._path} would have {len(data):,} bytes for {len(plain):,} raw files that "
                f"are gone, and {_MOST_BYTES:,} are the most",
                'bring raw files back, or let "removed": "drop" in the flow make their days '
                "without them",
            )
        try:
            if plain:
                write_atomically(self._path, data)
            else:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            raise RawFileError(
                f"{self._path} cannot be written: {error.strerror or error}",
                remedy(self._path),
            ) from None


def read_gone(path: Path) -> dict[str, FileEntry]:
    """Read a file in which gone files are remembered, as `GoneFiles.read`.

    Args:
        path: The file.

    Raises:
        RawFileError: Where the file is damaged or too large, or names what is no raw file's place.
    """
    try:
        data = read_small_file(path, most=_MOST_BYTES)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _unusable(path, str(error)) from None
    try:
        entries = shaped_json(data, _entries, most=_MOST_BYTES)
        for entry in entries:  # what is in it is taken for what a reader found
            counts_of(entry, RawFile(path, entry.path, entry.device))
    except (ValueError, TypeError):
        raise _unusable(path, "it is damaged") from None
    for entry in entries:
        if not stays_below(entry.path):
            raise _unusable(path, f"{entry.path!r} is no path under {RAW_FOLDER}")
    return {entry.path: entry for entry in entries}


def _unusable(path: Path, told: str) -> RawFileError:
    return RawFileError(
        f"{path} cannot be read: {told}",
        "bring it back, or remove it to forget which raw files are gone",
    )
