"""`aggregate`: bins, metrics, names."""

from __future__ import annotations

import math
import statistics
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from procezo_assets.ledger import Ledger
from procezo_assets.treatments.aggregate import AggregateParameters, aggregate
from procezo_assets.treatments.durations import microseconds

MIDNIGHT = datetime(2026, 1, 25, tzinfo=UTC)


def frame_at(seconds, **columns):
    return pl.DataFrame(
        {"ts": [MIDNIGHT + timedelta(seconds=second) for second in seconds]} | columns,
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
        strict=False,
    )


def aggregated(frame, **params):
    treated = aggregate(frame, AggregateParameters.model_validate(params))
    ledger = Ledger()
    ledger.enter("here", frame, treated)
    assert ledger.balanced, ledger.imbalances
    return treated.frames


def starts(frame):
    return [(at - MIDNIGHT).total_seconds() for at in frame["ts"]]


def test_defaults():
    frames = aggregated(frame_at([0, 1], m0=[1, 2]))

    assert list(frames) == ["10s", "60s", "5min", "1h"]
    assert frames["10s"].columns == [
        "ts",
        *(f"m0__raw__{m}" for m in ("mean", "std", "min", "max")),
    ]


def test_metrics_skip_nulls():
    frames = aggregated(
        frame_at(range(5), a=[1, None, 2, 4, 9]),
        windows=["10s"],
        metrics=["mean", "std", "min", "max", "median", "count"],
    )

    # 1 2 4 9: squared distances from 4 are 9 4 0 25, over 3
    assert frames["10s"].drop("ts").row(0) == (4.0, pytest.approx(math.sqrt(38 / 3)), 1, 9, 3.0, 4)
    assert frames["10s"].schema["a__raw__count"] == pl.Int64


def test_the_deviation_of_one_value_is_null_and_of_equal_ones_exactly_0():
    frames = aggregated(
        frame_at([0, 10, 11, 12, 20], a=[5.0, 0.1, 0.1, 0.1, None]),
        windows=["10s"],
        metrics=["std"],
    )

    assert frames["10s"]["a__raw__std"].to_list() == [None, 0.0, None]


def test_names():
    frames = aggregated(frame_at([0], m0=[1], m0__sqrt_inv=[1.0]), windows=["1h"], metrics=["mean"])

    assert frames["1h"].columns == ["ts", "m0__raw__mean", "m0__sqrt_inv__mean"]


def test_empty_bins_are_rows_of_nulls():
    frames = aggregated(
        frame_at([5, 25, 39], a=[1, None, 3]), windows=["10s"], metrics=["mean", "count"]
    )

    assert starts(frames["10s"]) == [0, 10, 20, 30]
    assert frames["10s"]["a__raw__mean"].to_list() == [1.0, None, None, 3.0]
    assert frames["10s"]["a__raw__count"].to_list() == [1, 0, 0, 1]


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("7s", [0, 7, 14]),
        ("500ms", [place / 2 for place in range(31)]),
        ("7h", [0]),
        ("1d", [0]),
    ],
)
@pytest.mark.parametrize("day", [0, 1, 2, 3, 365])
def test_bins_are_aligned_to_midnight(window, expected, day):
    frame = frame_at([0, 6.999999, 7, 15.2], a=[1, 2, 3, 4]).with_columns(
        pl.col("ts") + pl.duration(days=day)
    )

    result = aggregated(frame, windows=[window], metrics=["count"])[window]

    assert [second - 86400 * day for second in starts(result)] == expected
    assert result["a__raw__count"].sum() == 4
    if window == "7s":
        assert result["a__raw__count"].to_list() == [2, 1, 1]


def test_the_last_bin_of_a_window_that_does_not_divide_the_day():
    frames = aggregated(
        frame_at([0, 75599, 75600, 86399.999999], a=[1, 2, 3, 5]), windows=["7h"], metrics=["mean"]
    )

    assert starts(frames["7h"]) == [0, 25200, 50400, 75600]
    assert frames["7h"]["a__raw__mean"].to_list() == [1.0, None, 2.0, 4.0]


def test_decimals_round_floats_only():
    frames = aggregated(
        frame_at([0, 1, 2], a=[1, 1, 2], b=[0.123, 0.123, 0.126]),
        windows=["10s"],
        metrics=["mean", "max", "count"],
        decimals=2,
    )

    assert frames["10s"].drop("ts").row(0) == (1.33, 2, 3, 0.12, 0.13, 3)


def test_columns_that_are_no_numbers_are_left_out():
    frames = aggregated(
        frame_at([0], a=[1], flag=[True], note=["x"]), windows=["1h"], metrics=["max"]
    )

    assert frames["1h"].columns == ["ts", "a__raw__max"]


