"""What a scan reads, and what it remembers: new, grown, replaced, gone and returned raw files."""

from __future__ import annotations

import gzip
import os
import shutil
import time
from datetime import date

import pytest
from raw_folder import D24, D25, D26, NOW, Folder

from procezo_assets.datasets import Home
from procezo_assets.errors import RawFileError
from procezo_assets.raw.changes import Changes
from procezo_assets.raw.differences import Pace
from procezo_assets.raw.files import Limits
from procezo_assets.raw.quarantine import quarantine_path
from procezo_assets.raw.scanning import FileReader
from procezo_assets.raw.source import RawSource


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


@pytest.fixture
def reads(monkeypatch):
    """The names of the files that are read."""
    names = []
    real = FileReader._open

    def noted(self, file, settled):
        names.append(file.name)
        return real(self, file, settled)

    monkeypatch.setattr(FileReader, "_open", noted)
    return names


def test_a_known_file_is_not_read_again(folder, reads):
    folder.put("a_2026-01-24.csv", D24)
    changes = folder.source().scan()
    assert (changes.new, changes.days, bool(changes)) == (("a_2026-01-24.csv",), (D24,), True)

    again = folder.source()
    assert again.scan() == Changes()
    assert (again.days, list(again.read_day(D24))) == ([D24], ["a"])
    assert reads == ["a_2026-01-24.csv"]


def test_new_grown_removed_and_returned_files(folder):
    a, b = folder.put("a.csv", D24), folder.put("b.csv", D25)
    folder.source().scan()
    folder.put("a.csv", D24, D26)
    folder.put("c.csv", D25)
    b.unlink()

    changes = folder.source().scan()

    assert changes == Changes(("c.csv",), ("a.csv",), ("b.csv",), (), (D24, D25, D26))
    source = folder.source()
    source.scan()
    assert list(source.missing) == ["b.csv"]  # c has its bytes, but is of another device
    assert source.kept_days() == [D25]
    assert source.why_kept(D25, []) == "raw file b.csv is gone"
    assert source.why_kept(D24, []) is None
    folder.put("b.csv", D25)
    assert folder.source().scan().returned == ("b.csv",)
    assert a.is_file()
    source.scan()
    assert source.kept_days() == []


def test_a_file_that_was_renamed_is_not_gone(folder):
    path = folder.put("x_pil-90_2026-01-24.csv", D24)
    folder.source().scan()
    path.rename(path.with_name("y_pil-90_2026-01-25.csv"))

    source = folder.source()
    changes = source.scan()

    assert (changes.new, changes.removed) == (
        ("y_pil-90_2026-01-25.csv",),
        ("x_pil-90_2026-01-24.csv",),
    )
    assert (source.missing, source.kept_days()) == ({}, [])


