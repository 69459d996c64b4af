"""`procezo export`, `import` and `delete`, as a person uses them."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest
from small_home import AGGREGATE, BIN, CLEAN, DAYS, DUCKDB, PARSE, RESAMPLE, SmallHome

from procezo_assets.portability import importing


@pytest.fixture
def home(tmp_path):
    home = SmallHome(tmp_path / "A")
    home.write_flow(PARSE, CLEAN, RESAMPLE, AGGREGATE, DUCKDB, datasets=["DS-*"])
    home.write_raw(*DAYS, odd=["rubbish"])
    return home


def test_a_dataset_moves_to_another_machine(home, tmp_path):
    home.launch(DAYS[0], DAYS[-1])
    archive = tmp_path / "moved.tar.gz"
    ended = home.procezo("export", "DS-1", "--output", archive)
    assert ended.code == 0, ended.err
    assert "3 raw files" in ended.out
    assert "flows: small" in ended.out
    other = SmallHome(tmp_path / "B")
    ended = other.procezo("import", archive)
    assert ended.code == 0, ended.err
    assert "dataset 'DS-1': 3 raw files, checksums right" in ended.out
    assert "restored flows/small.json" in ended.out
    assert "next: procezo flow small --dataset DS-1" in ended.out
    other.launch(DAYS[0], DAYS[-1])
    files = {k: v for k, v in home.digests().items() if k.endswith(".parquet")}
    assert {k: v for k, v in other.digests().items() if k.endswith(".parquet")} == files
    assert other.procezo("import", archive).code == 0  # what is there is what it would restore
    other.write_raw(DAYS[0], level=5)
    ended = other.procezo("import", archive)
    assert (ended.code, "dataset 'DS-1' exists" in ended.error) == (1, True)


def test_a_catalog_that_is_too_large_is_told_of_and_not_compared(home, tmp_path, monkeypatch):
    home.launch(DAYS[0], DAYS[-1])
    archive = tmp_path / "moved.tar.gz"
    assert home.procezo("export", "DS-1", "--output", archive).code == 0
    monkeypatch.setattr(importing, "MOST_BYTES", 10)
    ended = SmallHome(tmp_path / "B").procezo("import", archive)
    assert ended.code == 0, ended.err
    assert "warning: catalog.json of this archive is too large" in ended.err
    assert "3 raw files, checksums right" in ended.out


def test_results_that_come_along_are_up_to_date_and_only_loaded(home, tmp_path):
    home.launch(DAYS[0], DAYS[-1])
    archive = tmp_path / "moved.tar.gz"
    assert home.procezo("export", "DS-1", "--with-stages", "--output", archive).code == 0
    other = SmallHome(tmp_path / "B")
    ended = other.procezo("import", archive)
    assert "next: procezo flow small --dataset DS-1 --last" in ended.out
    assert other.procezo("verify", "small").code == 0
    ended = other.procezo("flow", "small", "--last", "--dry-run", "--format", "json")
    assert {one["stage"] for plan in ended.json for one in plan["stale"]} == {"duckdb"}


def test_export_tells_of_days_that_it_leaves_behind(home, tmp_path):
    home.launch(DAYS[0], DAYS[-1])
    home.raw_file(f"DS-1_pil-90_{DAYS[0]}.csv").unlink()
    home.procezo("flow", "small", "--last")
    alone = home.procezo("export", "DS-1", "--output", tmp_path / "alone.tar.gz")
    assert alone.code == 0
    assert "1 raw files that are gone" in alone.err
    assert "--with-stages" in alone.err
    whole = home.procezo("export", "DS-1", "--with-stages", "--output", tmp_path / "whole.tar.gz")
    assert "gone" not in whole.err


@pytest.mark.parametrize("stages", [(), ("--with-stages",)])
def test_days_of_raw_files_that_are_gone_are_kept_where_they_are(home, tmp_path, stages):
    texts = home.raw_file(f"DS-1_pil-90_{DAYS[1]}.csv").read_text().splitlines(keepends=True)
    later = home.raw_file(f"later_pil-90_{DAYS[1]}.csv")
    later.write_text("".join(text.replace("T10:", "T22:") for text in texts))
    home.launch(DAYS[0], DAYS[-1])
    for day in DAYS[:2]:
        home.raw_file(f"DS-1_pil-90_{day}.csv").unlink()
    home.procezo("flow", "small", "--last")
    archive = tmp_path / "moved.tar.gz"
    home.procezo("export", "DS-1", "--output", archive, *stages)

    other = SmallHome(tmp_path / "B")
    ended = other.procezo("import", archive)
    assert ended.code == 0, ended.err
    kept = bool(stages)
    assert ("what was kept of their days is not here" in ended.err) != kept
    assert ("2 files gone, 2 days kept" in other.procezo("status").out) == kept
    assert other.procezo("flow", "small", "--last").code == 0
    assert ("gone" in other.procezo("status").out) == kept
    assert "up to date" in other.procezo("flow", "small", "--last").err
    rows = "SELECT ts::DATE, count(*) FROM small.bio_signal_60s GROUP BY 1 ORDER BY 1"
    found = other.rows(rows)
    assert found == (home.rows(rows) if kept else [(DAYS[1], 5), (DAYS[2], 5)])
    ledger = other.procezo("ledger", "DS-1")
    assert (ledger.code, "kept" in ledger.out) == (0, kept)


def test_export_writes_into_the_current_folder_and_replaces_nothing(home):
    ended = home.command("procezo", "export", "DS-1")
    assert ended.code == 0, ended.err
    (made,) = home.path.glob("DS-1_*.tar.gz")
    ended = home.command("procezo", "export", "DS-1")
    assert (ended.code, ended.out) == (1, "")
    assert f"{made} exists" in ended.error
    assert home.procezo("export", "DS-9").code == 1


def test_a_damaged_archive_is_one_line(home, tmp_path):
    archive = tmp_path / "x.tar.gz"
    archive.write_bytes(b"\x1f\x8b damaged")
    ended = home.procezo("import", archive)
    assert (ended.code, ended.out) == (1, "")
    assert "x.tar.gz is damaged" in ended.error
    archive.write_bytes(b"a,b\n1,2\n")
    assert "x.tar.gz is no archive; name one" in home.procezo("import", archive).error
    assert home.procezo("import", tmp_path / "none.tar.gz").code == 2


def test_delete_asks_first_and_never_where_nobody_can_answer(home):
    ended = home.command("procezo", "delete", "DS-1")
    assert (ended.code, ended.out) == (2, "")
    assert "add --yes" in ended.error
    assert home.stage("00_raw").is_dir()


@pytest.mark.parametrize(("answer", "code"), [(b"\n", 1), (b"n\n", 1), (b"y\n", 0)])
def test_the_answer_counts(home, answer, code):
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        [BIN / "procezo", "delete", "DS-1"],
        cwd=home.path,
        env=home.env,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.write(ours, answer)
    out, err = running.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert running.returncode == code, err
    assert b"raw files 00_raw" in out
    assert b"procezo export DS-1" in err
    assert home.stage("00_raw").is_dir() == bool(code)


def test_delete_takes_rows_and_partitions_of_dagster(home):
    home.write_raw(*DAYS, dataset="DS-2")
    home.launch(DAYS[0], DAYS[-1])
    home.launch(DAYS[0], DAYS[-1], dataset="DS-2")
    ended = home.procezo("delete", "DS-1", "--yes")
    assert ended.code == 0, ended.err
    assert "rows of DuckDB small.bio_signal_60s" in ended.out
    assert ended.out.endswith("deleted dataset 'DS-1'\n")
    with home.instance() as instance:
        assert set(instance.get_dynamic_partitions("small_datasets")) == {"DS-2"}
    assert home.rows("SELECT DISTINCT dataset FROM small.bio_signal_60s") == [("DS-2",)]
    assert home.procezo("status").code == 0
    ended = home.procezo("delete", "DS-1", "--yes")
    assert (ended.code, "there is no dataset 'DS-1'" in ended.error) == (1, True)


def test_export_makes_no_folder_and_minds_no_other_files(home, tmp_path):
    (home.stage("00_raw").parent / "README.txt").write_text("by hand")
    home.raw_file("gone.json").write_text("raw")
    refused = home.procezo("export", "DS-1", "--output", tmp_path / "tpyo" / "a.tar.gz")
    assert (refused.code, f"there is no folder {tmp_path / 'tpyo'}" in refused.error) == (1, True)
    assert not (tmp_path / "tpyo").exists()
    assert home.procezo("export", "DS-1", "--output", tmp_path / "a.tar.gz").code == 0
