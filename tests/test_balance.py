"""The conservation law of a dataset: every line of every file, every row of every day."""

from __future__ import annotations

import sqlite3

import pytest
from core_home import AGGREGATE, CLEAN, D1, D2, D3, PARSE, CoreHome, lines

from procezo_assets.balance import dataset_balance
from procezo_assets.datasets import PartKey, part_files
from procezo_assets.runs import raw_source
from procezo_assets.stores.parquet import read_part, read_provenance, write_partition

ODD = "\n\nrebooting\n2019-01-01T00:00:00Z;m0:1\n2999-01-01T00:00:00Z;m0:1\n"


@pytest.fixture
def lab(tmp_path):
    made = CoreHome(tmp_path)
    made.raw_days(D1, D2)
    made.raw("x_odd_2025-03-01.csv", "".join(lines(D1)) + ODD)
    return made


def balance_of(lab, flow, day=None):
    dataset = lab.home.dataset("DS")
    source = raw_source(flow, dataset)
    source.scan()
    return dataset_balance(flow, dataset, source, day=day)


def by_day(balance):
    return {one.day: (one.state, one.raw_rows, one.repeated, one.parsed) for one in balance.days}


def test_every_line_of_every_file_is_in_one_place(lab):
    flow = lab.flow(PARSE, CLEAN, params={"to": "2025-03-02T10:01:00Z"})

    balance = balance_of(lab, flow)

    assert balance.balanced
    odd, one, two = balance.files
    assert (odd.path, odd.lines, odd.rows, odd.quarantined) == ("x_odd_2025-03-01.csv", 35, 30, 2)
    # what the flow's own bounds leave out is not quarantined
    assert (odd.blank, odd.header, odd.excluded) == (2, 0, 1)
    assert odd.reasons == {"before_start": 1, "timestamp": 1}
    assert (one.lines, one.rows, two.rows, two.excluded) == (30, 30, 6, 24)


def test_days_that_have_not_run_are_shown_and_do_no_harm(lab):
    flow = lab.flow(PARSE, CLEAN)
    lab.run_well(flow, D1)

    balance = balance_of(lab, flow)

    assert balance.balanced
    assert by_day(balance) == {D1: ("done", 60, 0, 60), D2: ("not run", 30, 0, None)}
    lab.raw("x_late_2025-03-09.csv", f"{D1}T23:00:00Z;m0:1\n")
    balance = balance_of(lab, flow)
    assert balance.balanced
    assert by_day(balance)[D1] == ("stale", 61, 0, 60)
    assert [(one.stage, one.state) for one in balance.days[0].stages] == [
        ("parsed", "stale"),
        ("clean", "done"),
    ]


def test_a_repeated_file_has_its_lines_and_its_rows_are_taken_once(lab):
    text = "".join(lines(D1))
    lab.raw("again/x_pil-90_2025-03-01.csv", text)
    flow = lab.flow(PARSE)
    lab.run_well(flow, D1, D2)

    balance = balance_of(lab, flow)

    assert balance.balanced
    assert by_day(balance)[D1] == ("done", 90, 30, 60)
    assert balance.files[-2].same_as == "again/x_pil-90_2025-03-01.csv"
    assert sum(one.lines for one in balance.files) == 125


def test_counts_of_stages_by_reason_and_column(lab):
    lab.raw(
        "x_pil-90_2025-03-03.csv", f"{D3}T10:00:00Z;m0:7\n" * 3 + f"{D3}T11:00:00Z;m0:x;m1:900\n"
    )
    flow = lab.flow(PARSE, CLEAN, AGGREGATE)
    lab.run_well(flow, D3)

    (day,) = balance_of(lab, flow, D3).days

    stages = {one.stage: one.counts for one in day.stages}
    assert (day.raw_rows, day.parsed) == (4, 4)
    assert stages["parsed"]["values_removed"] == {"not_number": {"m0": 1}}
    assert stages["clean"]["rows_removed"] == {"repeated_timestamp": 4}  # in both domains
    assert stages["clean"]["values_removed"] == {
        "out_of_range": {"m1": 1},
        "repeated_timestamp": {"m0": 2},
    }
    assert stages["clean"]["rows_out"] == stages["aggregated"]["rows_in"] == 4


