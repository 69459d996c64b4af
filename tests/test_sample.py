"""The demo's raw files: the same everywhere, and with every fault that they promise."""

import hashlib
import re
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from raw_lines import read_lines

from procezo_assets.raw.files import Limits, RawFile, device_name
from procezo_assets.sample import write_sample
from procezo_assets.treatments.clean import CleanParameters, clean
from procezo_assets.treatments.model import PartAbout
from procezo_assets.treatments.parse import ParseParameters, parse

PARAMS = ParseParameters()
LIMITS = Limits(start=date(2020, 1, 1), today=date(2026, 2, 1))
ALL_FILES = "c20de676fa02ff0a5130f6a6f2df55cf155cf97392c49ee22e592232ae0612a4"


def read(path):
    device = device_name(path.name, PARAMS, dataset="VALVO-DEMO")
    return read_lines(RawFile(path, path.name, device), PARAMS, LIMITS, path.parent)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sample") / "VALVO-DEMO" / "00_raw"


@pytest.fixture(scope="module")
def paths(folder):
    return write_sample(folder)


@pytest.fixture(scope="module")
def files(paths):
    return [read(path) for path in paths]


@pytest.fixture(scope="module")
def devices(files):
    """By device: the parsed domains of all its days, and what was met in the fields."""
    read_of = {}
    for device in ("pil-90", "pil-98"):
        fields = [(file, *file.fields(PARAMS)) for file in files]
        mine = [part for part in fields if part[0].counts.file.device == device]
        rows = [pl.concat([file.rows.select("ts"), cut], how="horizontal") for file, cut, _ in mine]
        merged = pl.concat(rows, how="diagonal").sort("ts", maintain_order=True)
        read_of[device] = (parse(merged, PARAMS), [counts for _, _, counts in mine])
    return read_of


def test_the_files_are_named_and_sized_as_the_demo_needs_them(paths, folder):
    assert [path.name for path in paths] == [
        f"VALVO-DEMO_{device}_2026-01-{day}.csv"
        for device in ("pil-90", "pil-98")
        for day in (20, 21, 22)
    ]
    assert sorted(folder.iterdir()) == paths
    assert 4e6 < sum(path.stat().st_size for path in paths) < 8e6


def test_the_bytes_are_the_same_on_every_machine_and_run(paths, tmp_path):
    first = hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
    again = write_sample(tmp_path)
    assert write_sample(tmp_path) == again  # files that are there are replaced
    assert hashlib.sha256(b"".join(path.read_bytes() for path in again)).hexdigest() == first
    assert first == ALL_FILES


def test_writing_is_fast(tmp_path):
    started = time.process_time()
    write_sample(tmp_path)
    assert time.process_time() - started < 2


def test_lines_look_as_the_loggers_write_them(paths):
    line = paths[0].read_text().splitlines()[0]
    fields = "".join(f";m{channel}:[0-9]+" for channel in range(12))
    stamp = r"2026-01-20T00:00:[0-9]{2}\.[0-9]{6}Z"
    assert re.fullmatch(rf"{stamp}{fields};outdoor_temp:[0-9]+\.[0-9]{{2}}", line)


def test_every_line_ends_in_exactly_one_place(files):
    assert all(file.counts.balanced for file in files)
    assert [file.counts.blank for file in files] == [3] * 6
    assert [file.counts.excluded for file in files] == [0] * 6
    assert all(file.rows.height > 9000 for file in files)


def test_lines_that_are_no_rows_are_quarantined_for_their_reasons(files):
    reasons = [
        Counter(zip(file.quarantined["reason"], file.quarantined["raw"], strict=True))
        for file in files
    ]
    for found in reasons:
        without_value = [raw for reason, raw in found if reason == "no_key_value"]
        assert len(without_value) == 2
        assert all(re.fullmatch(rb"2026-01-2.T[0-9:.]+Z;?", raw) for raw in without_value)
        assert found["timestamp", b"rebooting"] >= 1
    truncated = [
        [raw for _, raw in found if raw.startswith(b"2026") and len(raw) < 20] for found in reasons
    ]
    assert truncated == [[], [], [b"2026-01-22T23:5"], [], [], []]


def test_a_reboot_ends_a_gap_with_a_wrong_temperature(paths):
    lines = paths[0].read_text().splitlines()
    place = lines.index("rebooting")
    last, first = (
        datetime.fromisoformat(lines[number].partition(";")[0]) for number in (place - 1, place + 1)
    )
    assert first - last > timedelta(seconds=15)
    assert lines[place + 1].endswith("outdoor_temp:85.00")


