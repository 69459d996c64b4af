"""Which days a look at raw files asks to be made."""

from __future__ import annotations

import os
import time
from datetime import date, timedelta
from unittest.mock import patch

import pytest
from core_home import CLEAN, D1, D2, D3, NORMALIZE, PARSE, RESAMPLE, CoreHome, lines

from procezo_assets.arrivals import AGAIN_AFTER, Memory, look
from procezo_assets.raw import differences
from procezo_assets.runs import raw_source, today

STILL = {"settle_seconds": 0}


@pytest.fixture
def home(tmp_path):
    return CoreHome(tmp_path)


class Looker:
    """Looks at one dataset again and again, as a sensor does."""

    def __init__(self, home, flow, dataset="DS"):
        self.home = home
        self.flow = flow
        self.dataset = home.home.dataset(dataset)
        self.memory = Memory()
        self.asked = []

    def look(self, **fields):
        self.found = look(self.flow, self.dataset, self.memory, **fields)
        self.memory = self.found.memory
        self.asked += self.found.asked
        return [(one.first, one.last) for one in self.found.asked]

    def run(self):
        """Do what was asked, once."""
        for one in self.found.asked:
            days = [one.first + timedelta(days=n) for n in range((one.last - one.first).days + 1)]
            names = [stage.name for stage in one.stages]
            self.home.run(self.flow, *days, stages=names, dataset=self.dataset.name)


@pytest.fixture
def looker(home):
    return Looker(home, home.flow(PARSE, CLEAN, **STILL))


def test_contiguous_days_are_asked_for_together_and_once(home, looker):
    later = D3 + timedelta(days=30)
    home.raw_days(D1, D2, D3, later)
    assert looker.look() == [(D1, D3), (later, later)]
    assert looker.look() == []
    looker.run()
    assert looker.look() == []


def test_what_was_made_by_hand_is_not_asked_for(home, looker):
    home.raw_days(D1, D2)
    home.run_well(looker.flow, D1)
    assert looker.look() == [(D2, D2)]


def test_rows_of_one_day_in_several_files_are_one_partition(home, looker):
    text = lines(D1)
    home.raw("x_pil-90_part1.csv", "".join(text[:10]))
    home.raw("x_pil-90_part2.csv", "".join(text[10:]))
    assert looker.look() == [(D1, D1)]


def test_only_the_days_whose_rows_changed_are_asked_for_again(home, looker):
    path = home.raw("x_pil-90.csv", "".join(lines(D1) + lines(D2)))
    assert looker.look() == [(D1, D2)]
    looker.run()
    path.write_text("".join(lines(D1) + lines(D2) + lines(D3)))  # it has grown
    assert looker.look() == [(D3, D3)]
    looker.run()
    path.write_text("".join(lines(D1) + lines(D2, level=200) + lines(D3)))  # it was corrected
    assert looker.look() == [(D2, D2)]


def test_a_change_back_is_asked_for_too(home, looker):
    for level in (100, 200, 100, 200):
        home.raw_days(D1, level=level)
        assert looker.look() == [(D1, D1)], level
        looker.run()


def test_a_late_file_and_a_repeated_upload(home, looker):
    home.raw_days(D2)
    looker.look()
    looker.run()
    home.raw_days(D2, device="pil-91")
    home.raw("again/x_pil-90_2025-03-02.csv", "".join(lines(D2)))
    assert looker.look() == [(D2, D2)]
    looker.run()
    home.raw("third/x_pil-90_2025-03-02.csv", "".join(lines(D2)))
    assert looker.look() == []


def test_a_touched_file_with_the_same_content_is_not_made_again(home, looker):
    path = home.raw("x_pil-90.csv", "".join(lines(D1)))
    looker.look()
    looker.run()
    os.utime(path)
    assert looker.look() == []


def test_a_failed_day_is_asked_for_again_when_the_flow_changes(home, looker):
    home.raw_days(D1)
    looker.look()
    other = home.flow({**PARSE, "params": {"tz": "Europe/Paris"}}, CLEAN, **STILL)
    changed = Looker(home, other)
    assert changed.look() == [(D1, D1)]


def test_days_of_runs_under_way_wait_for_their_end(home, looker):
    home.raw_days(D1, D2)
    looker.look()
    looker.run()
    home.raw_days(D1, D2, level=200)
    assert looker.look(in_flight=[(D1, D1)]) == [(D2, D2)]
    looker.run()
    assert looker.look(in_flight=[(D1, D1)]) == []
    assert looker.look() == [(D1, D1)]  # the run had read the file before
    looker.run()
    assert looker.look() == []


def test_days_that_a_run_under_way_has_made_are_not_asked_for_when_it_ends(home, looker):
    home.raw_days(D1)
    assert looker.look(in_flight=[(D1, D1)]) == []
    home.run_well(looker.flow, D1)
    assert looker.look() == []
    assert looker.memory.pending == ()


