"""Files read from their first line to their last, and blocks of them read again.

What belongs here: how files are opened, in which order their dialects are settled, and what of them
stays in memory. What does not: which files there are and what days are asked for (`source.py`).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

import polars as pl

from procezo_assets.datasets import Dataset
from procezo_assets.errors import DialectError, RawFileError, TransientRawFileError
from procezo_assets.faults import is_transient
from procezo_assets.parameters import parameters_hash
from procezo_assets.raw.containers import OpenedRaw, changed, open_raw
from procezo_assets.raw.dialect import Dialect
from procezo_assets.raw.files import Block, FileCounts, Limits, RawFile, device_problem
from procezo_assets.raw.fixed import DatasetDialect
from procezo_assets.raw.kept import BlockKey, kept_blocks
from procezo_assets.raw.reader import count_lines, count_whole, read_block
from procezo_assets.raw.sniff import sniff
from procezo_assets.raw.tally import BlockLines
from procezo_assets.treatments.parse import ParseParameters

_READERS = 2
_UNPACKED_AT_ONCE = 4
# what goes wrong with one file is never another's trouble; Polars' panics are no exceptions
_ANY_FAILURE = (Exception, pl.exceptions.PanicException)


class LineSink(Protocol):
    """Takes the quarantined lines of one file, block by block."""

    def add(self, lines: pl.DataFrame) -> None:
        """Take `line`, `reason` and `raw`."""


Keep = Callable[[RawFile], AbstractContextManager[LineSink]]


class _OutOfTimeError(Exception):
    """The deadline came while a file was read."""


class FileReader:
    """Reads the files of a dataset in bounded memory.

    Args:
        dataset: The dataset.
        params: How to read the files.
        limits: Which timestamps the flow takes.
        output: The folder of the stage that reads them, where the dataset's dialect is kept; None
            settles it for this reading alone.
    """

    def __init__(
        self,
        dataset: Dataset,
        params: ParseParameters,
        limits: Limits,
        *,
        output: str | None,
    ) -> None:
        self.dataset = dataset
        self.params = params
        self.limits = limits
        self.kept = kept_blocks()
        self.failed: dict[RawFile, RawFileError] = {}
        self.late: list[RawFile] = []
        self._unopened: set[RawFile] = set()
        self._output = output
        self._unpacked: OrderedDict[str, OpenedRaw] = OrderedDict()
        self._deadline: float | None = None
        self._reading = f"{parameters_hash(params)} {limits}"
        self._lock = threading.Lock()

    def read(
        self,
        files: Iterable[RawFile],
        keep: Keep | None = None,
        *,
        deadline: float | None = None,
    ) -> Iterator[FileCounts]:
        """Read files: each one's dialect in turn, then the lines of a few at once.

        The dialect is settled in the order of names. A file that leaves it open is looked at again
        when later ones have settled it. Those that could not be read are in `failed` afterwards,
        and those for which there was no time in `late`.

        Args:
            files: Which files, by name.
            keep: Opens for each file what keeps its quarantined lines, such as `Quarantine`.
            deadline: When reading stops, even within a file, on the monotonic clock.
        """
        self.failed, self.late, self._unopened = {}, [], set()
        self._deadline = deadline
        settled = DatasetDialect(self.dataset, self._output, write=keep is not None)
        again: list[tuple[RawFile, DialectError]] = []
        reading: deque[Future[FileCounts | None]] = deque()
        with ThreadPoolExecutor(_READERS) as readers:

            def results(waiting: int) -> Iterator[FileCounts]:
                while len(reading) > waiting:
                    counted = reading.popleft().result()
                    if counted is not None:
                        yield counted

            for file in files:
                found = self._open(file, settled)
                if isinstance(found, DialectError):
                    again.append((file, found))
                elif found is not None:
                    reading.append(readers.submit(self._count, file, keep, *found))
                yield from results(_READERS)
            for file, error in again:
                found = error if file in self._unopened else self._open(file, settled)
                if found is not None:
                    opened = (None, found) if isinstance(found, DialectError) else found
                    reading.append(readers.submit(self._count, file, keep, *opened))
                yield from results(_READERS)
            yield from results(0)

    def _open(
        self, file: RawFile, settled: DatasetDialect
    ) -> tuple[OpenedRaw, Dialect] | DialectError | None:
        """Open a file and tell its dialect, or why it has none; None where it is unreadable."""
        problem = device_problem(file.device, self.params)
        if problem is not None:
            return DialectError(
                "device_name",
                f"raw file {file.path} {problem}",
                "rename it, or set file_name_substitute or device_pattern",
            )
        try:
            try:
                opened = self._open_raw(file.path)
            except DialectError:
                self._unopened.add(file)
                raise
            try:
                dialect = sniff(opened.texts, opened.facts, self.params, fixed=settled.fixed)
                if dialect.identity:  # else all of it is declared
                    settled.settle(dialect)
            except BaseException:
                opened.close()
                raise
        except RawFileError as error:
            self.failed[file] = error
            return None
        except DialectError as error:
            return error
        except (OSError, MemoryError) as error:
            self.failed[file] = _no_room(file, error)
            return None
        except _ANY_FAILURE as error:
            return _reader_failed(file, error)
        return opened, dialect

    def _count(
        self,
        file: RawFile,
        keep: Keep | None,
        opened: OpenedRaw | None,
        dialect: Dialect | DialectError,
    ) -> FileCounts | None:
        """Count the lines of a file; None where it is unreadable."""

        def kept() -> AbstractContextManager[LineSink | None]:
            return keep(file) if keep is not None else nullcontext()

        try:
            try:
                with kept() as sink:
                    return self._count_into(sink, file, opened, dialect)
            except (RawFileError, OSError, MemoryError, _OutOfTimeError):
                raise
            except _ANY_FAILURE as error:
                self.forget(file.name)
                with kept() as sink:
                    return count_whole(file, _reader_failed(file, error), on_block=_into(sink))
        except _OutOfTimeError:
            self.late.append(file)
        except RawFileError as error:
            self.failed[file] = error
        except _ANY_FAILURE as error:
            self.failed[file] = _no_room(file, error)
        self.forget(file.name)
        return None

    def _count_into(
        self,
        sink: LineSink | None,
        file: RawFile,
        opened: OpenedRaw | None,
        dialect: Dialect | DialectError,
    ) -> FileCounts:
        add = _into(sink)

        def on_block(read: BlockLines) -> None:
            if self._deadline is not None and time.monotonic() >= self._deadline:
                raise _OutOfTimeError
            add(read)
            if read.rows.height and isinstance(dialect, Dialect):
                self.kept.offer(self._key(file.name, read.block, dialect), read.rows)

        if opened is None and isinstance(dialect, DialectError):
            if file in self._unopened:  # to unpack it again may take minutes
                return count_whole(file, dialect, on_block=on_block)
            try:
                opened = self._open_raw(file.path)
            except DialectError as error:
                return count_whole(file, error, on_block=on_block)
        assert opened is not None  # noqa: S101 - a dialect is of an opened file
        counted = count_lines(
            opened, file, self.params, self.limits, dialect=dialect, on_block=on_block
        )
        self._let_go(file.name, opened)
        return counted

    def rows(self, counted: FileCounts, place: int) -> pl.DataFrame:
        """The rows of a block, as they were kept or read again: `ts`, `line` and `text`.

        Raises:
            RawFileError: Where the file cannot be read, or is not what it was.
        """
        block = counted.blocks[place]
        key = self._key(counted.file.name, block, counted.read_by)
        rows = self.kept.take(key)
        if rows is not None:
            return rows
        opened = self._opened(counted)
        rows = read_block(opened, block, counted.read_by, self.params, self.limits)
        self._let_go(counted.file.name, opened)
        self.kept.put(key, rows)
        return rows

    def want(self, counted: FileCounts, places: Iterable[int]) -> None:
        """Announce a use of some blocks of a file, which are let go of after their last one."""
        self.kept.want(
            self._key(counted.file.name, counted.blocks[place], counted.read_by) for place in places
        )

    def _key(self, name: str, block: Block, dialect: Dialect) -> BlockKey:
        # where another header ends what is read, the blocks before it are read as ever
        whole = dialect.model_dump_json(exclude={"ends"})
        reading = hash((self._reading, whole))
        return BlockKey(self._path(name), block.offset, block.crc32, block.first_line, reading)

    def _path(self, name: str) -> str:
        return f"{self.dataset.raw}/{name}"

    def _opened(self, counted: FileCounts) -> OpenedRaw:
        """A file as it was counted; what was unpacked is unpacked only once where it can be."""
        with self._lock:
            opened = self._unpacked.get(counted.file.name)
        if opened is not None and size_and_mtime(counted.file.path) == (
            opened.size,
            opened.mtime_ns,
        ):
            return opened
        try:
            opened = self._open_raw(counted.file.path)
        except DialectError:
            raise changed(counted.file.path) from None
        if opened.size < counted.size or (opened.unpacked and opened.sha256 != counted.sha256):
            opened.close()
            raise changed(counted.file.path)
        return opened

    def _let_go(self, name: str, opened: OpenedRaw) -> None:
        if not opened.unpacked:
            opened.close()
            return
        with self._lock:
            self._unpacked[name] = opened
            self._unpacked.move_to_end(name)
            while len(self._unpacked) > _UNPACKED_AT_ONCE:
                self._unpacked.popitem(last=False)  # closed when its last reader is done

    def forget(self, name: str) -> None:
        """Let go of what is held of a file."""
        self.kept.forget(self._path(name))
        with self._lock:
            self._unpacked.pop(name, None)

    def _open_raw(self, path: Path) -> OpenedRaw:
        scratch = self.dataset.home.state / "scratch"
        return open_raw(path, scratch, self.params, within=self.dataset.raw)


def _into(sink: LineSink | None) -> Callable[[BlockLines], None]:
    def add(read: BlockLines) -> None:
        if sink is not None:
            sink.add(read.quarantined)

    return add


def _no_room(file: RawFile, error: BaseException) -> RawFileError:
    if isinstance(error, MemoryError):
        return RawFileError(f"raw file {file.path}: there is no memory to read it", "free some")
    kind = TransientRawFileError if is_transient(error) else RawFileError
    return kind(
        f"raw file {file.path}: its quarantine cannot be written: {error}",
        "free the path or the disk",
    )


def _reader_failed(file: RawFile, error: BaseException) -> DialectError:
    told = " ".join(f"{type(error).__name__}: {error}".split())
    return DialectError(
        "reader_failed", f"raw file {file.path} cannot be read: {told}", "report it, with the file"
    )


def size_and_mtime(path: Path) -> tuple[int, int] | None:
    """Size and time of change; None where the file cannot be asked, which counts as changed."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns)
