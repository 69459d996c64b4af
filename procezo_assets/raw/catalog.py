"""The catalog of raw files: what one flow knows of the files of one dataset, and of their days."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby
from operator import itemgetter
from typing import Any, cast

import sqlalchemy as sa

from procezo_assets.raw.catalog_results import ResultsCatalog
from procezo_assets.raw.catalog_rows import DayFile, FileEntry, KnownFile, WaitingFile
from procezo_assets.raw.catalog_store import (
    file_days,
    meta,
    raw_files,
    touched_days,
    upsert,
    waiting,
)
from procezo_assets.raw.catalog_view import chunks, current_mark, dates, texts, within
from procezo_assets.raw.changes import Touched


class Catalog(ResultsCatalog):
    """What one flow knows of the raw files of one dataset.

    Transactions are short, so that sensors, runs and commands can use the file at once.

    Args:
        store: The database file.
        flow: The flow's name.
        dataset: The dataset's name.
    """

    def known(self) -> dict[str, KnownFile]:
        """What a scan needs to know of every file, by name."""
        table = raw_files.c
        columns = [table[name] for name in KnownFile._fields]
        with self.reading() as (connection, source):
            found = connection.execute(sa.select(*columns).where(table.source == source))
            # all at once, and as they come: there may be 100,000
            return {row[0]: cast("KnownFile", row) for row in found.all()}

    def store(self, entries: Sequence[FileEntry]) -> set[date]:
        """Keep files that were read; their days, now and before, count as touched.

        Returns:
            Those days.
        """
        with self.writing() as (connection, source):
            paths = [entry.path for entry in entries]
            touched = _touches_of(connection, source, paths)
            _delete(connection, file_days, source, paths)
            _delete(connection, waiting, source, paths)
            rows = [{**vars(entry), "source": source} for entry in entries]
            for row in rows:
                del row["days"]
            upsert(connection, raw_files, rows)
            days = [
                {"source": source, "day": str(day), "path": entry.path, "rows": count}
                for entry in entries
                for day, count in entry.days.items()
            ]
            upsert(connection, file_days, days)
            touched |= {(str(day), entry.device) for entry in entries for day in entry.days}
            _touch(connection, source, touched)
        return dates(day for day, _ in touched)

    def mark_removed(self, paths: Sequence[str], at: float, *, touch: bool) -> set[date]:
        """Remember that files are gone.

        Args:
            paths: Which files.
            at: When that was found.
            touch: Whether their days count as touched.

        Returns:
            Their days.
        """
        return self._set(paths, {"removed_at": at}, touch=touch)

    def mark_returned(self, paths: Sequence[str]) -> set[date]:
        """Remember that files are back as they were; their days count as touched."""
        return self._set(paths, {"removed_at": None}, touch=True)

    def mark_same(self, files: Sequence[tuple[str, int, int, float]]) -> None:
        """Remember that files were looked at again and have the same bytes.

        Args:
            files: Of each its name, its times of change (`mtime_ns`, `ctime_ns`), and when it was
                looked at.
        """
        table = raw_files.c
        names = ("name", "mtime", "ctime", "at")
        given: dict[str, sa.BindParameter[Any]] = {name: sa.bindparam(name) for name in names}
        with self.writing() as (connection, source):
            connection.execute(
                sa.update(raw_files)
                .where(table.source == source, table.path == given["name"])
                .values(mtime_ns=given["mtime"], ctime_ns=given["ctime"], read_at=given["at"]),
                [dict(zip(names, one, strict=True)) for one in files],
            )

    def mark_read_as(self, paths: Sequence[str], reading: str) -> None:
        """Remember that files would be read in a new way as they were in the old."""
        self._set(paths, {"reading": reading}, touch=False)

    def forget(self, paths: Sequence[str]) -> set[date]:
        """Forget files, as if they had never been read; their days count as touched.

        Returns:
            Their days.
        """
        with self.writing() as (connection, source):
            touched = _touches_of(connection, source, paths)
            for table in (raw_files, file_days, waiting):
                _delete(connection, table, source, paths)
            _touch(connection, source, touched)
        return dates(day for day, _ in touched)

    def entries(self, paths: Collection[str] | None = None) -> Iterator[FileEntry]:
        """Everything that is known of files, by name.

        Args:
            paths: Which files; None is all, gone ones included.
        """
        names = [column.name for column in raw_files.columns if column.name != "source"]
        chosen = sa.select(*(raw_files.c[name] for name in names)).order_by(raw_files.c.path)
        of_days = sa.select(file_days.c.path, file_days.c.day, file_days.c.rows)
        with self.reading() as (connection, source):
            files: list[Any] = []
            days: dict[str, dict[date, int]] = {}
            for chunk in chunks(paths):
                files += connection.execute(
                    chosen.where(raw_files.c.source == source, within(raw_files.c.path, chunk))
                )
                counted = of_days.where(
                    file_days.c.source == source, within(file_days.c.path, chunk)
                )
                for path, day, rows in connection.execute(counted.order_by(file_days.c.day)):
                    days.setdefault(path, {})[date.fromisoformat(day)] = rows
        for row in sorted(files, key=lambda row: row.path):
            yield FileEntry(**row._mapping, days=days.get(row.path, {}))  # noqa: SLF001 - public

    def fits_nothing(self) -> bool:
        """Whether files do not fit the dataset's dialect, and none, there or gone, does."""
        table = raw_files.c
        fits = table.refused.is_(None) & (table.lines > 0)
        with self.reading() as (connection, source):
            ours = sa.select(table.path).where(table.source == source)
            if connection.scalar(ours.where(fits).limit(1)) is not None:
                return False
        return bool(self.misfits())

    def misfits(self) -> list[str]:
        """The files that are there and do not fit the dataset's dialect, by name."""
        table = raw_files.c
        misfit = sa.cast(table.quarantined, sa.String).like('%"dialect"%')
        with self.reading() as (connection, source):
            ours = sa.select(table.path).where(table.source == source, table.removed_at.is_(None))
            return list(connection.scalars(ours.where(misfit).order_by(table.path)))

    def refused(self) -> list[str]:
        """The files that are there and in quarantine as a whole, by name."""
        table = raw_files.c
        with self.reading() as (connection, source):
            found = connection.scalars(
                sa.select(table.path)
                .where(
                    table.source == source, table.refused.is_not(None), table.removed_at.is_(None)
                )
                .order_by(table.path)
            )
            return list(found)

    def quarantined(self) -> Counter[str]:
        """Lines in quarantine of files that are there, by reason."""
        table = raw_files.c
        reasons: Counter[str] = Counter()
        with self.reading() as (connection, source):
            found = connection.scalars(
                sa.select(table.quarantined).where(
                    table.source == source,
                    table.removed_at.is_(None),
                    sa.cast(table.quarantined, sa.String) != "{}",
                )
            )
            for counts in found:
                reasons.update(counts)
        return reasons

    def without_rows(self) -> set[str]:
        """The files that are there and have no rows, by name."""
        table = raw_files.c
        with self.reading() as (connection, source):
            found = connection.scalars(
                sa.select(table.path).where(
                    table.source == source, table.rows == 0, table.removed_at.is_(None)
                )
            )
            return set(found)

    def gone(self) -> dict[str, float]:
        """The files that are gone, by name, and when that was found.

        One whose content is there, packed or not, under another name of its device is not gone.
        """
        there = raw_files.alias()
        elsewhere = sa.exists().where(
            there.c.source == raw_files.c.source,
            there.c.content == raw_files.c.content,
            there.c.device == raw_files.c.device,
            there.c.removed_at.is_(None),
        )
        with self.reading() as (connection, source):
            found = connection.execute(
                sa.select(raw_files.c.path, raw_files.c.removed_at)
                .where(
                    raw_files.c.source == source, raw_files.c.removed_at.is_not(None), ~elsewhere
                )
                .order_by(raw_files.c.path)
            )
            return dict(found.tuples().all())

    def days(self) -> dict[date, int]:
        """Rows of files that are there, by day, repeated uploads counted again."""
        table = file_days.c
        counted = (
            sa.select(table.day, sa.func.sum(table.rows))
            .join(raw_files, _same_file())
            .where(raw_files.c.removed_at.is_(None))
            .group_by(table.day)
            .order_by(table.day)
        )
        with self.reading() as (connection, source):
            found = connection.execute(counted.where(table.source == source))
            return {date.fromisoformat(day): int(rows) for day, rows in found}

    def files_by_day(self, days: Collection[date] | None = None) -> dict[date, list[DayFile]]:
        """The files with rows of days, gone ones included, by day and name.

        Args:
            days: Which days; None is all.
        """
        table = file_days.c
        chosen = (
            sa.select(
                table.day,
                table.path,
                table.rows,
                *(raw_files.c[name] for name in DayFile._fields[2:]),
            )
            .join(raw_files, _same_file())
            .order_by(table.day, table.path)
        )
        found: dict[date, list[DayFile]] = {}
        with self.reading() as (connection, source):
            for chunk in chunks(texts(days)):
                rows = connection.execute(
                    chosen.where(table.source == source, within(table.day, chunk))
                ).all()
                for day, group in groupby(rows, itemgetter(0)):
                    found[date.fromisoformat(day)] = [DayFile(*row[1:]) for row in group]
        return found

    def waiting(self) -> dict[str, WaitingFile]:
        """The files that were not still yet at the last scan, by name."""
        columns = [waiting.c[name] for name in WaitingFile._fields]
        with self.reading() as (connection, source):
            found = connection.execute(
                sa.select(waiting.c.path, *columns).where(waiting.c.source == source)
            )
            return {path: WaitingFile(*rest) for path, *rest in found}

    def set_waiting(self, files: Mapping[str, WaitingFile]) -> None:
        """Replace the files that are not still yet."""
        with self.writing() as (connection, source):
            connection.execute(sa.delete(waiting).where(waiting.c.source == source))
            rows = [
                {"source": source, "path": path, **file._asdict()} for path, file in files.items()
            ]
            upsert(connection, waiting, rows)

    def touched(self, mark: str) -> Touched:
        """The days whose rows may have changed since a mark; all days since none, or a lost one."""
        with self.reading() as (connection, source):
            generation, number = current_mark(connection)
            before, _, since = mark.partition(":")
            known = int(since) if before == generation and since.isdecimal() else -1
            found = connection.scalars(
                sa.select(touched_days.c.day)
                .where(touched_days.c.source == source, touched_days.c.number > known)
                .distinct()
            )
            return Touched(tuple(sorted(dates(found))), f"{generation}:{number}")

    def devices_of(self, day: date) -> set[str]:
        """The devices that rows of a day have been of since the catalog was begun."""
        table = touched_days.c
        with self.reading() as (connection, source):
            found = connection.scalars(
                sa.select(table.device).where(table.source == source, table.day == str(day))
            )
            return set(found)

    def _set(self, paths: Sequence[str], values: Mapping[str, Any], *, touch: bool) -> set[date]:
        if not paths:
            return set()
        with self.writing() as (connection, source):
            for chunk in chunks(paths):
                connection.execute(
                    sa.update(raw_files)
                    .where(raw_files.c.source == source, within(raw_files.c.path, chunk))
                    .values(**values)
                )
            touched = _touches_of(connection, source, paths)
            if touch:
                _touch(connection, source, touched)
        return dates(day for day, _ in touched)


