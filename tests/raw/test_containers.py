"""Raw files opened, whatever they come in."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from datetime import date, datetime, time

import pytest
import xlsxwriter

from procezo_assets.errors import DialectError, RawFileError
from procezo_assets.raw.containers import open_raw
from procezo_assets.treatments.parse import ParseParameters

TEXT = b"ts,a\n2026-01-25T08:00:00Z,1\n"


def opened(tmp_path, data, *, name="x.csv", **params):
    path = tmp_path / name
    path.write_bytes(data)
    params = ParseParameters.model_validate({"format": "csv", **params})
    return open_raw(path, tmp_path / "scratch", params)


def texts(tmp_path, data, **params):
    with opened(tmp_path, data, **params) as raw:
        return [text for block in raw.texts() for text in block]


def zipped(members, **kwargs):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **kwargs) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def sheets(**rows_of):
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"default_date_format": "yyyy-mm-dd hh:mm:ss"})
    for name, rows in rows_of.items():
        sheet = book.add_worksheet(name)
        for number, row in enumerate(rows):
            for place, value in enumerate(row):
                if value is not None:
                    sheet.write(number, place, value)
    book.close()
    return buffer.getvalue()


PACKED = {
    "gzip": gzip.compress(TEXT),
    "bz2": bz2.compress(TEXT),
    "xz": lzma.compress(TEXT),
    "zip": zipped({"in/x.csv": TEXT, "__MACOSX/._x.csv": b"?", "in/.DS_Store": b"?"}),
    "gzip in zip": zipped({"x.csv.gz": gzip.compress(TEXT)}),
}


@pytest.mark.parametrize("container", PACKED)
@pytest.mark.parametrize("in_memory", [0, 1 << 20])
def test_what_is_packed_is_unpacked_by_its_bytes(tmp_path, container, in_memory, monkeypatch):
    monkeypatch.setattr("procezo_assets.raw.containers._IN_MEMORY", in_memory or 1)
    with opened(tmp_path, PACKED[container]) as raw:
        assert raw.facts.container == container
        assert raw.size == len(PACKED[container])
        assert raw.read_at(0, 100) == TEXT
        assert raw.read_at(3, 2) == b"a\n"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_plain_file_is_read_where_it_lies(tmp_path):
    with opened(tmp_path, TEXT, name="x.csv.gz") as raw:  # some browsers unpack and keep the name
        assert (raw.facts.container, raw.unpacked) == (None, False)
        assert [one.data for one in raw.stretches()] == [TEXT]
        known = raw.sha256
    with opened(tmp_path, TEXT) as raw:
        assert raw.sha256 == known
    assert not (tmp_path / "scratch").exists()


_directory = PACKED["zip"].index(b"PK\x01\x02")
# a member that is said to begin before the file does, as lines in a wrong order make it
ZIP_BEFORE_ITS_START = PACKED["zip"][:20] + PACKED["zip"][_directory - 20 :]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (PACKED["gzip"][:-5], "damaged_archive"),
        (PACKED["gzip"][:20] + b"\xff" + PACKED["gzip"][21:], "damaged_archive"),
        (PACKED["xz"][:-5], "damaged_archive"),
        (PACKED["bz2"][:-5], "damaged_archive"),
        (PACKED["zip"][:-30], "damaged_archive"),
        (PACKED["zip"].replace(b"08:00", b"09:00"), "damaged_archive"),
        (b"PK\x03\x04", "damaged_archive"),
        (ZIP_BEFORE_ITS_START, "damaged_archive"),
        (zipped({}), "archive_members"),
        (zipped({"a.csv": TEXT, "b.csv": TEXT}), "archive_members"),
        (sheets(a=[[1]])[:-40], "damaged_archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "damaged_archive"),
    ],
    # archives hold the time they were made at
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_archive_is_refused(tmp_path, data, reason):
    with pytest.raises(DialectError, match=r"x\.csv") as caught:
        opened(tmp_path, data)
    assert caught.value.reason == reason
    assert not any((tmp_path / "scratch").glob("*"))


def renamed_sheet(name):
    """A spreadsheet of some kilobytes, however long the name of its sheet."""
    with zipfile.ZipFile(io.BytesIO(sheets(AAAA=[[1]]))) as book:
        members = {one: book.read(one).replace(b"AAAA", name) for one in book.namelist()}
    return zipped(members, compression=zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize("asked", [{}, {"sheet": "another"}])
def test_names_of_sheets_are_not_read_whole_however_long(tmp_path, asked):
    assert texts(tmp_path, renamed_sheet(b"A" * 60_000)) == ["1"]
    with pytest.raises(DialectError, match="its sheets have names of more than 64 KB") as caught:
        opened(tmp_path, renamed_sheet(b"A" * 70_000), **asked)
    assert caught.value.reason == "damaged_archive"


def test_a_zip_under_a_password_is_refused(tmp_path):
    data = bytearray(PACKED["zip"])
    data[6] |= 1  # the flag of the member, and in the directory
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    with pytest.raises(DialectError, match="password") as caught:
        opened(tmp_path, bytes(data))
    assert caught.value.reason == "archive_password"


def test_a_sheet_is_lines(tmp_path):
    data = sheets(
        first=[
            ["time", "a;b", "n"],
            [],
            [datetime(2026, 1, 25, 8, 0, 0, 250000), 0.1, 1.0],  # noqa: DTZ001 - as Excel has it
            [date(2026, 1, 25), None, True],
            [time(8, 30), "x\ny", -3],
        ],
        second=[["b"]],
    )
    assert texts(tmp_path, data) == [
        "time,a;b,n",
        "",
        "2026-01-25 08:00:00.250000,0.1,1",
        "2026-01-25,,True",
        "08:30:00,x y,-3",
    ]
    assert texts(tmp_path, data, sheet="second") == ["b"]
    assert texts(tmp_path, data, delimiter=";", decimal=",")[2].endswith(";0,1;1")
    with opened(tmp_path, data) as raw:
        assert raw.facts[1:] == ("xlsx", "first")
    with pytest.raises(DialectError, match="no sheet 'third'; set sheet to one of: first, second"):
        opened(tmp_path, data, sheet="third")


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        *(("utf-16", "utf-16"), ("utf-32", "utf-32"), ("utf-16-le", "utf-16-le")),
        *(("utf-16-be", "utf-16-be"), ("utf-8", "utf-8"), ("utf-8-sig", "utf-8")),
        *(("latin-1", "latin-1"), ("cp1252", "cp1252")),
    ],
)
def test_encodings(tmp_path, encoding, found):
    text = "ts,Temp °C" + (" €" if encoding == "cp1252" else "") + "\n1,2\n"
    with opened(tmp_path, text.encode(encoding)) as raw:
        assert raw.facts.encoding == found
    assert texts(tmp_path, text.encode(encoding)) == text.splitlines()
    assert texts(tmp_path, text.encode(encoding), encoding=encoding) == text.splitlines()


@pytest.mark.parametrize("damage", [b"\xff" * 60, b"\xff\n\xe9;\n" * 20, bytes(range(128, 256))])
def test_damage_makes_no_other_encoding_of_names_that_are_utf8(tmp_path, damage):
    lines = "ts,temp (°C)\n1,2\n".encode()
    with opened(tmp_path, lines + damage) as raw:
        assert raw.facts.encoding == "utf-8"
    with opened(tmp_path, lines.decode().encode("latin-1") + damage) as raw:
        assert raw.facts.encoding in {"latin-1", "cp1252"}


def test_encodings_that_are_declared(tmp_path):
    text = "時刻,a\n1,2\n"
    assert texts(tmp_path, text.encode("shift_jis"), encoding="shift_jis") == text.splitlines()
    assert texts(tmp_path, b"\x80\n", encoding="cp437") == ["Ç"]


def test_kv_csv_is_utf8_whatever_noise_is_in_it(tmp_path):
    assert texts(tmp_path, b"\xb0\n", format="kv_csv") == ["\ufffd"]
    assert texts(tmp_path, b"\xff\xfea\n\xc3", format="kv_csv") == ["\ufffd\ufffda", "\ufffd"]


def test_a_file_that_knows_no_lf_ends_its_lines_with_cr(tmp_path):
    assert texts(tmp_path, b"a\rb\r") == ["a", "b"]
    assert texts(tmp_path, b"a\rb\nc") == ["a\rb", "c"]


def test_a_file_that_shrinks_is_noticed_and_one_that_grows_is_read_as_it_was(tmp_path):
    with opened(tmp_path, TEXT) as raw:
        with (tmp_path / "x.csv").open("ab") as file:
            file.write(TEXT)
        assert [one.data for one in raw.stretches()] == [TEXT]
        (tmp_path / "x.csv").write_bytes(b"")
        with pytest.raises(RawFileError, match=r"x\.csv changed while it was read"):
            list(raw.stretches())


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(RawFileError, match=r"cannot be read: Is a directory"):
        open_raw(tmp_path, tmp_path, ParseParameters())
