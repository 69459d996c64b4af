"""Files that a home starts with; those at the root of the repository are the same."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def place(name: str, path: Path) -> bool:
    """Copy a template to a path where nothing is yet.

    Args:
        name: The template's file name.
        path: Where it goes.

    Returns:
        Whether it was copied.
    """
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((files(__name__) / name).read_bytes())
    return True


def lacking(name: str, path: Path) -> list[str]:
    """The settings that a YAML template has, and a file made from an earlier one has not.

    Args:
        name: The template's file name.
        path: The file; where there is none, or it is no YAML, nothing is said of it.
    """
    import yaml  # noqa: PLC0415 - only one command needs it

    try:
        found = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError):
        return []
    expected = yaml.safe_load((files(__name__) / name).read_bytes())
    return sorted(expected.keys() - found.keys()) if isinstance(found, dict) else []
