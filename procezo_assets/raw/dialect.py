"""How one raw file is written, and what of it all files of a dataset have in common."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from procezo_assets.raw.headers import read_cell

DateOrder = Literal["YMD", "DMY", "MDY"]
TimestampKind = Literal["text", "parts", "format", "epoch_s", "epoch_ms", "epoch_us"]
ZoneSource = Literal["declared", "header", "timestamps", "logger", "assumed"]


class OpenedFacts(NamedTuple):
    """What is known of a file before its lines are looked at.

    Args:
        encoding: Of its text, such as `utf-8`.
        container: What it was unpacked from: `gzip`, `zip`, `xlsx`; None of a plain file.
        sheet: Of xlsx, the sheet's name.
    """

    encoding: str = "utf-8"
    container: str | None = None
    sheet: str | None = None


class Dialect(BaseModel):
    """How one raw file is written.

    Args:
        format: `kv_csv` or `csv`.
        delimiter: Between fields; a blank is any run of blanks.
        decimal: The decimal sign; None where no value has one.
        encoding: Of the file's text.
        container: What it was unpacked from, where it was.
        sheet: Of xlsx.
        logger: The kind of logger, where it is known by its signature.
        header_lines: How many lines, blank ones too, come before the first that may be a row.
        header_texts: Of those, the texts, which may come again where a logger was restarted.
        header_row: The line that names the columns, 0 where none does.
        columns: A name for each place, none twice.
        headers: For each place what the header says in full; "" without one.
        least_fields: How many fields a row has at least; the others are often empty.
        units: By name of the column.
        declared_units: The columns whose unit was given, not read from the file.
        timestamp_columns: The places, from 1, of the columns that make the timestamp.
        timestamp_kind: `text`: a date and perhaps a time; `parts`: a column a part; `format`: as
            declared; or numbers since 1970.
        timestamp_parts: What each of `timestamp_columns` is: a text (`*`), Y, M, D, h, m, s, j (day
            of the year), t (HHMM), T (HHMMSS).
        timestamp_format: Of `format`, the declared one.
        date_style: What is between the parts of a date of digits: `-`, `/` or `.`; or `name`, of
            dates with the name of the month; `8digits`, `6digits`.
        date_orders: The orders in which all its dates can be read, and read the same.
        timezone: Zone of timestamps that name none.
        timezone_from: Where it is from.
        zone_words: Abbreviations behind timestamps that the declared zone settles.
        declared: The parameters that were given, not read from the file.
        problems: What a person should know, a sentence each.
        ends: The line, where files were joined, from which on another header holds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["kv_csv", "csv"]
    delimiter: str
    decimal: Literal[".", ","] | None = None
    encoding: str = "utf-8"
    container: str | None = None
    sheet: str | None = None
    logger: str | None = None
    header_lines: int = 0
    header_texts: tuple[str, ...] = ()
    header_row: int = 0
    columns: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    least_fields: int = 0
    units: dict[str, str] = {}
    declared_units: tuple[str, ...] = ()
    timestamp_columns: tuple[int, ...] = ()
    timestamp_kind: TimestampKind = "text"
    timestamp_parts: str = "*"
    timestamp_format: str | None = None
    date_style: str = "-"
    date_orders: tuple[DateOrder, ...] = ("YMD",)
    timezone: str = "UTC"
    timezone_from: ZoneSource = "assumed"
    zone_words: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    ends: int | None = None

    @property
    def identity(self) -> str:
        """Canonical text of what the values of a line depend on; "" of `kv_csv`.

        It stays the same when a file that grows decides what was open. How timestamps are written
        is not in it: they are digested as the instants that they are.
        """
        if self.format == "kv_csv":
            return ""
        meaning = self.model_dump(
            mode="json",
            include={
                "delimiter",
                "columns",
                "units",
                "timestamp_columns",
            },
        )
        meaning["decimal"] = self.decimal or "."
        return json.dumps(meaning, sort_keys=True, ensure_ascii=False)

    @property
    def value_columns(self) -> tuple[str, ...]:
        """The names of the columns that are no part of the timestamp."""
        return tuple(
            name
            for place, name in enumerate(self.columns, 1)
            if place not in self.timestamp_columns
        )

    def name_at(self, place: int) -> str:
        """The name of the column at a place, from 1."""
        return self.columns[place - 1]

    def fixed(self) -> FixedDialect:
        """The part that is the same for all files of a dataset."""
        return FixedDialect(
            format=self.format,
            delimiter=self.delimiter,
            decimal=self.decimal,
            columns=self.columns,
            headers=_header_names(self.headers) if self.header_row else (),
            names=self._names,
            has_header=self.header_row > 0,
            units=self.units,
            timestamp_columns=self.timestamp_columns,
            timestamp_names=self._timestamp_names,
            timestamp_kind=self.timestamp_kind,
            date_orders=self.date_orders,
            names_zone=self._names_zone,
        )

    @property
    def _timestamp_names(self) -> tuple[str, ...]:
        return tuple(without_zone(self.name_at(place)) for place in self.timestamp_columns)

    @property
    def _names(self) -> dict[str, str]:
        """The names of columns whose header says more: what they are called is settled once."""
        if "columns" in self.declared:
            return {}
        names: dict[str, str] = {}
        for place, (name, header) in enumerate(zip(self.columns, self.headers, strict=False), 1):
            cell = read_cell(header)
            if cell.longer != cell.name and place not in self.timestamp_columns:
                names.setdefault(cell.longer, name)
        return names

    @property
    def _names_zone(self) -> bool:
        return self.timezone_from in {"header", "timestamps", "logger"}


