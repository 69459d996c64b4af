"""What counts as missing or stale, and why."""

from __future__ import annotations

import os
import shutil

import pytest
from small_home import CLEAN, DAYS, DUCKDB, NORMALIZE, PARSE, RESAMPLE, SmallHome

from procezo_assets import freshness, stored_stages
from procezo_assets.freshness import known_days, stale_partitions
from procezo_assets.raw.gone import GONE_FILE
from procezo_assets.runs import Work, raw_source, run

LOAD = {**DUCKDB, "input": "35_normalized"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two days, complete and fresh."""
    home = SmallHome(tmp_path_factory.mktemp("home"))
    home.write_flow(PARSE, CLEAN, RESAMPLE, NORMALIZE, LOAD)
    home.write_raw(*DAYS[:2])
    work(home)
    return home


@pytest.fixture
def home(made, tmp_path):
    """A copy of it, with the same times of files, to do harm to."""
    shutil.copytree(made.path, tmp_path / "copy")
    return SmallHome(tmp_path / "copy")


def work(home: SmallHome, *days, refit=False, **params):
    flow = home.flow()
    dataset = home.home.dataset("DS-1")
    done = Work(flow, flow.stages, {dataset: days or DAYS[:2]}, params, refit=refit)
    return list(run(done))


def stale(home: SmallHome, *, raw=True, **params) -> set[tuple[str, int, str]]:
    flow = home.flow()
    dataset = home.home.dataset("DS-1")
    source = raw_source(flow, dataset, params) if raw else None
    if source is not None:
        source.scan()
    days = {*known_days(flow, dataset, flow.stages), *(source.days if source else ())}
    if source is not None:
        source.want(days)
    found = stale_partitions(flow, dataset, flow.stages, days, source=source, run_params=params)
    return {(one.stage, one.day.day, one.reason) for one in found}


def parts(home: SmallHome, folder: str, day) -> list:
    return sorted(home.stage(folder).glob(f"domain=*/day={day}/*.parquet"))


@pytest.mark.parametrize("pointer", ["", "../../x.json"])
def test_a_damaged_fit_stops_nobody_from_looking(home, pointer):
    (home.stage("35_normalized") / "fits" / "current").write_text(pointer)
    assert stale(home) == {("normalized", day.day, "fit unreadable") for day in DAYS[:2]}
    ended = home.procezo("status")
    assert (ended.code, ended.err) == (0, "")
    assert "2 fit unreadable" in ended.out


def test_what_was_just_made_is_fresh(home):
    assert stale(home) == set()
    assert stale(home, raw=False) == set()


@pytest.fixture
def read(monkeypatch):
    """The files whose footers are read."""
    files = []
    provenance = stored_stages.read_provenance
    monkeypatch.setattr(
        stored_stages, "read_provenance", lambda path: files.append(path) or provenance(path)
    )
    return files


def test_each_footer_is_read_once_while_its_file_stays_as_it_is(home, read, monkeypatch):
    monkeypatch.setattr(stored_stages, "_SURE_AFTER_NS", 0)
    assert stale(home) == set()
    assert read
    assert len(read) == len(set(read))
    read.clear()

    assert stale(home) == set()
    assert read == []

    changed = parts(home, "20_clean", DAYS[0])[0]
    times = (changed.stat().st_atime_ns, changed.stat().st_mtime_ns)
    changed.write_bytes(b"x" * changed.stat().st_size)
    os.utime(changed, ns=times)  # the same size and time
    assert stale(home) == {("clean", 20, "unreadable"), ("resampled", 20, "input changed")}
    assert read == parts(home, "20_clean", DAYS[0])


def test_what_was_read_is_kept_where_raw_lines_are_not_compared(home, read, monkeypatch):
    monkeypatch.setattr(stored_stages, "_SURE_AFTER_NS", 0)
    flow, dataset = home.flow(), home.home.dataset("DS-1")

    def unlike():
        kept = raw_source(flow, dataset)
        return stale_partitions(flow, dataset, flow.stages, DAYS[:2], kept=kept)

    assert unlike() == []
    assert read
    read.clear()

    assert unlike() == []
    assert read == []


def test_footers_of_files_that_may_change_unnoticed_are_read_again(home, read, monkeypatch):
    monkeypatch.setattr(stored_stages, "_SURE_AFTER_NS", 10**12)
    stale(home)
    first = read.copy()
    read.clear()

    stale(home)
    assert read == first


def test_a_footer_that_could_not_be_read_is_read_again(home, monkeypatch):
    monkeypatch.setattr(stored_stages, "_SURE_AFTER_NS", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_stages, "read_provenance", lambda _: None)
        assert stale(home)

    assert stale(home) == set()


def test_a_new_day_is_missing_where_its_input_is_there(home):
    home.write_raw(DAYS[2])
    assert stale(home) == {("parsed", 22, "missing")}
    assert stale(home, raw=False) == set()


def test_changed_lines_make_only_their_day_stale(home):
    home.write_raw(DAYS[1], lines=31)
    assert stale(home) == {("parsed", 21, "raw lines changed")}


def test_a_late_file_with_lines_of_an_earlier_day_makes_that_day_stale(home):
    home.raw_file("DS-1_pil-90_2026-01-25.csv").write_text("2026-01-20T23:00:00Z;m0:5\n")
    assert stale(home) == {("parsed", 20, "raw lines changed")}


def test_a_file_sent_twice_changes_nothing(home):
    path = home.raw_file(f"DS-1_pil-90_{DAYS[0]}.csv")
    shutil.copy(path, path.with_name(f"copy_of_DS-1_pil-90_{DAYS[0]}.csv"))
    assert stale(home) == set()


def test_lines_that_are_gone_leave_their_day_as_it_is(home):
    before = home.digests()
    path = home.raw_file(f"DS-1_pil-90_{DAYS[1]}.csv")
    text = path.read_text()
    path.unlink()
    assert stale(home) == set()
    work(home, DAYS[1])
    after = home.digests()
    assert after.pop(f"DS-1/10_parsed/{GONE_FILE}")  # which files are missed
    assert after == before

    path.write_text(text)
    assert stale(home) == set()
    path.write_text(text.replace("m0:100", "m0:101"))
    assert stale(home) == {("parsed", 21, "raw lines changed")}


def test_lines_that_are_gone_make_their_day_stale_where_the_flow_drops_them(home):
    home.write_flow(PARSE, CLEAN, RESAMPLE, NORMALIZE, LOAD, removed="drop")
    home.raw_file(f"DS-1_pil-90_{DAYS[1]}.csv").unlink()
    assert ("parsed", 21, "raw lines changed") in stale(home)
    work(home, DAYS[1])
    assert parts(home, "10_parsed", DAYS[1]) == []
    assert stale(home) == set()


def test_a_changed_input_is_seen_by_the_next_stage(home):
    home.write_raw(DAYS[1], lines=31)
    flow, dataset = home.flow(), home.home.dataset("DS-1")
    list(run(Work(flow, flow.stages[:1], {dataset: DAYS[1:2]})))
    assert stale(home) == {("clean", 21, "input changed")}


def made_with_the_clock_behind(home, day):
    """Make the first stage alone, by a clock that was set back by an hour."""
    flow, dataset = home.flow(), home.home.dataset("DS-1")
    list(run(Work(flow, flow.stages[:1], {dataset: [day]})))
    for path in parts(home, "10_parsed", day):
        before = path.stat().st_mtime - 3600
        os.utime(path, (before, before))


def test_a_changed_input_is_seen_whatever_the_clock_said(home, monkeypatch):
    monkeypatch.setattr(stored_stages, "_SURE_AFTER_NS", 0)
    assert stale(home) == set()
    home.write_raw(DAYS[1], lines=31)
    made_with_the_clock_behind(home, DAYS[1])
    assert stale(home) == {("clean", 21, "input changed")}


def test_a_device_that_came_to_known_inputs_is_seen_by_its_time(home, monkeypatch):
    monkeypatch.setattr(stored_stages, "_SURE_AFTER_NS", 0)
    assert stale(home) == set()
    home.write_raw(DAYS[1], device="pil-98")
    flow, dataset = home.flow(), home.home.dataset("DS-1")
    list(run(Work(flow, flow.stages[:1], {dataset: DAYS[1:2]})))
    assert stale(home) == {("clean", 21, "input changed")}


def test_restored_inputs_that_a_stage_leaves_out_change_nothing(home, monkeypatch):
    monkeypatch.setattr(stored_stages, "_SURE_AFTER_NS", 0)
    drops = {**NORMALIZE, "params": {"fit": True, "drop_domains": ["environment"]}}
    home.write_flow(PARSE, CLEAN, RESAMPLE, drops)
    work(home)
    assert len(parts(home, "25_resampled", DAYS[1])) == 2
    assert len(parts(home, "35_normalized", DAYS[1])) == 1
    assert stale(home) == set()

    for path in parts(home, "25_resampled", DAYS[1]):
        copy = path.with_suffix(".copy")
        shutil.copy2(path, copy)  # with its time, as restores do
        copy.replace(path)
    assert stale(home) == set()


def test_only_inputs_that_are_others_than_before_are_hashed_and_once(home, monkeypatch):
    monkeypatch.setattr(stored_stages, "_SURE_AFTER_NS", 0)
    hashed = []
    file_sha256 = freshness.file_sha256
    monkeypatch.setattr(
        freshness, "file_sha256", lambda path: hashed.append(path) or file_sha256(path)
    )
    assert stale(home) == set()
    assert hashed == []

    touched = parts(home, "20_clean", DAYS[0])
    for path in touched:
        os.utime(path)
    assert stale(home) == set()
    assert set(hashed) == set(touched)
    hashed.clear()

    assert stale(home) == set()
    assert hashed == []


def test_an_input_written_anew_with_the_same_bytes_changes_nothing(home):
    for path in parts(home, "10_parsed", DAYS[0]):
        os.utime(path)
    assert stale(home) == set()


def test_changed_parameters_make_all_days_of_their_stage_stale(home):
    assert stale(home, clean={"drop_duplicates": False}) == {
        ("clean", 20, "parameters changed"),
        ("clean", 21, "parameters changed"),
    }


def test_another_fit_makes_all_days_stale(home):
    home.write_raw(DAYS[1], level=300)
    work(home, DAYS[1], refit=True)  # the first day is not made again
    assert {one for one in stale(home) if one[0] == "normalized"} == {
        ("normalized", 20, "fit changed")
    }


def test_a_damaged_file_is_stale(home):
    parts(home, "20_clean", DAYS[0])[0].write_bytes(b"PAR1 broken")
    assert ("clean", 20, "unreadable") in stale(home)


def test_a_stage_whose_files_are_gone_is_missing(home):
    for path in parts(home, "20_clean", DAYS[0]):
        path.unlink()
    assert ("clean", 20, "missing") in stale(home)


def test_a_stage_whose_input_lost_a_file_is_stale(home):
    parts(home, "20_clean", DAYS[0])[0].unlink()
    assert ("resampled", 20, "input is gone") in stale(home)


def test_a_stage_with_one_file_gone_is_stale(home):
    parts(home, "35_normalized", DAYS[0])[0].unlink()
    assert "normalized" in {stage for stage, _, _ in stale(home)}


def test_what_was_not_loaded_is_told(home):
    (home.stage("50_duckdb") / "loaded.json").unlink()
    assert stale(home) == {("duckdb", 20, "not loaded"), ("duckdb", 21, "not loaded")}


def test_running_what_is_stale_leaves_nothing_stale(home):
    home.write_raw(DAYS[1], lines=40)
    home.write_raw(DAYS[2])
    work(home, *DAYS)
    assert stale(home) == set()
