"""`clean`: repeated timestamps, values out of range, spikes."""

from __future__ import annotations

import math
import statistics
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from procezo_assets.ledger import Ledger
from procezo_assets.treatments.clean import CleanParameters, clean
from procezo_assets.treatments.model import PartAbout

START = datetime(2026, 1, 25, 8, tzinfo=UTC)


def frame_of(seconds=None, **columns):
    height = len(next(iter(columns.values())))
    seconds = range(height) if seconds is None else seconds
    return pl.DataFrame(
        {"ts": [START + timedelta(seconds=second) for second in seconds]} | columns,
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
        strict=False,
    )


def cleaned(frame, *, domain="bio_signal", **params):
    about = PartAbout("pil-90", domain, date(2026, 1, 25))
    treated = clean(frame, CleanParameters.model_validate(params), about=about)
    ledger = Ledger()
    ledger.enter("here", frame, treated)
    assert ledger.balanced, ledger.imbalances
    return treated.frames[None], treated


def only(**limits):
    return {"domains": {"bio_signal": limits}}


def test_the_first_row_of_a_timestamp_wins():
    after, treated = cleaned(frame_of([0, 1, 1, 1, 2], m0=[10, 20, 30, None, 40]), domain="other")

    assert_frame_equal(after, frame_of([0, 1, 2], m0=[10, 20, 40]))
    assert treated.rows_removed == {"repeated_timestamp": 2}
    assert treated.values_removed == {"repeated_timestamp": {"m0": 1}}


def test_the_first_row_wins_though_it_is_empty():
    after, _ = cleaned(frame_of([0, 0], m0=[None, 5]), domain="other")

    assert after["m0"].to_list() == [None]


def test_repeated_timestamps_can_stay():
    after, _ = cleaned(frame_of([0, 0], m0=[1, 2]), domain="other", drop_duplicates=False)

    assert after["m0"].to_list() == [1, 2]


def test_bounds_are_closed():
    after, treated = cleaned(frame_of(a=[-1, 0, 5, 800, 801]), **only(min_value=0, max_value=800))

    assert after["a"].to_list() == [None, 0, 5, 800, None]
    assert treated.values_removed["out_of_range"] == {"a": 2}


@pytest.mark.parametrize(
    ("limits", "expected"),
    [({"min_value": 3}, [None, None, 3, 4]), ({"max_value": 2}, [1, 2, None, None])],
)
def test_one_bound_alone(limits, expected):
    after, _ = cleaned(frame_of(a=[1, 2, 3, 4]), **only(**limits))

    assert after["a"].to_list() == expected


def test_a_distance_of_the_threshold_is_no_spike():
    # the median of each window of three is 10, or 15 at the ends
    after, treated = cleaned(
        frame_of(a=[10, 10, 20, 10, 10, 21, 10]), **only(spike_window=3, spike_threshold=10)
    )

    assert after["a"].to_list() == [10, 10, 20, 10, 10, None, 10]
    assert treated.values_removed["spike"] == {"a": 1}


def test_an_even_window_takes_one_more_row_before_than_after():
    # a window of 2 is the row before and the row itself: at the third row 0 9, distance 4.5
    after, _ = cleaned(frame_of(a=[0, 0, 9, 9, 9]), **only(spike_window=2, spike_threshold=4))
    assert after["a"].to_list() == [0, 0, None, 9, 9]

    # of 4: third row 0 0 0 9, fourth row 0 0 9 9, fifth row 0 9 9 9
    after, _ = cleaned(frame_of(a=[0, 0, 0, 9, 9, 9, 9]), **only(spike_window=4, spike_threshold=4))
    assert after["a"].to_list() == [0, 0, 0, None, 9, 9, 9]


def test_nulls_do_not_count_in_the_window():
    # of the window around the last value only itself is left
    after, _ = cleaned(
        frame_of(a=[1, None, None, None, 500]), **only(spike_window=3, spike_threshold=1)
    )

    assert after["a"].to_list() == [1, None, None, None, 500]


def test_values_out_of_range_do_not_move_the_median():
    after, _ = cleaned(
        frame_of(a=[4000, 10, 4000]), **only(max_value=800, spike_window=3, spike_threshold=5)
    )

    assert after["a"].to_list() == [None, 10, None]


def test_defaults_of_bio_signal():
    after, treated = cleaned(frame_of(m0=[-1, 801, *[400] * 12, 501, *[400] * 6, 500]))

    assert after["m0"].to_list() == [None, None, *[400] * 12, None, *[400] * 6, 500]
    assert treated.values_removed == {"out_of_range": {"m0": 2}, "spike": {"m0": 1}}


