"""What a scan does about time, other scans, files that are gone, and dialects that nothing fits."""

from __future__ import annotations

import json
import time
from unittest.mock import Mock

import pytest
from filelock import FileLock
from raw_folder import D24, D25, D26, NOW, Folder

from procezo_assets.errors import RawFileError
from procezo_assets.raw import containers, differences, gone
from procezo_assets.raw.catalog_update import CatalogUpdate
from procezo_assets.raw.changes import Changes
from procezo_assets.raw.differences import Pace
from procezo_assets.raw.files import path_below
from procezo_assets.raw.gone import GONE_FILE
from procezo_assets.raw.quarantine import quarantine_path

CSV = {"format": "csv", "timezone": "UTC"}


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def soon():
    return time.monotonic() + 60


def test_gone_files_are_known_from_before_there_was_a_hash_of_what_is_inside(folder):
    path = folder.put("a.csv", D24)
    folder.put("b.csv", D25)
    source = folder.source()
    source.scan()
    path.unlink()
    source.scan()
    kept = folder.dataset.path / "10_parsed" / GONE_FILE
    (entry,) = json.loads(kept.read_text())
    del entry["content"]
    kept.write_text(json.dumps([entry]))
    folder.dataset.catalog.unlink()
    again = folder.source()
    again.scan()
    assert list(again.missing) == ["a.csv"]
    assert again.kept_days() == [D24]


def test_large_files_are_left_to_a_scan_without_a_deadline(folder, monkeypatch):
    monkeypatch.setattr(differences, "_LARGE", 100)
    folder.put("small.csv", D24)
    folder.put("large.csv", text=f"{D25}T08:00:00Z;m0:1\n" * 10)
    source = folder.source()

    changes = source.scan_changes(Pace(deadline=soon()))

    assert (changes.new, changes.large, changes.left) == (("small.csv",), ("large.csv",), 1)
    assert source.scan().new == ("large.csv",)
    assert source.scan_changes(Pace(deadline=soon())) == Changes()


def test_a_file_that_cannot_be_finished_in_time_is_left_as_a_whole(folder, monkeypatch):
    folder.put("b.csv", text=f"{D25}T08:00:00Z;m0:1\nrebooting\n" * 100)
    source = folder.source()
    deadline = soon()
    real = containers.OpenedRaw.stretches

    def slow(opened):
        for place, stretch in enumerate(real(opened)):
            if place and opened.path.name == "b.csv":
                monkeypatch.setattr(time, "monotonic", lambda: deadline + 1)
            yield stretch

    monkeypatch.setattr(containers, "BLOCK_BYTES", 256)
    monkeypatch.setattr(containers.OpenedRaw, "stretches", slow)
    changes = source.scan_changes(Pace(deadline=deadline))
    assert "b.csv" not in changes.new
    assert changes.left == 1
    assert not quarantine_path(folder.dataset, "f", "b.csv").exists()

    monkeypatch.undo()
    with monkeypatch.context() as patch:
        patch.setattr(containers, "BLOCK_BYTES", 256)
        patch.setattr(containers.OpenedRaw, "stretches", slow)
        deadline = soon()
        assert source.scan_changes(Pace(deadline=deadline)).large == ("b.csv",)  # nor alone
    monkeypatch.undo()
    assert source.scan_changes(Pace(deadline=soon())).new == ("b.csv",)


def test_one_scan_at_a_time_reads(folder):
    folder.put("a.csv", D24)
    source = folder.source()
    path = source.catalog.lock
    path.parent.mkdir(parents=True)
    with FileLock(path):
        assert source.scan_changes(Pace(deadline=soon())) == Changes(left=1, busy=True)
    assert source.scan_changes(Pace(deadline=soon())).new == ("a.csv",)


def test_files_that_were_ready_when_the_time_was_up_do_not_wait_again(folder):
    folder.put("a.csv", D24, at=NOW + 86400)
    source = folder.source()
    assert source.scan_changes(Pace(settle=5, now=NOW)).waiting == {"a.csv": 5.0}
    assert source.scan_changes(Pace(settle=5, now=NOW + 5, deadline=0.0)).left == 1
    changes = source.scan_changes(Pace(settle=5, now=NOW + 6, deadline=soon()))
    assert (changes.new, changes.waiting) == (("a.csv",), {})
    assert source.catalog.waiting() == {}


