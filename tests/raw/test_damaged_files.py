"""Damaged files: no crash, and every line in exactly one place."""

from __future__ import annotations

import gzip
import io
import random
import tempfile
import zipfile
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from procezo_assets.datasets import Home
from procezo_assets.errors import DialectError
from procezo_assets.raw.containers import open_raw
from procezo_assets.raw.files import Limits
from procezo_assets.raw.quarantine import Quarantine, quarantine_path
from procezo_assets.raw.source import RawSource
from procezo_assets.treatments.parse import ParseParameters

LIMITS = Limits(date(2020, 1, 1), date(2026, 1, 31))

SECONDS = range(40)
KV = [f"2026-01-25T23:59:{s:02}Z;m0:{s};m1:-{s};outdoor_temp:{s}.5" for s in SECONDS]
KV += [f"2026-01-26T00:00:{s:02}.25Z;m0:{s}" for s in SECONDS]
CSV = ["ts,m0,temp °C"] + [f"2026-01-25T23:59:{s:02}Z,{s},{s}.5" for s in SECONDS]
HOBO = ['"Plot Title: 1"', '"#";"Date Time, GMT+02:00";"Temp, °C (LGR S/N: 1)";"End Of File"']
HOBO += [f"{s};25.01.2026 23:59:{s:02};{s},5;" for s in SECONDS]
TOA5 = ["TOA5,x,CR1000", "TIMESTAMP,RECORD,V_Avg", "TS,RN,Volts", ",,Avg"]
TOA5 += [f'"2026-01-25 23:59:{s:02}",{s},"NAN"' for s in SECONDS]
EPOCH = [f"{1769385599 + s}\t{s}" for s in SECONDS]
KINDS = {"kv": KV, "csv": CSV, "hobo": HOBO, "toa5": TOA5, "epoch": EPOCH}


def cut(data, rng):
    return data[: rng.randrange(len(data) + 1)]


def behead(data, rng):
    return data[rng.randrange(len(data) + 1) :]


def shuffle(data, rng):
    lines = data.split(b"\n")
    rng.shuffle(lines)
    return b"\n".join(lines)


def repeat_lines(data, rng):
    lines = data.split(b"\n")
    start = rng.randrange(len(lines))
    return b"\n".join([*lines, *lines[start : start + rng.randrange(30)]])


def splice(data, rng):
    other = "\n".join(KINDS[rng.choice(list(KINDS))]).encode()
    at = rng.randrange(len(data) + 1)
    return data[:at] + behead(other, rng) + data[at:]


def noise(data, rng):
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.randrange(1, 200)) + data[at:]


def nuls(data, rng):
    at = rng.randrange(len(data) + 1)
    return data[:at] + bytes(rng.randrange(1, 60)) + data[at:]


def flip(data, rng):
    changed = bytearray(data)
    for _ in range(min(len(data), rng.randrange(1, 20))):
        changed[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(changed)


def reencode(data, rng):
    encoding = rng.choice(["utf-16", "utf-16-be", "utf-32", "latin-1", "cp1252", "utf-8-sig"])
    return data.decode(errors="replace").encode(encoding, errors="replace")


def crlf(data, rng):
    return data.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\n", b"\n \t\n"]))


def packed(data, rng):
    if rng.random() < 0.5:
        return gzip.compress(data, mtime=0)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ["a.csv", "b.csv"][: rng.choice([1, 1, 1, 2])]:
            archive.writestr(name, data)
    return buffer.getvalue()


DAMAGES = [
    *(cut, behead, shuffle, repeat_lines, splice, noise, nuls, flip, reencode, crlf, packed),
]


def damaged(kind, damages, seed):
    rng = random.Random(seed)  # noqa: S311 - the same file for the same seed
    data = "\n".join(KINDS[kind]).encode() + rng.choice([b"", b"\n", b"\r\n"])
    for damage in damages:
        data = damage(data, rng)
    return data


def scan(dataset, params):
    source = RawSource(dataset, params, LIMITS, output="10_parsed")
    source.scan(partial(Quarantine, dataset, "flow"))
    return source


def quarantined(dataset, name):
    path = quarantine_path(dataset, "flow", name)
    return pl.read_parquet(path, glob=False) if path.exists() else pl.DataFrame({"line": []})


@given(
    kind=st.sampled_from(list(KINDS)),
    damages=st.lists(st.sampled_from(DAMAGES), max_size=4),
    seed=st.integers(0, 2**32),
    declared=st.fixed_dictionaries(
        {"format": st.sampled_from(["kv_csv", "csv"])},
        optional={"from": st.just("2026-01-25T23:59:20Z"), "date_order": st.just("DMY")},
    ),
)
@settings(
    deadline=None,
    max_examples=examples(60),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_every_line_of_a_damaged_file_is_in_exactly_one_place(kind, damages, seed, declared):
    data = damaged(kind, damages, seed)
    params = ParseParameters.model_validate(declared)
    with tempfile.TemporaryDirectory() as folder:
        dataset = Home(Path(folder)).dataset("DS")
        dataset.raw.mkdir(parents=True)
        (dataset.raw / "x.csv").write_bytes(data)

        source = scan(dataset, params)

        assert source.unreadable == {}
        (counted,) = source.files.values()
        bad = quarantined(dataset, "x.csv")
        check_places(source, counted, bad)
        check_bytes(dataset.raw / "x.csv", params, counted, bad)
        check_days(source, counted)
        check_small_blocks(dataset, params, counted, bad)


def check_places(source, counted, bad):
    assert counted.balanced
    assert sum(counted.quarantined.values()) == bad.height
    blocks = [at for at, block in enumerate(counted.blocks) if block.days]
    rows = [source._reader.rows(counted, at)["line"] for at in blocks]
    places = [*(line for lines in rows for line in lines), *bad["line"]]
    assert len(places) == counted.rows + bad.height
    assert len(set(places)) == len(places)
    assert set(places) <= set(range(1, counted.lines + 1))
    assert bad.is_empty() or bad["reason"].null_count() == 0


def check_bytes(path, params, counted, bad):
    """Quarantine keeps the bytes themselves: of a plain file those on disk."""
    data = path.read_bytes()
    try:
        with open_raw(path, path.parent, params) as opened:
            plain, end, text = not opened.unpacked, opened.newline, opened.read_at(0, 1 << 30)
    except DialectError as error:
        reason = error.reason
    else:
        reason = None
    if reason:
        assert bad.select("line", "reason", "raw").rows() == [(1, reason, data)]
        return
    assert text == data or not plain
    raw = text.split(end)
    assert counted.lines == len(raw) - (not raw[-1])
    assert bad.is_empty() or [raw[line - 1] for line in bad["line"]] == bad["raw"].to_list()


def check_days(source, counted):
    read = {day: source.read_day(day) for day in source.days}
    assert {day: devices["x"].rows.height for day, devices in read.items()} == counted.days
    assert {d: one["x"].digest for d, one in read.items()} == {
        d: source.day_digests(d)["x"] for d in source.days
    }


def check_small_blocks(dataset, params, counted, bad):
    """What a file holds does not depend on how it was cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("procezo_assets.raw.containers.BLOCK_BYTES", 256)
        patch.setattr("procezo_assets.raw.kept._KEPT_BYTES", 0)
        source = scan(dataset, params)
        (again,) = source.files.values()
        assert replace(again, blocks=()) == replace(counted, blocks=())
        assert quarantined(dataset, "x.csv").equals(bad)
        check_days(source, again)
