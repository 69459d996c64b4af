"""How one raw file is written, and what of it all files of a dataset have in common."""

from __future__ import annotations

import json
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

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
        has_header: Whether the file names its columns.
        columns: A name for each place, none twice.
        headers: For each place what the header says in full; "" without one.
        least_fields: How many fields a row has at least; the others are often empty.
        units: By name of the column.
        timestamp_columns: The places, from 1, of the columns that make the timestamp.
        timestamp_kind: `text`: a date and perhaps a time; `parts`: a column a part; `format`: as
            declared; or numbers since 1970.
        timestamp_parts: Of `parts`, what each of `timestamp_columns` is: Y, M, D, h, m, s.
        timestamp_format: Of `format`, the declared one.
        date_separator: Between the parts of a date of digits: `-`, `/`, `.`, or "" for none.
        date_orders: The orders in which all its dates can be read, and read the same.
        timezone: Zone of timestamps that name none.
        timezone_from: Where it is from.
        zone_words: Abbreviations behind timestamps that the declared zone settles.
        declared: The parameters that were given, not read from the file.
        problems: What a person should know, a sentence each.
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
    has_header: bool = False
    columns: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    least_fields: int = 0
    units: dict[str, str] = {}
    timestamp_columns: tuple[int, ...] = ()
    timestamp_kind: TimestampKind = "text"
    timestamp_parts: str = ""
    timestamp_format: str | None = None
    date_separator: str = "-"
    date_orders: tuple[DateOrder, ...] = ("YMD",)
    timezone: str = "UTC"
    timezone_from: ZoneSource = "assumed"
    zone_words: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """Canonical text of all that the meaning of a line depends on; "" of `kv_csv`."""
        if self.format == "kv_csv":
            return ""
        meaning = self.model_dump(
            mode="json",
            include={
                "delimiter",
                "decimal",
                "columns",
                "units",
                "timestamp_columns",
                "timestamp_kind",
                "timestamp_parts",
                "timestamp_format",
                "date_orders",
                "timezone",
            },
        )
        return json.dumps(meaning, sort_keys=True, ensure_ascii=False)

    @property
    def value_columns(self) -> tuple[str, ...]:
        """The names of the columns that are no part of the timestamp."""
        return tuple(
            name
            for place, name in enumerate(self.columns, 1)
            if place not in self.timestamp_columns
        )

    def fixed(self) -> FixedDialect:
        """The part that is the same for all files of a dataset."""
        return FixedDialect(
            format=self.format,
            delimiter=self.delimiter,
            decimal=self.decimal,
        )


class FixedDialect(BaseModel):
    """The part of a dialect that is the same for all files of a dataset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["kv_csv", "csv"]
    delimiter: str
    decimal: Literal[".", ","] | None = None

    def merge(self, dialect: Dialect) -> FixedDialect:
        """Narrow what was open by a file that fits."""
        return self.model_copy(update={"decimal": self.decimal or dialect.decimal})

    def misfit(self, dialect: Dialect) -> str | None:
        """Why a file is not written as the earlier ones of its dataset; None where it is."""
        if dialect.delimiter != self.delimiter:
            return f"delimiter '{dialect.delimiter}', in earlier files '{self.delimiter}'"
        return None
