"""The `kv_csv` dialect: which lines are rows, and what their fields say."""

from __future__ import annotations

import polars as pl
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from procezo_assets.errors import PartitionError
from procezo_assets.raw import kv_csv
from procezo_assets.raw.kv_csv import cut_stamps, field_problems, read_fields
from procezo_assets.treatments.parse import TYPES, read_numbers

T = "2026-01-25T08:14:18Z"


def as_text(_):
    return pl.String()


def fields(*lines, delimiter=";", type_of=as_text):
    return read_fields(pl.Series(lines, dtype=pl.String), delimiter=delimiter, type_of=type_of)


def problem(line, delimiter=";"):
    return problems([line], delimiter=delimiter)[0]


def problems(lines, delimiter=";"):
    _, rest = cut_stamps(pl.Series(lines), delimiter=delimiter)
    return field_problems(rest, delimiter=delimiter).to_list()


@pytest.mark.parametrize(
    "line", [f"{T};m0:1", f"{T}; m0 :1", f"{T};x;m0:1", f"{T};m0:", f"{T};;m0:1", f"{T};:;m0::"]
)
def test_a_key_and_a_value_make_a_row(line):
    assert problem(line) is None


@pytest.mark.parametrize(
    "line", [T, f"{T};", f"{T};;;", f"{T};387", f"{T};:5", f"{T}; :5", "rebooting", f"{T} m0:1"]
)
def test_without_any_key_value_a_line_is_none(line):
    assert problem(line) == "no_key_value"


def test_the_timestamp_is_what_stands_before_the_first_delimiter():
    lines = pl.Series([f"{T};m0:1;m1:2", "rebooting", ""])

    stamps, rest = cut_stamps(lines, delimiter=";")
    assert stamps.to_list() == [T, "rebooting", ""]
    assert rest.to_list() == ["m0:1;m1:2", None, None]


def test_fields_by_key():
    frame, met = fields(f"{T};m0:387;m1: 490 ", f"{T};m1:;t:14.06")

    assert frame.to_dict(as_series=False) == {
        "key:m0": ["387", None],
        "key:m1": [" 490 ", ""],
        "key:t": [None, "14.06"],
    }
    assert (met.without_colon, met.repeated, met.unclaimed) == (0, 0, {})


def test_of_repeated_keys_the_last_wins():
    frame, met = fields(f"{T};m0:1;m0:2; m0 :3", f"{T};m0:4;m0:")

    assert frame["key:m0"].to_list() == ["3", ""]
    assert met.repeated == 3


def test_fields_without_a_colon_are_counted():
    frame, met = fields(f"{T};x;m0:1;;  ;:5;y", f"{T};m0:2")

    assert frame["key:m0"].to_list() == ["1", "2"]
    assert met.without_colon == 3


def test_a_value_may_hold_colons():
    assert fields(f"{T};at:08:14:18")[0]["key:at"].to_list() == ["08:14:18"]


def test_keys_that_nothing_claims_are_counted_by_name():
    frame, met = fields(
        f"{T};m0:1;volt:3.7",
        f"{T};volt:3.6;volt:3.5;x:1",
        type_of=lambda key: pl.String() if key == "m0" else None,
    )

    assert frame.columns == ["key:m0"]
    assert met.unclaimed == {"volt": 2, "x": 1}


def test_no_lines():
    frame, met = fields()

    assert frame.height == 0
    assert met == kv_csv.FieldCounts()


@pytest.mark.parametrize("delimiter", list(";,|\t ^]&~#$*?/\\()[{<§"))
def test_any_character_can_separate(delimiter):
    line = delimiter.join([T, "m0:1", "x", "m1:2", "m0:3"])

    assert problem(line, delimiter) is None
    frame, met = fields(line, delimiter=delimiter)
    assert frame.rows() == [("3", "2")]
    assert (met.without_colon, met.repeated) == (1, 1)


@pytest.mark.parametrize(
    "key", ["m.0", "a b", "m0*", "µ", "[x]", "a\\d", "<b>", "ts", "row", "rest"]
)
@pytest.mark.parametrize("by_position", [32, 0])
def test_any_text_can_be_a_key(monkeypatch, key, by_position):
    monkeypatch.setattr(kv_csv, "_SIGNATURES_BY_POSITION", by_position)

    frame, _ = fields(f"{T};{key}:1", f"{T};x:1;{key} :2")

    assert frame[f"key:{key}"].to_list() == ["1", "2"]


KEYS = st.sampled_from(
    ["m0", "m1", "m10", " m0", "m0 ", "m 0", "", " ", "é", "\x1cm0", "\x85m0", "."]
)
VALUES = st.text("01. :x\r\x1c\xa0", max_size=4)
FIELDS = st.one_of(st.tuples(KEYS, VALUES).map(":".join), st.sampled_from(["", " ", "x", "\x1c"]))
LINES = st.lists(FIELDS, max_size=6).map(lambda found: ";".join([T, *found]))


