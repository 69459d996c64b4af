"""What must not be read differently in silence: rows are kept, and doubts are said or refused."""

from __future__ import annotations

from datetime import date

import pytest

from procezo_assets.datasets import Home
from procezo_assets.errors import DialectError, ParameterError
from procezo_assets.raw import containers
from procezo_assets.raw.files import Limits
from procezo_assets.raw.inspection import inspect_file
from procezo_assets.raw.source import RawSource
from procezo_assets.treatments.parse import ParseParameters

LIMITS = Limits(date(2020, 1, 1), date(2026, 1, 31))
ROW = "2024-01-01 00:00:00,1.5,80\n"


def minutes(count, rest, hour=0):
    return "".join(f"2024-01-01 {hour:02}:{at:02}:00,{rest}\n" for at in range(count))


@pytest.fixture
def looked(tmp_path):
    def look(text, **params):
        path = tmp_path / "a.csv"
        path.write_bytes(text.encode())
        return inspect_file(path, params)

    return look


@pytest.fixture
def read(tmp_path):
    """Drops files one after the other, and says which rows each has and how many are refused."""

    def drop(*texts, **params):
        dataset = Home(tmp_path).dataset("DS")
        dataset.raw.mkdir(parents=True)
        for at, text in enumerate(texts):
            (dataset.raw / f"x_d_{at}.csv").write_text(text)
        source = RawSource(
            dataset,
            ParseParameters.model_validate({"format": "csv", **params}),
            LIMITS,
            output="10_parsed",
        )
        source.scan()
        return source

    return drop


def refused(source):
    return [bool(counted.refused) for _, counted in sorted(source.files.items())]


def test_a_header_below_rows_takes_none_of_them(looked):
    found = looked(minutes(6, "1.5,80") + "time,temp,hum\n" + ROW)

    assert (found.counts.rows, found.counts.header) == (7, 1)
    assert found.columns == ("temp", "hum")
    assert "the names of the columns are in line 7, below rows" in found.problems


def test_its_parameters_read_a_file_with_a_late_header_the_same(looked):
    text = minutes(6, "1.5,80") + "time,temp,hum\n" + ROW
    first = looked(text)

    again = looked(text, **{name: value for name, value in first.params.items() if value})

    assert (again.counts.rows, again.counts.header) == (7, 1)


def test_a_declared_date_order_stands_against_a_damaged_date(looked):
    dates = "01/02/2024", "02/02/2024", "02/13/2024", "03/02/2024"

    found = looked("date,t\n" + "".join(f"{d} 00:00,1\n" for d in dates), date_order="DMY")

    assert found.dialect.date_orders == ("DMY",)
    assert found.counts.quarantined == {"timestamp": 1}


def test_dates_that_say_more_than_the_declared_order_are_read_and_said(looked):
    found = looked("date,t\n2024-01-02 00:00,1\n", date_order="DMY")

    assert found.dialect.date_orders == ("YMD",)
    assert "dates are written YMD, and cannot be read as declared: DMY" in found.problems


def test_a_comma_that_is_both_signs_is_refused(looked):
    with pytest.raises(DialectError, match="rows have 4 fields, and 3 columns are named") as error:
        looked("time,temp,hum\n" + minutes(20, "10,5,80"))
    assert error.value.reason == "columns"


def test_the_cut_first_line_of_a_file_without_header_is_no_header(looked):
    found = looked("5,80\n" + minutes(5, "1.5,80"))

    assert (found.counts.header, found.counts.quarantined) == (0, {"field_count": 1})


def test_a_later_time_without_an_offset_is_no_utc(looked):
    zoned = "".join(f"2024-01-01T00:00:00.{at:04}+02:00,1\n" for at in range(2001))

    found = looked("time,t\n" + zoned + "2024-01-01T10:00:00,1\n2024-01-01T10:00:00Z,1\n")

    assert found.counts.quarantined == {"timezone": 1}
    assert found.counts.rows == 2002


def test_a_part_of_a_minute_is_no_seconds(looked):
    with pytest.raises(DialectError, match="no column reads as date and time"):
        looked("time,t\n2024-01-01 10:15.5,1\n")
    assert looked("time,t\n2024-01-01 10.15.30,1\n").counts.first.second == 30
    assert looked("time,t\n2024-01-01 10:15:30.5,1\n").counts.first.microsecond == 500_000


def test_rows_glued_by_a_carriage_return_are_quarantined(looked):
    found = looked(
        "time,t\r\n2024-01-01 00:00:00,1\r2024-01-01 00:10:00,2\r\n2024-01-01 01:00,3\r\n"
    )

    assert (found.counts.rows, found.counts.quarantined) == (1, {"line_break": 1})