def test_a_file_that_was_packed_is_not_gone_and_changes_no_day(folder):
    path = folder.put("pil-90.csv", D24, text=f"t;x\n{D24} 10:00;1\n{D24} 10:01;2\n")
    source = folder.source(format="csv")
    source.scan()
    before = source.identity(D24), source.day_digests(D24)
    packed = folder.put("pil-90.csv.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))

    both = folder.source(format="csv")
    both.scan()
    assert both.files["pil-90.csv.gz"].same_as == "pil-90.csv"
    assert (both.rows_of(D24), both.day_digests(D24)) == (2, before[1])

    path.unlink()
    alone = folder.source(format="csv")
    alone.scan()
    assert (alone.missing, alone.kept_days()) == ({}, [])
    assert (alone.identity(D24), alone.day_digests(D24)) == before


def test_dropped_files_are_forgotten_and_touch_their_days(folder):
    path = folder.put("a.csv", D24)
    folder.put("b.csv", D25)
    source = folder.source(removed="drop")
    source.scan()
    mark = source.touched("").mark
    path.unlink()

    assert source.scan().removed == ("a.csv",)

    assert source.touched(mark).days == (D24,)
    assert (source.missing, source.kept_days(), source.days) == ({}, [], [D25])
    assert source.why_kept(D24, ["a"]) is None


@pytest.mark.parametrize("removed", ["keep", "drop"])
def test_a_folder_that_lost_everything_touches_nothing(folder, removed):
    folder.put("a.csv", D24)
    source = folder.source(removed=removed)
    source.scan()
    mark = source.touched("").mark
    aside = folder.dataset.raw.rename(folder.dataset.raw.with_name("unmounted"))

    assert source.scan().removed == ("a.csv",)
    assert source.touched(mark).days == ()
    with pytest.raises(RawFileError, match="is empty"):
        source.refuse_emptiness([D24])

    aside.rename(folder.dataset.raw)
    assert source.scan().returned == ("a.csv",)
    assert source.days == [D24]


def test_files_of_a_folder_that_cannot_be_opened_are_not_gone(folder, monkeypatch):
    folder.put("deep/a.csv", D24)
    folder.put("b.csv", D25)
    source = folder.source(removed="drop")
    source.scan()
    real = os.scandir

    def refuse(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied")  # root may open any
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    changes = source.scan()

    assert (changes.removed, [file.name for file in source.unreadable]) == ((), ["deep"])
    assert source.days == [D24, D25]


def test_days_are_named_until_whoever_asks_has_seen_them(folder):
    source = folder.source()
    folder.put("a.csv", D24)
    source.scan()
    mark = source.touched("").mark
    folder.put("b.csv", D25)
    folder.source().scan()  # another command sees it first
    assert source.scan() == Changes()

    touched = source.touched(mark)

    assert touched.days == (D25,)
    assert source.touched(touched.mark).days == ()


def test_a_file_is_read_once_it_is_still(folder):
    folder.put("a.csv", D24, at=NOW)
    source = folder.source()

    changes = source.scan_changes(Pace(settle=5, now=NOW + 2))
    assert (changes.waiting, changes.new) == ({"a.csv": 3.0}, ())
    folder.put("a.csv", D24, D25, at=NOW + 4)
    assert source.scan_changes(Pace(settle=5, now=NOW + 6)).waiting == {"a.csv": 3.0}
    assert source.scan_changes(Pace(settle=5, now=NOW + 9)).new == ("a.csv",)
    assert source.scan_changes(Pace(settle=5, now=NOW + 10)) == Changes()
    assert source.days == [D24, D25]


def test_a_file_that_is_never_still_is_read_now_and_then(folder):
    source = folder.source()
    read = []
    for minute in range(40):
        at = NOW + 60 * minute
        folder.put("a.csv", text=f"{D24}T08:00:00Z;m0:1\n" * (minute + 1), at=at)
        changes = folder.source().scan_changes(Pace(settle=61, refresh=600, now=at + 1))
        if changes:
            read.append(minute)
    assert read == [10, 21, 32]
    source.scan()


def test_a_file_from_a_clock_ahead_waits_no_longer_than_others(folder):
    folder.put("a.csv", D24, at=NOW + 86400)
    source = folder.source()
    assert source.scan_changes(Pace(settle=5, now=NOW)).waiting == {"a.csv": 5.0}
    assert source.scan_changes(Pace(settle=5, now=NOW + 5)).new == ("a.csv",)


def test_a_scan_ends_in_time_and_goes_on_in_the_next(folder):
    for place in range(5):
        folder.put(f"{place}.csv", D24)
    source = folder.source()

    assert source.scan_changes(Pace(deadline=time.monotonic() - 1)) == Changes(left=5)
    left = source.scan_changes(Pace(deadline=time.monotonic() + 60))
    assert (len(left.new), left.left) == (5, 0)


def test_a_rewrite_of_the_same_size_in_the_same_instant_is_noticed(folder, reads):
    at = time.time()
    folder.put("a.csv", text="2026-01-24T08:00:00Z;m0:1\n", at=at)
    folder.source().scan()
    folder.put("a.csv", text="2026-01-24T08:00:00Z;m0:2\n", at=at)

    source = folder.source()
    assert source.scan().changed == ("a.csv",)
    assert source.read_day(D24)["a"].rows["key:m0"].to_list() == [2]
    assert reads == ["a.csv", "a.csv"]
    assert source.scan() == Changes()  # its bytes are compared as long as it is that young


def test_a_rewrite_that_keeps_the_time_is_noticed_by_the_other_time(folder, reads):
    folder.put("a.csv", text="2026-01-24T08:00:00Z;m0:1\n")
    folder.source().scan()
    folder.put("a.csv", text="2026-01-24T08:00:00Z;m0:2\n")
    assert folder.source().scan().changed == ("a.csv",)

    (folder.dataset.raw / "a.csv").chmod(0o640)
    assert folder.source().scan() == Changes()
    assert reads == ["a.csv", "a.csv"]


def test_a_copy_of_the_home_knows_its_files_without_reading_their_lines(folder, tmp_path, reads):
    folder.put("a.csv", D24)
    folder.source().scan()
    shutil.copytree(tmp_path, tmp_path.with_name("copy"))
    copy = object.__new__(Folder)
    copy.dataset = Home(tmp_path.with_name("copy")).dataset("GRACE")

    assert copy.source().scan() == Changes()
    assert reads == ["a.csv"]


def test_lines_of_the_future_are_rows_once_their_day_has_come(folder):
    folder.put("a.csv", D24, D26)
    early = folder.source(limits=Limits(date(2020, 1, 1), D25))
    early.scan()
    assert (early.days, early.files["a.csv"].quarantined) == ([D24], {"future": 1})
    assert folder.source(limits=Limits(date(2020, 1, 1), D25)).scan() == Changes()

    source = folder.source(limits=Limits(date(2020, 1, 1), D26))
    changes = source.scan()

    assert (changes.changed, changes.days) == (("a.csv",), (D24, D26))
    assert source.files["a.csv"].quarantined == {}


def test_other_parameters_read_the_files_again(folder, reads):
    folder.put("a.csv", D24)
    folder.source().scan()
    assert folder.source(from_="2026-01-25T00:00:00Z").scan().changed == ("a.csv",)
    assert folder.source(from_="2026-01-25T00:00:00Z").scan() == Changes()
    assert folder.source(flow="g").scan().new == ("a.csv",)
    assert len(reads) == 3


def test_what_is_scanned_without_keeping_is_read_again_by_who_keeps(folder):
    folder.put("a.csv", text="rebooting\n")
    path = quarantine_path(folder.dataset, "f", "a.csv")

    assert folder.source(keep=False).scan().new == ("a.csv",)
    assert folder.source(keep=False).scan() == Changes()
    assert not path.exists()
    assert not (folder.dataset.path / "10_parsed").exists()
    assert folder.source().scan().changed == ("a.csv",)
    assert path.is_file()
    assert folder.source().scan() == Changes()


@pytest.mark.parametrize("how", ["removed", "damaged"])
def test_a_catalog_that_is_lost_is_filled_again(folder, how):
    folder.put("a.csv", D24)
    source = folder.source()
    source.scan()
    mark = source.touched("").mark
    if how == "removed":
        folder.dataset.catalog.unlink()
    else:
        folder.dataset.catalog.write_bytes(b"nothing of the kind\n" * 1000)

    assert source.days == [D24]
    source._days = None
    assert list(source.files) == ["a.csv"]
    assert folder.source().scan() in (Changes(), Changes(("a.csv",), days=(D24,)))
    assert folder.source().touched(mark).days == (D24,)


def test_without_memory_a_device_without_any_row_is_kept(folder):
    folder.put("x_a_2026-01-24.csv", D24)
    source = folder.source()
    source.scan()

    # results of `b` are there, and nothing ever knew its raw files
    assert source.why_kept(D24, ["a", "b"]) == "the raw files of b are gone"
    assert source.why_kept(D26, ["b"]) == "the raw files of b are gone"
    assert source.why_kept(D24, ["a"]) is None
    assert source.why_kept(D26, []) is None


def test_rows_that_a_replaced_file_no_longer_has_are_not_kept(folder):
    folder.put("x_a_2026-01-24.csv", D24, D25)
    folder.source().scan()
    folder.put("x_a_2026-01-24.csv", D24)
    source = folder.source()
    source.scan()

    assert source.why_kept(D25, ["a"]) is None


def test_digests_of_days_are_remembered(folder, monkeypatch):
    folder.put("a.csv", D24, D25)
    source = folder.source()
    source.scan()
    digests = {day: source.day_digests(day) for day in (D24, D25)}
    assert digests[D24] == {"a": source.read_day(D24)["a"].digest}

    again = folder.source()
    again.scan()
    again.load_digests([D24, D25])
    monkeypatch.setattr(RawSource, "_rows_of", None)  # nothing is read
    assert {day: again.day_digests(day) for day in (D24, D25)} == digests


def test_digests_follow_the_files_of_their_day(folder):
    folder.put("x_a_1.csv", D24)
    source = folder.source()
    source.scan()
    before = source.day_digests(D24), source.identity(D24)
    folder.put("again/x_a_1.csv", D24)
    source.scan()
    assert (source.day_digests(D24), source.identity(D24)) == before
    folder.put("x_a_2.csv", text=f"{D24}T09:00:00Z;m0:2\n")
    source.scan()
    assert source.day_digests(D24) != before[0]
    assert source.identity(D24) != before[1]


def test_a_file_that_another_process_has_read_anew_is_not_mistaken(folder):
    folder.put("a.csv", text="2026-01-24T08:00:00Z;m0:1\n")
    source = folder.source()
    source.scan()
    assert source.files_of(D24)[0].lines == 1
    folder.put("a.csv", text="2026-01-24T08:00:00Z;m0:1\n2026-01-24T09:00:00Z;m0:2\n")
    folder.source().scan()

    source.scan()

    assert source.read_day(D24)["a"].rows["key:m0"].to_list() == [1, 2]


def test_names_that_are_no_utf8_are_known_again(folder, reads):
    name = os.fsdecode(b"x_p\xe9l_2026-01-24.csv")
    folder.put(name, D24)
    folder.source().scan()
    source = folder.source()
    assert source.scan() == Changes()
    assert list(source.read_day(D24)) == ["p\ufffdl"]
    assert len(reads) == 1


def test_csv_files_are_not_read_again_when_a_later_one_narrows_the_dialect(folder, reads):
    folder.put("x_a_1.csv", text=f"ts,level\n{D24} 08:00:00,1\n")
    folder.source(format="csv", timezone="UTC").scan()
    assert folder.source(format="csv", timezone="UTC").scan() == Changes()
    folder.put("x_a_2.csv", text=f"ts,level\n{D25} 08:00:00,1.5\n")
    assert folder.source(format="csv", timezone="UTC").scan().new == ("x_a_2.csv",)
    assert folder.source(format="csv", timezone="UTC").scan() == Changes()
    assert reads == ["x_a_1.csv", "x_a_2.csv"]

    (folder.dataset.path / "10_parsed" / "dialect.json").unlink()
    assert len(folder.source(format="csv", timezone="UTC").scan().changed) == 2
    assert folder.source(format="csv", timezone="UTC").scan() == Changes()
