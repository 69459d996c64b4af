"""Timestamps of csv files, however they are written, to local or zoned times.

What belongs here: texts to times. What does not: which columns hold them and which order of a
date is meant (`sniff.py`), and what a local time is in UTC (`local_time.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

import polars as pl

from procezo_assets.raw.dialect import DateOrder, TimestampKind
from procezo_assets.raw.local_time import UTC_MICROSECONDS, Clock, to_instants
from procezo_assets.raw.stamp_grammar import (
    DOTTED_TIME,
    MINUTES_OR_SECONDS,
    MONTHS,
    PIVOT,
    stamp_expression,
)
from procezo_assets.raw.stamp_shapes import read_alike

_GROUPS = ["h", "m", "s", "fraction", "half", "utc", "sign", "zone_h", "zone_m", "word"]
_LAST_SECOND = 253_402_300_799  # of year 9999
_MIDNIGHT = 24
_TICKS = {"epoch_s": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000}


class StampStyle(NamedTuple):
    """How timestamps are written.

    Args:
        kind: As `Dialect.timestamp_kind`.
        parts: As `Dialect.timestamp_parts`.
        format: As `Dialect.timestamp_format`.
        date_style: As `Dialect.date_style`.
        order: Of the date.
        words: Abbreviations of zones that may stand behind times of a fixed offset.
        zoned: Whether each time must name its offset, as all those looked at first do.
    """

    kind: TimestampKind = "text"
    parts: str = "*"
    format: str | None = None
    date_style: str = "-"
    order: DateOrder = "YMD"
    words: tuple[str, ...] = ()
    zoned: bool = False


def read_stamps(
    texts: pl.DataFrame, style: StampStyle, clock: Clock
) -> tuple[pl.DataFrame, Counter[str]]:
    """Read the timestamps of some lines.

    Args:
        texts: The columns that make the timestamp, trimmed, in their order.
        style: How they are written.
        clock: What local times are in UTC.

    Returns:
        `ts` (datetime[us, UTC]) and `problem` (string): null of a row, else `timestamp` (cannot be
        read), `timezone`, `nonexistent_time` or `ambiguous_time`; and how many times a policy
        settled. Digits beyond the microsecond are cut off.
    """
    if style.kind in _TICKS:
        return _read_epoch(texts.to_series(), _TICKS[style.kind]), Counter()
    if style.kind == "format":
        return _read_format(_joined(texts), style.format or "", clock)
    if style.kind == "parts":
        return _localized(_from_parts(texts, style.parts), clock)
    return _read_text(join_stamp_texts(texts, style.parts, style.date_style), style, clock)


def _joined(texts: pl.DataFrame) -> pl.Series:
    if texts.width == 1:
        return texts.to_series()
    return texts.select(text=pl.concat_str(pl.all(), separator=" ")).to_series()


def join_stamp_texts(texts: pl.DataFrame, parts: str, style: str) -> pl.Series:
    """Join a date and what follows it; hours, minutes and HHMM become a time with colons.

    Args:
        texts: The columns, in their order.
        parts: As `Dialect.timestamp_parts`.
        style: As `Dialect.date_style`.
    """
    if set(parts) == {"*"}:
        joined = _joined(texts)
        return joined.str.replace(DOTTED_TIME, " $1:$2:$3") if style.endswith("digits") else joined
    names = texts.columns
    if parts[1] in "tT":
        width = 4 if parts[1] == "t" else 6
        clock = (
            pl.col(names[1])
            .str.pad_start(width, "0")
            .str.replace(
                ("([0-9]{2})" * (width // 2)) + "$",
                "$1:$2" if width == 4 else "$1:$2:$3",  # noqa: PLR2004 - HHMM
            )
        )
        return texts.select(text=pl.concat_str(names[0], clock, separator=" ")).to_series()
    numbers = [pl.col(name).str.pad_start(2, "0") for name in names[1:]]
    clock = pl.concat_str(*numbers, *([pl.lit("00")] if len(numbers) == 1 else []), separator=":")
    return texts.select(text=pl.concat_str(names[0], clock, separator=" ")).to_series()


def _read_text(
    texts: pl.Series, style: StampStyle, clock: Clock
) -> tuple[pl.DataFrame, Counter[str]]:
    if style.zoned and not texts.str.ends_with("Z").all():
        return _read_slowly(texts, style, clock)
    return read_alike(
        texts,
        date_style=style.date_style,
        order=style.order,
        clock=clock,
        otherwise=lambda rest: _read_slowly(rest, style, clock),
    )


def _read_slowly(
    texts: pl.Series, style: StampStyle, clock: Clock
) -> tuple[pl.DataFrame, Counter[str]]:
    names = [*style.order, *_GROUPS]
    unclear = pl.col("text").str.contains(MINUTES_OR_SECONDS)
    groups = (
        texts.rename("text")
        .to_frame()
        .select(pl.when(~unclear).then("text"))
        .to_series()
        .str.extract_groups(stamp_expression(style.date_style, style.order))
        .struct.rename_fields(names)
        .struct.unnest()
    )
    return _from_groups(groups, style, clock)


def _from_groups(
    groups: pl.DataFrame, style: StampStyle, clock: Clock
) -> tuple[pl.DataFrame, Counter[str]]:
    month = pl.col("M").str.slice(0, 3).str.to_lowercase()
    numbers = groups.select(
        Y=_full_year("Y"),
        M=(
            month.replace_strict(
                list(MONTHS), list(range(1, 13)), default=None, return_dtype=pl.Int64
            )
            if style.date_style == "name"
            else pl.col("M").cast(pl.Int64)
        ),
        D=pl.col("D").cast(pl.Int64),
        h=pl.col("h").cast(pl.Int64).fill_null(0),
        m=pl.col("m").cast(pl.Int64).fill_null(0),
        s=pl.col("s").cast(pl.Int64).fill_null(0),
        us=_microseconds("fraction"),
        half=pl.col("half").str.slice(0, 1).str.to_lowercase(),
    )
    naive = _assembled(numbers)
    offset = (
        pl.col("zone_h").cast(pl.Int64) * 60 + pl.col("zone_m").cast(pl.Int64).fill_null(0)
    ) * pl.when(pl.col("sign") == "-").then(-1).otherwise(1)
    zones = groups.select(
        offset=offset.fill_null(pl.when(pl.col("utc").is_not_null()).then(0)), word="word"
    )
    bare = zones["offset"].null_count() == zones["word"].null_count() == zones.height
    if bare and not style.zoned:
        return _localized(naive, clock)
    words = zones["word"] if zones["word"].null_count() < zones.height else None
    fixed = clock.zone == "UTC" or clock.zone[0] in "+-"
    zoned = zones["offset"].is_not_null()
    local, settled = to_instants(
        naive.to_frame("n").select(pl.when(~pl.lit(zoned)).then("n")).to_series(),
        clock,
        words=None if fixed else words,
    )
    return local.select(
        ts=pl.when(pl.lit(zoned))
        .then(
            (pl.lit(naive) - pl.duration(minutes=pl.lit(zones["offset"]))).dt.replace_time_zone(
                "UTC"
            )
        )
        .otherwise("ts"),
        problem=pl.when(pl.lit(naive).is_null()).then(pl.lit("timestamp")).otherwise("problem"),
    ).with_columns(
        problem=pl.when(
            pl.col("problem").is_null()
            & pl.lit(_unsettled(zones["word"], style, clock) | (~zoned & style.zoned))
        )
        .then(pl.lit("timezone"))
        .otherwise("problem")
    ).with_columns(ts=pl.when(pl.col("problem").is_null()).then("ts")), settled


def _unsettled(words: pl.Series, style: StampStyle, clock: Clock) -> pl.Series:
    """Where an abbreviation stands that a fixed offset may not be meant by."""
    if clock.zone != "UTC" and clock.zone[0] not in "+-":
        return words.is_not_null() & False
    return (words.is_not_null() & ~words.is_in(list(style.words))).fill_null(False)


def _localized(naive: pl.Series, clock: Clock) -> tuple[pl.DataFrame, Counter[str]]:
    stamps, settled = to_instants(naive, clock)
    unread = pl.when(pl.lit(naive).is_null()).then(pl.lit("timestamp")).otherwise("problem")
    return stamps.with_columns(problem=unread), settled


def _full_year(name: str) -> pl.Expr:
    year = pl.col(name).cast(pl.Int64)
    century = pl.when(year < PIVOT).then(2000).otherwise(1900)
    return pl.when(pl.col(name).str.len_bytes() == 2).then(year + century).otherwise(year)  # noqa: PLR2004 - 24 is 2024


def _microseconds(name: str) -> pl.Expr:
    return pl.col(name).fill_null("0").str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64)


def _assembled(numbers: pl.DataFrame) -> pl.Series:
    """Put Y, M, D, h, m, s, us and half together; null where there is no such time."""
    year, month, day, hour = (pl.col(part) for part in "YMDh")
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    days = (
        pl.when(month == 2)  # noqa: PLR2004 - February
        .then(28 + leap.cast(pl.Int64))
        .when(month.is_in([4, 6, 9, 11]))
        .then(30)
        .otherwise(31)
    )
    dated = month.is_between(1, 12) & day.is_between(1, days) & year.is_between(1, 9999)
    rest = (pl.col("m") == 0) & (pl.col("s") == 0) & (pl.col("us") == 0)
    twelve = pl.col("half").is_not_null()
    timed = pl.col("m").is_between(0, 59) & pl.col("s").is_between(0, 59)
    # 24:00 is the midnight at a day's end; 0:30 PM says nothing
    timed &= (
        pl.when(twelve)
        .then(hour.is_between(0, 12) & ((hour > 0) | (pl.col("half") == "a")))
        .otherwise(hour.is_between(0, 23) | ((hour == _MIDNIGHT) & rest))
    )
    clocked = (
        pl.when(~twelve)
        .then(hour)
        .otherwise(hour % 12 + pl.when(pl.col("half") == "p").then(12).otherwise(0))
    )
    sound = (dated & timed).fill_null(False)
    midnight = pl.datetime(
        *(pl.when(sound).then(part) for part in (year, month, day)), time_unit="us"
    )
    return numbers.select(
        naive=midnight
        + pl.duration(
            hours=clocked, minutes=pl.col("m"), seconds=pl.col("s"), microseconds=pl.col("us")
        )
    ).to_series()


def _from_parts(texts: pl.DataFrame, parts: str) -> pl.Series:
    """Read a column a part: Y, M, D, j (day of the year), h, m, s, t (HHMM)."""
    columns = dict(zip(parts, texts.columns, strict=True))
    whole = {
        part: texts[name].str.replace(r"\.0+$", "").str.extract(r"^(-?[0-9]{1,6})$")
        for part, name in columns.items()
    }
    frame = pl.DataFrame(whole)
    given = {part: pl.col(part).cast(pl.Int64) for part in parts if part != "Y"}
    zero = pl.lit(0, pl.Int64)
    if "t" in given:
        given |= {"h": given["t"] // 100, "m": given["t"] % 100}
    seconds = zero
    micro = zero
    if "s" in columns:
        fine = texts[columns["s"]].str.extract_groups(r"^([0-9]{1,2})(?:[.,]([0-9]+))?$")
        frame = frame.with_columns(
            fine.struct.rename_fields(["second", "fraction"]).struct.unnest()
        )
        seconds, micro = pl.col("second").cast(pl.Int64), _microseconds("fraction")
    numbers = frame.select(
        Y=_full_year("Y"),
        M=given.get("M", pl.lit(1, pl.Int64)),
        D=given.get("D", pl.lit(1, pl.Int64)),
        h=given.get("h", zero),
        m=given.get("m", zero),
        s=seconds,
        us=micro,
        half=pl.lit(None, pl.String),
        j=given.get("j", pl.lit(1, pl.Int64)),
    )
    naive = _assembled(numbers)
    if "j" not in given:
        return naive
    later = pl.duration(days=pl.col("j") - 1)
    new_year = pl.datetime(pl.when(pl.lit(naive).is_not_null()).then("Y"), 1, 1, time_unit="us")
    same_year = (new_year + later).dt.year() == pl.col("Y")
    dated = pl.when((pl.col("j") > 0) & same_year).then(pl.lit(naive) + later)
    return numbers.select(naive=dated).to_series()


def _read_epoch(texts: pl.Series, ticks: int) -> pl.DataFrame:
    """Numbers since 1970 in UTC; a fraction of a tick counts too, down to the microsecond."""
    groups = (
        texts.str.extract_groups(r"^(-?[0-9]{1,17})(?:[.,]([0-9]+))?$")
        .struct.rename_fields(["whole", "fraction"])
        .struct.unnest()
    )
    scale = 1_000_000 // ticks
    whole = pl.col("whole").cast(pl.Int64)
    fraction = _microseconds("fraction") * scale // 1_000_000
    moment = whole * scale + pl.when(pl.col("whole").str.starts_with("-")).then(
        -fraction
    ).otherwise(fraction)
    sound = whole.abs() <= _LAST_SECOND * ticks
    return groups.select(ts=pl.when(sound).then(moment).cast(UTC_MICROSECONDS)).with_columns(
        problem=pl.when(pl.col("ts").is_null()).then(pl.lit("timestamp"))
    )


def _read_format(texts: pl.Series, code: str, clock: Clock) -> tuple[pl.DataFrame, Counter[str]]:
    """Read as declared; `%f` is a fraction of a second, as in Python."""
    if ",%f" in code:
        texts = texts.str.replace(r",([0-9]+)", ".${1}")
    code = code.replace(".%f", "%.f").replace(",%f", "%.f")
    if re.search(r"%-?[HI]", code) and not re.search(r"%-?[MRTX]", code):
        texts, code = texts + " 00", code + " %M"  # Polars wants minutes where there are hours
    moments = texts.str.to_datetime(code, time_unit="us", strict=False)
    # chrono reads :60 as a leap second and rolls it over; the line does not say which it means
    leap = texts.str.contains(":60") if ":%S" in code or "%T" in code else None
    if leap is not None:
        moments = moments.to_frame("t").select(pl.when(~pl.lit(leap)).then("t")).to_series()
    if moments.dtype == UTC_MICROSECONDS:
        unread = pl.when(pl.col("ts").is_null()).then(pl.lit("timestamp"))
        return moments.to_frame("ts").with_columns(problem=unread), Counter()
    return _localized(moments, clock)
