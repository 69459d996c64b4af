"""The conservation law of treatments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from procezo_assets.ledger import Ledger
from procezo_assets.treatments.treated import Treated, count_differences, value_counts


def frame_of(**columns):
    height = len(next(iter(columns.values())))
    ts = [datetime(2026, 1, 25, tzinfo=UTC) + timedelta(seconds=s) for s in range(height)]
    return pl.DataFrame({"ts": ts} | columns)


def entered(before, treated):
    ledger = Ledger()
    ledger.enter("here", before, treated)
    return ledger


BEFORE = frame_of(a=[1, 2, None], b=[1, 1, 1])


def test_values_are_those_that_are_not_null():
    assert value_counts(BEFORE.with_columns(device=pl.lit("x"))) == {"a": 2, "b": 3}


def test_what_is_accounted_for_balances():
    after = frame_of(a=[None, 2, 2], b=[1, 1, 1])

    ledger = entered(
        BEFORE,
        Treated(
            {None: after},
            values_removed={"spike": {"a": 1}, "none": {"a": 0}},
            values_added={"gap_fill": {"a": 1}},
        ),
    )

    assert ledger.balanced
    assert (ledger.rows_in, ledger.rows_out, ledger.values_in, ledger.values_out) == (3, 3, 5, 5)
    assert ledger.removed_by_reason() == {"spike": 1}
    assert ledger.added_by_reason() == {"gap_fill": 1}


def test_a_value_that_went_without_a_reason_is_named():
    ledger = entered(BEFORE, Treated({None: frame_of(a=[1, None, None], b=[1, 1, 1])}))

    assert ledger.imbalances == ["here, a: 1 values out, 2 accounted for"]
    assert not ledger.balanced


def test_a_row_that_went_without_a_reason_is_named():
    ledger = entered(BEFORE, Treated({None: BEFORE[:2]}, values_removed={"x": {"b": 1}}))

    assert ledger.imbalances == ["here: 2 rows out, 3 accounted for"]


def test_a_column_that_went_is_named():
    ledger = entered(BEFORE, Treated({None: BEFORE.drop("b")}))

    assert ledger.imbalances == ["here, b: 0 values out, 3 accounted for"]


def test_no_frame_at_all():
    ledger = entered(
        BEFORE,
        Treated({}, rows_removed={"gone": 3}, values_removed={"gone": {"a": 2, "b": 3}}),
    )

    assert ledger.balanced
    assert ledger.rows_out == 0


def test_a_derived_column_is_held_against_its_source():
    def ledger(*values):
        after = BEFORE.with_columns(c=pl.Series(values))
        return entered(
            BEFORE,
            Treated({None: after}, derived={"c": "a"}, values_removed={"not_positive": {"c": 1}}),
        )

    assert ledger(1.0, None, None).balanced
    assert ledger(1.0, 2.0, None).imbalances == ["here, c: 2 values out, 1 accounted for"]


def test_columns_that_do_not_live_on_are_held_against_what_stands_for_them():
    def ledger(**accounted):
        return entered(
            BEFORE,
            Treated(
                {"1h": frame_of(a__raw__mean=[1.5])},
                rows_removed={"aggregated": 3},
                rows_added={"bins": 1},
                accounted=accounted,
            ),
        )

    assert ledger(a=2, b=3).balanced
    assert ledger(a=2, b=2).imbalances == ["here, b: 3 values in, 2 accounted for"]
    assert ledger(a=2).imbalances == ["here, b: 3 values in, 0 accounted for"]


def test_frames_add_up():
    ledger = Ledger()
    for removed in (1, 2):
        after = BEFORE.with_columns(b=pl.Series([1, 1, 1][removed:] + [None] * removed))
        ledger.enter("x", BEFORE, Treated({None: after}, values_removed={"spike": {"b": removed}}))

    assert ledger.values_removed == {"spike": {"b": 3}}
    assert (ledger.rows_in, ledger.values_in, ledger.values_out) == (6, 10, 7)


def test_differences_of_plain_frames_are_uncounted():
    after = frame_of(a=[1, 2], c=["x", "y"])

    treated = count_differences(BEFORE, after)

    assert treated.rows_removed == {"uncounted": 1}
    assert treated.values_removed == {"uncounted": {"b": 3}}
    assert treated.values_added == {"uncounted": {"c": 2}}
    assert entered(BEFORE, treated).balanced
    assert count_differences(after, after).values_removed == {}


def test_whole_folders_are_uncounted_too():
    ledger = Ledger()
    ledger.enter_uncounted([BEFORE], [BEFORE, frame_of(z=[1])])

    assert ledger.rows_added == {"uncounted": 1}
    assert ledger.values_added == {"uncounted": {"all columns": 1}}
    assert ledger.rows_removed == {}
    assert ledger.balanced