def test_the_last_lines_are_truncated(paths, devices):
    assert paths[2].read_bytes().endswith(b"\n2026-01-22T23:5")
    assert paths[5].read_bytes().endswith(b";m9")
    assert [[counts.without_colon for counts in devices[name][1]] for name in devices] == [
        [0, 0, 0],
        [0, 0, 1],
    ]


def test_nul_bytes_do_not_keep_a_line_from_being_a_row(paths, files):
    for path, file in zip(paths, files, strict=True):
        with_nul = [
            number
            for number, line in enumerate(path.read_bytes().split(b"\n"), start=1)
            if b"\0" in line
        ]
        assert len(with_nul) == 1
        assert with_nul[0] in file.rows["line"]


def test_one_file_crosses_midnight(files):
    days = [sorted(file.rows["ts"].dt.date().unique()) for file in files]
    assert [len(found) for found in days] == [1, 1, 1, 2, 1, 1]
    last = files[3].rows["ts"].max()
    assert datetime(2026, 1, 21, 0, 5, tzinfo=UTC) < last < datetime(2026, 1, 21, 0, 8, tzinfo=UTC)
    assert files[4].rows["ts"].min() > last


def test_keys_are_missing_and_one_sensor_starts_late(devices):
    for device, (domains, _) in devices.items():
        frame = domains["bio_signal"].frames[None]
        assert frame.columns == ["ts", *(f"m{channel}" for channel in range(12))]
        assert all(frame[f"m{channel}"].null_count() > 100 for channel in range(12))
        starts = {
            column: frame.filter(pl.col(column).is_not_null())["ts"].min()
            for column in frame.columns[1:]
        }
        late = [name for name, start in starts.items() if start.hour >= 5]
        assert late == (["m11"] if device == "pil-98" else [])


def test_the_temperature_is_on_about_every_third_line(devices):
    for domains, _ in devices.values():
        frame = domains["environment"].frames[None]
        assert 0.32 < frame["outdoor_temp"].count() / frame.height < 0.35


def test_gaps_are_of_2_to_200_samples(devices):
    for domains, _ in devices.values():
        ts = domains["bio_signal"].frames[None]["ts"]
        seconds = ts.diff().dt.total_microseconds().drop_nulls() / 1e6
        assert 5 < seconds.median() < 10
        assert (seconds > 11).sum() > 30
        assert 1500 < seconds.max() < 2200


def test_timestamps_repeat_with_other_values_and_seconds_hold_two_samples(devices):
    for domains, _ in devices.values():
        frame = domains["bio_signal"].frames[None]
        repeated = frame.filter(pl.col("ts").is_duplicated())
        assert 20 < repeated["ts"].n_unique() <= 30
        assert repeated.height == 2 * repeated["ts"].n_unique()
        assert repeated.unique(maintain_order=True).height == repeated.height
        second = frame["ts"].unique().dt.truncate("1s")
        assert second.len() - second.n_unique() > 30


def test_values_are_wrong_in_the_ways_of_the_field(devices):
    for device, (domains, _) in devices.items():
        parsed = domains["bio_signal"]
        assert sum(parsed.values_removed["not_number"].values()) > 20
        assert sum(parsed.values_removed["not_integer"].values()) > 20
        frame = parsed.frames[None]
        values = frame.drop("ts").unpivot()["value"].drop_nulls()
        assert set(values.filter(~values.is_between(0, 800))) == {-5, 1023}
        about = PartAbout(device, "bio_signal", date(2026, 1, 20), None)
        cleaned = clean(frame, CleanParameters(), about=about)
        assert cleaned.rows_removed["repeated_timestamp"] > 20
        assert sum(cleaned.values_removed["out_of_range"].values()) > 100
        assert sum(cleaned.values_removed["spike"].values()) > 300
        kept = sum(cleaned.frames[None].drop("ts").count().row(0))
        assert kept > 0.99 * values.len()


def test_mussels_are_mostly_open_and_close_at_times(devices):
    for domains, _ in devices.values():
        frame = domains["bio_signal"].frames[None]
        for channel in range(12):
            values = frame[f"m{channel}"].drop_nulls()
            closed = (values.is_between(0, 100)).mean()
            assert 0.01 < closed < 0.35
            assert 250 < values.median() < 700
