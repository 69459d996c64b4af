"""`resample`: bins, the grid, gaps."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from procezo_assets.ledger import Ledger
from procezo_assets.treatments.model import PartAbout
from procezo_assets.treatments.resample import ResampleParameters, resample

START = datetime(2026, 1, 25, 8, tzinfo=UTC)
MIDNIGHT = datetime(2026, 1, 25, tzinfo=UTC)


def frame_at(seconds, **columns):
    return pl.DataFrame(
        {"ts": [START + timedelta(seconds=second) for second in seconds]} | columns,
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
        strict=False,
    )


def resampled(frame, *, domain="bio_signal", **params):
    about = PartAbout("pil-90", domain, date(2026, 1, 25))
    treated = resample(frame, ResampleParameters.model_validate(params), about=about)
    ledger = Ledger()
    ledger.enter("here", frame, treated)
    assert ledger.balanced, ledger.imbalances
    return treated.frames[None], treated


def values(frame, column="a"):
    return frame[column].to_list()


def test_samples_are_floored_to_the_grid():
    after, _ = resampled(frame_at([0.2, 1.0, 2.999999], a=[1, 2, 3]))

    assert_frame_equal(after, frame_at([0, 1, 2], a=[1, 2, 3]))


@pytest.mark.parametrize(
    ("method", "a", "b"),
    [("nearest", 1, 7), ("first", 1, 7), ("last", 5, 8), ("mean", 3, 8)],
)
def test_several_samples_in_a_bin(method, a, b):
    # b: mean of 7 and 8 is 7.5, to even 8
    frame = frame_at([0.1, 0.5, 0.9], a=[1, 3, 5], b=[None, 7, 8])

    after, treated = resampled(frame, agg_method={"bio_signal": method})

    assert after.drop("ts").rows() == [(a, b)]
    assert treated.rows_removed["merged"] == 2
    assert treated.values_removed["merged"] == {"a": 2, "b": 1}


def test_the_default_is_nearest_for_bio_signal_and_mean_for_others():
    frame = frame_at([0.1, 0.2], a=[1.0, 2.0])

    assert values(resampled(frame)[0]) == [1.0]
    assert values(resampled(frame, domain="environment")[0]) == [1.5]


@pytest.mark.parametrize(
    ("pair", "mean"), [((0, 1), 0), ((1, 2), 2), ((2, 3), 2), ((-1, 0), 0), ((-2, -1), -2)]
)
def test_means_of_integers_round_half_to_even(pair, mean):
    after, _ = resampled(frame_at([0.1, 0.2], a=list(pair)), domain="other")

    assert values(after) == [mean]
    assert after.schema["a"] == pl.Int64


@pytest.mark.parametrize(
    ("samples", "mean"),
    [
        ([2**63 - 1], 2**63 - 1),
        ([2**63 - 1, 2**63 - 1], 2**63 - 1),
        ([-(2**63), -(2**63)], -(2**63)),
        ([2**53 + 1], 2**53 + 1),
        ([2**60 + 1, 2**60 + 2], 2**60 + 2),
        ([2**60, 2**60 + 1], 2**60),
        ([-(2**60), -(2**60) - 1], -(2**60)),
        ([2**60, 2**60, 2**60 + 1], 2**60),
    ],
)
def test_means_of_large_integers_are_exact(samples, mean):
    frame = frame_at([place / 10 for place in range(len(samples))] + [1], a=[*samples, None])

    assert values(resampled(frame, domain="other", max_gap_fill_s=0)[0]) == [mean, None]


def test_means_of_other_types_are_their_first():
    frame = frame_at([0.1, 0.2], flag=[None, True], note=["a", "b"])

    after, _ = resampled(frame, domain="other")

    assert after.drop("ts").rows() == [(True, "a")]


def test_the_grid_goes_from_the_first_value_to_the_last_row():
    frame = frame_at([0, 1, 2, 5, 6], a=[None, 1, None, None, None], b=[None] * 3 + [2.0, None])

    after, treated = resampled(frame, max_gap_fill_s=0)

    assert_frame_equal(
        after,
        frame_at([1, 2, 3, 4, 5, 6], a=[1] + [None] * 5, b=[None] * 4 + [2.0, None]),
    )
    assert treated.rows_removed == {"merged": 0, "before_first_value": 1}
    assert treated.rows_added == {"grid": 2}


def test_a_gap_up_to_the_limit_is_filled_and_a_longer_one_left():
    frame = frame_at([0, 3, 7], a=[1, 2, 3])

    after, treated = resampled(frame, max_gap_fill_s=2)

    assert values(after) == [1, 1, 1, 2, None, None, None, 3]
    assert treated.values_added == {"gap_fill": {"a": 2}}


def test_the_head_of_a_longer_gap_can_be_filled():
    after, _ = resampled(frame_at([0, 3, 7], a=[1, 2, 3]), max_gap_fill_s=2, long_gaps="fill_head")

    assert values(after) == [1, 1, 1, 2, 2, 2, None, 3]


def test_gaps_are_those_of_each_column_and_nulls_of_rows_count():
    frame = frame_at([0, 1, 2, 3, 4], a=[1, None, None, None, 5], b=[1, None, 3, None, 5])

    after, _ = resampled(frame, max_gap_fill_s=2)

    assert values(after) == [1, None, None, None, 5]
    assert values(after, "b") == [1, 1, 3, 3, 5]


def test_a_leading_gap_stays_and_a_trailing_one_is_a_gap_like_others():
    frame = frame_at([0, 1, 2, 3, 4], a=[1, 2, 3, None, None], b=[None, None, 3, None, None])

    assert resampled(frame, max_gap_fill_s=2)[0].drop("ts").to_dict(as_series=False) == {
        "a": [1, 2, 3, 3, 3],
        "b": [None, None, 3, 3, 3],
    }
    assert values(resampled(frame, max_gap_fill_s=1)[0]) == [1, 2, 3, None, None]
    assert values(resampled(frame, max_gap_fill_s=1, long_gaps="fill_head")[0]) == [
        1,
        2,
        3,
        3,
        None,
    ]


@pytest.mark.parametrize(
    ("freq", "seconds", "limit"),
    [
        ("1s", 0, 0),
        ("1s", 0.1, 1),
        ("1s", 2, 2),
        ("1s", 2.1, 3),
        ("500ms", 1.2, 3),
        ("10s", 2, 1),
        ("1ms", 2.007, 2007),
        ("1h", 1e300, 23),
        ("1h", float("inf"), 23),
    ],
)
@pytest.mark.parametrize("long_gaps", ["leave", "fill_head"])
def test_the_limit_is_rounded_up_to_whole_bins(freq, seconds, limit, long_gaps):
    width = {"ms": 0.001, "s": 1, "h": 3600}[freq.lstrip("0123456789")] * int(freq.rstrip("mhs"))
    for gap in (limit, limit + 1):
        ends = [MIDNIGHT, MIDNIGHT + timedelta(microseconds=round((gap + 1) * width * 1e6))]
        frame = pl.DataFrame({"ts": ends, "a": [1, 2]}).filter(
            pl.col("ts") < MIDNIGHT + timedelta(days=1)
        )
        if frame.height < 2:
            continue
        after, _ = resampled(frame, freq=freq, max_gap_fill_s=seconds, long_gaps=long_gaps)
        filled = after["a"].count() - 2
        assert filled == (limit if gap == limit or long_gaps == "fill_head" else 0)


def test_bins_start_at_midnight_though_they_do_not_divide_a_day():
    ts = [MIDNIGHT + timedelta(seconds=second) for second in (0, 13, 14, 86399)]
    frame = pl.DataFrame(
        {"ts": ts, "a": [1, 2, 3, 4]}, schema_overrides={"ts": pl.Datetime("us", "UTC")}
    )

    after, _ = resampled(frame, freq="7s", max_gap_fill_s=0)

    offsets = [(at - MIDNIGHT).total_seconds() for at in after["ts"]]
    assert offsets == [7 * place for place in range(86399 // 7 + 1)]
    assert after["a"].drop_nulls().to_list() == [1, 2, 3, 4]


def test_a_mask_shows_what_was_filled():
    after, _ = resampled(frame_at([0, 2, 6], a=[1, 2, 3], b=[None, 1.5, None]), mask=True)

    assert after.columns == ["ts", "a", "a__is_interpolated", "b", "b__is_interpolated"]
    assert values(after) == [1, 1, 2, None, None, None, 3]
    assert values(after, "a__is_interpolated") == [False, True] + [False] * 5
    assert values(after, "b__is_interpolated") == [False] * 7


@pytest.mark.parametrize(
    "frame",
    [
        frame_at([0, 1, 2], a=pl.Series([None] * 3, dtype=pl.Int64)),
        frame_at([0, 1, 2]),
        frame_at([0]).clear(),
    ],
)
@pytest.mark.parametrize("mask", [True, False])
def test_a_domain_day_without_any_value_has_no_rows(frame, mask):
    after, treated = resampled(frame, mask=mask)

    assert after.height == 0
    assert treated.rows_removed["before_first_value"] == frame.height
    assert [name for name in after.columns if "__" not in name] == frame.columns


@pytest.mark.parametrize("method", ["nearest", "first", "last", "mean"])
def test_integers_stay_integers(method):
    after, _ = resampled(frame_at([0, 2], a=[1, 2]), agg_method={"bio_signal": method})

    assert after.schema["a"] == pl.Int64


@pytest.mark.parametrize("freq", ["0s", "1", "s", "1m", "2d", "25h", "1.5s", "-1s", ""])
def test_lengths_of_bins_that_make_no_sense(freq):
    with pytest.raises(ValidationError, match=r"no duration|longer than a day"):
        ResampleParameters(freq=freq)


def naive_resample(samples, *, step, method, limit, head):
    """Written from the words of the design alone: (microseconds since midnight, value) pairs."""
    bins = {}
    for at, value in samples:
        bins.setdefault(at // step, []).append(value)
    merged = {}
    for place, found in bins.items():
        known = [value for value in found if value is not None]
        if not known:
            merged[place] = None
        elif method == "mean":
            merged[place] = round(Fraction(sum(known), len(known)))  # half to even
        else:
            merged[place] = known[-1] if method == "last" else known[0]
    first = min((place for place, value in merged.items() if value is not None), default=None)
    if first is None:
        return []
    grid = [merged.get(place) for place in range(first, max(merged) + 1)]
    result = list(grid)
    for place, value in enumerate(grid):
        if value is not None:
            end = place + 1
            while end < len(grid) and grid[end] is None:
                end += 1
            gap = end - place - 1
            fill = gap if gap <= limit else (limit if head else 0)
            result[place + 1 : place + 1 + fill] = [value] * fill
    return [((first + place) * step, value) for place, value in enumerate(result)]


@given(
    samples=st.lists(
        st.tuples(st.integers(0, 30_000), st.none() | st.integers(-9, 9)), min_size=1, max_size=30
    ),
    freq=st.sampled_from(["700ms", "1s", "2s", "7s"]),
    method=st.sampled_from(["nearest", "first", "last", "mean"]),
    seconds=st.integers(0, 8),
    head=st.booleans(),
)
@settings(deadline=None, max_examples=150)
def test_resample_does_what_the_design_says(samples, freq, method, seconds, head):
    samples = sorted(((at * 1000, value) for at, value in samples), key=lambda sample: sample[0])
    step = {"700ms": 700_000, "1s": 1_000_000, "2s": 2_000_000, "7s": 7_000_000}[freq]
    frame = pl.DataFrame(
        {
            "ts": [MIDNIGHT + timedelta(microseconds=at) for at, _ in samples],
            "a": pl.Series([value for _, value in samples], dtype=pl.Int64),
        },
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
    )

    after, _ = resampled(
        frame,
        freq=freq,
        agg_method={"bio_signal": method},
        max_gap_fill_s=seconds,
        long_gaps="fill_head" if head else "leave",
    )

    limit = -(-seconds * 1_000_000 // step)
    found = [((at - MIDNIGHT) // timedelta(microseconds=1), value) for at, value in after.rows()]
    assert found == naive_resample(samples, step=step, method=method, limit=limit, head=head)


@given(
    st.lists(
        st.tuples(st.integers(0, 90), st.none() | st.floats(-5, 5), st.none() | st.booleans()),
        max_size=30,
    ),
    st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_rows_and_values_are_accounted_for(samples, mask):
    samples = sorted(samples, key=lambda sample: sample[0])
    frame = frame_at(
        [tenths / 10 for tenths, _, _ in samples],
        a=pl.Series([a for _, a, _ in samples], dtype=pl.Float64),
        b=pl.Series([b for _, _, b in samples], dtype=pl.Boolean),
    )

    resampled(frame, domain="environment", mask=mask)