def test_defaults_of_environment():
    after, _ = cleaned(
        frame_of(outdoor_temp=[-10.1, 50.1, 14.0, 14.0, 19.1, 14.0, 19.0]), domain="environment"
    )

    assert after["outdoor_temp"].to_list() == [None, None, 14.0, 14.0, None, 14.0, 19.0]


def test_other_domains_pass():
    frame = frame_of(a=[-1e9, 1e9, 0.0])

    after, _ = cleaned(frame, domain="weather")

    assert_frame_equal(after, frame)


def test_integers_stay_integers():
    after, _ = cleaned(frame_of(m0=[1, 2, None]))

    assert after.schema["m0"] == pl.Int64


def test_columns_that_are_no_numbers_pass():
    frame = frame_of(m0=[1, 900], flag=[True, False], note=["a", "b"])

    after, _ = cleaned(frame)

    assert after.drop("ts").to_dict(as_series=False) == {
        "m0": [1, None],
        "flag": [True, False],
        "note": ["a", "b"],
    }


@pytest.mark.parametrize("columns", [{}, {"m0": []}])
def test_empty_frames(columns):
    frame = pl.DataFrame(
        {"ts": []} | columns,
        schema={"ts": pl.Datetime("us", "UTC")} | dict.fromkeys(columns, pl.Int64),
    )

    assert_frame_equal(cleaned(frame)[0], frame)


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"min_value": 5, "max_value": 4}, "min_value 5.0 is above max_value 4.0"),
        ({"spike_window": 0}, "spike_window"),
        ({"spike_threshold": 0}, "spike_threshold"),
        ({"threshold": 5}, "threshold"),
    ],
)
def test_limits_that_make_no_sense_are_refused(limits, problem):
    with pytest.raises(ValidationError, match=problem):
        CleanParameters.model_validate(only(**limits))


def naive_clean(values, *, low, high, window, threshold):
    """Written from the words of the design alone."""
    inside = [v if v is not None and low <= v <= high else None for v in values]
    before = window // 2
    after = window - before - 1
    result = []
    for place, value in enumerate(inside):
        around = inside[max(0, place - before) : place + after + 1]
        known = [v for v in around if v is not None]
        spike = value is not None and abs(value - statistics.median(known)) > threshold
        result.append(None if spike else value)
    return result


@given(
    st.lists(st.none() | st.integers(-20, 120), min_size=1, max_size=40),
    st.integers(1, 12),
    st.integers(1, 60),
)
@settings(deadline=None, max_examples=120)
def test_clean_does_what_the_design_says(values, window, threshold):
    frame = frame_of(a=pl.Series(values, dtype=pl.Int64))

    after, _ = cleaned(
        frame,
        **only(min_value=0, max_value=100, spike_window=window, spike_threshold=threshold),
    )

    assert after["a"].to_list() == naive_clean(
        values, low=0, high=100, window=window, threshold=threshold
    )


@given(
    values=st.lists(
        st.none()
        | st.floats(-1e6, 1e6)
        | st.sampled_from([0.1, 5.1, 5.2, -4.9, 1e18, math.nan, math.inf]),
        min_size=1,
        max_size=60,
    ),
    window=st.integers(1, 12),
    threshold=st.sampled_from([1e-9, 1, 5, 5.1, 1e5]),
)
@settings(deadline=None, max_examples=200)
def test_spikes_are_the_same_wherever_medians_are_computed(values, window, threshold):
    frame = frame_of(a=pl.Series(values, dtype=pl.Float64))
    limits = only(spike_window=window, spike_threshold=threshold)
    with pytest.MonkeyPatch.context() as patch:
        found = []
        for few in (True, False):
            patch.setattr(f"{clean.__module__}._are_few", lambda *_, few=few: few)
            found.append(cleaned(frame, **limits)[0])

    assert_frame_equal(*found, check_exact=True)


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.none() | st.integers(0, 999), st.none() | st.booleans()),
        max_size=25,
    )
)
@settings(deadline=None, max_examples=60)
def test_rows_and_values_are_accounted_for(samples):
    samples = sorted(samples, key=lambda sample: sample[0])
    frame = frame_of(
        [second for second, _, _ in samples],
        a=pl.Series([a for _, a, _ in samples], dtype=pl.Int64),
        b=pl.Series([b for _, _, b in samples], dtype=pl.Boolean),
    )

    cleaned(frame)
