"""Small files that unpack to what no disk or memory holds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import signal
import subprocess
import sys
import time
import zipfile

import pytest
import xlsxwriter

from procezo_assets.errors import DialectError, RawFileError
from procezo_assets.raw import spreadsheets, unpacking
from procezo_assets.raw.containers import open_raw
from procezo_assets.stores.embedded_process import is_alive
from procezo_assets.treatments.parse import ParseParameters

MB = 1024**2
ZEROS = bytes(20 * MB)
PARAMS = ParseParameters.model_validate({"format": "csv"})


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def refusal(tmp_path, data):
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    with pytest.raises(DialectError) as caught:
        open_raw(path, tmp_path / "scratch", PARAMS)
    assert list((tmp_path / "scratch").iterdir()) == []
    return caught.value


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(ZEROS),
        bz2.compress(ZEROS),
        lzma.compress(ZEROS),
        zipped(a=ZEROS),
        # no layer alone is too much
        gzip.compress(lzma.compress(ZEROS)),
        zipped(a=gzip.compress(gzip.compress(ZEROS))),
    ],
    ids=["gzip", "bz2", "xz", "zip", "xz in gzip", "gzip in gzip in zip"],
)
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, data, monkeypatch):
    monkeypatch.setattr(unpacking, "_ALWAYS", MB)
    error = refusal(tmp_path, data)
    assert error.reason == "archive_bomb"
    assert "unpacks to more than" in str(error)
    assert error.hint == "if these are data, unpack it in its folder"


def test_a_zip_of_zips_of_zips_is_not_one_file(tmp_path):
    layer = zipped(**{"0.dll": bytes(4 * MB)})
    for _ in range(3):
        layer = zipped(**{f"lib {n}.zip": layer for n in range(16)})
    assert refusal(tmp_path, layer).reason == "archive_members"


def test_what_is_packed_well_but_small_is_read(tmp_path):
    (tmp_path / "x.csv").write_bytes(gzip.compress(ZEROS))
    with open_raw(tmp_path / "x.csv", tmp_path / "scratch", PARAMS) as opened:
        assert opened.read_at(0, 5) == bytes(5)


def test_unpacking_leaves_room_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "ROOM_LEFT_BYTES", 1 << 60)
    monkeypatch.setattr(unpacking, "_ROOM_ASKED_EVERY", MB)
    (tmp_path / "x.csv").write_bytes(gzip.compress(ZEROS))
    with pytest.raises(RawFileError, match=r"there is no room in .* to unpack it; make room"):
        open_raw(tmp_path / "x.csv", tmp_path / "scratch", PARAMS)


def sheet(last_row, last_column):
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer)
    page = book.add_worksheet()
    page.write(0, 0, "ts")
    page.write(last_row, last_column, 1)
    book.close()
    return buffer.getvalue()


def sheet_of_empty_rows(number):
    """Takes long to read, and no memory."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(sheet(0, 0))) as small,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as large,
    ):
        for name in small.namelist():
            start, rows, end = small.read(name).partition(b"<sheetData>")
            with large.open(name, "w") as member:
                member.write(start + rows)
                for _ in range(number // 100_000 if rows else 0):
                    member.write(b"<row/>" * 100_000)
                member.write(end)
    return buffer.getvalue()


def test_a_sheet_whose_corners_are_far_apart_ends_no_process_of_ours(tmp_path):
    error = refusal(tmp_path, sheet(1_048_575, 16_383))  # 5 kB that ask for 550 GB
    assert error.reason == "spreadsheet_too_large"
    assert "save its table as CSV" in str(error)


def test_a_sheet_takes_bounded_time(tmp_path, monkeypatch):
    monkeypatch.setattr(spreadsheets, "_MOST_SECONDS", 1)
    assert refusal(tmp_path, sheet(1_000_000, 20)).reason == "spreadsheet_too_large"


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_reader_says_nothing_of_the_file(tmp_path, stop, monkeypatch):
    start = subprocess.Popen

    def start_and_stop(*args, **named):
        reader = start(*args, **named)
        reader.send_signal(stop)
        return reader

    (tmp_path / "x.csv").write_bytes(sheet(10, 2))
    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", start_and_stop)
        with pytest.raises(RawFileError, match="was stopped"):
            open_raw(tmp_path / "x.csv", tmp_path / "scratch", PARAMS)
    with open_raw(tmp_path / "x.csv", tmp_path / "scratch", PARAMS) as opened:
        assert opened.read_at(0, 2) == b"ts"


def test_the_reader_is_not_in_the_group_that_the_terminal_interrupts(tmp_path, monkeypatch):
    groups = []
    start = subprocess.Popen

    def start_and_look(*args, **named):
        reader = start(*args, **named)
        groups.append(os.getpgid(reader.pid))
        return reader

    monkeypatch.setattr(subprocess, "Popen", start_and_look)
    (tmp_path / "x.csv").write_bytes(sheet(10, 2))
    open_raw(tmp_path / "x.csv", tmp_path / "scratch", PARAMS).close()
    assert groups
    assert os.getpgrp() not in groups


READS_A_SHEET = """
import subprocess, sys
from pathlib import Path
from procezo_assets.raw.containers import open_raw
from procezo_assets.treatments.parse import ParseParameters

class Told(subprocess.Popen):
    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        print(self.pid, flush=True)

subprocess.Popen = Told
open_raw(Path(sys.argv[1]), Path(sys.argv[2]), ParseParameters.model_validate({"format": "csv"}))
"""


def test_the_reader_ends_with_the_process_that_was_killed(tmp_path):
    (tmp_path / "x.csv").write_bytes(sheet_of_empty_rows(40_000_000))
    asking = subprocess.Popen(
        [sys.executable, "-c", READS_A_SHEET, tmp_path / "x.csv", tmp_path / "scratch"],
        stdout=subprocess.PIPE,
        text=True,
    )
    reader = int(asking.stdout.readline())
    time.sleep(1)  # it reads, which takes it ten seconds
    assert is_alive(reader)
    asking.kill()
    asking.communicate()
    killed = time.monotonic()
    while is_alive(reader):
        assert time.monotonic() - killed < 5
        time.sleep(0.1)


def test_lines_of_a_sheet_are_bounded_as_those_of_archives(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "_ALWAYS", MB)
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer)
    page = book.add_worksheet()
    for place in range(2000):  # one text that is stored once
        page.write(place // 40, place % 40, "x" * 10_000)
    book.close()
    assert refusal(tmp_path, buffer.getvalue()).reason == "archive_bomb"