def test_a_file_from_a_clock_ahead_is_hashed_no_more_than_others(folder, monkeypatch):
    path = folder.put("a.csv", D24, at=time.time() + 86400)
    folder.source().scan()
    hashed = []
    monkeypatch.setattr("procezo_assets.raw.catalog_update.file_sha256", hashed.append)
    assert folder.source().scan() == Changes()
    assert hashed == []
    path.chmod(0o640)
    folder.source().scan()
    assert hashed == [path]


def test_a_file_that_is_back_counts_when_it_is_whole(folder):
    path = folder.put("a.csv", D24, D25)
    folder.put("b.csv", D26)
    folder.source().scan()
    path.unlink()
    folder.source().scan()
    folder.put("a.csv", D24, at=NOW)  # is being copied
    source = folder.source()

    changes = source.scan_changes(Pace(settle=5, now=NOW + 1))

    assert (changes.returned, changes.days) == ((), ())
    assert source.kept_days() == [D24, D25]
    folder.put("a.csv", D24, D25, at=NOW + 2)
    assert source.scan_changes(Pace(settle=5, now=NOW + 9)).returned == ("a.csv",)
    assert source.kept_days() == []


def test_gone_files_are_remembered_without_the_catalog(folder):
    path = folder.put("x_a_2026-01-24.csv", D24)
    folder.put("y_a_2026-01-24.csv", text=f"{D24}T09:00:00Z;m0:2\n")
    folder.source().scan()
    path.unlink()
    folder.source().scan()
    kept = folder.dataset.path / "10_parsed" / GONE_FILE
    (entry,) = json.loads(kept.read_text())
    assert (entry["path"], entry["days"]) == ("x_a_2026-01-24.csv", {"2026-01-24": 1})
    folder.dataset.catalog.unlink()

    source = folder.source()
    source.scan()

    # its device has other rows of that day
    assert source.why_kept(D24, ["a"]) == "raw file x_a_2026-01-24.csv is gone"
    assert source.all_files()["x_a_2026-01-24.csv"].rows == 1
    folder.put("x_a_2026-01-24.csv", D24)
    folder.source().scan()
    assert not kept.exists()


