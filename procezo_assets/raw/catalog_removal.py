"""Taking a dataset out of the catalog."""

from __future__ import annotations

import sqlalchemy as sa

from procezo_assets.datasets import Home
from procezo_assets.raw.catalog_store import (
    CatalogStore,
    day_digests,
    file_days,
    footers,
    partitions,
    raw_files,
    sources,
    touched_days,
    waiting,
)

_OF_A_SOURCE = (raw_files, file_days, waiting, touched_days, day_digests, partitions, footers)


def catalog_rows(home: Home, dataset: str) -> int:
    """Count the raw files that the catalog knows of a dataset, once for each flow."""
    if (store := _store(home)) is None:
        return 0
    counted = (
        sa.select(sa.func.count())
        .select_from(raw_files)
        .where(raw_files.c.source.in_(_ids(dataset)))
    )
    with store.transaction(writes=False) as connection:
        return int(connection.scalar(counted) or 0)


def forget_catalog_rows(home: Home, dataset: str) -> None:
    """Take everything out of the catalog that it knows of a dataset."""
    if (store := _store(home)) is None:
        return
    with store.transaction(writes=True) as connection:
        for table in _OF_A_SOURCE:
            connection.execute(sa.delete(table).where(table.c.source.in_(_ids(dataset))))
        connection.execute(sa.delete(sources).where(sources.c.dataset == dataset))


def _ids(dataset: str) -> sa.Select[tuple[int]]:
    return sa.select(sources.c.id).where(sources.c.dataset == dataset)


def _store(home: Home) -> CatalogStore | None:
    path = home.state / "catalog.sqlite"
    return CatalogStore(path) if path.is_file() else None
