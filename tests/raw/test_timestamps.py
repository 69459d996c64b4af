"""Timestamps to UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procezo_assets.raw.local_time import Clock
from procezo_assets.raw.timestamps import parse_timestamps


def parsed(texts, tz="UTC"):
    frame, settled = parse_timestamps(texts, clock=Clock(tz))
    assert not settled
    return frame


def read(text, tz="UTC"):
    return parsed(pl.Series([text]), tz).row(0)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-25T08:14:18Z",
        "2026-01-25t08:14:18z",
        "2026-01-25 08:14:18 Z",
        "2026-01-25T08:14:18",
        "2026-01-25T08:14:18.000",
        "2026-01-25T08:14:18+00:00",
        "2026-01-25T09:14:18+01:00",
        "2026-01-25T09:14:18+0100",
        "2026-01-25T09:14:18+01",
        "2026-01-25T02:44:18-05:30",
        "  2026-01-25T08:14:18Z\t",
    ],
)
def test_spellings(text):
    assert read(text) == (datetime(2026, 1, 25, 8, 14, 18, tzinfo=UTC), None)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-25", datetime(2026, 1, 25, tzinfo=UTC)),
        ("2026-01-25T08:14", datetime(2026, 1, 25, 8, 14, tzinfo=UTC)),
        ("2026-01-25T08:14:18.5Z", datetime(2026, 1, 25, 8, 14, 18, 500_000, tzinfo=UTC)),
        ("2026-01-25T08:14:18,501101Z", datetime(2026, 1, 25, 8, 14, 18, 501_101, tzinfo=UTC)),
        ("2026-01-25T08:14:18.1234569Z", datetime(2026, 1, 25, 8, 14, 18, 123_456, tzinfo=UTC)),
    ],
)
def test_parts_may_be_missing_and_digits_beyond_the_microsecond_are_cut(text, moment):
    assert read(text) == (moment, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rebooting",
        "25/01/2026 08:14:18",
        "2026-02-30T00:00:00Z",
        "2026-13-01",
        "2026-01-25T24:00:00Z",
        "2026-01-25T08:60:00Z",
        "2026-01-25T08:14:60Z",
        "2026-01-25T08:14:18+24:00",
        "2026-01-25T08:14:18 CET",
        "2026-01-25T08:14:18.Z",
        "2026-1-25",
        "1769328858",
        "x2026-01-25T08:14:18Z",
    ],
)
@pytest.mark.parametrize("tz", ["UTC", "Europe/Paris"])
def test_other_texts_are_none(text, tz):
    assert read(text, tz) == (None, "timestamp")


def test_a_zone_wins_over_tz():
    noon = datetime(2026, 1, 25, 12, tzinfo=UTC)

    assert read("2026-01-25T12:00:00Z", "Asia/Tokyo") == (noon, None)
    assert read("2026-01-25T12:00:00", "Asia/Tokyo") == (noon - timedelta(hours=9), None)


def test_zones_can_be_mixed():
    texts = pl.Series(["2026-07-01T12:00:00", "2026-07-01T12:00:00Z", "x", None])

    read_back = parsed(texts, "Europe/Paris")

    assert read_back["ts"].to_list() == [
        datetime(2026, 7, 1, 10, tzinfo=UTC),
        datetime(2026, 7, 1, 12, tzinfo=UTC),
        None,
        None,
    ]
    assert read_back["problem"].to_list() == [None, None, "timestamp", "timestamp"]


@pytest.mark.parametrize(
    ("text", "hour", "problem"),
    [
        ("2026-03-29T01:59:59", 0, None),
        ("2026-03-29T02:00:00", None, "nonexistent_time"),
        ("2026-03-29T02:59:59", None, "nonexistent_time"),
        ("2026-03-29T03:00:00", 1, None),
        ("2026-10-25T01:59:59", 23, None),
        ("2026-10-25T02:00:00", None, "ambiguous_time"),
        ("2026-10-25T02:59:59", None, "ambiguous_time"),
        ("2026-10-25T03:00:00", 2, None),
        ("2026-10-25T02:30:00+02:00", 0, None),
        ("2026-10-25T02:30:00+01:00", 1, None),
    ],
)
def test_hours_that_the_clock_skips_or_repeats(text, hour, problem):
    ts, found = read(text, "Europe/Paris")

    assert (ts and ts.hour, found) == (hour, problem)


@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001 - the zone is drawn next
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
@settings(deadline=None, max_examples=80)
def test_any_moment_survives(moment, minutes):
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))

    assert read(aware.isoformat()) == (aware.astimezone(UTC), None)


@given(st.lists(st.text(max_size=30), min_size=1, max_size=10))
@settings(deadline=None, max_examples=60)
def test_any_text_is_a_moment_or_has_a_problem(texts):
    for tz in ("UTC", "Europe/Paris"):
        frame = parsed(pl.Series(texts), tz)

        assert (frame["ts"].is_null() == frame["problem"].is_not_null()).all()
