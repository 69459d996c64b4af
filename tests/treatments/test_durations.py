"""Lengths of bins and windows."""

from __future__ import annotations

import pytest

from procezo_assets.treatments.durations import microseconds


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("500ms", 500_000),
        ("1s", 1_000_000),
        ("60s", 60_000_000),
        ("5min", 300_000_000),
        ("1h", 3_600_000_000),
        ("24h", 86_400_000_000),
        ("1d", 86_400_000_000),
    ],
)
def test_lengths(text, length):
    assert microseconds(text) == length


@pytest.mark.parametrize(
    "text", ["", "s", "10", "0s", "-1s", "1.5s", "1 s", "1m", "1us", "\u0661s", "1s\n"]
)
def test_other_texts_are_no_durations(text):
    with pytest.raises(ValueError, match="is no duration; write a number with"):
        microseconds(text)


@pytest.mark.parametrize("text", ["2d", "25h", "86401s"])
def test_bins_never_cross_midnight(text):
    with pytest.raises(ValueError, match="longer than a day"):
        microseconds(text)
