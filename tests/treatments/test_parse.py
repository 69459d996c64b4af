"""`parse`: spellings of numbers, domains, their columns and names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from procezo_assets.treatments.parse import DomainColumns, ParseParameters, parse, read_numbers

START = datetime(2026, 1, 25, 8, tzinfo=UTC)


def rows(**texts):
    height = len(next(iter(texts.values())))
    return pl.DataFrame(
        {"ts": [START + timedelta(seconds=second) for second in range(height)]}
        | {f"key:{key}": pl.Series(values, dtype=pl.String) for key, values in texts.items()},
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
    )


def parsed(frame, **params):
    return parse(frame, ParseParameters.model_validate(params))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("12.0", 12),
        ("12.", 12),
        ("1e3", 1000),
        ("1E3", 1000),
        ("10e-1", 1),
        ("+5", 5),
        ("-5", -5),
        ("00012", 12),
        ("-0", 0),
        ("0e5", 0),
        ("0e999999999999999999999", 0),
        (".0", 0),
        (" 7\t", 7),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775807.0", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("-9.223372036854775808e18", -(2**63)),
        ("9007199254740993", 2**53 + 1),
        ("9007199254740993.0", 2**53 + 1),
    ],
)
def test_whole_values_are_integers_whatever_their_spelling(text, value):
    values, reasons = read_numbers(pl.Series([text]), dtype="int")

    assert values.dtype == pl.Int64
    assert values.to_list() == [value]
    assert reasons == {}


@pytest.mark.parametrize(
    "text", ["412.5", "1e-1", "+.5", "-0.25", "1e-400", "1e-9999999999999999999"]
)
def test_a_fraction_is_no_integer(text):
    values, reasons = read_numbers(pl.Series([text]), dtype="int")

    assert values.to_list() == [None]
    assert reasons == {"not_integer": 1}


NO_NUMBERS = [
    "",
    " ",
    "N/A",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "Infinity",
    "1_000",
    "0x10",
    "1,5",
    "1 2",
    "--1",
    "+-1",
    ".",
    "e5",
    "1e",
    "1e5.0",
    "١٢",
    "true",
]


@pytest.mark.parametrize("dtype", ["int", "float"])
@pytest.mark.parametrize("text", NO_NUMBERS)
def test_anything_else_is_no_number(text, dtype):
    values, reasons = read_numbers(pl.Series([text]), dtype=dtype)

    assert values.to_list() == [None]
    assert reasons == {"not_number": 1}


@pytest.mark.parametrize(
    "text",
    [
        "9223372036854775808",
        "-9223372036854775809",
        "1e19",
        "1e400",
        "1e999999999999999999",
        "1e9999999999999999999",
        "9" * 5000,
    ],
)
def test_beyond_int64_is_no_number(text):
    values, reasons = read_numbers(pl.Series([text]), dtype="int")

    assert values.to_list() == [None]
    assert reasons == {"not_number": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("14.06", 14.06),
        ("+5", 5.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1e-3", -0.001),
        ("1e-400", 0.0),
        (" 2 ", 2.0),
        ("9223372036854775808", 2.0**63),
    ],
)
def test_decimals_are_floats(text, value):
    values, reasons = read_numbers(pl.Series([text]), dtype="float")

    assert values.dtype == pl.Float64
    assert values.to_list() == [value]
    assert reasons == {}


@pytest.mark.parametrize("text", ["1e400", "-1e400", "1e99999999999999999999"])
def test_beyond_float64_is_no_number(text):
    values, reasons = read_numbers(pl.Series([text]), dtype="float")

    assert values.to_list() == [None]
    assert reasons == {"not_number": 1}


def test_a_key_that_a_line_lacks_is_null_without_a_reason():
    values, reasons = read_numbers(pl.Series(["1", None, "x", "2.5"]), dtype="int")

    assert values.to_list() == [1, None, None, None]
    assert reasons == {"not_number": 1, "not_integer": 1}


@given(st.lists(st.text("0123456789+-.eEnaif_x \t", max_size=8), min_size=1, max_size=30))
@settings(deadline=None, max_examples=60)
def test_every_text_is_a_value_or_has_a_reason(texts):
    for dtype in ("int", "float"):
        values, reasons = read_numbers(pl.Series(texts), dtype=dtype)

        assert values.count() + sum(reasons.values()) == len(texts)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_every_int64_survives_with_zeros_behind_the_point(value, zeros):
    values, _ = read_numbers(pl.Series([f"{value}.{'0' * zeros}"]), dtype="int")

    assert values.to_list() == [value]


def test_default_domains():
    treated = parsed(rows(m0=["387", "388"], outdoor_temp=["14.06", "x"]))

    assert list(treated) == ["bio_signal", "environment"]
    bio, environment = (treated[name].frames[None] for name in treated)
    ts = [START, START + timedelta(seconds=1)]
    assert_frame_equal(
        bio,
        pl.DataFrame({"ts": ts, "m0": [387, 388]}, schema_overrides={"ts": bio.schema["ts"]}),
    )
    assert environment["outdoor_temp"].to_list() == [14.06, None]
    assert environment.schema["outdoor_temp"] == pl.Float64
    assert treated["environment"].values_removed == {"not_number": {"outdoor_temp": 1}}


def test_a_prefix_takes_digits_only_in_numeric_order():
    frame = rows(m10=["10"], m1=["1"], m=["9"], mx1=["9"], m0=["0"], m1b=["9"], am1=["9"], m2=["2"])

    bio = parsed(frame)["bio_signal"].frames[None]

    assert bio.columns == ["ts", "m0", "m1", "m2", "m10"]
    assert bio.row(0)[1:] == (0, 1, 2, 10)


def test_declared_columns_come_in_their_order_then_those_of_the_prefix():
    frame = rows(m1=["1"], b=["2"], a=["3"], m0=["0"])

    treated = parsed(frame, domains={"all": {"columns": ["b", "a", "c"], "prefix": "m"}})

    assert treated["all"].frames[None].columns == ["ts", "b", "a", "m0", "m1"]


def test_columns_are_renamed_and_counted_under_their_new_name():
    treated = parsed(
        rows(t=["1.5", "x"]), domains={"air": {"columns": ["t"], "rename": {"t": "air_temp"}}}
    )

    assert treated["air"].frames[None].columns == ["ts", "air_temp"]
    assert treated["air"].values_removed == {"not_number": {"air_temp": 1}}


def test_a_domain_without_keys_keeps_every_row():
    environment = parsed(rows(m0=["1", "2"]))["environment"].frames[None]

    assert environment.columns == ["ts"]
    assert environment.height == 2


def test_repeated_timestamps_stay():
    frame = rows(m0=["1", "2"]).with_columns(ts=pl.lit(START, pl.Datetime("us", "UTC")))

    assert parsed(frame)["bio_signal"].frames[None]["m0"].to_list() == [1, 2]


@pytest.mark.parametrize(
    ("domains", "problem"),
    [
        ({"a": {"prefix": "m"}, "b": {"prefix": "m"}}, "both take prefix 'm'"),
        ({"a": {"prefix": "m"}, "b": {"columns": ["m1"]}}, "both take column 'm1'"),
        ({"a": {"columns": ["x"]}, "b": {"columns": ["x"]}}, "both take column 'x'"),
        ({"a": {}}, "needs a prefix or columns"),
        ({"a": {"columns": ["ts"]}}, "column name 'ts' is reserved"),
        ({"a": {"columns": ["x"], "rename": {"x": "device"}}}, "column name 'device' is reserved"),
        ({"a": {"columns": ["x"], "rename": {"x": "ts", "ts": "y"}}}, "'ts' is reserved"),
        ({"a": {"columns": ["x", "x"]}}, "two columns have the name 'x'"),
        ({"a": {"columns": ["x", "y"], "rename": {"x": "y"}}}, "two columns have the name 'y'"),
        ({"a": {"prefix": "m", "rename": {"m1": "m0"}}}, "'m1' is renamed to 'm0'"),
        ({"a": {"columns": ["x"], "dtype": "bool"}}, "dtype"),
        ({"a": {"prefix": ""}}, "prefix"),
        ({}, "domains"),
        ({"../a": {"prefix": "m"}}, "domains"),
    ],
)
def test_domains_that_contradict_themselves_are_refused(domains, problem):
    with pytest.raises(ValidationError, match=problem):
        ParseParameters.model_validate({"domains": domains})


def test_a_null_value_is_a_number_that_a_column_can_hold():
    assert ParseParameters(null_values=(-9999, 1e30, "x")).null_values == (-9999, 1e30, "x")
    with pytest.raises(ValidationError, match="null_values"):
        ParseParameters.model_validate({"null_values": [10**4000]})


def test_a_reserved_key_can_be_renamed_and_names_can_be_swapped():
    domain = DomainColumns(
        columns=("device", "a", "b"), rename={"device": "logger", "a": "b", "b": "a"}
    )

    frame = rows(device=["1"], a=["2"], b=["3"])
    treated = parse(frame, ParseParameters(domains={"d": domain}))

    assert treated["d"].frames[None].row(0, named=True) | {"ts": 0} == {
        "ts": 0,
        "logger": 1.0,
        "b": 2.0,
        "a": 3.0,
    }


@pytest.mark.parametrize(
    "delimiter", ['"', "\n", "\r", "\0", ":", "a", "1", ".", "-", "+", "", ";;"]
)
def test_characters_of_timestamps_and_fields_cannot_separate(delimiter):
    with pytest.raises(ValidationError, match="delimiter"):
        ParseParameters(delimiter=delimiter)


@pytest.mark.parametrize("value", ["2026-02-01T00:00:00+01:00", "2026-01-31T23:00:00"])
def test_bounds_without_zone_are_utc(value):
    params = ParseParameters.model_validate({"from": value})

    assert params.from_ == datetime(2026, 1, 31, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"from": "2026-02-02", "to": "2026-02-01"}, "is not before 'to'"),
        ({"from": "0001-01-01T00:00:00+05:00"}, "outside the years"),
        ({"tz": "Europe/Pari"}, "no IANA time zone"),
        ({"device_pattern": "(x"}, "device_pattern"),
        ({"device_pattern": "x"}, r"no group \(\?P<device>"),
    ],
)
def test_other_mistakes(params, problem):
    with pytest.raises(ValidationError, match=problem):
        ParseParameters.model_validate(params)
