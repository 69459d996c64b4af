"""Names of tables and columns in PostgreSQL, and the frame with a column for each device."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping

import polars as pl

from procezo_assets.errors import ParameterError, did_you_mean
from procezo_assets.stores.postgres_connection import DayRefusedError

PLACEHOLDERS = ("experience", "step", "aggregation", "domain")


def plain(name: str) -> str:
    """Turn what is no letter, digit or `_` into `_`."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def template_fields(template: str) -> set[str]:
    """The placeholders of a table template.

    Raises:
        ParameterError: Where it has unknown ones or its braces do not match.
    """
    try:
        parts = [part for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ParameterError(f"table_template '{template}': {error}") from None
    if any(form or conversion for _, _, form, conversion in parts):
        raise ParameterError(
            f"table_template '{template}' formats a placeholder", "write just its name in braces"
        )
    fields = {name for _, name, _, _ in parts if name is not None}
    for name in sorted(fields - set(PLACEHOLDERS)):
        raise ParameterError(
            f"table_template '{template}' has the unknown placeholder {{{name}}}",
            did_you_mean(name, PLACEHOLDERS),
        )
    return fields


def wide_table(template: str, values: Mapping[str, str | None]) -> str:
    """Name a wide table, in upper case.

    Args:
        template: Text with placeholders in braces.
        values: The value of each placeholder; one without a value goes, along with its `_`.
    """
    for field in template_fields(template):
        if not values.get(field):
            template = re.sub(rf"^\{{{field}\}}_*|_*\{{{field}\}}", "", template)
    return plain(template.format_map(values)).upper()


def check_wide_tables(
    template: str,
    datasets: Iterable[str],
    tables: Iterable[tuple[str, tuple[str, str | None]]],
) -> None:
    """Refuse tables in which rows of two datasets or windows would take each other's place.

    Args:
        template: What names the tables.
        datasets: The datasets that are loaded.
        tables: The name of each table, with a dataset and window that it is to hold.

    Raises:
        ParameterError: Naming both.
    """
    several = sorted(set(datasets))
    if "experience" not in template_fields(template) and len(several) > 1:
        raise ParameterError(
            f"table_template '{template}' gives the datasets {', '.join(several)} one table",
            "put {experience} into it",
        )
    owners: dict[str, tuple[str, str | None]] = {}
    for table, owner in tables:
        other = owners.setdefault(table, owner)
        if other != owner:
            raise ParameterError(
                f"table_template '{template}' gives {_told(other)} and {_told(owner)} "
                f"the one table {table}",
                "choose one with aggregations, or put {aggregation} into it"
                if other[0] == owner[0]
                else "rename one of the datasets, or use layout: tidy",
            )


def _told(owner: tuple[str, str | None]) -> str:
    return " ".join(part for part in owner if part)


def wide_column(device: str, column: str) -> str:
    """Name a wide table's column: `<device>__<column>`."""
    return f"{re.sub(r'[^A-Za-z0-9]', '_', device)}__{column}"


def column_owners(days: Iterable[Iterable[str]]) -> dict[str, str]:
    """Tell which device has the columns of a wide table that several would have.

    It is the one with the earliest day, of several the first by name: days that come later change
    nothing, so that columns that one device has filled do not become another one's.

    Args:
        days: The devices of each day, the days in their order.

    Returns:
        The device by the beginning of its columns' names.
    """
    owners: dict[str, str] = {}
    for devices in days:
        for device in sorted(devices):
            owners.setdefault(wide_column(device, ""), device)
    return owners


def check_wide_devices(devices: Iterable[str], owners: Mapping[str, str]) -> None:
    """Refuse a device whose columns in a wide table are another one's.

    Args:
        devices: The devices of a day.
        owners: Who has the columns, as of `column_owners`.

    Raises:
        DayRefusedError: Naming both.
    """
    for device in sorted(devices):
        prefix = wide_column(device, "")
        if (owner := owners.get(prefix, device)) != device:
            raise DayRefusedError(
                f"the devices '{owner}' and '{device}' would share the columns '{prefix}…' of a "
                f"wide table, which are those of '{owner}'",
                'use layout: "tidy", or load one of them with devices in sources',
            )


def wide_frame(parts: Iterable[tuple[str, str, pl.DataFrame]]) -> pl.DataFrame:
    """Set the frames of several devices and domains side by side.

    Args:
        parts: Device, domain and frame (`ts`, then values) of each part.

    Returns:
        One row a timestamp, sorted by `ts`; null where a part has no such timestamp.

    Raises:
        DayRefusedError: Where two values would share a column, or a part repeats a timestamp.
    """
    renamed: list[pl.DataFrame] = []
    taken: dict[str, str] = {}
    for device, domain, frame in parts:
        if frame["ts"].is_duplicated().any():
            raise DayRefusedError(
                f"the device '{device}' repeats timestamps in {domain}, and a wide table has one "
                "row a timestamp",
                "load a stage from clean on, where timestamps are unique",
            )
        names = {name: wide_column(device, name) for name in frame.columns if name != "ts"}
        for name, wide in names.items():
            here = f"'{name}' of '{device}' in {domain}"
            if wide in taken:
                raise DayRefusedError(
                    f"{taken[wide]} and {here} would share the column '{wide}' of a wide table",
                    'use layout: "tidy", or a template with {domain}',
                )
            taken[wide] = here
        renamed.append(frame.rename(names))
    if not renamed:
        return pl.DataFrame(schema={"ts": pl.Datetime("us", "UTC")})
    joined = pl.concat([frame.select("ts") for frame in renamed]).unique().sort("ts")
    for frame in renamed:
        joined = joined.join(frame, on="ts", how="left", maintain_order="left")
    return joined