def _same_file() -> sa.ColumnElement[bool]:
    return sa.and_(raw_files.c.source == file_days.c.source, raw_files.c.path == file_days.c.path)


def _touches_of(
    connection: sa.Connection, source: int, paths: Collection[str]
) -> set[tuple[str, str]]:
    """The days of the rows of files, each with the file's device."""
    table = file_days.c
    found: set[tuple[str, str]] = set()
    for chunk in chunks(paths):
        rows = connection.execute(
            sa.select(table.day, raw_files.c.device)
            .join(raw_files, _same_file())
            .where(table.source == source, within(table.path, chunk))
            .distinct()
        )
        found.update(rows.tuples())
    return found


def _delete(
    connection: sa.Connection, table: sa.Table, source: int, paths: Collection[str]
) -> None:
    for chunk in chunks(paths):
        connection.execute(
            sa.delete(table).where(table.c.source == source, within(table.c.path, chunk))
        )


def _touch(connection: sa.Connection, source: int, touched: Collection[tuple[str, str]]) -> None:
    """Number days and devices anew, above every number that was given before."""
    if not touched:
        return
    _, number = current_mark(connection)
    connection.execute(sa.update(meta).where(meta.c.name == "number").values(value=str(number + 1)))
    rows = [
        {"source": source, "day": day, "device": device, "number": number + 1}
        for day, device in sorted(touched)
    ]
    upsert(connection, touched_days, rows)
