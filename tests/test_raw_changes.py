"""Raw files that are replaced, cut, overwritten or written on while a run reads them."""

from __future__ import annotations

import os

import pytest
from core_home import CLEAN, D1, D2, D3, PARSE, CoreHome, failures, lines

from procezo_assets.raw import reader
from procezo_assets.runs import Work, run

STEPS = (PARSE, CLEAN)


def replaced(path):
    beside = path.with_name(".new")
    beside.write_text("".join(lines(D3, level=300, number=50)))
    beside.replace(path)


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def written_on(path):
    with path.open("a") as file:
        file.writelines(lines(D3, start=11))


def overwritten(path):
    with path.open("r+") as file:
        file.writelines(lines(D3, level=700, number=20))


def removed(path):
    path.unlink()


CHANGES = [replaced, cut, written_on, overwritten, removed]


@pytest.fixture(autouse=True)
def _read_again(monkeypatch):
    """Let no rows be kept from the scan, as of files that are larger than memory."""
    monkeypatch.setattr("procezo_assets.raw.kept._KEPT_BYTES", 0)


def undisturbed(path, change):
    """The results of a home in which the change came between two runs."""
    home = CoreHome(path)
    flow = home.flow(*STEPS)
    home.raw_days(D1, D2, D3)
    home.run_well(flow, D1, D2, D3)
    change(raw(home))
    home.run(flow, D1, D2, D3)
    return results(home)


def results(home):
    digests = home.digests()
    digests.pop("10_parsed/gone.json", None)  # it says when
    return digests


def raw(home):
    return home.home.dataset("DS").raw / f"x_pil-90_{D3}.csv"


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_after_the_files_were_counted(tmp_path, change):
    home = CoreHome(tmp_path / "home")
    flow = home.flow(*STEPS)
    home.raw_days(D1, D2, D3)
    home.run_well(flow, D1, D2, D3)
    events = run(Work(flow, flow.stages, {home.home.dataset("DS"): [D1, D2, D3]}))
    first = next(events)  # the scan
    change(raw(home))
    told = failures([first, *events])

    if change is not removed:  # of which the next run tells
        assert told == []
    home.run(flow, D1, D2, D3)
    assert results(home) == undisturbed(tmp_path / "other", change)


@pytest.mark.parametrize("change", [replaced, cut])
def test_a_change_while_the_lines_are_counted(tmp_path, change, monkeypatch):
    home = CoreHome(tmp_path / "home")
    flow = home.flow(*STEPS)
    home.raw_days(D1, D2, D3)
    home.run_well(flow, D1, D2)
    before = home.digests()
    monkeypatch.setattr("procezo_assets.raw.containers.BLOCK_BYTES", 256)
    original, left = reader.classify, [change]

    def classify(frame, *rest):
        if "2025-03-03" in frame["text"].str.join("").item() and left:
            left.pop()(raw(home))
        return original(frame, *rest)

    monkeypatch.setattr(reader, "classify", classify)
    told = failures(home.run(flow, D1, D2, D3))

    assert left == []
    assert {event.day for event in told} <= {D3}
    after = home.digests()
    assert {name: after.get(name) for name in before} == before
    home.run(flow, D1, D2, D3)
    assert results(home) == undisturbed(tmp_path / "other", change)


def test_a_file_that_is_gone_after_the_scan_takes_no_results_with_it(tmp_path):
    home = CoreHome(tmp_path / "home")
    flow = home.flow(*STEPS)
    home.raw_days(D1, D2, D3)
    dataset = home.home.dataset("DS")
    other = dataset.raw / f"x_pil-91_{D3}.csv"
    other.write_text("".join(lines(D3)))
    home.run_well(flow, D1, D2, D3)
    before = home.digests()
    events = run(Work(flow, flow.stages, {dataset: [D1, D2, D3]}))
    scanned = next(events)
    replaced(raw(home))  # what makes the run scan again
    removed(other)
    assert not failures([scanned, *events])
    after = home.digests()
    del after["10_parsed/gone.json"]
    assert after == before