ALIKE_LINES = st.lists(KEYS, min_size=1, max_size=4).flatmap(
    lambda keys: st.lists(
        st.tuples(*(VALUES for _ in keys)).map(
            lambda values: ";".join([T, *map(":".join, zip(keys, values, strict=True))])
        ),
        min_size=1,
        max_size=6,
    )
)


@given(st.one_of(st.lists(LINES, min_size=1, max_size=12), ALIKE_LINES), st.integers(1, 3))
@settings(deadline=None, max_examples=examples(150))
def test_fields_by_position_are_fields_by_expression(lines, few):
    by_position, met = fields(*lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kv_csv, "_LONGEST_EXPRESSION", 0)  # told alike in another way
        long, met_long = fields(*lines)
        patch.setattr(kv_csv, "_all_alike", lambda *_: False)  # nor read at once
        patch.setattr(kv_csv, "_SIGNATURES_BY_POSITION", few)
        mixed, met_mixed = fields(*lines)
        patch.setattr(kv_csv, "_SIGNATURES_BY_POSITION", 0)
        by_expression, met_by_expression = fields(*lines)
        patch.setattr(kv_csv, "_KEYS_BY_EXPRESSION", 0)
        by_pairs, met_by_pairs = fields(*lines)

    for other in (long, mixed, by_expression, by_pairs):
        assert_frame_equal(by_position, other, check_column_order=False)
    assert met == met_long == met_by_expression == met_mixed == met_by_pairs


def test_a_million_keys_are_no_columns():
    lines = [
        f"{T};" + ";".join(f"m{n}:1" for n in range(at, at + 500)) for at in range(0, 21_000, 500)
    ]
    with pytest.raises(PartitionError, match="more than 20,000 keys that domains take, such as"):
        fields(*lines)
    frame, met = fields(*lines, type_of=lambda _: None)
    assert (frame.width, len(met.unclaimed)) == (0, 21_000)


NUMBERS = st.one_of(
    st.integers(-(2**64), 2**64).map(str),
    st.floats().map(str),
    st.text("0123456789+-.eE ", max_size=6),
    st.sampled_from(["", " 7", "7 ", "\t7", "1_0", "0x1", "nan", "inf", "1e400", "7\r"]),
)


@given(
    values=st.one_of(
        *(st.lists(of, min_size=1, max_size=5) for of in (NUMBERS, st.integers().map(str)))
    ),
    dtype=st.sampled_from(["int", "float"]),
    last=st.sampled_from(["", ";x", ";m1:", ";m1:3"]),
)
@settings(deadline=None, max_examples=examples(150))
def test_numbers_that_are_read_at_once_are_those_of_their_texts(values, dtype, last):
    lines = [f"{T};m0:{value}{last}" for value in values]
    at_once, _ = fields(*lines, type_of=lambda _: TYPES[dtype])

    found, reasons = read_numbers(at_once["key:m0"], dtype=dtype)
    expected, expected_reasons = read_numbers(pl.Series(values), dtype=dtype)
    assert found.to_list() == expected.to_list()
    assert reasons == expected_reasons


@pytest.mark.parametrize("key", ["x^2", "x\x01", "\x1f\x8b", "BZh", "#m", '"m"', "a\nb"])
def test_no_key_is_taken_for_something_else_than_a_key(key):
    at_once, met = fields(f"{T};{key}:1", f"{T};{key}:2", type_of=lambda _: pl.Int64())

    assert [str(value) for value in at_once[f"key:{key}"]] == ["1", "2"]
    assert met == kv_csv.FieldCounts()


def test_only_columns_of_plain_numbers_are_numbers():
    lines = [f"{T};m0:{m0};m1:{m0 % 7 or 'x'};t:0.{m0};u:nan" for m0 in range(20)]
    types = {"m0": pl.Int64(), "m1": pl.Int64(), "t": pl.Float64(), "u": pl.Float64()}
    frame, _ = fields(*lines, type_of=types.get)

    assert frame.dtypes == [pl.Int64, pl.String, pl.Float64, pl.String]
    assert frame.row(7) == (7, "x", 0.7, "nan")


@given(st.lists(LINES, min_size=1, max_size=12))
@settings(deadline=None, max_examples=100)
def test_every_field_is_taken_or_counted(lines):
    frame, met = fields(*lines)

    taken = sum(frame[column].count() for column in frame.columns)
    blank = sum(not field.strip(" \xa0\x85\r") for line in lines for field in line.split(";")[1:])
    total = sum(line.count(";") for line in lines)
    assert taken + met.repeated + met.without_colon + blank == total


@given(st.lists(LINES, min_size=1, max_size=12))
@settings(deadline=None, max_examples=60)
def test_a_line_without_problem_has_a_field(lines):
    for line, found in zip(lines, problems(lines), strict=True):
        frame, _ = fields(line)
        assert (found is None) == (frame.width > 0)
