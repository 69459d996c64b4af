"""`parse`: the text fields of a device-day to typed rows, one frame a domain."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Literal

import polars as pl
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from procezo_assets.datasets import RAW_FOLDER
from procezo_assets.errors import ParameterError
from procezo_assets.parameters import Instant, Parameters, ZoneOrOffset
from procezo_assets.treatments.model import source
from procezo_assets.treatments.treated import Frame, Treated

RESERVED_COLUMNS = frozenset({"ts", "device", "dataset", "domain", "day", "window"})

_OF_EVERY_STAGE = frozenset({"ts", "device"})

TYPES: dict[Literal["int", "float"], pl.DataType] = {"int": pl.Int64(), "float": pl.Float64()}

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INT64 = (-(2**63), 2**63 - 1)
_INT64_DIGITS = 19
_LARGE_EXPONENT = "999999999"


def _separates(delimiter: str) -> str:
    if delimiter.isalnum() or delimiter in '"\r\n\0+-.:':
        raise ValueError(f"{delimiter!r} cannot separate fields; take one of ; , | or a tab")
    return delimiter


def is_pattern(column: str) -> bool:
    """Whether the name of a column stands for several."""
    return "*" in column or "?" in column


class DomainColumns(BaseModel):
    """Which keys a domain takes, and as what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: str | None = Field(
        None, min_length=1, description="Takes keys of this prefix followed by digits only."
    )
    columns: tuple[str, ...] = Field(
        (),
        description="Takes these keys, in this order; `*` and `?` stand for any characters. Of "
        "csv, the short name of a column or its whole header.",
    )
    dtype: Literal["int", "float"] = Field("float", description="Type of the values.")
    rename: dict[str, str] = Field({}, description="New names of columns, by key.")

    @model_validator(mode="after")
    def _check(self) -> DomainColumns:
        if self.prefix is None and not self.columns:
            raise ValueError("a domain needs a prefix or columns")
        names = [self.rename.get(key, key) for key in self.columns if not is_pattern(key)]
        reserved = RESERVED_COLUMNS & {*names, *self.rename.values()}
        if reserved:
            raise ValueError(f"column name '{min(reserved)}' is reserved; rename it")
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two columns have the name '{name}'")
        for key, name in self.rename.items():
            if key != name and self.takes(key) and self.names(name) and name not in self.rename:
                raise ValueError(f"'{key}' is renamed to '{name}', which is a column already")
        return self

    def takes(self, key: str) -> bool:
        """Tell whether the domain takes a key."""
        return self.names(key) or any(pattern.fullmatch(key) for pattern in self._patterns.values())

    def names(self, key: str) -> bool:
        """Tell whether the domain takes a key by its name or prefix, not by a pattern."""
        return key in self.columns or bool(self._numbered and self._numbered.fullmatch(key))

    def column_of(self, key: str) -> str:
        """The name of a key's column; one that stages use themselves ends in `_column`."""
        name = self.rename.get(key, key)
        return f"{name}_column" if name in _OF_EVERY_STAGE else name

    def order(self, keys: list[str]) -> list[str]:
        """Put keys in the order of the columns: as declared, then by number."""
        declared: dict[str, None] = {}
        named = {key for key in keys if self.names(key)}
        for column in self.columns:
            pattern = self._patterns.get(column)
            matched = [key for key in keys if pattern and pattern.fullmatch(key)]
            for key in [column] if column in named else matched:
                if key == column or key not in named:
                    declared.setdefault(key)
        start = len(self.prefix or "")
        numbered = sorted(set(keys) - set(declared), key=lambda key: (int(key[start:]), key))
        return [*declared, *numbered]

    @cached_property
    def _patterns(self) -> dict[str, re.Pattern[str]]:
        return {
            column: re.compile(
                re.escape(column).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL
            )
            for column in self.columns
            if is_pattern(column)
        }

    @cached_property
    def _numbered(self) -> re.Pattern[str] | None:
        return re.compile(re.escape(self.prefix) + "[0-9]{1,18}") if self.prefix else None


