"""Files as loggers and people write them, each read as it is meant or refused."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime

import pytest

from procezo_assets.errors import ProcezoError
from procezo_assets.raw.inspection import inspect_file


def minutes(template, count=5):
    return "".join(template.format(i=i, d=13 + i) for i in range(count))


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


T = utc(2024, 3, 13, 22)

# name: text, parameters, rows, first, last, columns
READ = {
    "tabs and a date order that days over 12 decide": (
        "time\ttemp\n" + minutes("{d}/03/2024 22:00\t1{i}.5\n"),
        {},
        (5, T, utc(2024, 3, 17, 22), ["temp"]),
    ),
    "pipes and milliseconds since 1970": (
        "epoch|v\n1710367200000|1\n1710367200250|2\n",
        {},
        (2, T, utc(2024, 3, 13, 22, 0, 0, 250_000), ["v"]),
    ),
    "seconds since 1970 with a fraction": (
        "timestamp,a\n1710367200.25,1\n",
        {},
        (1, utc(2024, 3, 13, 22, 0, 0, 250_000), utc(2024, 3, 13, 22, 0, 0, 250_000), ["a"]),
    ),
    "microseconds since 1970": (
        "t;v\n1710367200000001;1\n",
        {},
        (1, utc(2024, 3, 13, 22, 0, 0, 1), utc(2024, 3, 13, 22, 0, 0, 1), ["v"]),
    ),
    "Campbell TOA5, restarted": (
        2
        * (
            '"TOA5","Site","CR6","12","x","y","1","Tab"\n"TIMESTAMP","RECORD","BattV"\n'
            '"TS","RN","Volts"\n"","","Min"\n"2024-03-13 22:00:00",1,12.5\n'
            '"2024-03-13 22:00:00.5",2,"NAN"\n'
        ),
        {},
        (4, T, utc(2024, 3, 13, 22, 0, 0, 500_000), ["RECORD", "BattV"]),
    ),
    "HOBO with decimal commas": (
        '\ufeff"Plot Title: 1"\n"#";"Date Time, GMT+01:00";"Temp, °C (LGR S/N: 1, SEN S/N: 1)";'
        '"Started (LGR S/N: 1)"\n' + minutes("{i};{d}.03.2024 23:00:00;1{i},5;\n"),
        {},
        (5, T, utc(2024, 3, 17, 22), ["#", "Temp", "Started"]),
    ),
    "HOBOconnect, its abbreviation settled": (
        '"#","Date-Time (CET)","Temperature   (°C)"\n' + minutes('{i},"03/{d}/2024 23:00:00",2\n'),
        {"timezone": "Europe/Paris"},
        (5, T, utc(2024, 3, 17, 22), ["#", "Temperature"]),
    ),
    "TOMST with decimal commas and a delimiter at the end": (
        minutes("{i};{d}.03.2024 22:00:00;4;2{i},5;19,25;18,5;20{i};1;0;\n"),
        {},
        (
            5,
            T,
            utc(2024, 3, 17, 22),
            ["index", "tz", "T1", "T2", "T3", "moisture", "shake", "error_flag"],
        ),
    ),
    "a column for each part": (
        "Year,Month,Day,Hour,Minute,WS\n2024,3,13,22,0,1.5\n",
        {},
        (1, T, T, ["WS"]),
    ),
    "a date and HHMM": (
        "Date,Time,v\n2024-03-13,2200,1\n2024-03-13,2205,1\n",
        {},
        (2, T, utc(2024, 3, 13, 22, 5), ["v"]),
    ),
    "titles that begin with numbers": (
        " Alamosa\n   37.70  105.92 2317 m\n 2024-03-13 22:00  1 2 3 4 5 6 7 8\n",
        {},
        (1, T, T, [f"column_{place}" for place in range(3, 11)]),
    ),
    "buoys: names and units behind #, month and minute alike": (
        "#YY  MM DD hh mm WDIR WSPD\n#yr  mo dy hr mn degT m/s\n2024 03 13 22 00 100  5.5\n",
        {},
        (1, T, T, ["WDIR", "WSPD"]),
    ),
    "year, day of the year and HHMM": (
        "id,Year,DOY,HHMM,x\n101,2024,73,2200,1.5\n",
        {},
        (1, T, T, ["id", "x"]),
    ),
    "date and hour, the last hour is 24": (
        "Date,Hour,v\n2024-03-13,22,1.5\n2024-03-13,24,1.5\n",
        {},
        (2, T, utc(2024, 3, 14), ["v"]),
    ),
    "time before date": (
        "Time;Date;Val\n22:00:00;13.03.2024;0,5\n",
        {},
        (1, T, T, ["Val"]),
    ),
    "AM and PM in a column of their own": (
        "Date,Time,AMPM,v\n03/13/2024,10:00:00,PM,1\n",
        {},
        (1, T, T, ["v"]),
    ),
    "weather stations that write 10:00 p": (
        "\t\tTemp\tHi\nDate\tTime\tOut\tTemp\n13/03/24\t10:00p\t1.5\t2\n",
        {"date_order": "DMY"},
        (1, T, T, ["Out", "Temp"]),
    ),
    "French hours": (
        "Date;Heure;Température (°C)\n13/03/2024;22h00;1,5\n",
        {},
        (1, T, T, ["Température"]),
    ),
    "dates of eight digits": ("ts;v\n20240313T220000;1\n", {}, (1, T, T, ["v"])),
    "ten digits of a weather service": (
        "STATION;MESS_DATUM;TT;eor\n   44;2024031322;  5.4;eor\n",
        {},
        (1, T, T, ["STATION", "TT", "eor"]),
    ),
    "a date and a time of digits": ("date,time,v\n20240313,220000,1\n", {}, (1, T, T, ["v"])),
    "names of months": ("When,v\n13-Mar-2024 22:00:00,1\n", {}, (1, T, T, ["v"])),
    "mail dates": ("when;v\nWed, 13 Mar 2024 23:00:00 +0100;1\n", {}, (1, T, T, ["v"])),
    "half hours of offset": ("t;v\n2024-03-14T03:30:00+05:30;1\n", {}, (1, T, T, ["v"])),
    "UTC behind the time": ("time,v\n2024-03-13 22:00:00 UTC,1\n", {}, (1, T, T, ["v"])),
    "an offset in the header": (
        "Timestamp (UTC+01:00),v\n2024-03-13 23:00:00,1\n",
        {},
        (1, T, T, ["v"]),
    ),
    "a zone's name in the header": (
        "time (Europe/Paris),v\n2024-07-14 00:00:00,1\n",
        {},
        (1, utc(2024, 7, 13, 22), utc(2024, 7, 13, 22), ["v"]),
    ),
    "a zone in a title": (
        "# time zone: UTC+2\ntime,v\n2024-03-14 00:00:00,1\n",
        {},
        (1, T, T, ["v"]),
    ),
    "abbreviations of a declared zone": (
        "time,v\n2024-10-27 02:30:00 CEST,1\n2024-10-27 02:30:00 CET,2\n",
        {"timezone": "Europe/Paris"},
        (2, utc(2024, 10, 27, 0, 30), utc(2024, 10, 27, 1, 30), ["v"]),
    ),
    "comments above and below": (
        "# site: X\n# a, b, c\ntimestamp,a,b\n2024-03-13 22:00:00,1,2\n# end\n",
        {},
        (1, T, T, ["a", "b"]),
    ),
    "a table of R": (
        '"time","v"\n"1","2024-03-13 22:00:00",1.5\n',
        {},
        (1, T, T, ["column_1", "v"]),
    ),
    "lines between header and rows": (
        "time                 temp\n-------------------  ----\n2024-03-13 22:00:00  1.5\n",
        {},
        (1, T, T, ["temp"]),
    ),
    "Excel's delimiter line": ("sep=;\nDate;Temp\n13.03.2024 22:00;1,5\n", {}, (1, T, T, ["Temp"])),
    "no header": ("2024-03-13T22:00:00Z,0,1\n", {}, (1, T, T, ["column_2", "column_3"])),
    "blank, repeated and reserved names": (
        "device,time,,temp,Temp,day\nA,2024-03-13 22:00:00,x,1,2,3\n",
        {},
        (1, T, T, ["device_column", "column_3", "temp", "Temp_2", "day_column"]),
    ),
    "fractions behind a comma": ("t;x\n2024-03-13 22:00:00,000;1\n", {}, (1, T, T, ["x"])),
    "declared columns": (
        "101,2024,73,2200,12.5\n",
        {"timestamp_columns": [2, 3, 4], "timestamp_format": "%Y %j %H%M"},
        (1, T, T, ["column_1", "column_5"]),
    ),
    "dates that read the same in every order": (
        "time,v\n05/05/2024 22:00,1\n06/06/2024 22:00,1\n",
        {},
        (2, utc(2024, 5, 5, 22), utc(2024, 6, 6, 22), ["v"]),
    ),
    "a date order that only the last line decides": (
        "time,v\n" + "03/04/2024 22:00,1\n" * 3_000 + "13/04/2024 22:00,1\n",
        {},
        (3_001, utc(2024, 4, 3, 22), utc(2024, 4, 13, 22), ["v"]),
    ),
    "key:value": (
        "2024-03-13T22:00:00Z;m10:1;m9:2\n",
        {},
        (1, T, T, ["m9", "m10"]),
    ),
}


def written(tmp_path, text):
    path = tmp_path / "raw.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("name", READ)
def test_files_that_can_be_read(name, tmp_path):
    text, params, (rows, first, last, columns) = READ[name]

    found = inspect_file(written(tmp_path, text), params)

    assert (found.counts.rows, found.counts.first, found.counts.last) == (rows, first, last)
    assert list(found.columns) == columns
    assert found.counts.quarantined == {}
    assert found.counts.balanced


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252"])
def test_encodings(encoding, tmp_path):
    text = "Zeit;Temp. [°C];Größe\r\n13.03.2024 22:00:00;1,5;2\r\n"

    found = inspect_file(written(tmp_path, text.encode(encoding)), {})

    assert list(found.columns) == ["Temp.", "Größe"]
    assert found.dialect.units == {"Temp.": "°C"}
    assert found.preview.row(0) == (T, "1.5", "2")


def test_gzip(tmp_path):
    found = inspect_file(written(tmp_path, gzip.compress(b"t,v\n2024-03-13 22:00:00,1\n")), {})

    assert (found.counts.rows, found.dialect.container) == (1, "gzip")


REFUSED = {
    "an order that nothing decides": (
        "time,v\n04.08.21 22:00,1\n",
        {},
        "04.08.21 could be 2004-08-21 (YMD), 2021-08-04 (DMY) or 2021-04-08 (MDY); set date_order",
    ),
    "an order that values following one another might suggest": (
        "time,v\n01/02/2024 22:00,1\n01/03/2024 22:00,1\n01/04/2024 22:00,1\n",
        {},
        "set date_order to one of DMY, MDY",
    ),
    "dates that contradict one another": (
        "time,v\n13/04/2024 00:00,1\n04/13/2024 00:00,1\n",
        {},
        "no order of year, month and day fits all dates",
    ),
    "a declared order that no date has": (
        "time,v\n13.04.2024 00:00,1\n12.04.2024 00:00,1\n",
        {"date_order": "YMD"},
        "are not YMD",
    ),
    "abbreviations behind timestamps": (
        "time,v\n2024-03-13 22:00:00 PST,1\n",
        {},
        "'PST' behind timestamps may be several zones; set timezone",
    ),
    "an abbreviation in the header": (
        "Date Time (CST),v\n2024-03-13 22:00:00,1\n",
        {},
        "'CST' in the header may be several zones; set timezone",
    ),
    "abbreviations in a column": (
        "time\ttz_cd\tv\n2024-03-13 22:00\tEST\t1\n",
        {},
        "a column names zones: EST; set timezone",
    ),
    "two abbreviations for one offset": (
        "time,v\n2024-03-13 22:00:00 PST,1\n2024-07-13 22:00:00 PDT,1\n",
        {"timezone": "-08:00"},
        "PDT and PST",
    ),
    "both decimal signs": ("t;x\n2024-03-13 22:00;1,5\n2024-03-13 23:00;1.5\n", {}, "set decimal"),
    "thousands": ("t;x\n2024-03-13 22:00;1.234,5\n", {}, "separators of thousands"),
    "perhaps thousands": ('t,x\n2024-03-13 22:00,"1,234"\n', {}, "or a separator of thousands"),
    "no timestamp": (
        "a,b\n1,2\n",
        {},
        "no column reads as date and time, as in '1,2'; set timestamp_columns",
    ),
    "a header alone": ("time,v\n", {}, "its one line, 'time,v', shows no date and time; wait for"),
    "nothing": ("", {}, "it holds no lines"),
    "a column that is not there": (
        "time,v\n2024-03-13 22:00,1\n",
        {"timestamp_columns": ["tme"]},
        "the header has no column 'tme'; did you mean 'time'?",
    ),
    "a place that is not there": (
        "time,v\n2024-03-13 22:00,1\n",
        {"timestamp_columns": [3]},
        "there is no column 3, but 2",
    ),
    "twelve digits of two meanings": (
        "201203041530,1.5\n",
        {},
        "could begin with a year of four digits or of two",
    ),
    "a time that may be hours or minutes": (
        "Date,Time,v\n2024-03-13,0,1\n2024-03-13,1,1\n",
        {},
        "no column reads as date and time",
    ),
    "a time that is not understood": (
        "Date,Time,v\n2024-03-13,0.5,1\n2024-03-13,1.5,1\n",
        {},
        "no column reads as date and time",
    ),
    "bytes": (bytes(range(256)) * 9, {}, "it holds no text"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_refused(name, tmp_path):
    text, params, told = REFUSED[name]

    with pytest.raises(ProcezoError) as refused:
        inspect_file(written(tmp_path, text), params)

    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


QUARANTINED = {
    "lines of other widths, words, half a line": (
        (
            "time,v\n2024-03-13 22:00:00,1\n2024-03-13 22:01:00,1\nrebooting\n2024-03-13 22:02:00\n"
            "2024-03-13 22:03:00,1,2\n2024-03-13 22:0"
        ),
        {"field_count": 4},
    ),
    "a damaged date says nothing of the order": (
        "time,v\n13/03/2024 22:00,1\n13/03/2024 22:01,1\n99/99/2024 10:00,1\n",
        {"timestamp": 1},
    ),
    "rows behind another header": (
        (
            "time,a,b\n2024-03-13 22:00:00,1,2\n2024-03-13 22:01:00,1,2\n"
            "time,b,a\n2024-03-13 22:02:00,1,2\n"
        ),
        {"other_header": 2},
    ),
    "quotes that do not close": (
        'time,v\n2024-03-13 22:00:00,1\n2024-03-13 22:01:00,"1\n',
        {"quotes": 1},
    ),
}


@pytest.mark.parametrize("name", QUARANTINED)
def test_lines_that_are_quarantined(name, tmp_path):
    text, reasons = QUARANTINED[name]

    found = inspect_file(written(tmp_path, text), {})

    assert found.counts.quarantined == reasons
    assert found.counts.balanced


@pytest.mark.parametrize(
    ("line", "policy", "first", "reason"),
    [
        ("2024-10-27 02:30:00", {}, None, "ambiguous_time"),
        ("2024-10-27 02:30:00", {"ambiguous": "earliest"}, utc(2024, 10, 27, 0, 30), None),
        ("2024-10-27 02:30:00", {"ambiguous": "latest"}, utc(2024, 10, 27, 1, 30), None),
        ("2024-03-31 02:30:00", {}, None, "nonexistent_time"),
        ("2024-03-31 02:30:00", {"nonexistent": "shift"}, utc(2024, 3, 31, 1, 30), None),
    ],
)
def test_what_the_clock_skips_or_repeats_follows_a_policy(line, policy, first, reason, tmp_path):
    path = written(tmp_path, f"time,v\n{line},1\n2024-11-01 00:00:00,2\n")

    found = inspect_file(path, {"timezone": "Europe/Paris", **policy})

    assert found.counts.quarantined == ({reason: 1} if reason else {})
    if first:
        assert found.counts.first == first
        (name,) = policy
        assert any(f"the policy '{name}'" in problem for problem in found.problems)


def test_problems_are_told(tmp_path):
    path = written(
        tmp_path,
        "time,v\n1970-01-01 00:00:00,1\n2024-03-13 22:00:00,1\n2024-03-13 22:00:00,1\n"
        "2024-03-13 21:05:00,1\nrebooting\n",
    )

    found = inspect_file(path, {})

    assert found.duplicate_ts == 1
    assert list(found.problems) == [
        "the file names no time zone: UTC is assumed; set timezone",
        "the clock jumps back once, at most by 0:55:00",
        "1 row repeats a timestamp",
        "timestamps begin in 1970: a clock that was not set?",
        "1 line in quarantine: field_count",
    ]
