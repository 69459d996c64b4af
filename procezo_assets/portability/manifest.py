"""What an archive says of itself, and which names its members may have.

An archive is a `.tar.gz`: `manifest.json` first, so that no member need be believed before it is
known what it should be, then

    dataset/<path under the dataset's folder>
    flows/<file>
    treatments/<file, or folder and file>
    catalog.json
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from procezo_assets.datasets import check_dataset_name
from procezo_assets.errors import ProcezoError
from procezo_assets.file_names import NAME_BYTES

FORMAT = 1
"""Raised whenever an archive could not be read by an earlier version."""

MANIFEST = "manifest.json"
CATALOG = "catalog.json"
DATASET = "dataset"
FLOWS = "flows"
TREATMENTS = "treatments"

_DEEPEST = 100  # what makes and removes folders calls itself for each level


class ArchiveError(ProcezoError):
    """An archive is damaged, is none, or does not fit the home that it is to be restored in."""


class Member(BaseModel):
    """A file of an archive.

    Args:
        size: Its bytes.
        sha256: Hash of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """What an archive says of itself.

    Args:
        kind: What tells it from other archives.
        format: Its version.
        project: The version of the project that wrote it.
        dataset: The dataset's name.
        created: When it was written, ISO 8601 in UTC.
        with_stages: Whether it has the results, too.
        flows: Names of the flows that take the dataset.
        counts: Raw files, their bytes, and lines and rows where they were known.
        members: Every other member, by name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["procezo-archive"] = "procezo-archive"
    format: int = FORMAT
    project: str
    dataset: str
    created: str
    with_stages: bool
    flows: list[str]
    counts: dict[str, int]
    members: dict[str, Member]

    @field_validator("dataset")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        try:
            return check_dataset_name(name)
        except ProcezoError as error:
            raise ValueError(error.problem) from None

    @field_validator("members")
    @classmethod
    def _are_safe(cls, members: dict[str, Member]) -> dict[str, Member]:
        for name in members:
            if not is_safe(name):
                raise ValueError(f"{name!r} is no path that an archive may have")
        return members

    @property
    def size(self) -> int:
        """The bytes of all members."""
        return sum(member.size for member in self.members.values())


def read_manifest(data: bytes, *, archive: str) -> Manifest:
    """Read an archive's manifest.

    Args:
        data: Its bytes.
        archive: The archive's name, for the error.

    Raises:
        ArchiveError: Where it is none, or of a version that is not known.
    """
    try:
        # what a later version says otherwise is no damage
        loose = _Version.model_validate_json(data)
        if loose.format != FORMAT:
            raise ArchiveError(
                f"{archive} has the format {loose.format}; this version reads {FORMAT}",
                "import it with the version of procezo-assets that wrote it, or a later one",
            )
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "manifest"
        raise ArchiveError(
            f"{archive}: its manifest is damaged ({where}: {first['msg']})", "export it again"
        ) from None


class _Version(BaseModel):
    kind: Literal["procezo-archive"]
    format: int


def is_safe(name: str) -> bool:
    """Tell whether a member's name stays where it belongs, and can be written in JSON."""
    path = PurePosixPath(name)
    parts = path.parts
    if name == CATALOG:
        return True
    try:
        longest = max((len(part.encode()) for part in parts), default=0)
    except UnicodeEncodeError:
        return False
    return (
        1 < len(parts) <= _DEEPEST
        and longest <= NAME_BYTES
        and parts[0] in {DATASET, FLOWS, TREATMENTS}
        and (parts[0] != FLOWS or len(parts) == 2)  # noqa: PLR2004 - flows have no folders
        and str(path) == name
        and not any(part == ".." or "\0" in part for part in parts)
        and not any(part.startswith(".") for part in parts)
    )