def test_lines_below_another_header_are_quarantined_in_all_blocks(looked, monkeypatch):
    monkeypatch.setattr(containers, "BLOCK_BYTES", 200)
    text = "time,temp,hum\n" + minutes(20, "1,80") + "time,hum,temp\n" + minutes(50, "80,1", hour=1)

    found = looked(text)

    assert found.counts.rows == 20
    assert found.counts.quarantined == {"other_header": 51}
    assert found.counts.dialect.ends == 22
    assert len(found.counts.blocks) > 4
    assert found.duplicate_ts == 0


@pytest.mark.parametrize("encoding", ["rot13", "hex", "undefined", "klingon", "punycode"])
def test_an_encoding_of_no_text_is_unknown(looked, encoding):
    with pytest.raises(ParameterError, match="encoding"):
        looked(ROW, encoding=encoding)


def test_a_file_without_header_continues_the_others(read):
    source = read("time,temp,hum\n" + ROW, ROW.replace("-01 ", "-02 "))

    assert refused(source) == [False, False]
    assert source.files["x_d_1.csv"].dialect.columns == ("time", "temp", "hum")
    assert "it has no header" in source.files["x_d_1.csv"].dialect.problems[-1]


def test_a_file_without_header_is_refused_where_headers_differ(read):
    assert refused(read("time,temp,hum\n" + ROW, "time,hum,temp\n" + ROW, ROW)) == [
        False,
        False,
        True,
    ]


def test_a_header_is_refused_where_the_first_file_has_none(read):
    assert refused(read(ROW, "time,temp,hum\n" + ROW)) == [False, True]


def test_declared_columns_do_not_cover_other_headers(read):
    names = ["time", "temp", "hum"]
    files = ["Time,T (°C),H\n" + ROW, "Time,T (°C),H\n" + ROW, "Time,H,T (°C)\n" + ROW]

    source = read(*files, columns=names)

    assert refused(source) == [False, False, True]
    assert "the header is 'Time or H or T', was 'Time or T or H'" in source.files[
        "x_d_2.csv"
    ].refused.replace(", ", " or ").replace("' or was", "', was")


def test_declared_columns_leave_the_zone_that_the_header_states(looked):
    found = looked('"Date Time, GMT+02:00",Temp\n2024-01-01 00:00:00,1\n', columns=["time", "t"])

    assert found.dialect.timezone == "+02:00"
    assert found.columns == ("t",)


def test_the_declared_unit_of_one_column_leaves_the_others_checked(read):
    files = [f"time,temp (°{unit}),hum\n" + ROW for unit in "CF"]

    assert refused(read(*files, units={"hum": "%"})) == [False, True]


def test_a_declared_unit_stands_over_what_headers_say(read):
    files = [f"time,temp (°{unit}),hum\n" + ROW for unit in "CF"]

    source = read(*files, units={"temp": "K"})

    assert refused(source) == [False, False]
    assert source.files["x_d_1.csv"].dialect.units == {"temp": "K"}


def test_a_column_keeps_its_name_whatever_stands_beside_it(read):
    source = read(
        "time,Temp (°C)\n2024-01-01 00:00:00,1.5\n",
        "time,Temp (°C),Temp (°F)\n2024-01-02 00:00:00,1.5,34\n",
        "time,Temp,Temp (°C)\n2024-01-03 00:00:00,1.5,1.5\n",
    )

    assert refused(source) == [False, False, True]
    assert source.files["x_d_1.csv"].dialect.columns == ("time", "Temp", "Temp (°F)")


def test_a_file_that_grows_leaves_its_earlier_days_as_they_were(tmp_path):
    dataset = Home(tmp_path).dataset("DS")
    dataset.raw.mkdir(parents=True)
    file = dataset.raw / "x_d.csv"
    params = ParseParameters.model_validate({"format": "csv"})

    def digest(text):
        file.write_text(text)
        source = RawSource(dataset, params, LIMITS, output="10_parsed")
        source.scan()
        return source.day_digests(date(2024, 1, 1))

    first = "time,t\n01/01/2024 00:00,1\n"

    assert digest(first) == digest(first + "13/01/2024 00:00,1.5\n")


def test_the_same_digits_in_another_order_are_another_digest(tmp_path):
    def digest(order):
        dataset = Home(tmp_path).dataset(order)
        dataset.raw.mkdir(parents=True)
        (dataset.raw / "x_d.csv").write_text("time,t\n02/01/2024 00:00,1\n")
        params = ParseParameters.model_validate({"format": "csv", "date_order": order})
        source = RawSource(dataset, params, LIMITS, output="10_parsed")
        source.scan()
        return source.day_digests(source.days[0])

    assert digest("DMY") != digest("MDY")