class FixedDialect(BaseModel):
    """The part of a dialect that is the same for all files of a dataset.

    Args:
        format: As `Dialect.format`.
        delimiter: Between fields.
        decimal: The decimal sign; None until a value has one.
        columns: Names by place, of files without a header; none where headers differ, so that such
            a file would not say which they are.
        headers: The names in the header, by place, where `columns` are declared instead.
        names: Short names by what headers say in full.
        has_header: Whether files name their columns.
        units: By column.
        timestamp_columns: Places of the timestamp.
        timestamp_names: Names of its columns.
        timestamp_kind: As `Dialect.timestamp_kind`.
        date_orders: Those in which all dates can be read.
        names_zone: Whether files say in which zone their clock ran.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["kv_csv", "csv"]
    delimiter: str
    decimal: Literal[".", ","] | None = None
    columns: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    names: dict[str, str] = {}
    has_header: bool = False
    units: dict[str, str] = {}
    timestamp_columns: tuple[int, ...] = ()
    timestamp_names: tuple[str, ...] = ()
    timestamp_kind: TimestampKind = "text"
    date_orders: tuple[DateOrder, ...] = ("YMD",)
    names_zone: bool = False

    def merge(self, dialect: Dialect) -> FixedDialect:
        """Narrow what was open by a file that fits; what is declared now replaces what was read."""
        newer = dialect.fixed()
        declared = set(dialect.declared)
        both = self.has_header and newer.has_header
        orders = tuple(order for order in self.date_orders if order in newer.date_orders)
        merged: dict[str, object] = {
            "decimal": self.decimal or newer.decimal,
            "date_orders": orders or self.date_orders,
            "units": {
                **newer.units,
                **self.units,
                **{name: newer.units[name] for name in dialect.declared_units},
            },
            "columns": self.columns if not both or _alike(self, newer) else (),
            "headers": self.headers or newer.headers,
            "names": {**newer.names, **self.names},
        }
        for names, fields in _FIXED_BY.items():
            if declared & names:
                merged |= {field: getattr(newer, field) for field in fields}
        return self.model_copy(update=merged)

    def misfit(self, dialect: Dialect) -> str | None:
        """Why a file is not written as the earlier ones of its dataset; None where it is.

        Columns may come and go where a header names them; a file without one must have as many as
        the others. What is declared always fits, but for declared columns under other headers.
        """
        if dialect.format == "kv_csv":
            return None
        newer = dialect.fixed()
        declared = set(dialect.declared)
        compared: list[tuple[str, object, object]] = []
        if "delimiter" not in declared:
            compared.append(("the delimiter", newer.delimiter, self.delimiter))
        if "decimal" not in declared and newer.decimal and self.decimal:
            compared.append(("the decimal sign", newer.decimal, self.decimal))
        if not declared & _STAMPS:
            compared.append(("the kind of timestamps", newer.timestamp_kind, self.timestamp_kind))
        if "date_order" not in declared and not set(newer.date_orders) & set(self.date_orders):
            compared.append(("the order of dates", _or(newer.date_orders), _or(self.date_orders)))
        if not declared & _ZONES:
            compared.append(("the time zone", _named(newer), _named(self)))
        compared += _compared_headers(self, newer, declared="columns" in declared)
        if not declared & _STAMPS:
            both = newer.has_header and self.has_header
            compared.append(
                ("the timestamp's column", _or(newer.timestamp_names), _or(self.timestamp_names))
                if both
                else ("the timestamp's column", newer.timestamp_columns, self.timestamp_columns)
            )
        compared.extend(
            (f"the unit of '{name}'", unit, self.units[name])
            for name, unit in newer.units.items()
            if name in self.units and name not in dialect.declared_units
        )
        compared.extend(
            (f"the column of '{header}'", name, self.names[header])
            for header, name in newer.names.items()
            if header in self.names
        )
        differing = (one for one in compared if one[1] != one[2])
        return next((f"{what} is {now!r}, was {before!r}" for what, now, before in differing), None)


def _compared_headers(
    before: FixedDialect, now: FixedDialect, *, declared: bool
) -> list[tuple[str, object, object]]:
    """What headers say of columns, or must where there are none."""
    if not now.has_header and before.has_header and not before.columns:
        return [("a header", "missing", "there, and not always the same")]
    if not now.has_header:
        return [("the number of columns", len(now.columns), len(before.columns))]
    if not before.has_header and not declared:
        return [("a header", "there", "missing")]
    if declared and before.headers:
        return [("the header", _or(now.headers), _or(before.headers))]
    return []


def _header_names(headers: Iterable[str]) -> tuple[str, ...]:
    """What columns are called, without the offsets and serial numbers that files differ in."""
    names = [without_zone(read_cell(header).name) for header in headers]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def _alike(one: FixedDialect, other: FixedDialect) -> bool:
    return [*map(without_zone, one.columns)] == [*map(without_zone, other.columns)]


def _or(texts: Iterable[str]) -> str:
    return " or ".join(texts)


def _named(dialect: FixedDialect) -> str:
    return "named" if dialect.names_zone else "not named"


_STAMPS = {"timestamp_columns", "timestamp_column", "timestamp_format"}
_ZONES = {"timezone", "tz"}
_FIXED_BY: dict[frozenset[str], tuple[str, ...]] = {
    frozenset({"delimiter"}): ("delimiter",),
    frozenset({"decimal"}): ("decimal",),
    frozenset({"date_order"}): ("date_orders",),
    frozenset(_ZONES): ("names_zone",),
    frozenset(_STAMPS): ("timestamp_columns", "timestamp_names", "timestamp_kind"),
    frozenset({"columns", "header_row"}): ("columns", "has_header"),
}
_ZONE_IN_NAME = re.compile(
    r"[\s,(\[-]*(?:UTC|GMT)?\s*[+\-\u2212]\s*\d{1,2}(?::?\d{2})?[)\]]?|[\s,(\[]*(?:UTC|GMT)[)\]]?$"
)


def without_zone(name: str) -> str:
    """A column's name without the offset that it states."""
    return _ZONE_IN_NAME.sub("", name).strip() or name