def test_a_file_that_is_not_still_is_waited_for(home):
    looker = Looker(home, home.flow(PARSE, settle_seconds=100, refresh_minutes=10))
    path = home.raw("x_pil-90.csv", "".join(lines(D1)))
    assert looker.look() == []
    assert 90 < looker.found.waits <= 100
    before = time.time() - 200
    os.utime(path, (before, before))
    assert looker.look() == [(D1, D1)]
    assert looker.found.waits is None


def test_a_file_too_large_for_a_look_is_read_by_a_run(home, looker, monkeypatch):
    home.raw_days(D1)
    monkeypatch.setattr(differences, "_LARGE", 100)
    day = today()
    assert looker.look(deadline=time.monotonic() + 60) == [(day, day)]
    assert looker.look(deadline=time.monotonic() + 60) == []
    home.run(looker.flow, day, stages=["parsed"])
    assert looker.look(deadline=time.monotonic() + 60) == [(D1, D1)]


def test_a_removed_file_is_told_of_and_its_day_kept(home, looker):
    path = home.raw("x_pil-90.csv", "".join(lines(D1)))
    home.raw_days(D2, device="pil-91")
    looker.look()
    looker.run()
    path.unlink()
    assert looker.look() == []
    (note,) = looker.found.notes
    assert note == "DS: raw file x_pil-90.csv is gone; its days stay as they are until it is back"
    path.write_text("".join(lines(D1)))
    assert looker.look() == []
    assert looker.found.notes == ["DS: raw file x_pil-90.csv is back"]


def test_a_removed_file_is_dropped_where_the_flow_says_so(home):
    looker = Looker(home, home.flow(PARSE, removed="drop", **STILL))
    path = home.raw("x_pil-90.csv", "".join(lines(D1) + lines(D2)))
    home.raw_days(D2, device="pil-91")
    looker.look()
    looker.run()
    path.unlink()
    assert looker.look() == [(D1, D2)]
    assert looker.found.notes == [
        "DS: raw file x_pil-90.csv is gone; its days are made again without it"
    ]
    looker.run()
    assert list(home.frames("10_parsed", D1)) == []
    assert {key.device for key in home.frames("10_parsed", D2)} == {"pil-91"}


def test_a_file_that_cannot_be_read_does_not_stop_the_others(home, looker):
    home.raw_days(D1)
    (home.home.dataset("DS").raw / "x_pil-91_2025-03-02.csv").symlink_to("nowhere")
    assert looker.look() == [(D1, D1)]
    assert "x_pil-91_2025-03-02.csv" in looker.found.notes[0]


def test_files_without_a_single_row_are_told_of(home, looker):
    home.raw("x_pil-90.csv", "no row at all\n")
    assert looker.look() == []
    assert "no line of the 1 raw files of dataset 'DS' is a row" in looker.found.notes[0]


def test_a_fit_is_made_from_all_days_of_one_run(home):
    looker = Looker(home, home.flow(PARSE, CLEAN, RESAMPLE, NORMALIZE, **STILL))
    later = D3 + timedelta(days=5)
    home.raw_days(D1, later)
    assert looker.look() == [(D1, later)]
    looker.run()
    home.raw_days(D3)
    assert looker.look() == [(D3, D3)]


def test_only_the_stages_that_need_it_are_asked_for(home, looker):
    home.raw_days(D1)
    home.run_well(looker.flow, D1, stages=["parsed"])
    assert looker.look() == [(D1, D1)]
    assert [stage.name for stage in looker.asked[0].stages] == ["clean"]


def test_raw_files_are_told_of_by_day_newest_first(home, looker):
    home.raw("x_pil-90.csv", "".join(lines(D1) + lines(D2)) + "spoilt\n")
    home.raw_days(D2, device="pil-91")
    home.raw("again/x_pil-91_2025-03-02.csv", "".join(lines(D2)))
    looker.look(told_at_once=1)
    (day,) = looker.found.days
    assert (day.day, day.files, day.rows, day.quarantined) == (D2, 2, 60, 1)
    assert day.names == ("again/x_pil-91_2025-03-02.csv", "x_pil-90.csv")
    looker.look()
    (day,) = looker.found.days
    assert (day.day, day.files, day.rows) == (D1, 1, 30)
    looker.look()
    assert looker.found.days == []


def test_a_few_days_without_rows_are_bridged_and_days_with_rows_are_not(home, looker):
    gap, far = D1 + timedelta(days=4), D1 + timedelta(days=8)
    home.raw_days(D1, gap, far)
    assert looker.look() == [(D1, far)]
    looker.run()
    home.raw_days(D1, far, level=200)
    looker.look()
    assert looker.look() == [] or looker.asked
    assert {(one.first, one.last) for one in looker.asked[1:]} == {(D1, D1), (far, far)}


