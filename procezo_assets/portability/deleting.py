"""Removing a dataset: what would go, and its removal, in an order that can be interrupted.

First go the databases' rows, which are found by what is on disk; then the raw folder is hidden, so
that no sensor takes what is left for a dataset; the raw files themselves go last.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from procezo_assets.dataset_use import unused
from procezo_assets.datasets import RAW_FOLDER, Dataset, Home
from procezo_assets.flows import Flow, Stage
from procezo_assets.loading import stage_input
from procezo_assets.raw.catalog_removal import catalog_rows, forget_catalog_rows
from procezo_assets.settings import load_settings
from procezo_assets.stores.loads import RECORD
from procezo_assets.treatments.to_duckdb import ToDuckdbParameters
from procezo_assets.treatments.to_postgres import ToPostgres

HIDDEN_RAW = f".{RAW_FOLDER}-deleted"


@dataclass(frozen=True)
class Size:
    """How much there is of something.

    Args:
        files: How many files.
        size: Their bytes.
    """

    files: int
    size: int


@dataclass
class Removal:
    """What the removal of a dataset would take.

    Args:
        dataset: The dataset.
        flows: The flows that take it; they stay.
        keep_raw: Whether only results go.
        keep_databases: Whether the databases are left as they are.
        folders: What is in each folder that goes, by its name.
        rows: Rows that go, by table.
        catalog: Raw files that the catalog forgets, once for each flow.
    """

    dataset: Dataset
    flows: list[Flow]
    keep_raw: bool
    keep_databases: bool
    folders: dict[str, Size] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    catalog: int = 0


def removable_dataset(home: Home, name: str) -> Dataset:
    """Name a dataset that can be removed, or whose removal was interrupted.

    Raises:
        DatasetError: Where there is none of that name.
    """
    dataset = home.dataset(name)
    return dataset if (dataset.path / HIDDEN_RAW).is_dir() else home.existing_dataset(name)


def plan_removal(
    dataset: Dataset, flows: list[Flow], *, keep_raw: bool = False, keep_databases: bool = False
) -> Removal:
    """Find what the removal of a dataset would take.

    Args:
        dataset: The dataset, of `removable_dataset`.
        flows: The flows that take it.
        keep_raw: Whether only results go.
        keep_databases: Whether the databases are left as they are.

    Raises:
        DatasetError: Where a run works on it.
        StoreError: Where a database cannot be reached.
    """
    with unused(dataset):  # tells of a run before anyone is asked
        pass
    found = Removal(dataset, flows, keep_raw, keep_databases)
    for folder in _folders(dataset, keep_raw=keep_raw):
        name = RAW_FOLDER if folder.name == HIDDEN_RAW else folder.name
        found.folders[name] = _size(folder)
    if not keep_databases:
        from procezo_assets.stores.warehouse_removal import (  # noqa: PLC0415 - DuckDB is heavy
            warehouse_rows,
        )

        for table, count in warehouse_rows(dataset.home, dataset.name).items():
            found.rows[f"DuckDB {table}"] = count
        for load in _postgres_loads(dataset, flows):
            for table, count in load.rows().items():
                if count:
                    found.rows[f"PostgreSQL {table}"] = count
    found.catalog = catalog_rows(dataset.home, dataset.name)
    return found


def remove_dataset(removal: Removal, forget_partitions: Callable[[], None]) -> None:
    """Remove what a plan names; interrupted, it can be planned and run again.

    Args:
        removal: The plan.
        forget_partitions: Takes the dataset from the partitions that Dagster knows; not called
            where the raw files stay.

    Raises:
        DatasetError: Where a run works on the dataset.
        StoreError: Where a database cannot be reached.
    """
    with unused(removal.dataset):
        _remove_all(removal, forget_partitions)


def _remove_all(removal: Removal, forget_partitions: Callable[[], None]) -> None:
    dataset = removal.dataset
    _forget_loads(removal)
    if not removal.keep_databases:
        from procezo_assets.stores.warehouse_removal import (  # noqa: PLC0415 - DuckDB is heavy
            delete_warehouse_rows,
        )

        for load in _postgres_loads(dataset, removal.flows):
            load.delete()
        delete_warehouse_rows(dataset.home, dataset.name)
    hidden = dataset.path / HIDDEN_RAW
    if not removal.keep_raw:
        if dataset.raw.exists() or dataset.raw.is_symlink():
            _remove(hidden)  # of an earlier dataset of the same name
            dataset.raw.rename(hidden)
        forget_partitions()
    forget_catalog_rows(dataset.home, dataset.name)
    for folder in _folders(dataset, keep_raw=True):
        _remove(folder)
    if not removal.keep_databases:
        _renew_views(removal)
    if removal.keep_raw:
        return
    _remove(hidden)
    _remove_emptied(dataset)
    _remove_locks(dataset)


def _folders(dataset: Dataset, *, keep_raw: bool) -> Iterator[Path]:
    """What is in a dataset's folder, the raw files first."""
    raw = {RAW_FOLDER, HIDDEN_RAW}
    entries = sorted(dataset.path.iterdir())
    if not keep_raw:
        yield from (entry for entry in entries if entry.name in raw)
    yield from (entry for entry in entries if entry.name not in raw)