def test_rows_that_are_missing_from_a_partition_unbalance_it(lab):
    flow = lab.flow(PARSE)
    lab.run_well(flow, D1, D2)
    folder = lab.home.dataset("DS").stage("10_parsed")
    frames, footers = {}, {}
    for key, path in part_files(folder, D1).items():
        frames[key], footers[key] = read_part(path), read_provenance(path)
        if key.device == "odd":
            frames[key] = frames[key].head(29)
            counts = {**footers[key].counts, "rows_in": 29, "rows_out": 29}
            footers[key] = type(footers[key])(**{**vars(footers[key]), "counts": counts})
    write_partition(folder, D1, frames, footers)

    balance = balance_of(lab, flow)

    assert balance.problems == ["2025-03-01: raw files have 60 rows, parsed has 59"]


def test_a_line_that_is_nowhere_unbalances_its_file(lab):
    flow = lab.flow(PARSE)
    balance_of(lab, flow)
    with sqlite3.connect(lab.home.state / "catalog.sqlite") as connection:
        connection.execute("UPDATE raw_files SET blank = 1 WHERE path LIKE 'x_odd%'")
    connection.close()

    assert balance_of(lab, flow).problems == [
        "raw file x_odd_2025-03-01.csv has 35 lines, of which 34 are accounted for"
    ]


def test_a_file_that_is_gone_is_shown_and_its_days_are_kept(lab):
    flow = lab.flow(PARSE, CLEAN)
    lab.run_well(flow, D1, D2)
    (lab.home.dataset("DS").raw / f"x_pil-90_{D2}.csv").unlink()

    balance = balance_of(lab, flow)

    assert balance.balanced
    assert [one.removed is not None for one in balance.files] == [False, False, True]
    assert by_day(balance)[D2] == ("kept", 0, 0, 30)
    assert balance.days[1].stages[0].why == f"raw file x_pil-90_{D2}.csv is gone"


def test_a_file_that_moved_is_not_gone(lab):
    flow = lab.flow(PARSE)
    lab.run_well(flow, D1, D2)
    raw = lab.home.dataset("DS").raw
    (raw / "deep").mkdir()
    (raw / f"x_pil-90_{D2}.csv").rename(raw / "deep" / f"y_pil-90_{D2}.csv")

    balance = balance_of(lab, flow)

    assert balance.balanced
    assert [(one.path, one.removed, one.same_as) for one in balance.files[:1]] == [
        (f"deep/y_pil-90_{D2}.csv", None, None)
    ]
    assert len(balance.files) == 3
    assert by_day(balance)[D2] == ("done", 30, 0, 30)


def test_a_file_that_cannot_be_read_is_a_problem(lab):
    flow = lab.flow(PARSE)
    (lab.home.dataset("DS").raw / "x_far_2025-03-01.csv").symlink_to(lab.home.path / "nowhere")

    (problem,) = balance_of(lab, flow).problems

    assert "x_far_2025-03-01.csv" in problem


def test_only_the_files_of_the_day_that_is_asked_for(lab):
    balance = balance_of(lab, lab.flow(PARSE), D2)
    assert [one.path for one in balance.files] == [f"x_pil-90_{D2}.csv"]
    assert list(by_day(balance)) == [D2]


def test_what_footers_say_is_read_again_when_they_change(lab):
    flow = lab.flow(PARSE)
    lab.run_well(flow, D1, D2)
    assert by_day(balance_of(lab, flow))[D1][3] == 60
    lab.raw("x_late_2025-03-09.csv", f"{D1}T23:00:00Z;m0:1\n")
    lab.run_well(flow, D1)
    assert by_day(balance_of(lab, flow))[D1] == ("done", 61, 0, 61)
    for path in part_files(lab.home.dataset("DS").stage("10_parsed"), D2).values():
        path.unlink()
    assert by_day(balance_of(lab, flow))[D2] == ("not run", 30, 0, None)
    assert PartKey("odd", "bio_signal") in lab.frames("10_parsed", D1)
