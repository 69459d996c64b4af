"""`normalize`: fits, and what they make of values."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from procezo_assets.errors import FitError
from procezo_assets.ledger import Ledger
from procezo_assets.treatments.model import PartAbout
from procezo_assets.treatments.normalize import NormalizeParameters, fit_ranges, normalize

START = datetime(2026, 1, 25, tzinfo=UTC)


def frame_of(day=0, **columns):
    height = len(next(iter(columns.values())))
    ts = [START + timedelta(days=day, seconds=second) for second in range(height)]
    return pl.DataFrame(
        {"ts": ts} | columns, schema_overrides={"ts": pl.Datetime("us", "UTC")}, strict=False
    )


def fitted(frames, **params):
    return fit_ranges(
        {device: frame.lazy() for device, frame in frames.items()},
        NormalizeParameters.model_validate(params),
    )


def normalized(frame, fit, *, device="pil-90", domain="bio_signal", **params):
    about = PartAbout(device, domain, date(2026, 1, 25))
    treated = normalize(frame, NormalizeParameters.model_validate(params), about=about, fit=fit)
    ledger = Ledger()
    ledger.enter("here", frame, treated)
    assert ledger.balanced, ledger.imbalances
    return treated.frames.get(None), treated


def ranges(**columns):
    return {
        "devices": {
            "pil-90": {name: {"low": low, "high": high} for name, (low, high) in columns.items()}
        }
    }


def test_percentiles_2_and_98_with_linear_interpolation():
    # of 0..10 the 2nd percentile is 0.2, the 98th 9.8
    fit = fitted({"pil-90": frame_of(a=[*range(11), None])})

    assert fit["devices"]["pil-90"]["a"] == {
        "low": pytest.approx(0.2),
        "high": pytest.approx(9.8),
        "count": 11,
    }
    assert (fit["method"], fit["percentile_min"], fit["percentile_max"]) == ("percentile", 2, 98)


def test_minmax():
    fit = fitted({"pil-90": frame_of(a=[5, -1, None, 3])}, method="minmax")

    assert fit["devices"]["pil-90"]["a"] == {"low": -1, "high": 5, "count": 3}


@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_values_that_are_not_finite_are_no_part_of_a_fit(method):
    inf, nan = float("inf"), float("nan")
    fit = fitted(
        {"pil-90": frame_of(a=[5.0, inf, -1, nan, -inf, None], b=[inf] * 6)},
        method=method,
        percentile_min=0,
        percentile_max=100,
    )

    assert fit["devices"]["pil-90"] == {"a": {"low": -1, "high": 5, "count": 2}}


def test_each_device_and_column_has_its_own_range():
    fit = fitted(
        {"b": frame_of(x=[1, 2], y=[3, 4]), "a": frame_of(x=[10, 20], z=[None, None])},
        method="minmax",
    )

    assert list(fit["devices"]) == ["a", "b"]
    assert {device: list(columns) for device, columns in fit["devices"].items()} == {
        "a": ["x"],  # nothing to fit z on
        "b": ["x", "y"],
    }
    assert fit["devices"]["a"]["x"]["high"] == 20


def test_a_fit_window_takes_the_last_days_of_data():
    frames = {
        "old": frame_of(day=0, a=[0, 1]),
        "new": pl.concat([frame_of(day=day, a=[day, day + 0.5]) for day in range(5)]),
    }

    fit = fitted(frames, method="minmax", fit_window_days=2)

    assert fit["devices"] == {"new": {"a": {"low": 3, "high": 4.5, "count": 4}}, "old": {}}
    assert (fit["first"], fit["last"]) == ("2026-01-28", "2026-01-29")


def test_a_fit_of_no_rows_is_no_error():
    fit = fitted({"pil-90": frame_of(a=[1.0]).clear()})

    assert fit["devices"] == {"pil-90": {}}
    assert fit["first"] is None


def test_values_are_scaled_and_clipped():
    after, treated = normalized(frame_of(a=[10, 15, 20, 5, 25, None]), ranges(a=(10, 20)))

    assert after["a"].to_list() == [0.0, 0.5, 1.0, 0.0, 1.0, None]
    assert after.schema["a"] == pl.Float64
    assert treated.warnings == ()


def test_values_need_not_be_clipped():
    after, _ = normalized(frame_of(a=[5, 25]), ranges(a=(10, 20)), clip=False)

    assert after["a"].to_list() == [-0.5, 1.5]


def test_equal_bounds_give_0_and_nulls_stay_null():
    after, _ = normalized(frame_of(a=[7, 8, None]), ranges(a=(7, 7)))

    assert after["a"].to_list() == [0.0, 0.0, None]


def test_other_domains_pass():
    frame = frame_of(outdoor_temp=[14.0])

    assert_frame_equal(normalized(frame, ranges(), domain="environment")[0], frame)


def test_domains_can_be_left_out():
    after, treated = normalized(
        frame_of(a=[1, None]), ranges(), domain="environment", drop_domains=["environment"]
    )

    assert after is None
    assert treated.rows_removed == {"dropped_domain": 2}


def test_columns_by_name_are_scaled_in_place():
    after, _ = normalized(frame_of(a=[15], b=[15]), ranges(a=(10, 20), b=(10, 20)), columns=["b"])

    assert after.drop("ts").rows() == [(15, 0.5)]


def test_columns_by_pattern_are_written_next_to_their_source():
    after, _ = normalized(
        frame_of(m0=[1], m0__sqrt_inv=[15.0], m1__sqrt_inv=[20.0]),
        ranges(m0__sqrt_inv=(10, 20), m1__sqrt_inv=(10, 20)),
        columns={"*__sqrt_inv": "*__sqrt_inv__norm"},
    )

    assert after.columns == [
        "ts",
        "m0",
        "m0__sqrt_inv",
        "m0__sqrt_inv__norm",
        "m1__sqrt_inv",
        "m1__sqrt_inv__norm",
    ]
    assert after["m0__sqrt_inv__norm"].to_list() == [0.5]
    assert after["m0__sqrt_inv"].to_list() == [15.0]


def test_a_pattern_fits_what_it_will_scale():
    fit = fitted(
        {"pil-90": frame_of(m0=[1, 2], m0__sqrt_inv=[3.0, 4.0])},
        method="minmax",
        columns={"*__sqrt_inv": "*__sqrt_inv__norm"},
    )

    assert list(fit["devices"]["pil-90"]) == ["m0__sqrt_inv"]


def test_a_name_without_a_star_is_a_pattern_too():
    after, _ = normalized(frame_of(a=[15]), ranges(a=(10, 20)), columns={"a": "b"})

    assert after.drop("ts").to_dict(as_series=False) == {"a": [15], "b": [0.5]}


def test_a_device_or_column_that_the_fit_does_not_know():
    frame = frame_of(a=[15, None], b=[1, 2])

    after, treated = normalized(frame, ranges(a=(10, 20)))
    assert after.drop("ts").rows() == [(0.5, None), (None, None)]
    assert treated.values_removed == {"no_fit": {"b": 2}}
    assert treated.warnings == ("pil-90: the fit does not know b; fit again with --refit",)

    after, treated = normalized(frame, ranges(a=(10, 20)), device="pil-98")
    assert after["a"].to_list() == [None, None]
    assert treated.values_removed == {"no_fit": {"a": 1, "b": 2}}


def test_a_narrow_range_is_warned_about():
    _, treated = normalized(frame_of(a=[1], b=[1]), ranges(a=(0, 4), b=(0, 5)), min_range_warn=5)

    assert treated.warnings == ("pil-90 a: fitted range 4 is below min_range_warn 5",)


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"percentile_min": 98, "percentile_max": 98}, "percentile_min is not below"),
        ({"percentile_max": 101}, "percentile_max"),
        ({"method": "zscore"}, "method"),
        ({"columns": {"*": "x"}}, "need one"),
        ({"columns": {"*_*": "*_*"}}, "need one"),
        ({"fit_window_days": -1}, "fit_window_days"),
        ({"fit_window_days": 10**12}, "fit_window_days"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(params, problem):
    with pytest.raises(ValidationError, match=problem):
        NormalizeParameters.model_validate(params)


@given(
    st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=30),
    st.lists(st.none() | st.floats(-1e9, 1e9), min_size=1, max_size=30),
    st.sampled_from(["percentile", "minmax"]),
)
@settings(deadline=None, max_examples=60)
def test_values_are_accounted_for_and_within_0_and_1(past, values, method):
    fit = fitted({"pil-90": frame_of(a=pl.Series(past, dtype=pl.Float64))}, method=method)

    after, _ = normalized(frame_of(a=pl.Series(values, dtype=pl.Float64)), fit, method=method)

    assert after["a"].drop_nulls().is_between(0, 1).all()


@pytest.mark.parametrize(
    "fit",
    [
        {},
        {"devices": [1]},
        {"devices": {"pil-90": [1]}},
        {"devices": {"pil-90": {"a": {"low": 1}}}},
    ],
)
def test_a_fit_of_another_shape_is_told_of(fit):
    with pytest.raises(
        FitError, match="no ranges of the columns of pil-90; fit again with --refit"
    ):
        normalized(frame_of(a=[1, 2]), fit)
