"""The `csv` dialect: a header, then rows."""

from __future__ import annotations

import polars as pl
import pytest

from procezo_assets.raw.header_csv import read_fields, read_header, split_lines, timestamp_place


def fields(*lines, header, place=0, claimed=lambda _: True):
    return read_fields(
        pl.Series(lines, dtype=pl.String),
        delimiter=",",
        header=header,
        place=place,
        claimed=claimed,
    )


def test_names_are_trimmed_and_may_be_quoted():
    assert read_header(' ts ,"Temp, °C","a ""b"""', delimiter=",") == ["ts", "Temp, °C", 'a "b"']


@pytest.mark.parametrize("line", ['ts,"Temp', "a\rb", '"a"b,c'])
def test_a_header_that_no_csv_reader_takes(line):
    assert read_header(line, delimiter=",") is None


@pytest.mark.parametrize(("declared", "place"), [(None, 1), ("b", 2), ("ts", 1), ("c", None)])
def test_the_timestamp_is_the_declared_column_or_ts(declared, place):
    assert timestamp_place(["a", "ts", "b"], declared) == place


def test_without_ts_the_first_column_is_the_timestamp():
    assert timestamp_place(["Date", "b"], None) == 0


def test_lines_are_cut_into_fields():
    frame, problems = split_lines(
        pl.Series(["1,2", '"1,5","a ""b"""', "1", "1,2,3", '"1,2', '"1","2","3"', ","]),
        delimiter=",",
        width=2,
    )

    assert frame.rows()[:2] == [("1", "2"), ("1,5", 'a "b"')]
    assert frame.rows()[6] == ("", "")
    assert problems.to_list() == [
        None,
        None,
        "field_count",
        "field_count",
        "quotes",
        "field_count",
        None,
    ]


def test_one_column():
    frame, problems = split_lines(pl.Series(["1", "1,2", '"1"']), delimiter=",", width=1)

    assert frame["0"].gather([0, 2]).to_list() == ["1", "1"]
    assert problems.to_list() == [None, "field_count", None]


def test_fields_by_column():
    frame, met = fields("t1,5,x", "t2,,y", header=["ts", "a", "b"])

    assert frame.to_dict(as_series=False) == {"key:a": ["5", None], "key:b": ["x", "y"]}
    assert (met.without_colon, met.repeated, met.unclaimed) == (0, 0, {})


def test_of_columns_of_one_name_the_last_wins():
    frame, met = fields("t1,1,2", "t2,3,4", header=["ts", "a", "a"])

    assert frame.to_dict(as_series=False) == {"key:a": ["2", "4"]}
    assert met.repeated == 2


def test_columns_that_nothing_claims_are_counted_by_name():
    frame, met = fields("t1,1,2,3", header=["ts", "a", "b", ""], claimed=lambda name: name == "a")

    assert frame.columns == ["key:a"]
    assert met.unclaimed == {"b": 1}
