"""Load partitions into PostgreSQL."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from itertools import islice, zip_longest
from pathlib import Path
from typing import Literal, NamedTuple, Self

import polars as pl
from pydantic import Field, field_validator, model_validator

from procezo_assets.datasets import PartKey
from procezo_assets.errors import ParameterError
from procezo_assets.parameters import Parameters, plain_secrets
from procezo_assets.stores.column_units import read_units
from procezo_assets.stores.loads import Loaded, StageInput
from procezo_assets.treatments.model import loader
from procezo_assets.treatments.postgres_server import Server, server_identity, server_url

_WIDE_TEMPLATE = "{experience}__{step}__{aggregation}"
_NO_VALUES = {"ts", "device"}


class Source(Parameters):
    """Which columns of a domain to load."""

    domain: str = Field(description="The domain.")
    columns: tuple[str, ...] = Field(
        default=(), description="The columns to load; they win over the three filters below."
    )
    sensors: tuple[str, ...] = Field(
        default=(), description="First parts of the column names to load; empty: any."
    )
    transforms: tuple[str, ...] = Field(
        default=(), description="Middle parts of the names to load, such as raw; empty: any."
    )
    metrics: tuple[str, ...] = Field(
        default=(), description="Last parts of the names to load, such as mean; empty: any."
    )
    devices: tuple[str, ...] = Field(default=(), description="The devices to load; empty: all.")

    def takes(self, column: str) -> bool:
        """Tell whether a column, named `sensor__transform__metric`, is to be loaded."""
        if self.columns:
            return column in self.columns
        sensor, *rest = column.split("__")
        metric = rest.pop() if len(rest) > 1 else None
        transform = "__".join(rest) or "raw"
        return (
            (not self.sensors or sensor in self.sensors)
            and (not self.transforms or transform in self.transforms)
            and (not self.metrics or metric is None or metric in self.metrics)
        )


class ToPostgres(Server):
    """Where to load, which columns, and into which tables."""

    layout: Literal["tidy", "wide"] | None = Field(
        default=None,
        description="tidy: a row for each device and timestamp; wide: a row for each timestamp "
        "and a column for each device and value. Unset: wide with a table_template, else tidy.",
    )
    table_template: str | None = Field(
        default=None,
        description="The name of wide tables, from {experience}, {step}, {aggregation} and "
        f"{{domain}}; in layout wide {_WIDE_TEMPLATE} where unset.",
    )
    table_prefix: str = Field(default="", description="What the tables' names begin with.")
    schema_name: str | None = Field(
        default=None,
        alias="schema",
        description="The schema of tidy tables; the flow's name where unset.",
    )
    mode: Literal["append", "replace"] = Field(
        default="replace",
        description="Accepted for flows of the established tool. Both mean the same: a "
        "partition's rows are replaced, all others stay.",
    )
    aggregations: tuple[str, ...] = Field(
        default=(), description="The windows to load, such as 10s; empty: all."
    )
    sources: tuple[Source, ...] = Field(
        default=(), description="Domains and columns to load; empty: all of all domains."
    )

    @field_validator("table_template")
    @classmethod
    def _known_placeholders(cls, template: str | None) -> str | None:
        from procezo_assets.stores.postgres_names import template_fields  # noqa: PLC0415 - heavy

        try:
            if template is not None:
                template_fields(template)
        except ParameterError as error:
            raise ValueError(str(error)) from None
        return template

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.table_template is not None and self.layout == "tidy":
            raise ValueError("table_template names wide tables: drop it, or layout: tidy")
        if self.schema_name is not None and self.is_wide:
            raise ValueError("schema is for tidy tables; wide ones are in the schema public")
        return self

    @property
    def is_wide(self) -> bool:
        """Whether tables have a column for each device and value."""
        return self.layout == "wide" or (self.layout is None and self.table_template is not None)

    @property
    def template(self) -> str:
        """The name of wide tables."""
        return self.table_template if self.table_template is not None else _WIDE_TEMPLATE


def names_no_dataset(params: ToPostgres) -> str | None:
    """Say what is wrong with parameters that give all datasets of a flow the same tables.

    Args:
        params: What the flow says.

    Returns:
        The problem and what to do, as a sentence; None where each dataset has its own rows.
    """
    from procezo_assets.stores.postgres_names import template_fields  # noqa: PLC0415 - heavy

    if not params.is_wide or "experience" in template_fields(params.template):
        return None
    return (
        f"table_template '{params.template}' gives all datasets the same wide tables, in which "
        "they would replace each other's rows: put {experience} into it"
    )


@loader(
    parameters=ToPostgres,
    output="60_postgres",
    target=server_identity,
    one_dataset_only=names_no_dataset,
)
def to_postgres(inputs: list[StageInput], params: ToPostgres) -> list[Loaded]:
    """Load partitions into PostgreSQL tables, replacing exactly their rows.

    Args:
        inputs: The partitions, a dataset each.
        params: Where to, what, and in which layout.

    Returns:
        What was loaded of each dataset; days whose rows the tables cannot hold are in `failed`.

    Raises:
        ParameterError: Where the template cannot tell datasets or windows apart.
        StoreError: Where the server cannot be reached or refuses.
    """
    from procezo_assets.stores.postgres_connection import connections_kept  # noqa: PLC0415 - heavy
    from procezo_assets.stores.postgres_names import check_wide_tables  # noqa: PLC0415 - heavy

    if not inputs:
        return []
    plans = [_Plan(source, params) for source in inputs]
    if params.is_wide:
        tables = [
            (plan.wide_table(key), (plan.source.dataset, key.window))
            for plan in plans
            for key in sorted(plan.keys, key=str)
        ]
        check_wide_tables(params.template, [plan.source.dataset for plan in plans], tables)
    url = server_url(params, inputs[0].home)
    with connections_kept():
        return [plan.load(url) for plan in plans]


class _Rows(NamedTuple):
    """The rows of a day and the units of their columns, by table; its devices, by their columns."""

    tables: dict[str, pl.DataFrame]
    units: dict[str, dict[str, set[str]]]
    devices: Mapping[str, str] = {}


@dataclass
class _Plan:
    """The loading of one dataset."""

    source: StageInput
    params: ToPostgres
    missing: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.days = {day: self._chosen(self.source.parts(day)) for day in self.source.days}
        self.known: dict[PartKey, Path] = {}
        self.owners: dict[str, str] = {}
        if self.params.is_wide:
            self._look_at_all_days()

    @property
    def keys(self) -> set[PartKey]:
        return {*self.known, *(key for parts in self.days.values() for key in parts)}

    @property
    def origin(self) -> str:
        return f"{self.source.flow}/{self.source.step}"

    def load(self, url: str) -> Loaded:
        from procezo_assets.stores.postgres_connection import (  # noqa: PLC0415 - heavy
            DayRefusedError,
        )

        self._recall_owners(url)
        rows: dict[date, int] = {}
        failed: dict[date, str] = {}
        tables: set[str] = set()
        reader = ThreadPoolExecutor(1)  # a day is read while the one before is loaded
        try:
            readings = deque(reader.submit(self._read_day, day) for day in islice(self.days, 1))
            for day, following in zip_longest(self.days, islice(self.days, 1, None)):
                reading = readings.popleft()
                if following:
                    readings.append(reader.submit(self._read_day, following))
                try:
                    loaded = self._replace(url, day, reading.result())
                except DayRefusedError as error:
                    failed[day] = str(error)
                except (OSError, pl.exceptions.PolarsError) as error:
                    failed[day] = f"a file of {day} cannot be read: {error}"
                else:
                    rows[day] = sum(loaded.values())
                    tables |= loaded.keys()
        finally:
            reader.shutdown(cancel_futures=True)
        return Loaded(
            dataset=self.source.dataset,
            rows=rows,
            tables=tuple(sorted(tables)),
            failed=failed,
            warnings=tuple(self._warnings()),
        )

    def _read_day(self, day: date) -> _Rows:
        with self.source.kept_still(day):  # else half of it may be of another run
            parts = self._chosen(self.source.parts(day))
            return self._read_wide(parts) if self.params.is_wide else self._read_tidy(parts)

    def _read_tidy(self, parts: Mapping[PartKey, Path]) -> _Rows:
        frames: dict[str, list[pl.DataFrame]] = {}
        units: dict[str, dict[str, set[str]]] = {}
        for key, path in parts.items():
            frame = self._read(key, path).with_columns(pl.lit(key.device).alias("device"))
            frames.setdefault(self.tidy_table(key), []).append(frame)
            for column, unit in read_units(path).items():
                units.setdefault(self.tidy_table(key), {}).setdefault(column, set()).add(unit)
        tables = {
            name: pl.concat(several, how="diagonal_relaxed") for name, several in frames.items()
        }
        return _Rows(tables, units)

    def _read_wide(self, parts: Mapping[PartKey, Path]) -> _Rows:
        from procezo_assets.stores.postgres_names import (  # noqa: PLC0415 - heavy
            check_wide_devices,
            wide_column,
            wide_frame,
        )

        check_wide_devices({key.device for key in parts}, self.owners)
        frames: dict[str, list[tuple[str, str, pl.DataFrame]]] = {}
        units: dict[str, dict[str, set[str]]] = {}
        for key, path in parts.items():
            part = (key.device, key.domain, self._read(key, path))
            frames.setdefault(self.wide_table(key), []).append(part)
            for column, unit in read_units(path).items():
                of_table = units.setdefault(self.wide_table(key), {})
                of_table.setdefault(wide_column(key.device, column), set()).add(unit)
        return _Rows(
            {table: wide_frame(several) for table, several in frames.items()},
            units,
            {wide_column(key.device, ""): key.device for key in parts},
        )

    def _replace(self, url: str, day: date, rows: _Rows) -> dict[str, int]:
        from procezo_assets.stores import postgres  # noqa: PLC0415 - heavy
        from procezo_assets.stores.postgres_names import plain, wide_column  # noqa: PLC0415 - heavy

        if not self.params.is_wide:
            schema = self.params.schema_name or plain(self.source.flow)
            loaded = postgres.replace_tidy(
                url,
                schema=schema,
                tables=rows.tables,
                dataset=self.source.dataset,
                day=day,
                origin=self.origin,
                units=rows.units,
            )
            return {f"{schema}.{name}": count for name, count in loaded.items()}
        owned: dict[str, set[str]] = {}
        # a device without a file that day must not keep the values of an earlier load
        for key, path in self.known.items():
            names = owned.setdefault(self.wide_table(key), set())
            with suppress(OSError, pl.exceptions.PolarsError):  # of another day, which says so
                names |= {wide_column(key.device, name) for name in self._columns(key, path)}
        loaded = postgres.replace_wide(
            url,
            tables=rows.tables,
            owned=owned,
            dataset=self.source.dataset,
            day=day,
            origin=self.origin,
            devices=rows.devices,
            units=rows.units,
        )
        return {f"{postgres.WIDE_SCHEMA}.{table}": count for table, count in loaded.items()}

    def tidy_table(self, key: PartKey) -> str:
        from procezo_assets.stores.postgres_names import plain  # noqa: PLC0415 - heavy

        name = f"{key.domain}_{key.window or self.source.stage}"
        return plain(self.params.table_prefix + name)

    def wide_table(self, key: PartKey) -> str:
        from procezo_assets.stores.postgres_names import plain, wide_table  # noqa: PLC0415 - heavy

        values = {
            "experience": self.source.dataset,
            "step": self.source.stage,
            "aggregation": key.window,
            "domain": key.domain,
        }
        name = wide_table(self.params.template, values)
        return plain(self.params.table_prefix).upper() + name

    def _chosen(self, parts: Mapping[PartKey, Path]) -> dict[PartKey, Path]:
        wanted = self.params.aggregations
        return {
            key: path
            for key, path in parts.items()
            if (not wanted or key.window is None or key.window in wanted)
            and (not self.params.sources or self._sources(key))
        }

    def _sources(self, key: PartKey) -> list[Source]:
        return [
            source
            for source in self.params.sources
            if source.domain == key.domain and (not source.devices or key.device in source.devices)
        ]

    def _look_at_all_days(self) -> None:
        from procezo_assets.stores.postgres_names import column_owners  # noqa: PLC0415 - heavy

        parts = [self._chosen(self.source.parts(day)) for day in self.source.days_present()]
        self.known = {key: path for of_day in parts for key, path in of_day.items()}
        self.owners = column_owners(sorted({key.device for key in of_day}) for of_day in parts)

    def _recall_owners(self, url: str) -> None:
        """Leave columns to whom they were filled for, also where another one gets earlier days."""
        from procezo_assets.stores import postgres  # noqa: PLC0415 - heavy

        devices = {key.device for key in self.known}
        if len(self.owners) < len(devices):
            self.owners |= postgres.remembered_owners(
                url, dataset=self.source.dataset, origin=self.origin, devices=devices
            )

    def _columns(self, key: PartKey, path: Path) -> list[str]:
        with path.open("rb") as file:
            present = [name for name in pl.read_parquet_schema(file) if name not in _NO_VALUES]
        if not self.params.sources:
            return present
        sources = self._sources(key)
        for source in sources:
            self.missing |= {f"{key.domain}: {name}" for name in {*source.columns} - {*present}}
        return [name for name in present if any(source.takes(name) for source in sources)]

    def _read(self, key: PartKey, path: Path) -> pl.DataFrame:
        columns = ["ts", *self._columns(key, path)]
        return pl.read_parquet(path, columns=columns, hive_partitioning=False, glob=False)

    def _warnings(self) -> Iterable[str]:
        if plain_secrets(self.params):
            yield 'a password may stand in the flow: {"env": "NAME"} keeps it out'
        for name in sorted(self.missing):
            yield f"a column that sources names is not in every file: {name}"
        windows = {key.window for key in self.keys}
        for window in self.params.aggregations:
            if window not in windows and windows:
                yield f"there are no files of the window '{window}'"
