"""The raw files of a dataset as one flow reads them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from procezo_assets.datasets import Home
from procezo_assets.errors import RawFileError
from procezo_assets.raw import scanning
from procezo_assets.raw.files import Limits
from procezo_assets.raw.kept import blocks_shared
from procezo_assets.raw.quarantine import Quarantine, quarantine_path
from procezo_assets.raw.source import RawSource
from procezo_assets.treatments.parse import ParseParameters

D24, D25, D26 = date(2026, 1, 24), date(2026, 1, 25), date(2026, 1, 26)
LIMITS = Limits(date(2020, 1, 1), date(2026, 1, 31))


@pytest.fixture
def dataset(tmp_path):
    return Home(tmp_path).dataset("GRACE")


def put(dataset, files):
    for name, text in files.items():
        path = dataset.raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def scanned(dataset, files, **params):
    put(dataset, files)
    source = RawSource(dataset, ParseParameters.model_validate(params), LIMITS)
    source.scan()
    return source


def values(source, day, device="pil-90", key="m0"):
    return source.read_day(day)[device].rows[f"key:{key}"].cast(pl.String).to_list()


def test_rows_belong_to_their_day_whatever_the_file_is_called(dataset):
    source = scanned(
        dataset,
        {
            "x_pil-90_2026-01-25.csv": "2026-01-24T23:59:59.999999Z;m0:1\n"
            "2026-01-25T00:00:00Z;m0:2\n"
            "2026-01-26T01:00:00+02:00;m0:3\n2026-01-26T00:00:00Z;m0:4\n",
            "deep/er/x_pil-90_2019-01-01.csv": "2026-01-25T12:00:00Z;m0:5\n",
        },
    )

    assert source.days == [D24, D25, D26]
    assert [values(source, day) for day in source.days] == [["1"], ["2", "5", "3"], ["4"]]
    first = source.files["x_pil-90_2026-01-25.csv"]
    assert first.days == {D24: 1, D25: 2, D26: 1}
    assert (first.first, first.last) == (
        datetime(2026, 1, 24, 23, 59, 59, 999999, UTC),
        datetime(2026, 1, 26, tzinfo=UTC),
    )


def test_ties_are_sorted_by_file_name_then_line(dataset):
    t = "2026-01-25T08:00:00Z"
    source = scanned(
        dataset,
        {
            "b_pil-90_2026-01-25.csv": f"{t};m0:3\n{t};m0:4\n",
            "a_pil-90_2026-01-25.csv": f"{t};m0:1\n2026-01-25T07:00:00Z;m0:0\n{t};m0:2\n",
        },
    )

    assert values(source, D25) == ["0", "1", "2", "3", "4"]


def test_a_repeated_file_of_one_device_is_read_once(dataset):
    text = "2026-01-25T08:00:00Z;m0:1\n"
    source = scanned(
        dataset,
        {
            "pil-90_2026-01-25.csv": text,
            "again/pil-90_2026-01-25.csv": text,
            "pil-98_2026-01-25.csv": text,
        },
    )

    assert {name: counted.same_as for name, counted in source.files.items()} == {
        "again/pil-90_2026-01-25.csv": None,
        "pil-90_2026-01-25.csv": "again/pil-90_2026-01-25.csv",
        "pil-98_2026-01-25.csv": None,
    }
    assert [counted.file.name for counted in source.files_of(D25)] == [
        "again/pil-90_2026-01-25.csv",
        "pil-98_2026-01-25.csv",
    ]
    assert values(source, D25) == ["1"]
    assert values(source, D25, device="pil-98") == ["1"]


def test_the_digest_is_of_the_lines_not_of_their_files(dataset, tmp_path):
    lines = [f"2026-01-25T08:00:0{second}Z;m0:{second}\n" for second in range(6)]
    one = scanned(dataset, {"pil-90_2026-01-25.csv": "".join(lines)})
    split = scanned(
        Home(tmp_path / "other").dataset("GRACE"),
        {
            "pil-90_2026-01-27.csv": "".join(lines[3:]),
            "b_pil-90_2020-01-01.csv": "\ufeff" + lines[1].replace("\n", "\r\n") + "\n" + lines[0],
            "a_pil-90_2020-01-01.csv": lines[2],
        },
    )
    changed = scanned(
        Home(tmp_path / "third").dataset("GRACE"),
        {"pil-90_2026-01-25.csv": "".join(lines).replace("m0:5", "m0:6")},
    )

    digests = [source.read_day(D25)["pil-90"].digest for source in (one, split, changed)]
    assert digests[0] == digests[1] != digests[2]


def test_csv_digests_hold_their_header(dataset, tmp_path):
    row = "2026-01-25T08:00:00Z,1\n"
    one = scanned(dataset, {"pil-90_2026-01-25.csv": "ts,m0\n" + row}, format="csv", delimiter=",")
    two = scanned(
        Home(tmp_path / "other").dataset("GRACE"),
        {"pil-90_2026-01-25.csv": "ts,m1\n" + row},
        format="csv",
        delimiter=",",
    )

    assert values(one, D25) == values(two, D25, key="m1") == ["1"]
    assert one.read_day(D25)["pil-90"].digest != two.read_day(D25)["pil-90"].digest


def test_keys_of_one_file_are_null_in_the_rows_of_another(dataset):
    source = scanned(
        dataset,
        {
            "a_pil-90_2026-01-25.csv": "2026-01-25T08:00:00Z;m0:1\n",
            "b_pil-90_2026-01-25.csv": "2026-01-25T09:00:00Z;m1:2;x:3;y\n",
        },
    )

    day = source.read_day(D25)["pil-90"]
    assert day.rows.drop("ts").to_dict(as_series=False) == {
        "key:m0": [1, None],
        "key:m1": [None, 2],
    }
    assert day.fields.unclaimed == {"x": 1}
    assert day.fields.without_colon == 1


def test_numbers_of_one_file_are_texts_beside_words_of_another(dataset):
    source = scanned(
        dataset,
        {
            "a_pil-90_2026-01-25.csv": "2026-01-25T08:00:00Z;m0:01\n",
            "b_pil-90_2026-01-25.csv": "2026-01-25T09:00:00Z;m0:x\n",
        },
    )

    assert source.read_day(D25)["pil-90"].rows["key:m0"].to_list() == ["1", "x"]


def test_columns_are_those_of_the_day(dataset):
    source = scanned(
        dataset,
        {"pil-90.csv": "2026-01-25T08:00:00Z;m0:1\n2026-01-26T08:00:00Z;m1:1\n"},
    )

    assert source.read_day(D25)["pil-90"].rows.columns == ["ts", "key:m0"]
    assert source.read_day(D26)["pil-90"].rows.columns == ["ts", "key:m1"]


def test_a_file_that_changes_between_scan_and_reading(dataset, monkeypatch):
    monkeypatch.setattr("procezo_assets.raw.kept._KEPT_BYTES", 0)
    source = scanned(dataset, {"pil-90.csv": "2026-01-25T08:00:00Z;m0:1\n"})
    put(dataset, {"pil-90.csv": "2026-01-25T08:00:00Z;m0:2\n"})

    with pytest.raises(RawFileError, match=r"pil-90\.csv changed while it was read"):
        source.read_day(D25)


def test_lines_are_let_go_of_after_their_last_day(dataset):
    source = scanned(
        dataset,
        {"pil-90.csv": "2026-01-25T08:00:00Z;m0:1\n2026-01-26T08:00:00Z;m0:2\n"},
    )
    source.want([D25, D26])

    source.read_day(D25)
    kept = source._reader.kept
    assert kept.bytes > 0
    source.read_day(D26)
    assert kept.bytes == 0
    assert values(source, D25) == ["1"]  # read again


def test_what_was_read_to_plan_is_not_read_again(dataset, monkeypatch):
    with blocks_shared():
        planned = scanned(dataset, {"pil-90.csv": "2026-01-25T08:00:00Z;m0:1\n"})
        monkeypatch.setattr("procezo_assets.raw.scanning.read_block", None)
        run = RawSource(dataset, ParseParameters(), LIMITS, catalog=planned.catalog)
        run.scan()
        assert values(run, D25) == ["1"]

        put(dataset, {"pil-90.csv": "2026-01-25T08:00:00Z;m0:22\n"})
        run = RawSource(dataset, ParseParameters(), LIMITS, catalog=planned.catalog)
        run.scan()
        assert values(run, D25) == ["22"]

        many = "".join(f"2026-01-{day}T08:00:00Z;m0:{day}\n" for day in range(20, 26))
        put(dataset, {"pil-90.csv": many})
        planned = RawSource(dataset, ParseParameters(), LIMITS, catalog=planned.catalog)
        planned.scan()
        planned.load_digests(planned.days)
        assert all(planned.day_digests(day) for day in planned.days)
        run = RawSource(dataset, ParseParameters(), LIMITS, catalog=planned.catalog)
        run.scan()
        run.want(run.days)
        assert [values(run, day) for day in run.days] == [[str(day)] for day in range(20, 26)]

        put(dataset, {"pil-90.csv": "2026-01-25T08:00:00Z;m0:22\n"})
        others = ParseParameters(null_values=(22,))
        run = RawSource(dataset, others, LIMITS, catalog=planned.catalog)
        run.scan()
        assert values(run, D25) == [None]


def test_an_unreadable_file_fails_the_day_it_names_only(dataset):
    put(dataset, {"pil-90_2026-01-26.csv": "2026-01-26T08:00:00Z;m0:1\n"})
    obstacle = dataset.raw / "pil-98_2026-01-25.csv"
    put(dataset, {obstacle.name: "x"})

    source = RawSource(dataset, ParseParameters(), LIMITS)
    real = Path.open

    def refuse(path, *args, **kwargs):
        if path == obstacle:
            raise PermissionError(13, "Permission denied")  # root may read any file
        return real(path, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        source.scan()

    assert source.unreadable_on(D26) is None
    assert "Permission denied" in str(source.unreadable_on(D25))
    assert source.days == [D26]


def test_hidden_files_are_left_out(dataset):
    text = "2026-01-25T08:00:00Z;m0:1\n"
    source = scanned(dataset, {".pil-90.csv": text, ".tmp/pil-90.csv": text, "a/.x/b.csv": text})

    assert source.files == {}


def test_quarantine_is_a_file_per_raw_file_and_goes_with_its_reason(dataset):
    put(dataset, {"deep/pil-90.csv": "rebooting\n", "pil-98.csv": "2026-01-25T08:00:00Z;m0:1\n"})
    path = quarantine_path(dataset, "valvo", "deep/pil-90.csv")

    def scan():
        source = RawSource(dataset, ParseParameters(), LIMITS)
        source.scan(partial(Quarantine, dataset, "valvo"))

    scan()
    assert path == dataset.path / "quarantine/valvo/deep/pil-90.csv.parquet"
    before = path.read_bytes()
    scan()
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.parent.rglob("*.parquet")] == [path.name]

    put(dataset, {"deep/pil-90.csv": "2026-01-25T08:00:00Z;m0:1\n"})
    scan()
    assert not path.exists()


def test_an_offset_beyond_the_calendar_is_no_timestamp(dataset):
    text = "9999-12-31T23:59:59-05:00;m0:1\n0001-01-01T00:00:00+05:00;m0:1\n"
    source = scanned(dataset, {"x_pil-90_2026-01-25.csv": f"{text}{D25}T08:00:00Z;m0:2\n"})

    assert source.files["x_pil-90_2026-01-25.csv"].quarantined == {"timestamp": 2}
    assert values(source, D25) == ["2"]


@pytest.mark.parametrize("where", ["open_raw", "sniff", "count_lines"])
def test_a_file_that_breaks_the_reader_stops_no_other(dataset, monkeypatch, where):
    real = getattr(scanning, where)

    def broken(first, *rest, **named):
        path = first if isinstance(first, Path) else getattr(first, "path", None)
        if path is None:  # the lines of a file that is sniffed
            path = first.__self__.path
        if path.name.startswith("a_"):
            raise IndexError("never thought of")
        return real(first, *rest, **named)

    monkeypatch.setattr(scanning, where, broken)
    files = {f"{name}_pil-90_2026-01-25.csv": f"{D25}T08:00:00Z;m0:{name}\n" for name in "ab"}
    put(dataset, files)
    source = RawSource(dataset, ParseParameters(), LIMITS)
    source.scan(partial(Quarantine, dataset, "f"))

    assert values(source, D25) == ["b"]
    counted = source.files["a_pil-90_2026-01-25.csv"]
    assert (counted.quarantined, counted.balanced) == ({"reader_failed": 1}, True)
    assert "IndexError: never thought of" in counted.refused
    assert quarantine_path(dataset, "f", "a_pil-90_2026-01-25.csv").is_file()


def test_an_encoding_is_one_of_text():
    with pytest.raises(ValidationError, match="'rot13' is unknown"):
        ParseParameters.model_validate({"encoding": "rot13"})
