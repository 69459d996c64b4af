"""What holds for the files of a stage."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from core_home import AGGREGATE, CLEAN, NORMALIZE, PARSE, RESAMPLE, TRANSFORM, CoreHome

from procezo_assets.datasets import PartKey
from procezo_assets.errors import SchemaError
from procezo_assets.schemas import StageRules, check_schema, stage_rules

DAY = date(2026, 1, 25)
KEY = PartKey("pil-90", "bio_signal")
RULES = StageRules("clean", unique_ts=True, domains={"bio_signal": "int"}, bounds={})


def frame_of(seconds=(0, 1), **columns):
    ts = [datetime(2026, 1, 25, tzinfo=UTC) + timedelta(seconds=second) for second in seconds]
    return pl.DataFrame({"ts": ts} | columns, schema_overrides={"ts": pl.Datetime("us", "UTC")})


def failures_of(frame, rules=RULES):
    with pytest.raises(SchemaError) as caught:
        check_schema(rules, KEY, frame, day=DAY)
    return {(one["column"], one["check"]) for one in caught.value.failures}


def test_sound_frames():
    check_schema(RULES, KEY, frame_of(m0=[1, None]), day=DAY)
    check_schema(RULES, KEY, frame_of(seconds=()), day=DAY)
    check_schema(RULES, KEY, frame_of(m0=[1, 2], m0__is_interpolated=[True, False]), day=DAY)
    check_schema(RULES, PartKey("x", "other"), frame_of(a=[1.5, None], b=["x", None]), day=DAY)
    rules = StageRules("parsed", unique_ts=False, domains={}, bounds={})
    check_schema(rules, KEY, frame_of(seconds=(0, 0), m0=[1, 2]), day=DAY)


@pytest.mark.parametrize(
    ("frame", "column", "check"),
    [
        (frame_of(m0=[1.5, 2.0]), "m0", "dtype('Int64')"),
        (frame_of(seconds=(1, 0)), "ts", "timestamps are sorted and unique"),
        (frame_of(seconds=(0, 0)), "ts", "timestamps are sorted and unique"),
        (frame_of().with_columns(ts=pl.lit(None, pl.Datetime("us", "UTC"))), "ts", "not_nullable"),
        (frame_of(m0=[1, 2]).drop("ts"), "ts", "column_in_dataframe"),
    ],
)
def test_a_breach_names_column_and_check(frame, column, check):
    assert (column, check) in failures_of(frame)


def test_a_breach_in_words():
    with pytest.raises(SchemaError) as caught:
        check_schema(RULES, KEY, frame_of(seconds=(0, 0, 1, 1)), day=DAY)

    assert str(caught.value).startswith(
        "stage 'clean', pil-90 bio_signal: column 'ts' breaks the schema "
        "(timestamps are sorted and unique, 2 times); nothing was written; "
    )
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own error
    assert (str(again), again.failures) == (str(caught.value), caught.value.failures)


def test_bounds():
    rules = StageRules("x", unique_ts=True, domains={}, bounds={"bio_signal": (0, 800)})

    check_schema(rules, KEY, frame_of(m0=[0, 800], flag=[True, False]), day=DAY)
    ((column, _),) = failures_of(frame_of(m0=[0, 801]), rules)
    assert column == "m0"


def test_rules_follow_from_the_stages_before(tmp_path):
    lab = CoreHome(tmp_path)
    flow = lab.flow(PARSE, CLEAN, RESAMPLE, TRANSFORM, NORMALIZE, AGGREGATE)

    rules = {stage.name: stage_rules(flow, stage, "DS", {}) for stage in flow.stages}

    assert {name: one.unique_ts for name, one in rules.items()} == {
        "parsed": False,
        "clean": True,
        "resampled": True,
        "transform": True,
        "normalized": True,
        "aggregated": True,
    }
    types = {"bio_signal": "int", "environment": "float"}
    assert {name: one.domains for name, one in rules.items()} == {
        "parsed": types,
        "clean": types,
        "resampled": types,
        "transform": {},
        "normalized": {},
        "aggregated": {},
    }
    assert rules["clean"].bounds == {"bio_signal": (0, 800), "environment": (-10, 50)}
    assert rules["normalized"].bounds == {"bio_signal": (0, 1)}


def test_repeated_timestamps_may_stay_where_clean_keeps_them(tmp_path):
    lab = CoreHome(tmp_path)
    keep = {**CLEAN, "params": {"drop_duplicates": False}}
    flow = lab.flow(PARSE, keep, TRANSFORM, dataset="DS")

    assert not stage_rules(flow, flow.stage("transform"), "DS", {}).unique_ts