def _size(path: Path) -> Size:
    """What is in a folder; what links point to stays, and is not counted."""
    if path.is_symlink():
        return Size(0, 0)
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return Size(len(files), sum(one.lstat().st_size for one in files))


def _forget_loads(removal: Removal) -> None:
    """Let loads be made again, should the removal end here and the dataset be wanted after all."""
    for flow in removal.flows:
        for stage in flow.stages:
            if stage.treatment.kind == "load":
                (removal.dataset.stage(stage.output) / RECORD).unlink(missing_ok=True)


@dataclass(frozen=True)
class _PostgresLoad:
    """A dataset's rows of one loading step."""

    rows: Callable[[], dict[str, int]]
    delete: Callable[[], None]


def _postgres_loads(dataset: Dataset, flows: list[Flow]) -> Iterator[_PostgresLoad]:
    for flow in flows:
        for stage in flow.stages:
            params = flow.parameters(stage, dataset.name)
            if isinstance(params, ToPostgres) and _was_ever_there(params, dataset.home):
                yield _postgres_load(dataset, flow, stage, params)


def _was_ever_there(params: ToPostgres, home: Home) -> bool:
    """Whether there is a server to ask: the embedded one is not made for the sake of a removal."""
    named = params.url is not None or params.names_parts
    return named or load_settings().postgres_url is not None or (home.state / "postgres").is_dir()


def _postgres_load(dataset: Dataset, flow: Flow, stage: Stage, params: ToPostgres) -> _PostgresLoad:
    # heavy, and needed by few
    from procezo_assets.stores import postgres_removal as removal  # noqa: PLC0415
    from procezo_assets.stores.postgres_names import plain  # noqa: PLC0415
    from procezo_assets.treatments.postgres_server import server_url  # noqa: PLC0415

    url = server_url(params, dataset.home)
    origin = f"{flow.name}/{stage.name}"
    if params.is_wide:
        of = {"dataset": dataset.name, "origin": origin}
        return _PostgresLoad(
            partial(removal.wide_rows, url, **of), partial(removal.delete_wide_rows, url, **of)
        )
    of = {
        "schema": params.schema_name or plain(flow.name),
        "dataset": dataset.name,
        "origin": origin,
    }
    return _PostgresLoad(
        partial(removal.tidy_rows, url, **of), partial(removal.delete_tidy_rows, url, **of)
    )


def _renew_views(removal: Removal) -> None:
    from procezo_assets.stores.warehouse_removal import renew_views  # noqa: PLC0415 - heavy

    dataset = removal.dataset
    for flow in removal.flows:
        for stage in flow.stages:
            params = flow.parameters(stage, dataset.name)
            source = flow.input_of(stage)
            if not isinstance(params, ToDuckdbParameters) or not params.views or source is None:
                continue
            given = stage_input(flow, stage, dataset, ())
            renew_views(dataset.home, [given], params.domains)


def _remove(path: Path) -> None:
    """Remove a file, a folder, or a link but not what it points to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_locks(dataset: Dataset) -> None:
    folder = dataset.home.state / "locks" / dataset.name
    for path in (*folder.glob("*.lock"), *folder.glob("*.unfinished"), dataset.use_lock):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # datasets below have theirs in it
        folder.rmdir()


def _remove_emptied(dataset: Dataset) -> None:
    """Remove the dataset's folder, and those above it that held nothing else."""
    if dataset.path.is_symlink():
        dataset.path.unlink()
    for folder in (dataset.path, *dataset.path.parents):
        if folder == dataset.home.datasets:
            return
        with contextlib.suppress(OSError):  # not empty: other datasets live there
            folder.rmdir()
