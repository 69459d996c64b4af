"""The errors that users meet: one line that says what is wrong and what to do about it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from procezo_assets.harmless import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable


class ProcezoError(Exception):
    """Base of every error that the command line prints as one line.

    Args:
        problem: The file, flow, step or partition; what was expected, and what was found.
        hint: What to do next.
    """

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem, hint)  # both in args, so that the error survives pickling
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return "; ".join(one_line(text) for text in (self.problem, self.hint) if text)


_LONGEST = 1_000
_ITS_END = 200


def one_line(text: str) -> str:
    """What any terminal and log can hold: names out of files may be long, or no text at all."""
    line = harmless(" ".join(text.split()))
    if len(line) <= _LONGEST:
        return line
    return f"{line[: _LONGEST - _ITS_END]} … {line[-_ITS_END:]}"


class HomeError(ProcezoError):
    """The home folder, or a path in it, is not what it should be."""


class FlowError(ProcezoError):
    """A flow file, or what a command asks of a flow, is wrong."""


class ParameterError(ProcezoError):
    """A treatment's parameters are unknown, mistyped or contradictory."""


class TreatmentError(ProcezoError):
    """A treatment cannot be loaded, or returned what no stage can hold."""


class DatasetError(ProcezoError):
    """A dataset is unknown or its name cannot be one."""


class RawFileError(ProcezoError):
    """A raw file cannot be read at all (bad lines are quarantined, never an error)."""


class TransientRawFileError(RawFileError):
    """A raw file cannot be read just now; trying again may help."""


class RawFileChangedError(TransientRawFileError):
    """A raw file is not what it was when its lines were counted; counting them again may help."""


class DialectError(ProcezoError):
    """A raw file as a whole cannot be read, or could be read in several ways.

    Args:
        reason: A short code, the quarantine reason of all its lines.
        problem: What is wrong or undecided, and what was found.
        hint: The parameter that settles it.
    """

    def __init__(self, reason: str, problem: str, hint: str = "") -> None:
        super().__init__(problem, hint)
        self.reason = reason
        self.args = (reason, problem, hint)


class PartitionError(ProcezoError):
    """A partition's files are missing or unreadable, or its days make no sense."""


class FitError(ProcezoError):
    """A treatment needs a fit that is not there."""


class FitWaitsError(FitError):
    """A fit cannot be made just now, or not of all its days; trying again may help."""


class SchemaError(ProcezoError):
    """A frame breaks the schema of its stage; nothing was written.

    Args:
        problem: Which stage and file.
        hint: What to do next.
        failures: One dict a failed check: column, check, count, examples.
    """

    def __init__(
        self, problem: str, hint: str = "", failures: list[dict[str, object]] | None = None
    ) -> None:
        super().__init__(problem, hint)
        self.failures = failures or []
        self.args = (problem, hint, self.failures)


class LedgerError(ProcezoError):
    """Values or rows went missing in a treatment without being counted."""


class StoreError(ProcezoError):
    """A database or an export refuses what it was given, or cannot be reached."""


class TransientStoreError(StoreError):
    """A database cannot be reached just now; trying again may help."""


class CatalogLostError(TransientStoreError):
    """The catalog of raw files was damaged and is empty now; a scan fills it again."""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Hint at the valid name nearest to a wrong one, or list the valid ones.

    Args:
        name: What was written.
        valid: The names that would do.

    Returns:
        A hint to end an error with.
    """
    names = sorted(valid)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    if not names:
        return "there are none"
    return "valid: " + ", ".join(names)
