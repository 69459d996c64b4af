"""Timestamps as raw files write them, to UTC."""

from __future__ import annotations

from collections import Counter

import polars as pl

from procezo_assets.raw.local_time import Clock, to_instants
from procezo_assets.raw.stamp_shapes import read_alike

# RFC 3339 with the liberties of ISO 8601: a blank for T, no seconds, no zone, no time at all.
_ISO = (
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}:[0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]+))?)?"
    r" ?(?:([Zz])|([+-])([01][0-9]|2[0-3]):?([0-5][0-9])?)?)?$"
)


def parse_timestamps(texts: pl.Series, *, clock: Clock) -> tuple[pl.DataFrame, Counter[str]]:
    """Read ISO 8601 timestamps.

    A zone in the text wins; a text without one is local time. Digits beyond the microsecond are
    cut off.

    Args:
        texts: Strings, one a row.
        clock: What local times are in UTC.

    Returns:
        `ts` (datetime[us, UTC]) and `problem` (string): null where `ts` is not, else
        `timestamp` (cannot be read), `nonexistent_time` or `ambiguous_time` (the local clock
        skipped or repeated it); and how many times a policy settled.
    """
    return read_alike(
        texts,
        date_style="-",
        order="YMD",
        clock=clock,
        otherwise=lambda rest: _read_parts(rest, clock),
    )


def _read_parts(texts: pl.Series, clock: Clock) -> tuple[pl.DataFrame, Counter[str]]:
    groups = (
        texts.rename("text")
        .str.strip_chars()
        .str.extract_groups(_ISO)
        .struct.rename_fields(
            ["date", "minute", "second", "fraction", "utc", "sign", "zone_h", "zone_m"]
        )
        .struct.unnest()
    )
    read = groups.select(
        naive=pl.concat_str(
            "date",
            pl.lit("T"),
            pl.col("minute").fill_null("00:00"),
            pl.lit(":"),
            pl.col("second").fill_null("00"),
        ).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
        + pl.duration(
            microseconds=pl.col("fraction")
            .fill_null("0")
            .str.pad_end(6, "0")
            .str.slice(0, 6)
            .cast(pl.Int64)
        ),
        # chrono reads :60 as a leap second and rolls it over; the line does not say which it means
        sound=pl.col("date").is_not_null() & (pl.col("second").fill_null("00") < "60"),
        has_zone=pl.col("utc").is_not_null() | pl.col("sign").is_not_null(),
        offset_minutes=(
            pl.col("zone_h").cast(pl.Int64).fill_null(0) * 60
            + pl.col("zone_m").cast(pl.Int64).fill_null(0)
        )
        * pl.when(pl.col("sign") == "-").then(-1).otherwise(1),
    ).with_columns(naive=pl.when("sound").then("naive"))
    zoned = (pl.col("naive") - pl.duration(minutes="offset_minutes")).dt.replace_time_zone("UTC")
    unread = pl.when(pl.col("naive").is_null()).then(pl.lit("timestamp"))
    if clock.zone == "UTC" or bool(read["has_zone"].all()):
        return read.select(ts=zoned, problem=unread), Counter()
    naive = read.select(pl.when(~pl.col("has_zone")).then("naive")).to_series()
    local, settled = to_instants(naive, clock)
    return read.with_columns(local).select(
        ts=pl.when("has_zone").then(zoned).otherwise("ts"), problem=unread.otherwise("problem")
    ), settled