def test_days_whose_run_never_came_to_its_end_are_asked_for_again_and_not_for_ever(home, looker):
    home.raw_days(D1)
    now = time.time()
    assert looker.look(now=now) == [(D1, D1)]
    assert looker.look(now=now + AGAIN_AFTER[0] - 1) == []
    for attempt, seconds in enumerate(AGAIN_AFTER[:-1], 2):
        now += seconds
        assert looker.look(now=now, in_flight=[(D1, D1)]) == []
        assert looker.look(now=now) == [(D1, D1)]
        assert looker.found.asked[0].attempt == attempt
    now += AGAIN_AFTER[-1]
    assert looker.look(now=now) == []
    assert "--last" in looker.found.notes[-1]
    assert looker.look(now=now + 10 * AGAIN_AFTER[-1]) == []

    home.raw_days(D1, level=200)  # new content begins anew
    assert looker.look(now=now) == [(D1, D1)]
    assert looker.found.asked[0].attempt == 1


def test_days_that_were_made_are_not_asked_for_again(home, looker):
    home.raw_days(D1, D2)
    now = time.time()
    looker.look(now=now)
    looker.run()
    assert looker.look(now=now + AGAIN_AFTER[0]) == []
    assert looker.memory.awaited == ()


def test_what_a_run_read_of_a_file_that_is_being_written_waits_until_it_is_still(home):
    looker = Looker(home, home.flow(PARSE, settle_seconds=60))
    path = home.raw("x_pil-90.csv", "".join(lines(D1)))
    looker.look()
    path.write_text("".join(lines(D1) + lines(D2)))
    home.run(looker.flow, D1)
    path.write_text("".join(lines(D1) + lines(D2) + lines(D3)))
    assert looker.look() == []
    assert looker.found.waits is not None


def test_a_fit_waits_for_the_runs_that_are_under_way(home):
    looker = Looker(home, home.flow(PARSE, CLEAN, RESAMPLE, NORMALIZE, **STILL))
    home.raw_days(D1, D2)
    assert looker.look(in_flight=[(D1, D1)]) == []
    assert looker.look() == [(D1, D2)]


def test_days_that_were_not_made_come_with_new_ones_where_a_fit_is_to_be_made(home):
    looker = Looker(home, home.flow(PARSE, CLEAN, RESAMPLE, NORMALIZE, **STILL))
    home.raw_days(D1, D2)
    now = time.time()
    assert looker.look(now=now) == [(D1, D2)]
    home.raw_days(D3)  # while nobody knows what became of the run
    assert looker.look(now=now + 1) == [(D1, D3)]
    assert looker.found.asked[0].attempt == 2


def test_a_file_that_grows_all_day_does_not_ask_for_others_again_and_again(home):
    flow = home.flow(PARSE, CLEAN, RESAMPLE, NORMALIZE, settle_seconds=30, refresh_minutes=10)
    looker = Looker(home, flow)
    home.raw_days(D1, D2)
    now = time.time()
    for path in looker.dataset.raw.iterdir():
        os.utime(path, (now - 3600, now - 3600))
    growing = home.raw("x_pil-91_live.csv", "".join(lines(D3)[:10]))
    with patch("time.time", lambda: now):  # also that of files which are still, or not
        for place in range(100):
            now += 5
            with growing.open("a") as file:
                file.write(lines(D3)[10 + place % 20])
            os.utime(growing, (now, now))
            looker.look(now=now)
            if looker.found.asked:  # its run reads the raw files, and fails where the fit is due
                raw_source(flow, looker.dataset).scan()
    assert [(one.first, one.last) for one in looker.asked] == [(D1, D2)] * 3


def test_more_runs_than_may_be_asked_for_at_once_are_left_for_the_next_look(home, looker):
    home.raw_days(D1, D1 + timedelta(days=30), D1 + timedelta(days=60))
    assert len(looker.look(asked_at_once=2)) == 2
    assert len(looker.look(asked_at_once=2)) == 1


def test_a_removed_file_is_told_of_whoever_noticed_first(home, looker):
    home.raw_days(D1, D2)
    looker.look()
    looker.run()
    (looker.dataset.raw / f"x_pil-90_{D1}.csv").unlink()
    raw_source(looker.flow, looker.dataset).scan()
    looker.look()
    assert any("is gone" in note for note in looker.found.notes)


def test_what_there_is_no_time_for_is_left_to_the_next_look(home, looker):
    home.raw_days(D1, D2)
    looker.look(deadline=time.monotonic() - 1)
    assert looker.asked == []
    assert looker.look() == [(D1, D2)]


def test_days_before_the_start_and_in_the_future_are_no_partitions(home):
    looker = Looker(home, home.flow(PARSE, start="2025-03-02", **STILL))
    home.raw_days(D1, D2, date(2199, 1, 1))
    assert looker.look() == [(D2, D2)]
