"""Where Dagster keeps runs and events: SQLite, or PostgreSQL by one variable.

Every Dagster process imports this module: it imports nothing that it does not need.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

# Dagster does not export the base class that dagster.yaml asks for.
from dagster._core.storage.base_storage import DagsterStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from procezo_assets.orchestration.event_log import TABLES_WAIT_S, SqliteStorage

# an advisory lock of PostgreSQL, which is a number: "procezo"
_MAKING_TABLES = 0x70726F63657A6F


class ChosenStorage(DagsterStorage[Any], ConfigurableClass):
    """Makes the storage that the environment asks for; `dagster.yaml` names this class."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """It takes nothing from dagster.yaml."""
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]  # it makes one of two other classes
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Mapping[str, Any],  # noqa: ARG003 - Dagster's signature
    ) -> DagsterStorage[Any]:
        """Make PostgreSQL storage where PROCEZO_DAGSTER_POSTGRES_URL is set, else SQLite."""
        from procezo_assets.errors import StoreError  # noqa: PLC0415
        from procezo_assets.settings import load_settings  # noqa: PLC0415

        url = load_settings().dagster_postgres_url
        if url is not None:
            from dagster_postgres import DagsterPostgresStorage  # noqa: PLC0415
            from dagster_postgres.utils import DagsterPostgresException  # noqa: PLC0415
            from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

            from procezo_assets.stores.postgres_connection import Address  # noqa: PLC0415

            try:
                address = Address.parse(url.get_secret_value())
            except StoreError as error:
                raise click.ClickException(f"PROCEZO_DAGSTER_POSTGRES_URL: {error}") from None
            try:
                with _alone_on_server(url.get_secret_value()):
                    return DagsterPostgresStorage(
                        postgres_url=url.get_secret_value(), inst_data=inst_data
                    )
            except (DagsterPostgresException, SQLAlchemyError) as error:
                reason = address.masked(str(error.__cause__ or error).partition("\n")[0])
                raise click.ClickException(
                    f"the PostgreSQL of PROCEZO_DAGSTER_POSTGRES_URL cannot be used: {reason}; "
                    "start it, or unset the variable to keep runs in SQLite"
                ) from None
        home = os.environ.get("DAGSTER_HOME")
        if not home:
            # Dagster's commands print this exception as one line
            raise click.ClickException(
                "DAGSTER_HOME is not set, so runs would be forgotten and no dataset be known; "
                "set it to your home folder: export DAGSTER_HOME=$PWD"
            )
        # what a run begins with is stored at once; Dagster asks the environment alone
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
        from procezo_assets.disks import remedy  # noqa: PLC0415
        from procezo_assets.orchestration.storage_faults import told_in_one_line  # noqa: PLC0415

        try:
            with told_in_one_line():
                return SqliteStorage.from_local(home, inst_data=inst_data)
        except StoreError as error:
            told = error
        except OSError as error:
            problem = f"Dagster's storage cannot be used: {error}"
            told = StoreError(problem, remedy(Path(home, "history")))
        raise click.ClickException(str(told))


@contextmanager
def _alone_on_server(url: str) -> Iterator[None]:
    """Let one process at a time make tables, wherever it runs.

    Of what several at once can run into, dagster-postgres tries only some again.
    """
    from dagster_postgres.utils import create_pg_connection, create_pg_engine  # noqa: PLC0415
    from sqlalchemy import func, select  # noqa: PLC0415
    from sqlalchemy.exc import OperationalError  # noqa: PLC0415

    from procezo_assets.stores.postgres_faults import LOCKED  # noqa: PLC0415

    wait = f"{TABLES_WAIT_S * 1000:.0f}ms"
    engine = create_pg_engine(url)
    try:
        with create_pg_connection(engine) as connection, connection.begin():
            is_local = True  # to this transaction
            connection.execute(select(func.set_config("lock_timeout", wait, is_local)))
            try:
                connection.execute(select(func.pg_advisory_xact_lock(_MAKING_TABLES)))
            except OperationalError as error:
                if getattr(error.orig, "pgcode", None) != LOCKED:
                    raise
                raise click.ClickException(
                    "another process has been making tables in the PostgreSQL of "
                    f"PROCEZO_DAGSTER_POSTGRES_URL for {TABLES_WAIT_S:g} seconds; run again when "
                    "it is done"
                ) from None
            yield
    finally:
        engine.dispose()
