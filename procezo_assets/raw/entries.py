"""The counts of a raw file as the catalog keeps them, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter

from procezo_assets.parameters import canonical_json
from procezo_assets.raw.catalog_rows import FileEntry
from procezo_assets.raw.files import FileCounts, Limits, RawFile
from procezo_assets.raw.folder import FoundFile
from procezo_assets.treatments.parse import ParseParameters

# raised whenever the same line of the same file ends elsewhere, or `FileCounts` says more
_READER = "1"

_counts = TypeAdapter(FileCounts)
# what has a column of its own; `more` has the rest
_COLUMNS = frozenset(
    {
        "sha256",
        "content",
        "size",
        "mtime_ns",
        "lines",
        "rows",
        "quarantined",
        "excluded",
        "blank",
        "header",
        "first",
        "last",
        "dialect",
        "refused",
    }
)
_ELSEWHERE = {"file", "days", "same_as", "earliest_future"}


def reading_of(params: ParseParameters, limits: Limits, dataset: str) -> str:
    """Hash all that decides how a flow reads the files of a dataset, their dialect aside."""
    return _short([_READER, canonical_json(params), limits.start.isoformat(), dataset])


def entry_of(
    counted: FileCounts, found: FoundFile, *, base: str, reading: str, read_at: float, kept: bool
) -> FileEntry:
    """What the catalog keeps of a file.

    Args:
        counted: What its reader found.
        found: The file, as it was found before it was read.
        base: Hash of how the flow reads the dataset (`reading_of`).
        reading: The same with the dataset's dialect.
        read_at: When its reading began, in seconds since 1970.
        kept: Whether its quarantined lines and the dataset's dialect have been written.
    """
    plain: dict[str, Any] = _counts.dump_python(counted, mode="json", exclude=_ELSEWHERE)
    as_found = (found.size, found.mtime_ns) == (counted.size, counted.mtime_ns)
    identity = counted.dialect.identity if counted.dialect is not None else ""
    return FileEntry(
        path=counted.file.name,
        device=counted.file.device,
        ctime_ns=found.ctime_ns if as_found else 0,
        reading=reading,
        meaning=_short([base, identity]),
        due=counted.earliest_future.isoformat() if counted.earliest_future else None,
        kept=kept,
        read_at=read_at,
        days=counted.days,
        more={name: value for name, value in plain.items() if name not in _COLUMNS},
        **{name: plain[name] for name in _COLUMNS},
    )


def counts_of(entry: FileEntry, file: RawFile) -> FileCounts:
    """What a file's reader found, from the catalog.

    Args:
        entry: What the catalog keeps of it.
        file: The file.
    """
    plain = {name: getattr(entry, name) for name in _COLUMNS}
    return _counts.validate_python(
        {
            **plain,
            **entry.more,
            "file": file,
            "days": dict(entry.days),
            "earliest_future": entry.due,
        }
    )


def _short(parts: Iterable[str]) -> str:
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()[:16]
