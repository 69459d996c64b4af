"""How the catalog is asked: short transactions, for one flow and one dataset."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import sqlalchemy as sa

from procezo_assets.raw.catalog_store import CatalogStore, meta, sources

# SQLite takes that many names in one statement, and far more
_NAMES_AT_ONCE = 500


class CatalogView:
    """The rows of the catalog that are of one flow and one dataset.

    Args:
        store: The database file.
        flow: The flow's name.
        dataset: The dataset's name.
    """

    def __init__(self, store: CatalogStore, flow: str, dataset: str) -> None:
        self._store = store
        self._flow = flow
        self._dataset = dataset

    @property
    def lock(self) -> Path | None:
        """The file to lock while these rows are brought up to date; None of those in memory."""
        path = self._store.path
        return path.parent / "locks" / self._dataset / f"{self._flow}.scan.lock" if path else None

    @contextmanager
    def reading(self) -> Iterator[tuple[sa.Connection, int]]:
        """Open a transaction that reads; yields the connection and whose rows are meant."""
        with self._store.transaction(writes=False) as connection:
            yield connection, self._source(connection) or -1

    @contextmanager
    def writing(self) -> Iterator[tuple[sa.Connection, int]]:
        """Open a transaction that writes; yields the connection and whose rows are meant."""
        with self._store.transaction(writes=True) as connection:
            source = self._source(connection)
            if source is None:
                made = connection.execute(
                    sa.insert(sources).values(flow=self._flow, dataset=self._dataset)
                )
                (source,) = made.inserted_primary_key or (-1,)
            yield connection, source

    def _source(self, connection: sa.Connection) -> int | None:
        found: int | None = connection.scalar(
            sa.select(sources.c.id).where(
                sources.c.flow == self._flow, sources.c.dataset == self._dataset
            )
        )
        return found


def current_mark(connection: sa.Connection) -> tuple[str, int]:
    """Which catalog this is, and the last number that was given to a touched day."""
    values = dict(connection.execute(sa.select(meta.c.name, meta.c.value)).tuples().all())
    return values["generation"], int(values["number"])


def chunks(values: Collection[str] | None) -> Iterator[list[str] | None]:
    """Cut names into as many as a statement takes; None, which is all, stays whole."""
    if values is None:
        yield None
        return
    names = list(values)
    for start in range(0, len(names), _NAMES_AT_ONCE):
        yield names[start : start + _NAMES_AT_ONCE]


def within(column: sa.ColumnElement[str], names: list[str] | None) -> sa.ColumnElement[bool]:
    """Tell whether a column has one of some names; None stands for all."""
    return sa.true() if names is None else column.in_(names)


def texts(days: Iterable[date] | None) -> list[str] | None:
    """Write days as the catalog keeps them."""
    return None if days is None else [str(day) for day in days]


def dates(days: Iterable[str]) -> set[date]:
    """Read days as the catalog keeps them."""
    return {date.fromisoformat(day) for day in days}