@pytest.mark.parametrize("frame", [frame_at([], a=pl.Series([], dtype=pl.Int64)), frame_at([])])
def test_no_rows(frame):
    for result in aggregated(frame).values():
        assert result.height == 0
        assert result.schema["ts"] == pl.Datetime("us", "UTC")


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"windows": []}, "windows"),
        ({"windows": ["10 s"]}, "no duration"),
        ({"windows": ["2d"]}, "longer than a day"),
        ({"metrics": ["avg"]}, "metrics"),
        ({"metrics": ["mean", "mean"]}, "'mean' is there twice"),
        ({"decimals": -1}, "decimals"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(params, problem):
    with pytest.raises(ValidationError, match=problem):
        AggregateParameters.model_validate(params)


@given(
    st.lists(
        st.tuples(st.integers(0, 86_399_999), st.none() | st.integers(-1000, 1000)),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from(["7h", "1h", "5min", "1d", "17min"]),
)
@settings(deadline=None, max_examples=100)
def test_aggregate_does_what_the_design_says(samples, window):
    samples = sorted(samples, key=lambda sample: sample[0])
    frame = frame_at(
        [milliseconds / 1000 for milliseconds, _ in samples],
        a=pl.Series([value for _, value in samples], dtype=pl.Int64),
    )

    result = aggregated(
        frame, windows=[window], metrics=["mean", "std", "min", "max", "median", "count"]
    )[window]

    width = microseconds(window) // 1000
    bins = {}
    for at, value in samples:
        bins.setdefault(at // width, []).append(value)
    places = range(min(bins), max(bins) + 1)
    assert starts(result) == [place * width / 1000 for place in places]
    for place, row in zip(places, result.drop("ts").rows(), strict=True):
        known = [value for value in bins.get(place, []) if value is not None]
        expected = (
            statistics.mean(known) if known else None,
            statistics.stdev(known) if len(known) > 1 else None,
            min(known, default=None),
            max(known, default=None),
            statistics.median(known) if known else None,
            len(known),
        )
        assert [type(value) for value in row if value is None] == [
            type(value) for value in expected if value is None
        ]
        for found, wanted in zip(row, expected, strict=True):
            assert found == (wanted and pytest.approx(wanted, rel=1e-12, abs=1e-12))


@given(st.floats(-1e12, 1e12), st.integers(2, 50))
@settings(deadline=None, max_examples=60)
def test_equal_values_have_no_deviation(value, number):
    frame = frame_at(range(number), a=[value] * number)

    assert aggregated(frame, windows=["1h"], metrics=["std"])["1h"]["a__raw__std"].to_list() == [
        0.0
    ]


@given(
    st.lists(st.tuples(st.integers(0, 300), st.none() | st.floats(-5, 5)), max_size=20),
    st.lists(st.sampled_from(["7s", "10s", "1min"]), min_size=1, unique=True),
)
@settings(deadline=None, max_examples=60)
def test_values_are_accounted_for_in_every_window(samples, windows):
    samples = sorted(samples, key=lambda sample: sample[0])
    frame = frame_at(
        [second for second, _ in samples], a=pl.Series([a for _, a in samples], dtype=pl.Float64)
    )

    for result in aggregated(frame, windows=windows, metrics=["count"]).values():
        assert result["a__raw__count"].sum() == frame["a"].count()


@given(
    samples=st.lists(
        st.tuples(st.integers(-90_000, 90_000), *([st.none() | st.integers(-(2**62), 2**62)] * 2)),
        max_size=40,
    ),
    bits=st.integers(1, 62),
    window=st.sampled_from(["1s", "7s", "10s"]),
)
@settings(deadline=None, max_examples=examples(100))
def test_integers_are_summarised_by_hash_as_by_slices(samples, bits, window):
    samples = sorted(samples, key=lambda sample: sample[0])
    frame = frame_at(
        [at / 1000 for at, _, _ in samples],
        a=pl.Series([a and a % 2**bits for _, a, _ in samples], dtype=pl.Int64),
        b=pl.Series([b and b % 1000 for _, _, b in samples], dtype=pl.Int64),
        c=pl.Series([b and b / 7 for _, _, b in samples], dtype=pl.Float64),
    )
    metrics = ["mean", "std", "min", "max", "median", "count"]
    by_hash = aggregated(frame, windows=[window], metrics=metrics)[window]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("procezo_assets.treatments.aggregate._SHORT", 0)
        by_slices = aggregated(frame, windows=[window], metrics=metrics)[window]

    assert_frame_equal(by_hash, by_slices, check_exact=True)
