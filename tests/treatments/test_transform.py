"""`transform`: formulas on chosen columns."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from procezo_assets.ledger import Ledger
from procezo_assets.treatments.model import PartAbout
from procezo_assets.treatments.transform import TransformParameters, transform

START = datetime(2026, 1, 25, tzinfo=UTC)


def frame_of(**columns):
    height = len(next(iter(columns.values())))
    ts = pl.Series([START + timedelta(seconds=second) for second in range(height)])
    return pl.DataFrame({"ts": ts} | columns, strict=False)


def transformed(frame, *formulas, domain="bio_signal"):
    about = PartAbout("pil-90", domain, date(2026, 1, 25))
    params = TransformParameters.model_validate({"transforms": formulas})
    treated = transform(frame, params, about=about)
    ledger = Ledger()
    ledger.enter("here", frame, treated)
    assert ledger.balanced, ledger.imbalances
    return treated.frames[None], treated


def formula(function, mode="add", **target):
    return {"function": function, "target": target, "mode": mode}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("sqrt_inv", [0.125, 1.0, 2.0]),
        ("cbrt_inv", [0.25, 1.0, 4 ** (1 / 3)]),
        ("log", [math.log(64), 0.0, math.log(0.25)]),
    ],
)
def test_formulas(function, expected):
    after, treated = transformed(
        frame_of(a=[64.0, 1.0, 0.25, 0.0, -1.0, None]), formula(function, columns=["a"])
    )

    assert after.columns == ["ts", "a", f"a__{function}"]
    assert after["a"].to_list() == [64.0, 1.0, 0.25, 0.0, -1.0, None]
    assert after[f"a__{function}"].to_list() == [
        *(pytest.approx(value, rel=1e-15) for value in expected),
        None,
        None,
        None,
    ]
    assert treated.values_removed == {"not_positive": {f"a__{function}": 2}}


def test_results_stand_next_to_their_source():
    after, _ = transformed(
        frame_of(a=[1], b=[1], c=[1]),
        formula("sqrt_inv", domain="bio_signal"),
        formula("log", columns=["b"]),
    )

    assert after.columns[:4] == ["ts", "a", "a__sqrt_inv", "b"]
    assert after.columns[4:] == ["b__sqrt_inv", "b__log", "c", "c__sqrt_inv"]


def test_replace_puts_the_result_in_the_place_of_its_source():
    after, treated = transformed(
        frame_of(a=[1, 0], b=[2, 2]), formula("log", "replace", columns=["a"])
    )

    assert after.columns == ["ts", "a", "b"]
    assert after["a"].to_list() == [0.0, None]
    assert after["b"].to_list() == [2, 2]
    assert treated.values_removed == {"not_positive": {"a": 1}}


def test_replace_and_add_of_one_column_both_start_from_its_values():
    after, _ = transformed(
        frame_of(a=[4]),
        formula("log", "replace", columns=["a"]),
        formula("sqrt_inv", columns=["a"]),
    )

    assert after.drop("ts").rows() == [(pytest.approx(math.log(4)), 0.5)]


def test_a_target_names_its_domain_or_columns_of_any():
    frame = frame_of(a=[1], b=[1])

    assert transformed(frame, formula("log", domain="environment"))[0].columns == ["ts", "a", "b"]
    assert transformed(frame, formula("log", columns=["b", "z"]), domain="environment")[
        0
    ].columns == ["ts", "a", "b", "b__log"]


def test_two_targets_that_name_one_column_make_one_result():
    after, _ = transformed(
        frame_of(a=[1]), formula("log", domain="bio_signal"), formula("log", columns=["a"])
    )

    assert after.columns == ["ts", "a", "a__log"]


def test_columns_that_are_no_numbers_pass():
    after, _ = transformed(frame_of(flag=[True], note=["x"]), formula("log", domain="bio_signal"))

    assert after.columns == ["ts", "flag", "note"]


@pytest.mark.parametrize(
    "wrong",
    [
        formula("sqrt", columns=["a"]),
        formula("log"),
        formula("log", columns=["a"], domain="b"),
        formula("log", "append", columns=["a"]),
    ],
)
def test_formulas_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        TransformParameters.model_validate({"transforms": [wrong]})


@given(
    st.lists(st.none() | st.integers(-3, 3), min_size=1, max_size=20),
    st.lists(
        st.builds(
            formula,
            st.sampled_from(["sqrt_inv", "cbrt_inv", "log"]),
            st.sampled_from(["add", "replace"]),
            columns=st.just(["a"]),
        ),
        max_size=4,
    ),
)
@settings(deadline=None, max_examples=60)
def test_values_are_accounted_for(values, formulas):
    after, _ = transformed(frame_of(a=pl.Series(values, dtype=pl.Int64)), *formulas)

    assert after.height == len(values)
    assert not any(
        after[column].is_nan().any() for column in after.columns if after.schema[column].is_float()
    )
