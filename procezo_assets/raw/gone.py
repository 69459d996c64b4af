"""Raw files that are gone, remembered outside the catalog, which is a cache and may be lost."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from pydantic import TypeAdapter

from procezo_assets.datasets import RAW_FOLDER, Dataset
from procezo_assets.disks import remedy
from procezo_assets.errors import RawFileError
from procezo_assets.file_names import stays_below
from procezo_assets.raw.catalog_rows import FileEntry
from procezo_assets.stores.replacing import write_atomically

GONE_FILE = "gone.json"

_entries = TypeAdapter(list[FileEntry])


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
        try:
            entries = _entries.validate_python(
                # what was written before there was `content`
                [{"content": one["sha256"], **one} for one in json.loads(self._path.read_bytes())]
            )
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError) as error:
            told = str(error) if isinstance(error, OSError) else "it is damaged"
            raise self._unusable(told) from None
        for entry in entries:
            if not stays_below(entry.path):
                raise self._unusable(f"{entry.path!r} is no path under {RAW_FOLDER}")
        return {entry.path: entry for entry in entries}

    def write(self, entries: Iterable[FileEntry]) -> None:
        """Replace what is remembered; of no files, nothing is left.

        Raises:
            RawFileError: Where it cannot be written.
        """
        if self._path is None:
            return
        # where its lines were is of no use any more
        plain = [replace(one, more={**one.more, "blocks": []}) for one in entries]
        try:
            if plain:
                write_atomically(self._path, _entries.dump_json(plain, indent=1) + b"\n")
            else:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            raise RawFileError(
                f"{self._path} cannot be written: {error.strerror or error}",
                remedy(self._path),
            ) from None

    def _unusable(self, told: str) -> RawFileError:
        return RawFileError(
            f"{self._path} cannot be read: {told}",
            "bring it back, or remove it to forget which raw files are gone",
        )