class Substitution(BaseModel):
    """A replacement in the names of raw files, before the device is read from them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    src: str = Field(min_length=1, description="Text to replace.")
    target: str = Field("", pattern=r"^[^/\x00]*$", description="What to put in its place.")


_Integer = Annotated[int, Field(ge=_INT64[0], le=_INT64[1])]
DomainName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")]


class ParseParameters(Parameters):
    """How raw files are read."""

    format: Literal["kv_csv", "csv"] = Field(
        "kv_csv",
        description="`kv_csv`: a timestamp, then key:value fields; `csv`: a value a column, as "
        "loggers and spreadsheets write them (.csv, .txt, .dat, .tsv, .xlsx, and .gz or .zip of "
        "these). What is not declared below is read from the file, or refused.",
    )
    delimiter: Annotated[str, AfterValidator(_separates)] | None = Field(
        None,
        min_length=1,
        max_length=1,
        description="The character between fields; a blank stands for any run of blanks. Where "
        "unset, `;` of kv_csv, and what the file shows of csv.",
    )
    decimal: Literal[".", ","] | None = Field(
        None, description="csv: the decimal sign; where unset, what the file shows."
    )
    encoding: str | None = Field(
        None, description="Of the file's text, such as utf-8, latin-1 or utf-16."
    )
    sheet: str | None = Field(None, description="xlsx: the sheet; where unset, the first.")
    header_row: int | None = Field(
        None,
        ge=0,
        description="csv: the line, from 1, that names the columns; 0 for none. Lines above it are "
        "titles.",
    )
    columns: tuple[str, ...] | None = Field(
        None, min_length=1, description="csv: names of all columns in order, over the file's own."
    )
    timestamp_columns: tuple[int | str, ...] | None = Field(
        None,
        min_length=1,
        description="csv: the columns of date and time, by place (from 1) or name, in the order in "
        "which `timestamp_format` or a date and a time read; where unset, what the file shows.",
    )
    timestamp_column: str | None = Field(
        None, description="csv: the column of the timestamp, where it is one; by name."
    )
    timestamp_format: str | None = Field(
        None,
        min_length=2,
        description="csv: how timestamps are written, in strptime's terms, such as "
        "`%d.%m.%Y %H:%M`; several columns are joined by one blank.",
    )
    date_order: Literal["YMD", "DMY", "MDY"] | None = Field(
        None, description="csv: the order in dates that can be read in several."
    )
    timezone: ZoneOrOffset | None = Field(
        None,
        description="Zone of timestamps that name none: IANA name such as Europe/Paris, or offset "
        "such as +02:00. Where unset, what the file's header says, else UTC.",
    )
    tz: ZoneOrOffset | None = Field(None, description="The same as `timezone`.")
    ambiguous: Literal["quarantine", "earliest", "latest"] = Field(
        "quarantine", description="What becomes of local times that the clock repeats."
    )
    nonexistent: Literal["quarantine", "shift"] = Field(
        "quarantine",
        description="What becomes of local times that the clock skips; `shift` moves them by as "
        "much as it skips.",
    )
    null_values: tuple[_Integer | float | str, ...] = Field(
        (),
        description="Values that stand for none, such as -9999; numbers compare as numbers, texts "
        "exactly. csv: NA, N/A, NaN, null and an empty field always do.",
    )
    units: dict[str, str] = Field(
        {}, description="Units by column, over those that the header names."
    )
    domains: dict[DomainName, DomainColumns] = Field(
        {
            "bio_signal": DomainColumns(prefix="m", dtype="int"),
            "environment": DomainColumns(columns=("outdoor_temp",), dtype="float"),
        },
        min_length=1,
        description="The groups of columns, by name; keys that none takes are counted and named. "
        "Where unset, csv has one, `values`, of all columns.",
    )
    file_name_substitute: tuple[Substitution, ...] = Field(
        (), description="Replacements in file names, in order, before the device is read from them."
    )
    device_pattern: str | None = Field(
        None,
        description="Regular expression with a group `device`, searched in the file's name; where "
        "unset, the device is the last `_` segment before the first date.",
    )
    from_: Instant = Field(
        None, alias="from", description="Rows before this instant are excluded (ISO 8601)."
    )
    to: Instant = Field(None, description="Rows at or after this instant are excluded (ISO 8601).")

    @model_validator(mode="before")
    @classmethod
    def _all_columns_of_csv(cls, values: object) -> object:
        if isinstance(values, dict) and values.get("format") == "csv" and "domains" not in values:
            return {**values, "domains": {"values": {"columns": ["*"]}}}
        return values

    @property
    def zone(self) -> str | None:
        """The declared zone, by either of its names."""
        return self.timezone or self.tz

    @model_validator(mode="after")
    def _check(self) -> ParseParameters:
        if self.timezone and self.tz and self.timezone != self.tz:
            raise ValueError(f"'timezone' {self.timezone} and 'tz' {self.tz} differ")
        if self.timestamp_columns and self.timestamp_column:
            raise ValueError("'timestamp_columns' and 'timestamp_column' are both there")
        if self.encoding is not None:
            try:
                # rot13 and the like are known, too, but are no encodings of text
                bytes(range(256)).decode(self.encoding, errors="replace")
            except (LookupError, UnicodeError):
                raise ValueError(f"encoding: '{self.encoding}' is unknown") from None
        if self.from_ and self.to and self.from_ >= self.to:
            raise ValueError(f"'from' {self.from_} is not before 'to' {self.to}")
        if self.device_pattern is not None:
            try:
                groups = re.compile(self.device_pattern).groupindex
            except re.error as error:
                raise ValueError(f"device_pattern: {error}") from None
            if "device" not in groups:
                raise ValueError("device_pattern has no group (?P<device>…)")
        self._check_claims()
        return self

    def _check_claims(self) -> None:
        seen: dict[str, str] = {}
        for name, domain in self.domains.items():
            for other_name, other in self.domains.items():
                if name < other_name and domain.prefix and domain.prefix == other.prefix:
                    raise ValueError(
                        f"domains '{name}' and '{other_name}' both take prefix '{domain.prefix}'"
                    )
                if name != other_name:
                    for key in domain.columns:
                        if not is_pattern(key) and other.names(key):
                            raise ValueError(
                                f"domains '{name}' and '{other_name}' both take column '{key}'"
                            )
            for target in domain.rename.values():
                if seen.setdefault(f"{name}/{target}", name) and (
                    list(domain.rename.values()).count(target) > 1
                ):
                    raise ValueError(f"domain '{name}' renames two columns to '{target}'")

    def domain_of(self, key: str) -> str | None:
        """Name the domain that takes a key, if any; its name comes before a pattern."""
        named = (name for name, domain in self.domains.items() if domain.names(key))
        return next(named, None) or next(
            (name for name, domain in self.domains.items() if domain.takes(key)), None
        )


@source(parameters=ParseParameters, version="1", output="10_parsed", inputs=(RAW_FOLDER,))
def parse(rows: Frame, params: ParseParameters) -> dict[str, Treated]:
    """Read raw lines as typed rows, split by domain.

    Args:
        rows: The rows of one device-day, sorted: `ts` (datetime[us, UTC]), then columns
            `key:<name>`, of strings or of numbers that are of the domain's type already.
        params: How to read them.

    Returns:
        For each domain a frame of all rows: `ts`, then its columns (Int64 or Float64), and the
        counts of values that are `not_number` or `not_integer`.
    """
    treated: dict[str, Treated] = {}
    keys = [column.removeprefix("key:") for column in rows.columns if column.startswith("key:")]
    for name, domain in params.domains.items():
        removed: dict[str, dict[str, int]] = {}
        columns: dict[str, pl.Series] = {"ts": rows["ts"]}
        for key in domain.order([key for key in keys if params.domain_of(key) == name]):
            values, reasons = read_numbers(rows[f"key:{key}"], dtype=domain.dtype)
            column = domain.column_of(key)
            if column in columns:
                raise ParameterError(
                    f"domain '{name}': '{key}' is renamed to '{column}', which is a column already",
                    "rename it to something else",
                )
            columns[column] = values.alias(column)
            for reason, count in reasons.items():
                removed.setdefault(reason, {})[column] = count
        frame = pl.DataFrame(list(columns.values()))
        treated[name] = Treated({None: frame}, values_removed=removed)
    return treated


def read_numbers(
    texts: pl.Series, *, dtype: Literal["int", "float"]
) -> tuple[pl.Series, dict[str, int]]:
    """Read decimals with an optional sign and exponent.

    Args:
        texts: Strings, null where a line lacks the key; or what was read already.
        dtype: `int` reads whole values in any spelling (`12`, `12.0`, `1e3`).

    Returns:
        Int64 or Float64 values, and how many texts became null: `not_integer`, or `not_number`
        (no decimal, nan, inf, or beyond the type).
    """
    target = TYPES[dtype]
    if texts.dtype == target:
        return texts, {}
    trimmed = texts.str.strip_chars()
    values = trimmed.cast(target, strict=False)
    if dtype == "float":
        values = values.to_frame("v").select(pl.when(pl.col("v").is_finite()).then("v")).to_series()
    unread = trimmed.filter(values.is_null() & trimmed.is_not_null())
    if unread.is_empty():
        return values, {}
    readings = {text: _read_number(text, dtype) for text in unread.unique().to_list()}
    reasons: dict[str, int] = {}
    for text, number in unread.value_counts().rows():
        reading = readings[text]
        if isinstance(reading, str):
            reasons[reading] = reasons.get(reading, 0) + number
    slow = {text: reading for text, reading in readings.items() if not isinstance(reading, str)}
    if slow:
        reread = trimmed.replace_strict(
            list(slow), list(slow.values()), default=None, return_dtype=target
        )
        values = values.fill_null(reread)
    return values, reasons


def _read_number(text: str, dtype: Literal["int", "float"]) -> int | float | str:
    if not _NUMBER.fullmatch(text):
        return "not_number"
    if dtype == "float":
        return "not_number"  # a decimal that no finite float holds: the cast took the others
    exact = _exact(text)
    if exact.is_zero():
        return 0
    if exact.adjusted() >= _INT64_DIGITS:
        return "not_number"
    if exact.adjusted() < 0 or exact != exact.to_integral_value():
        return "not_integer"
    whole = int(exact)
    return whole if _INT64[0] <= whole <= _INT64[1] else "not_number"


def _exact(text: str) -> Decimal:
    """The decimal; an exponent beyond what Decimal takes is cut to nine digits, as good as any."""
    mantissa, marker, exponent = text.lower().partition("e")
    if len(exponent.lstrip("+-").lstrip("0")) > len(_LARGE_EXPONENT):
        exponent = ("-" if exponent.startswith("-") else "") + _LARGE_EXPONENT
    return Decimal(mantissa + marker + exponent)
