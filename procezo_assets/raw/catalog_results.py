"""What the catalog keeps of days that were read: digests of their lines, counts of partitions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

import sqlalchemy as sa

from procezo_assets.raw.catalog_store import day_digests, footers, partitions, upsert
from procezo_assets.raw.catalog_view import CatalogView, chunks, texts, within

# of more days it is faster to look at all
_ALL_AT_ONCE = 1000


class ResultsCatalog(CatalogView):
    """The part of the catalog that can be told from results and lines of days."""

    def digests(
        self, days: Collection[date] | None = None
    ) -> dict[date, tuple[str, dict[str, str]]]:
        """What was kept of days: the identity of their files, and the digests by device.

        Args:
            days: Which days; None is all.
        """
        table = day_digests.c
        found: dict[date, tuple[str, dict[str, str]]] = {}
        with self.reading() as (connection, source):
            for chunk in chunks(texts(days)):
                rows = connection.execute(
                    sa.select(table.day, table.identity, table.digests).where(
                        table.source == source, within(table.day, chunk)
                    )
                )
                for day, identity, digests in rows:
                    found[date.fromisoformat(day)] = (identity, digests)
        return found

    def store_digests(self, digests: Mapping[date, tuple[str, Mapping[str, str]]]) -> None:
        """Keep the digests of days, with the identity of the files that they are of."""
        if not digests:
            return
        with self.writing() as (connection, source):
            rows = [
                {"source": source, "day": str(day), "identity": identity, "digests": dict(found)}
                for day, (identity, found) in digests.items()
            ]
            upsert(connection, day_digests, rows)

    def partitions(self, stage: str) -> dict[date, tuple[str, dict[str, Any]]]:
        """What was kept of a stage's partitions: the identity of their files, and their counts."""
        return self._kept(partitions, stage, None)

    def store_partitions(
        self, stage: str, counts: Mapping[date, tuple[str, dict[str, Any]]]
    ) -> None:
        """Keep the counts of a stage's partitions, with the identity of their files."""
        self._keep(partitions, stage, counts)

    def footers(self, stage: str, days: Collection[date]) -> dict[date, tuple[str, list[Any]]]:
        """What was kept of a stage's partitions: the identity of their files, and their footers."""
        return self._kept(footers, stage, days if len(days) < _ALL_AT_ONCE else None)

    def store_footers(self, stage: str, found: Mapping[date, tuple[str, list[Any]]]) -> None:
        """Keep the footers of a stage's partitions, with the identity of their files."""
        self._keep(footers, stage, found)

    def _kept(
        self, table: sa.Table, stage: str, days: Collection[date] | None
    ) -> dict[date, tuple[str, Any]]:
        column = table.c
        found: dict[date, tuple[str, Any]] = {}
        with self.reading() as (connection, source):
            for chunk in chunks(texts(days)):
                rows = connection.execute(
                    sa.select(column.day, column.files, column.content).where(
                        column.source == source, column.stage == stage, within(column.day, chunk)
                    )
                )
                for day, files, content in rows:
                    found[date.fromisoformat(day)] = (files, content)
        return found

    def _keep(self, table: sa.Table, stage: str, found: Mapping[date, tuple[str, Any]]) -> None:
        if not found:
            return
        with self.writing() as (connection, source):
            rows = [
                {
                    "source": source,
                    "stage": stage,
                    "day": str(day),
                    "files": files,
                    "content": content,
                }
                for day, (files, content) in found.items()
            ]
            upsert(connection, table, rows)
