"""Local clock times to instants, by a zone and a policy for what its clock skips or repeats."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from procezo_assets.parameters import fixed_offset

UTC_MICROSECONDS = pl.Datetime("us", "UTC")
# the first and the last microsecond that Python's calendar has, since 1970
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999

# Central European abbreviations as its own languages write them.
_OTHER_WORDS = {"MEZ": "CET", "MESZ": "CEST", "MET": "CET", "MEST": "CEST"}


class Clock(NamedTuple):
    """How local times become instants.

    Args:
        zone: IANA name, `UTC`, or an offset such as `+02:00`.
        ambiguous: What becomes of times that exist twice.
        nonexistent: What becomes of times that do not exist.
    """

    zone: str = "UTC"
    ambiguous: Literal["quarantine", "earliest", "latest"] = "quarantine"
    nonexistent: Literal["quarantine", "shift"] = "quarantine"


def to_instants(
    naive: pl.Series, clock: Clock, *, words: pl.Series | None = None
) -> tuple[pl.DataFrame, Counter[str]]:
    """Read local times as instants.

    Args:
        naive: datetime[us] without a zone; null where a text is no time.
        clock: Zone and policies.
        words: Abbreviations of zones that stand behind the times, such as CEST; they must be what
            an IANA zone says of that time, and tell which of two times is meant.

    Returns:
        `ts` (datetime[us, UTC]) and `problem` (string): null, `nonexistent_time`,
        `ambiguous_time`, or `timezone` where the abbreviation is not one of the zone's; and how
        many times a policy settled (`ambiguous`, `nonexistent`).
    """
    settled: Counter[str] = Counter()
    none = pl.lit(None, pl.String).alias("problem")
    frame = naive.rename("naive").to_frame()
    zone = clock.zone
    offset = fixed_offset(zone) if zone == "UTC" or zone[0] in "+-" else None
    if offset is not None:
        instants = (pl.col("naive") - offset).dt.replace_time_zone("UTC")
        return frame.select(ts=instants, problem=none), settled

    def localized(ambiguous: Literal["earliest", "latest", "null"]) -> pl.Expr:
        return pl.col("naive").dt.replace_time_zone(zone, ambiguous=ambiguous, non_existent="null")

    frame = frame.with_columns(local=localized("null"))
    undecided = frame["local"].is_null() & frame["naive"].is_not_null()
    if words is None and not undecided.any():
        return frame.select(ts=pl.col("local").dt.convert_time_zone("UTC"), problem=none), settled
    frame = frame.with_columns(earliest=localized("earliest"), latest=localized("latest"))
    frame = frame.with_columns(problem=none)
    if words is not None:
        frame = frame.with_columns(_by_word(words))
    repeated = pl.col("local").is_null() & pl.col("earliest").is_not_null()
    skipped = pl.col("naive").is_not_null() & pl.col("earliest").is_null()
    sound = pl.col("problem").is_null()
    settled["ambiguous"] = int(frame.select((repeated & sound).sum()).item())
    settled["nonexistent"] = int(frame.select((skipped & sound).sum()).item())
    choice = {
        "earliest": pl.col("earliest"),
        "latest": pl.col("latest"),
        "quarantine": pl.lit(None, pl.Datetime("us", zone)),
    }[clock.ambiguous]
    frame = frame.with_columns(
        ts=pl.when(repeated).then(choice).otherwise("local").dt.convert_time_zone("UTC"),
        problem=pl.when(~sound)
        .then("problem")
        .when(repeated & (pl.lit(clock.ambiguous) == "quarantine"))
        .then(pl.lit("ambiguous_time"))
        .when(skipped & (pl.lit(clock.nonexistent) == "quarantine"))
        .then(pl.lit("nonexistent_time")),
    )
    if clock.ambiguous == "quarantine":
        del settled["ambiguous"]
    if clock.nonexistent == "quarantine":
        del settled["nonexistent"]
    elif settled["nonexistent"]:
        frame = _shifted(frame, skipped, zone)
    return frame.select(
        ts=pl.when(pl.col("problem").is_null()).then("ts"), problem="problem"
    ), +settled


def within_years(stamps: pl.DataFrame) -> pl.DataFrame:
    """Refuse instants before year 1 or after year 9999, where an offset may have moved them.

    Args:
        stamps: `ts` and `problem`, as `to_instants` gives them.
    """
    beyond = ~pl.col("ts").to_physical().is_between(_FIRST, _LAST)  # null stays null
    return stamps.with_columns(
        ts=pl.when(~beyond).then("ts"),
        problem=pl.when(beyond).then(pl.lit("timestamp")).otherwise("problem"),
    )


def _by_word(words: pl.Series) -> list[pl.Expr]:
    """Take the reading whose abbreviation stands behind the time."""
    word = pl.lit(words).replace(_OTHER_WORDS)
    named = word.is_not_null()
    early = pl.col("earliest").dt.strftime("%Z") == word
    late = pl.col("latest").dt.strftime("%Z") == word
    known = pl.when(early).then("earliest").when(late).then("latest")
    wrong = named & pl.col("earliest").is_not_null() & ~(early | late)
    return [
        pl.when(named).then(known).otherwise("local").alias("local"),
        pl.when(wrong).then(pl.lit("timezone")).alias("problem"),
    ]


def _shifted(frame: pl.DataFrame, skipped: pl.Expr, zone: str) -> pl.DataFrame:
    """Move times that the clock skipped by as much as it skipped (PEP 495, fold 0)."""
    place = ZoneInfo(zone)
    times: list[datetime] = frame.filter(skipped)["naive"].unique().to_list()
    moved = [time.replace(tzinfo=place).astimezone(UTC) for time in times]
    return frame.with_columns(
        ts=pl.when(skipped)
        .then(
            pl.col("naive").replace_strict(
                times, moved, default=None, return_dtype=UTC_MICROSECONDS
            )
        )
        .otherwise("ts")
    )