@pytest.mark.parametrize(
    "damage",
    [
        *("[{", "[" * 100_000, "{}", "[1]", "null", "\0"),
        {"size": 2**63},
        {"removed_at": 1e300},
        {"days": {"soon": 1}},
        {"dialect": {"format": "cvs"}},
        {"more": [1]},
        {"first": "yesterday"},
        {"quarantined": [1]},
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_damaged_memory_of_gone_files_is_no_empty_one(folder, damage):
    path = folder.put("a.csv", D24)
    folder.put("b.csv", D25)
    folder.source().scan()
    path.unlink()
    folder.source().scan()
    kept = folder.dataset.path / "10_parsed" / GONE_FILE
    (entry,) = json.loads(kept.read_text())
    kept.write_text(damage if isinstance(damage, str) else json.dumps([{**entry, **damage}]))
    folder.dataset.catalog.unlink()
    with pytest.raises(RawFileError, match=r"gone\.json cannot be read: it is damaged; bring it"):
        folder.source().scan()


def test_a_memory_of_gone_files_is_no_larger_than_what_is_read(folder, monkeypatch):
    paths = [folder.put(f"{name}.csv", D24) for name in ("a", "b")]
    folder.put("c.csv", D25)
    folder.source().scan()
    paths[0].unlink()
    folder.source().scan()
    kept = folder.dataset.path / "10_parsed" / GONE_FILE
    before = kept.read_bytes()
    monkeypatch.setattr(gone, "_MOST_BYTES", len(before))
    paths[1].unlink()
    with pytest.raises(RawFileError, match=r"gone\.json would have .* bytes for 2 raw files that"):
        folder.source().scan()
    assert kept.read_bytes() == before
    monkeypatch.setattr(gone, "_MOST_BYTES", 100)
    told = rf"gone\.json cannot be read: it has {len(before):,} bytes, and 100 are the most; bring"
    with pytest.raises(RawFileError, match=told):
        folder.source().scan()


LEADING_OUT = ["/outside", "../../../../outside", "deep/../../../../../outside", "a\0b"]


@pytest.mark.parametrize("name", [*LEADING_OUT, "absolute"])
def test_a_gone_file_has_no_name_that_leads_out_of_the_raw_folder(folder, tmp_path, name):
    precious = tmp_path / "outside.parquet"
    precious.write_text("precious")
    path = folder.put("a.csv", D24)
    folder.put("b.csv", D25)
    folder.source().scan()
    path.unlink()
    folder.source().scan()
    kept = folder.dataset.path / "10_parsed" / GONE_FILE
    (entry,) = json.loads(kept.read_text())
    named = str(precious.with_suffix("")) if name == "absolute" else name
    # in quarantine it would be found there again, and is not gone any more
    kept.write_text(json.dumps([{**entry, "path": named, "removed_at": None}]))
    folder.dataset.catalog.unlink()

    with pytest.raises(RawFileError, match=r"gone\.json cannot be read: .*(no path|damaged)"):
        folder.source().scan()

    assert precious.read_text() == "precious"


@pytest.mark.parametrize("name", LEADING_OUT)
def test_no_name_of_a_raw_file_leads_out_of_its_folders(folder, name):
    with pytest.raises(RawFileError, match="is no name of a raw file: it leads out of"):
        quarantine_path(folder.dataset, "f", name)
    with pytest.raises(RawFileError, match="is no name of a raw file: it leads out of"):
        path_below(folder.dataset.raw, name)
    for fine in ("a.csv", "deep/a..b.csv", "..a.csv", "a/...csv"):
        assert folder.dataset.raw in path_below(folder.dataset.raw, fine).parents


def test_a_file_fits_in_the_scan_that_settles_the_dialect(folder):
    folder.put("x_a_1.csv", text="ts,level\n04.08.2025 08:00:00,1\n")
    undecided = folder.source(**CSV)
    undecided.scan()
    assert undecided.days == []
    folder.put("x_a_2.csv", text="ts,level\n14.08.2025 08:00:00,1\n")

    source = folder.source(**CSV)
    changes = source.scan()

    assert (changes.new, changes.changed) == (("x_a_2.csv",), ("x_a_1.csv",))
    assert [str(day) for day in source.days] == ["2025-08-04", "2025-08-14"]
    assert folder.source(**CSV).scan() == Changes()


def test_a_dialect_that_no_file_has_is_settled_anew(folder):
    wrong = folder.put("x_a_1.csv", text=f"ts;level\n{D24} 08:00:00;1\n")
    folder.put("x_a_2.csv", text=f"ts,level\n{D25} 08:00:00,1\n")
    source = folder.source(removed="drop", **CSV)
    source.scan()
    assert source.days == [D24]
    wrong.unlink()

    source = folder.source(removed="drop", **CSV)
    assert source.scan().changed == ("x_a_2.csv",)
    assert source.days == [D25]
    assert folder.source(removed="drop", **CSV).scan() == Changes()


@pytest.mark.parametrize("removed", ["keep", "drop"])
def test_quarantine_follows_a_file_that_is_renamed(folder, removed):
    path = folder.put("x_a_2026-01-24.csv", text="rebooting\n")
    folder.put("b.csv", D24)
    folder.source(removed=removed).scan()
    path.rename(path.with_name("y_a_2026-01-24.csv"))
    folder.source(removed=removed).scan()

    there = [quarantine_path(folder.dataset, "f", f"{n}_a_2026-01-24.csv").exists() for n in "xy"]
    assert there == [False, True]


@pytest.mark.parametrize("removed", ["keep", "drop"])
def test_quarantine_follows_a_file_though_a_scan_was_interrupted(folder, removed, monkeypatch):
    path = folder.put("x_a_2026-01-24.csv", text="rebooting\n")
    folder.put("b.csv", D24)
    folder.source(removed=removed).scan()
    path.rename(path.with_name("y_a_2026-01-24.csv"))
    with monkeypatch.context() as patch:
        patch.setattr(CatalogUpdate, "_empty_quarantine", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            folder.source(removed=removed).scan()

    folder.source(removed=removed).scan()

    assert not quarantine_path(folder.dataset, "f", "x_a_2026-01-24.csv").exists()


def test_an_unreadable_file_stops_the_days_that_it_had(folder):
    path = folder.put("loose.csv", D24)
    folder.put("b.csv", D24, D25)
    folder.source().scan()
    path.unlink()
    path.symlink_to("nowhere")
    (folder.dataset.raw / "never.csv").symlink_to("nowhere")
    source = folder.source()
    source.scan()

    assert "loose.csv" in str(source.unreadable_on(D24))
    assert source.unreadable_on(D25) is None
