"""Raw files to lines, each in exactly one place."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from examples import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from raw_lines import read_lines

from procezo_assets.errors import RawFileError
from procezo_assets.raw.blocks import split_text
from procezo_assets.raw.files import Limits, RawFile, device_name
from procezo_assets.treatments.parse import ParseParameters

LIMITS = Limits(date(2020, 1, 1), date(2026, 1, 31))
T = "2026-01-25T08:14:18Z"


def read(data, tmp_path, *, limits=LIMITS, **params):
    path = tmp_path / "raw.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    file = RawFile(path, "raw.csv", "raw")
    return read_lines(file, ParseParameters.model_validate(params), limits, tmp_path)


def quarantined(lines):
    return lines.quarantined.select("line", "reason", "raw").rows()


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\n\n", ["a", ""]),
        (b"\n", [""]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\rb\n", ["a\rb"]),
        (b"a\r\0\n", ["a"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb", ["a", "\ufeffb"]),
        (b"\0a\0b\0\n", ["ab"]),
        (b"\0", [""]),
        (b"\xff\xfea\n\xc3", ["\ufffd\ufffda", "\ufffd"]),
        (b"\xe2\x82\n\xac", ["\ufffd", "\ufffd"]),
        ("a\u2028b\x85c\x0bd".encode(), ["a\u2028b\x85c\x0bd"]),
    ],
)
def test_lines_end_at_lf(data, texts):
    assert split_text(data).to_list() == texts


def test_every_line_ends_in_one_place(tmp_path):
    lines = read(
        f"{T};m0:1\n"
        "\n"
        "rebooting\n"
        f"{T}\n"
        f"{T};no colon\n"
        " \t\r\n"
        "2019-12-31T23:59:59Z;m0:1\n"
        "2026-02-01T00:00:00Z;m0:1\n"
        "2026-01-31T23:59:59.999999Z;m0:1\n"
        "2020-01-01T00:00:00Z;m0:1",
        tmp_path,
    )

    assert lines.rows["line"].to_list() == [1, 9, 10]
    assert quarantined(lines) == [
        (3, "timestamp", b"rebooting"),
        (4, "no_key_value", T.encode()),
        (5, "no_key_value", f"{T};no colon".encode()),
        (7, "before_start", b"2019-12-31T23:59:59Z;m0:1"),
        (8, "future", b"2026-02-01T00:00:00Z;m0:1"),
    ]
    assert (lines.counts.lines, lines.counts.blank, lines.counts.header, lines.counts.excluded) == (
        10,
        2,
        0,
        0,
    )
    assert lines.counts.balanced


def test_bounds_of_the_flow_exclude_and_come_before_quarantine(tmp_path):
    lines = read(
        "2026-01-24T23:59:59Z;m0:1\n"
        "2026-01-25T00:00:00Z;m0:1\n"
        "2026-01-26T00:00:00Z;m0:1\n"
        "2019-01-01T00:00:00Z;m0:1\n"
        "2027-01-01T00:00:00Z;m0:1\n"
        "2019-01-01T00:00:00Z\n",
        tmp_path,
        **{"from": "2026-01-25", "to": "2026-01-26T00:00:00Z"},
    )

    assert lines.rows["line"].to_list() == [2]
    assert lines.counts.excluded == 4
    assert quarantined(lines) == [(6, "no_key_value", b"2019-01-01T00:00:00Z")]


def test_a_future_row_is_read_when_its_day_has_come(tmp_path):
    data = "2026-02-01T00:00:00Z;m0:1"

    assert read(data, tmp_path).rows.height == 0
    later = read(data, tmp_path, limits=Limits(LIMITS.start, date(2026, 2, 1)))
    assert later.rows.height == 1
    assert later.quarantined.height == 0


def test_quarantine_keeps_the_bytes_themselves(tmp_path):
    lines = read(b"\xff\0bad\r\n" + T.encode() + b";m0:1\r\n\0oops", tmp_path)

    assert quarantined(lines) == [(1, "timestamp", b"\xff\0bad\r"), (3, "timestamp", b"\0oops")]


def test_bom_nul_and_crlf_are_tolerated(tmp_path):
    lines = read(
        b"\xef\xbb\xbf" + T.encode() + b";m\x000:1\r\n" + T.encode() + b";m0:2\r\n", tmp_path
    )

    assert lines.rows["text"].to_list() == [f"{T};m0:1", f"{T};m0:2"]


def test_clock_changes_are_quarantined(tmp_path):
    lines = read(
        "2025-03-30T02:30:00;m0:1\n2025-10-26T02:30:00;m0:1\n2025-10-26T02:30:00+02:00;m0:1\n",
        tmp_path,
        tz="Europe/Paris",
    )

    assert [reason for _, reason, _ in quarantined(lines)] == ["nonexistent_time", "ambiguous_time"]
    assert lines.rows["ts"].to_list() == [datetime(2025, 10, 26, 0, 30, tzinfo=UTC)]


def test_csv(tmp_path):
    header = b"id,Date,a"
    good = b"".join(b"%d,2026-01-25T09:00:0%dZ,5\n" % (number, number) for number in range(10))
    lines = read(
        b"\n" + header + b"\r\n" + good + b"2,x,5\n"
        b"3,2026-01-25T08:00:01Z\n"
        b'4,2026-01-25T08:00:02Z,"5\n'
        b"\n" + header + b"\n"
        b'5,"2026-01-25T08:00:03Z","5"\n',
        tmp_path,
        format="csv",
        delimiter=",",
        timestamp_column="Date",
    )

    assert lines.rows["line"].to_list() == [*range(3, 13), 18]
    assert quarantined(lines) == [
        (13, "timestamp", b"2,x,5"),
        (14, "field_count", b"3,2026-01-25T08:00:01Z"),
        (15, "quotes", b'4,2026-01-25T08:00:02Z,"5'),
    ]
    assert (lines.counts.lines, lines.counts.blank, lines.counts.header) == (18, 2, 2)
    assert lines.counts.balanced


@pytest.mark.parametrize("first", ["a,b", 'ts,"b', "ts\rb"])
def test_csv_without_the_header_it_needs_is_all_quarantined(tmp_path, first):
    lines = read(
        f"{first}\n{T},1\n", tmp_path, format="csv", delimiter=",", timestamp_column="time"
    )

    assert len({reason for _, reason, _ in quarantined(lines)}) == 1
    assert lines.counts.quarantined == {quarantined(lines)[0][1]: 2}
    assert lines.counts.refused
    assert lines.counts.balanced


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(RawFileError, match=r"raw\.csv cannot be read: .*; check its permissions"):
        read_lines(
            RawFile(tmp_path / "raw.csv", "raw.csv", "raw"), ParseParameters(), LIMITS, tmp_path
        )


PIECES = st.sampled_from(
    [
        *(bytes([code]) for code in b';,:"\n\r\0 \t-+.T1Zx\x1c\x0b'),
        b"\n",
        b"\r\n",
        b"\xef\xbb\xbf",
        b"\xff",
        b"\xe2\x82",
        b"ts",
        b"m0:1",
        b"m0:1;m1:x",
        b"ts,a\n",
        T.encode(),
        f"{T};m0:1\n".encode(),
        f"{T},5\n".encode(),
        b"2019-01-01;m0:1\n",
        b"2999-01-01T00:00:00+01:00;m0:1\n",
        b"0000-01-01T00:00:00+10:00;m0:1\n",
        b"2025-10-26T02:30:00;m0:1\n",
    ]
)
BYTES = st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=25).map(b"".join))


@given(
    data=BYTES,
    params=st.fixed_dictionaries(
        {
            "format": st.sampled_from(["kv_csv", "csv"]),
            "delimiter": st.sampled_from([";", ",", "\t", "|", " "]),
            "tz": st.sampled_from(["UTC", "Europe/Paris"]),
        },
        optional={
            "from": st.just("2026-01-25T00:00:00Z"),
            "timestamp_column": st.sampled_from(["ts", "a"]),
        },
    ),
)
@example(data=b"\r", params={"format": "csv"})
@example(data=b"\x0b\n\x1c\n", params={"format": "csv"})
@example(data=b'"\n"', params={"format": "csv", "delimiter": ","})
@settings(deadline=None, max_examples=examples(125))
def test_every_line_of_any_bytes_ends_in_exactly_one_place(data, params):
    with tempfile.TemporaryDirectory() as folder:
        lines = read(data, Path(folder), **params)

    assert lines.counts.balanced
    if lines.unpacked:  # what looks like UTF-16 is read as such
        return
    end = b"\r" if b"\r" in data and b"\n" not in data else b"\n"
    assert lines.counts.lines == data.count(end) + (not data.endswith(end) and bool(data))
    places = [*lines.rows["line"], *lines.quarantined["line"]]
    assert len(set(places)) == len(places)
    assert lines.quarantined["reason"].null_count() == 0
    raw = data.split(end)
    assert [raw[line - 1] for line in lines.quarantined["line"]] == lines.quarantined[
        "raw"
    ].to_list()


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("PREMANIP_GRACE_pil-90_2026-01-25.csv", "pil-90"),
        ("pil-90_2026-01-25_part2.csv", "pil-90"),
        ("a/b/x_pil-90_2026-01-25.csv", "pil-90"),
        ("x_pil-90_2026-01-25_2026-01-26.csv", "pil-90"),
        ("x_pil-90__2026-01-25.csv", "pil-90"),
        ("x_pil 90 2026-01-25.csv", "pil 90"),
        ("x_.pil_2026-01-25.csv", "pil"),
        ("x_._2026-01-25.csv", "event"),
        ("2026-01-25.csv", "event"),
        ("_2026-01-25.csv", "event"),
        ("pil-98/2026-01-25.csv", "pil-98"),
        ("logger_7.csv", "logger_7"),
        ("logger.7.csv", "logger.7"),
        ("logger.7.csv.gz", "logger.7"),
        ("site.A.zip", "site.A"),
        ("logger_7.txt.zip", "logger_7"),
        ("x_12026-01-25.csv", "x_12026-01-25"),
    ],
)
def test_the_device_is_read_from_the_name(name, device):
    assert device_name(name, ParseParameters(), dataset="lab/event") == device


def test_substitutions_come_before_and_a_pattern_wins():
    params = ParseParameters.model_validate(
        {
            "file_name_substitute": [{"src": "-A_", "target": "_"}, {"src": "pil", "target": "p"}],
            "device_pattern": "^(?P<device>p[0-9]+)",
        }
    )

    assert device_name("x_pil90-A_2026-01-25.csv", params, dataset="d") == "p90"
    assert device_name("pil90_a_2026-01-25.csv", params, dataset="d") == "p90"


@pytest.mark.parametrize(
    "params",
    [
        {"device_pattern": "(?P<device>)x"},
        {"device_pattern": "(?P<device>y)?x"},
        {"file_name_substitute": [{"src": "x_2026-01-25.csv"}]},
    ],
)
def test_nothing_left_of_a_name_is_the_folders(params):
    params = ParseParameters.model_validate(params)

    assert device_name("a/x_2026-01-25.csv", params, dataset="d") == "a"
    assert device_name("x_2026-01-25.csv", params, dataset="d") == "d"


def test_a_device_cannot_name_a_folder():
    with pytest.raises(ValidationError, match="file_name_substitute"):
        ParseParameters.model_validate({"file_name_substitute": [{"src": "x", "target": "../x"}]})


def test_a_name_with_a_date_that_is_none():
    assert RawFile(Path("x_2026-02-30.csv"), "x_2026-02-30.csv", "x").named_day is None
    assert RawFile(Path("x_2026-02-28.csv"), "x", "x").named_day == date(2026, 2, 28)


def test_columns_of_quarantine(tmp_path):
    assert read("x", tmp_path).quarantined.schema == {
        "line": pl.Int64,
        "reason": pl.String,
        "raw": pl.Binary,
    }
