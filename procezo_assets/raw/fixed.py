"""The dialect of a dataset: settled by its first file, and then the same for all."""

from __future__ import annotations

from filelock import FileLock
from pydantic import TypeAdapter

from procezo_assets.datasets import Dataset
from procezo_assets.errors import DialectError, RawFileError
from procezo_assets.raw.dialect import Dialect, FixedDialect
from procezo_assets.stores.replacing import write_atomically
from procezo_assets.strict_json import shaped_file

DIALECT_FILE = "dialect.json"

_fixed = TypeAdapter(FixedDialect)


class DatasetDialect:
    """What the files of a dataset have in common, in a readable file that outlives a run.

    It is an input of `parse`, like a fit: without the file, the next scan settles it anew.

    Args:
        dataset: The dataset.
        output: The folder of the stage that reads its raw files; None where there is none.
        write: Whether the file is written, too; who only looks leaves nothing behind.
    """

    def __init__(self, dataset: Dataset, output: str | None, *, write: bool) -> None:
        self._write = write
        self._path = dataset.stage(output) / DIALECT_FILE if output else None
        self._lock = dataset.home.state / "locks" / dataset.name / "dialect.lock"
        self.fixed: FixedDialect | None = self._load()

    def settle(self, dialect: Dialect) -> None:
        """Hold a file's dialect against the dataset's, and let it decide what that left open.

        Raises:
            DialectError: Where the file does not fit.
        """
        self._refuse_misfit(dialect)
        if self.fixed is not None and self.fixed.merge(dialect) == self.fixed:
            return
        if self._path is None or not self._write:
            self.fixed = self._merged(dialect)
            return
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._lock):
            self.fixed = self._load()  # another run may have settled it since
            self._refuse_misfit(dialect)
            merged = self._merged(dialect)
            if merged != self.fixed:
                self.fixed = merged
                write_atomically(self._path, (merged.model_dump_json(indent=1) + "\n").encode())

    def forget(self) -> None:
        """Let the next file settle it anew."""
        self.fixed = None
        if self._path is not None and self._write:
            self._path.unlink(missing_ok=True)

    def _merged(self, dialect: Dialect) -> FixedDialect:
        return dialect.fixed() if self.fixed is None else self.fixed.merge(dialect)

    def _refuse_misfit(self, dialect: Dialect) -> None:
        misfit = self.fixed.misfit(dialect) if self.fixed is not None else None
        if misfit is not None:
            where = f"; the dataset's is in {self._path}" if self._path else ""
            raise DialectError(
                "dialect",
                f"it is not written as the dataset's other files are: {misfit}{where}",
                "move it to a dataset of its own, declare what differs, or remove "
                f"{DIALECT_FILE} where it is the others that are wrong",
            )

    def _load(self) -> FixedDialect | None:
        if self._path is None:
            return None
        try:
            return shaped_file(self._path, _fixed)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RawFileError(
                f"{self._path} cannot be read: {error}",
                "correct it, or remove it to settle the dialect anew",
            ) from None
