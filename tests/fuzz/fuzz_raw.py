"""Bytes as a raw file: whatever they are, each line ends in one place and nothing else escapes."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tempfile
import unicodedata
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from unittest.mock import patch

import polars as pl

from procezo_assets.datasets import Home
from procezo_assets.errors import DialectError, ProcezoError
from procezo_assets.raw import containers
from procezo_assets.raw.classify import read_fields
from procezo_assets.raw.containers import open_raw
from procezo_assets.raw.dialect import DateOrder
from procezo_assets.raw.files import Limits, RawFile
from procezo_assets.raw.fixed import DIALECT_FILE
from procezo_assets.raw.inspection import inspect_file
from procezo_assets.raw.local_time import Clock
from procezo_assets.raw.reader import count_lines, count_whole, read_block
from procezo_assets.raw.scanning import FileReader
from procezo_assets.raw.sniff import sniff
from procezo_assets.raw.stamps import StampStyle, read_stamps
from procezo_assets.raw.timestamps import parse_timestamps
from procezo_assets.treatments.parse import ParseParameters, parse

LIMITS = Limits(date(2020, 1, 1), date(2026, 1, 31))
COMPARED_ALONE = 3
SMALL_BLOCK = 150
STEERS = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of characters, other line ends
TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
BETWEEN_FILES = b"\n=====\n"

# the first byte of an input chooses one of these, modulo their number: `0` is the first
KV = [
    {},
    {"delimiter": ","},
    {"tz": "Europe/Paris", "ambiguous": "earliest", "nonexistent": "shift"},
    {"from": "2026-01-25T23:59:20Z", "to": "2026-01-26T00:00:10Z"},
    {"null_values": [-9999, "x"]},
    {"encoding": "utf-16"},
    {"delimiter": " ", "domains": {"d": {"columns": ["*"]}}},
    {"delimiter": "|", "tz": "Europe/Paris", "domains": {"d": {"columns": ["a?", "m0"]}}},
]
CSV = [
    {},
    {"delimiter": ","},
    {"delimiter": ";", "decimal": ",", "date_order": "DMY"},
    {"timezone": "Europe/Paris", "ambiguous": "latest"},
    {"header_row": 1},
    {"header_row": 0, "timestamp_columns": [1]},
    {"timestamp_columns": [1, 2], "timestamp_format": "%d.%m.%Y %H:%M:%S"},
    {"timestamp_column": "ts"},
    {"columns": ["ts", "a", "b"]},
    {"encoding": "latin-1", "null_values": [-9999, "-"]},
    {"encoding": "utf-16"},
    {"encoding": "shift_jis"},
    {"delimiter": " ", "date_order": "MDY"},
    {"delimiter": "\t", "units": {"temp": "°C"}, "from": "2026-01-25T23:59:20Z"},
    {"domains": {"d": {"columns": ["temp", "m?"], "rename": {"temp": "t"}}}},
    {"timestamp_columns": ["date", "time"], "decimal": "."},
]


def kv_csv(data: bytes) -> None:
    obeys_laws(data[1:], {"format": "kv_csv", **_chosen(KV, data)})


def csv(data: bytes) -> None:
    obeys_laws(data[1:], {"format": "csv", **_chosen(CSV, data)})


def packed(data: bytes) -> None:
    packing, rest = _chosen(PACKINGS, data), data[1:]
    declared: dict[str, object] = {"format": "csv" if rest[:1] != b"k" else "kv_csv"}
    inside = obeys_laws(packing(rest[1:]), declared)
    if packing in KEEP_BYTES:
        assert inside == obeys_laws(rest[1:], declared)


def dataset(data: bytes) -> None:
    """Several files of one dataset, the dialect of which is settled by all of them."""
    declared = ParseParameters.model_validate({"format": "csv", **_chosen(CSV, data)})
    with _dataset(data[1:].split(BETWEEN_FILES)[:4]) as (one, files):
        first = _read_dataset(one, declared, files)
        # whether or not the later ones told what the earlier ones left open
        again = _read_dataset(one, declared, files)
    assert [counted.file for counted in first] == files
    assert [counted.rows for counted in again] == [counted.rows for counted in first]


def settled(data: bytes) -> None:
    """A file of a dataset whose settled dialect says anything: `{"dialect": …, "file": "…"}`."""
    try:
        said = json.loads(data)
        dialect, text = json.dumps(said["dialect"]), str(said["file"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return
    declared = ParseParameters.model_validate({"format": "csv"})
    with _dataset([text.encode(errors="replace")]) as (one, files):
        one.stage("10_parsed").mkdir()
        (one.stage("10_parsed") / DIALECT_FILE).write_text(dialect)
        try:
            first = _read_dataset(one, declared, files)
        except ProcezoError as error:
            one_line(error)
            return
        again = _read_dataset(one, declared, files)
    assert [counted.rows for counted in again] == [counted.rows for counted in first]


def inspected(data: bytes) -> None:
    """What a file looks like; of a sound one, the parameters that are told read it alike."""
    path = _file(data)
    try:
        told = inspect_file(path, {})
    except ProcezoError as error:
        one_line(error)
        return
    ragged = told.dialect.least_fields == 1 < len(told.dialect.columns)
    if not ragged and told.dialect.header_lines <= 1 and not told.counts.quarantined:
        assert inspect_file(path, told.params).counts.rows == told.counts.rows


def stamps(data: bytes) -> None:
    """Timestamps, one a line: each is read as if it were alone, and whatever stands before it."""
    style = _chosen(STYLES, data)
    text = data[2:].decode(errors="replace").replace("\0", "")
    zone = "Europe/Paris" if data[1:2] == b"p" else "UTC"
    clock = Clock(zone, "quarantine", "shift" if data[1:2] == b"s" else "quarantine")
    texts = pl.Series([line.strip() for line in text.split("\n")[:6]], dtype=pl.String)

    def read(some: pl.Series) -> pl.DataFrame:
        if style is None:
            return parse_timestamps(some, clock=clock)[0].select("ts", "problem")
        columns = pl.DataFrame({str(n): some for n in range(len(style.parts))})
        return read_stamps(columns, style, clock)[0].select("ts", "problem")

    together = read(texts)
    assert together.height == len(texts)
    assert (together["ts"].is_null() == together["problem"].is_not_null()).all()
    alone = pl.concat([read(texts.slice(at, 1)) for at in range(len(texts))])
    assert together.equals(alone), (together.rows(), alone.rows())


def obeys_laws(data: bytes, declared: dict[str, object]) -> list[tuple[object, ...]]:
    """Read a file, hold all laws to it, and hand back its rows and the places of others."""
    params = ParseParameters.model_validate(declared)
    path = _file(data)
    opened, counts, rows, bad = _read(path, params)
    assert counts.balanced
    places = [*rows["line"], *bad["line"]]
    assert len(places) == counts.rows + sum(counts.quarantined.values())
    assert len(set(places)) == len(places)
    assert set(places) <= set(range(1, counts.lines + 1))
    assert bad["reason"].null_count() == 0
    assert rows["ts"].null_count() == 0
    if opened:
        raw = opened[0].split(opened[1])
        assert counts.lines == len(raw) - (not raw[-1])
        assert [raw[line - 1] for line in bad["line"]] == bad["raw"].to_list()
    if counts.dialect is not None and rows.height:
        _values_are_each_lines_own(rows, counts.dialect, params)
    return [*rows.rows(), *bad.select("line", "reason").rows()]


def one_line(error: ProcezoError) -> None:
    """What a person is told can be printed anywhere, and is no longer than a screen."""
    told = str(error)
    assert not any(unicodedata.category(one) in STEERS or one in TURNS for one in told), told
    assert 0 < len(told) <= 2_100, len(told)


def _values_are_each_lines_own(rows, dialect, params):
    def values(some):
        fields, _ = read_fields(some["text"], dialect, params)
        frame = pl.concat([some.select("ts"), fields], how="horizontal")
        domains = parse(frame, params)
        return {
            f"{domain}/{column.name}": column
            for domain, treated in domains.items()
            for column in treated.frames[None]
        }

    together = values(rows)
    for at in range(min(rows.height, COMPARED_ALONE)):
        alone = values(rows.slice(at, 1))
        assert set(alone) <= set(together)
        for name, column in together.items():
            expected = alone[name].to_list() if name in alone else [None]
            assert column.slice(at, 1).to_list() == expected, (name, rows["text"][at])


def _read(path, params):
    file = RawFile(path, path.name, "d")
    try:
        with open_raw(path, _folder(), params) as opened:
            try:
                dialect = sniff(opened.texts, opened.facts, params, fixed=None)
            except DialectError as error:
                one_line(error)
                dialect = error
            cut = whole = _counted(opened, file, params, dialect)
            data = opened.read_at(0, 1 << 30)
            if len(data) > SMALL_BLOCK:
                with patch.object(containers, "BLOCK_BYTES", SMALL_BLOCK):
                    cut = _counted(opened, file, params, dialect)
                assert replace(cut[0], blocks=()) == replace(whole[0], blocks=())
                assert cut[1].equals(whole[1])
                assert cut[2].equals(whole[2])
            _is_read_again(opened, params, cut[0], cut[1])
            return (data, opened.newline), *whole
    except DialectError as error:
        one_line(error)
        blocks = []
        counts = count_whole(file, error, on_block=blocks.append)
        return None, counts, _ROWS, blocks[0].quarantined


def _counted(opened, file, params, dialect):
    blocks = []
    counts = count_lines(opened, file, params, LIMITS, dialect=dialect, on_block=blocks.append)
    rows = pl.concat([_ROWS, *(block.rows for block in blocks)])
    bad = pl.concat([_BAD, *(block.quarantined for block in blocks)])
    return counts, rows, bad


def _is_read_again(opened, params, counts, rows):
    if counts.dialect is not None:
        again = [read_block(opened, b, counts.read_by, params, LIMITS) for b in counts.blocks]
        assert pl.concat([_ROWS, *again]).equals(rows)


@contextmanager
def _dataset(texts):
    with tempfile.TemporaryDirectory(dir=_folder()) as home:
        one = Home(Path(home)).dataset("DS")
        one.raw.mkdir(parents=True)
        files = []
        for number, text in enumerate(texts):
            path = one.raw / f"{number}.csv"
            path.write_bytes(text)
            files.append(RawFile(path, path.name, "d"))
        yield one, files


def _read_dataset(one, params, files):
    reader = FileReader(one, params, LIMITS, output="10_parsed")
    bad = []

    class Sink:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def add(self, lines):
            bad.append(lines.height)

    counted = list(reader.read(files, lambda _: Sink()))
    assert reader.failed == {}
    assert sum(bad) == sum(sum(each.quarantined.values()) for each in counted)
    for each in counted:
        assert each.balanced
        assert "reader_failed" not in each.quarantined, each.refused
    return sorted(counted, key=lambda each: each.file.name)


def _zip(*members: bytes) -> bytes:
    return _zip_of({f"{number}.csv": data for number, data in enumerate(members)})


def _zip_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def _xlsx(sheet: bytes) -> bytes:
    return _zip_of({**SPREADSHEET, "xl/worksheets/sheet1.xml": sheet})


def _text_as(encoding: str):
    return lambda data: data.decode(errors="replace").encode(encoding, errors="replace")


def _chosen(options, data):
    return options[(data[0] - ord("0")) % len(options)] if data else options[0]


def _file(data: bytes) -> Path:
    path = _folder() / "x_d_2026-01-25.csv"
    path.write_bytes(data)
    return path


@cache
def _folder() -> Path:
    _folder.kept = tempfile.TemporaryDirectory(prefix="procezo-fuzz-")
    return Path(_folder.kept.name)


_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
SPREADSHEET = {
    "[Content_Types].xml": b'<Types xmlns="http://schemas.openxmlformats.org/package/2006/'
    b'content-types"><Default Extension="xml" ContentType="application/xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="r1" Type="{_OFFICE}/'
    'officeDocument" Target="xl/workbook.xml"/></Relationships>'.encode(),
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="r1" '
    f'Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="r2" '
    f'Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>'.encode(),
    "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}"><cellXfs count="2"><xf numFmtId="0"/>'
    '<xf numFmtId="22"/></cellXfs></styleSheet>'.encode(),
    "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
    '<sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>'.encode(),
}
KEEP_BYTES = [
    lambda data: gzip.compress(data, mtime=0),
    bz2.compress,
    lzma.compress,
    _zip,
]
PACKINGS = [
    bytes,
    *KEEP_BYTES,
    lambda data: _zip(*data.split(BETWEEN_FILES)),
    _xlsx,
    lambda data: gzip.compress(_zip(data), mtime=0),
    _text_as("utf-16"),
    _text_as("utf-16-be"),
    _text_as("utf-32"),
    lambda data: gzip.compress(data, mtime=0)[:-4],
    lambda data: b"\x1f\x8b\x08" + data,
    lambda data: b"PK\x03\x04" + data,
]
ORDERS: list[DateOrder] = ["YMD", "DMY", "MDY"]
STYLES = [
    None,
    *(StampStyle(date_style=s, order=o) for s in ("-", "/", ".", "name") for o in ORDERS),
    StampStyle(date_style="8digits"),
    StampStyle(date_style="6digits", order="DMY"),
    StampStyle(date_style="-", words=("CET", "EST")),
    StampStyle(date_style="-", zoned=True),
    StampStyle(kind="epoch_s"),
    StampStyle(kind="epoch_ms"),
    StampStyle(kind="format", format="%d.%m.%Y %H:%M:%S%.f"),
    StampStyle(kind="format", format="%Y-%m-%dT%H:%M:%S%z"),
    StampStyle(date_style="/", parts="*t", order="DMY"),
]
_ROWS = pl.DataFrame(schema={"ts": pl.Datetime("us", "UTC"), "line": pl.Int64, "text": pl.String})
_BAD = pl.DataFrame(schema={"line": pl.Int64, "reason": pl.String, "raw": pl.Binary})
