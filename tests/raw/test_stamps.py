"""Timestamps of csv files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procezo_assets.raw.local_time import Clock
from procezo_assets.raw.stamps import StampStyle, read_stamps


def read(*texts, zone="UTC", **style):
    frame = pl.DataFrame(
        {str(at): pl.Series([text], dtype=pl.String) for at, text in enumerate(texts)}
    )
    style = {"kind": "text", "parts": "*" * len(texts), **style}
    stamps, _ = read_stamps(frame, StampStyle(**style), Clock(zone))
    ts, problem = stamps.row(0)
    assert (ts is None) == (problem is not None)
    return ts or problem


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "style", "order", "moment"),
    [
        ("13.03.2024 22:00:05", ".", "DMY", utc(2024, 3, 13, 22, 0, 5)),
        ("13.3.24 9:05", ".", "DMY", utc(2024, 3, 13, 9, 5)),
        ("13. 03. 2024 22h30", ".", "DMY", utc(2024, 3, 13, 22, 30)),
        ("13.03.2024", ".", "DMY", utc(2024, 3, 13)),
        ("13.03.2024 24:00", ".", "DMY", utc(2024, 3, 14)),
        ("13.03.2024 18.30.00", ".", "DMY", utc(2024, 3, 13, 18, 30)),
        ("13.03.2024 22:00:00,1234569", ".", "DMY", utc(2024, 3, 13, 22, 0, 0, 123_456)),
        ("13.03.2024 22:00:00:250", ".", "DMY", utc(2024, 3, 13, 22, 0, 0, 250_000)),
        ("29.02.2024 00:00", ".", "DMY", utc(2024, 2, 29)),
        ("11/05/19 02:00:00 PM", "/", "MDY", utc(2019, 11, 5, 14)),
        ("11/05/19 12:00:00 AM", "/", "MDY", utc(2019, 11, 5)),
        ("11/05/1999 12:30 p.m.", "/", "MDY", utc(1999, 11, 5, 12, 30)),
        ("11/05/68 2:30p", "/", "MDY", utc(2068, 11, 5, 14, 30)),
        ("11/05/69 2:30a", "/", "MDY", utc(1969, 11, 5, 2, 30)),
        ("2024-03-13T22:00:00+02:00", "-", "YMD", utc(2024, 3, 13, 20)),
        ("2024-03-13 22:00 UTC-3", "-", "YMD", utc(2024, 3, 14, 1)),
        ("13 March 2024 22:00", "name", "DMY", utc(2024, 3, 13, 22)),
        ("Mar 13, 2024 02:00 PM", "name", "MDY", utc(2024, 3, 13, 14)),
        ("2024-Sept-13", "name", "YMD", utc(2024, 9, 13)),
        ("20240313T220000.5", "8digits", "YMD", utc(2024, 3, 13, 22, 0, 0, 500_000)),
        ("202403132200", "8digits", "YMD", utc(2024, 3, 13, 22)),
        ("13032024", "8digits", "DMY", utc(2024, 3, 13)),
        ("240313 220000", "6digits", "YMD", utc(2024, 3, 13, 22)),
    ],
)
def test_spellings(text, style, order, moment):
    assert read(text, date_style=style, order=order) == moment


@pytest.mark.parametrize(
    ("text", "style", "order"),
    [
        ("30.02.2024 10:00", ".", "DMY"),
        ("29.02.2023 10:00", ".", "DMY"),
        ("13.13.2024 10:00", ".", "DMY"),
        ("13.03.2024 25:00", ".", "DMY"),
        ("13.03.2024 24:00:01", ".", "DMY"),
        ("13.03.2024 22:60", ".", "DMY"),
        ("13.03.2024 22:00:60", ".", "DMY"),
        ("13.03.2024 14:00 x", ".", "DMY"),
        ("13.03.024 14:00", ".", "DMY"),
        ("13/03/2024 14:00", ".", "DMY"),
        ("11/05/2019 0:30 PM", "/", "MDY"),
        ("11/05/2019 13:30 PM", "/", "MDY"),
        ("13 Mai 2024", "name", "DMY"),
        ("2024-03-13 22:", "-", "YMD"),
        ("", "-", "YMD"),
    ],
)
def test_texts_that_are_no_timestamps(text, style, order):
    assert read(text, date_style=style, order=order) == "timestamp"


def test_an_abbreviation_that_nothing_settles():
    assert read("2024-03-13 22:00 CET") == "timezone"
    assert read("2024-03-13 22:00 CET", zone="+01:00", words=("CET",)) == utc(2024, 3, 13, 21)
    assert read("2024-03-13 22:00 CET", zone="Europe/Paris") == utc(2024, 3, 13, 21)
    assert read("2024-03-13 22:00 CEST", zone="Europe/Paris") == "timezone"


@pytest.mark.parametrize(
    ("texts", "parts", "moment"),
    [
        (("2024-03-13", "22:00"), "**", utc(2024, 3, 13, 22)),
        (("2024-03-13", "10:00", "PM"), "***", utc(2024, 3, 13, 22)),
        (("2024-03-13", "2205"), "*t", utc(2024, 3, 13, 22, 5)),
        (("2024-03-13", "5"), "*t", utc(2024, 3, 13, 0, 5)),
        (("2024-03-13", "2560"), "*t", "timestamp"),
        (("2024-03-13", "220510"), "*T", utc(2024, 3, 13, 22, 5, 10)),
        (("2024-03-13", "2"), "*h", utc(2024, 3, 13, 2)),
        (("2024-03-13", "2", "5"), "*hm", utc(2024, 3, 13, 2, 5)),
    ],
)
def test_a_date_and_what_follows_it(texts, parts, moment):
    assert read(*texts, parts=parts) == moment


@pytest.mark.parametrize(
    ("texts", "parts", "moment"),
    [
        (("2024", "3", "1"), "YMD", utc(2024, 3, 1)),
        (("24", "3", "1", "2", "5", "3.25"), "YMDhms", utc(2024, 3, 1, 2, 5, 3, 250_000)),
        (("2024.0", "3.0", "1.0"), "YMD", utc(2024, 3, 1)),
        (("2024", "2", "30"), "YMD", "timestamp"),
        (("2024", "60", "1230"), "Yjt", utc(2024, 2, 29, 12, 30)),
        (("2024", "366", "2400"), "Yjt", utc(2025, 1, 1)),
        (("2023", "366", "0"), "Yjt", "timestamp"),
        (("2024", "x", "1"), "YMD", "timestamp"),
    ],
)
def test_a_column_for_each_part(texts, parts, moment):
    assert read(*texts, kind="parts", parts=parts) == moment


@pytest.mark.parametrize(
    ("text", "kind", "moment"),
    [
        ("1710367200", "epoch_s", utc(2024, 3, 13, 22)),
        ("1710367200.25", "epoch_s", utc(2024, 3, 13, 22, 0, 0, 250_000)),
        ("0", "epoch_s", utc(1970, 1, 1)),
        ("-0.5", "epoch_s", utc(1969, 12, 31, 23, 59, 59, 500_000)),
        ("1710367200250.5", "epoch_ms", utc(2024, 3, 13, 22, 0, 0, 250_500)),
        ("1710367200000001", "epoch_us", utc(2024, 3, 13, 22, 0, 0, 1)),
        ("99999999999999999", "epoch_s", "timestamp"),
        ("1e9", "epoch_s", "timestamp"),
    ],
)
def test_numbers_since_1970(text, kind, moment):
    assert read(text, kind=kind) == moment


@pytest.mark.parametrize(
    ("text", "code", "moment"),
    [
        ("2016 1 1 0 5", "%Y %m %d %H %M", utc(2016, 1, 1, 0, 5)),
        ("01.02.2024 10:00:00,5", "%d.%m.%Y %H:%M:%S,%f", utc(2024, 2, 1, 10, 0, 0, 500_000)),
        ("01.02.2024 10:00:60", "%d.%m.%Y %H:%M:%S", "timestamp"),
        ("2024-01-01 10", "%Y-%m-%d %H", utc(2024, 1, 1, 10)),
        ("2024-01-01T00:00:00+0200", "%Y-%m-%dT%H:%M:%S%z", utc(2023, 12, 31, 22)),
        ("2024 32", "%Y %j", utc(2024, 2, 1)),
        ("x", "%Y %j", "timestamp"),
    ],
)
def test_declared_formats(text, code, moment):
    assert read(text, kind="format", format=code) == moment


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2068, 12, 31)),  # noqa: DTZ001 - UTC is read
    st.sampled_from([("-", "YMD"), ("/", "YMD"), (".", "DMY"), ("/", "MDY"), ("8digits", "YMD")]),
    st.booleans(),
    st.booleans(),
)
@settings(deadline=None, max_examples=100)
def test_every_moment_survives_in_any_dress(moment, dress, short, half):
    style, order = dress
    year = "%y" if short and style != "8digits" else "%Y"
    parts = {"Y": year, "M": "%m", "D": "%d"}
    between = "" if style == "8digits" else style
    time = "%I:%M:%S %p" if half else "%H:%M:%S.%f"
    text = moment.strftime(between.join(parts[part] for part in order) + " " + time)

    expected = moment.replace(microsecond=0) if half else moment

    assert read(text, date_style=style, order=order) == expected.replace(tzinfo=UTC)


def test_the_fast_way_and_the_slow_way_meet():
    """One odd line sends its own text the slow way, the others stay."""
    start = utc(2024, 3, 30, 23)
    moments = [start + timedelta(minutes=10 * step) for step in range(200)]
    texts = [moment.strftime("%d.%m.%Y %H:%M:%S") for moment in moments]
    odd = [text.removeprefix("0").replace(".0", ".") for text in texts]
    style = StampStyle(date_style=".", order="DMY")

    for zone in ("UTC", "Europe/Paris", "-03:30"):
        fast, _ = read_stamps(pl.DataFrame({"0": texts}), style, Clock(zone))
        slow, _ = read_stamps(pl.DataFrame({"0": odd}), style, Clock(zone))

        assert fast.equals(slow)
