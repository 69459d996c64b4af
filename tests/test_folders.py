"""One treatment on folders."""

from __future__ import annotations

import pytest
from small_home import DAYS, DUCKDB, SmallHome

from procezo_assets.errors import ParameterError, PartitionError
from procezo_assets.folders import run_on_folders
from procezo_assets.pipeline import StageDone
from procezo_assets.runs import RawScanned, StageLoaded
from procezo_assets.treatments.registry import built_in


@pytest.fixture
def home(tmp_path):
    home = SmallHome(tmp_path / "home")
    home.write_raw(*DAYS)
    return home


def run(home: SmallHome, treatment: str, source, target, **params):
    return list(run_on_folders(home.home, built_in()[treatment], source, target, params))


def test_raw_files_become_partitions(home, tmp_path):
    events = run(home, "parse", home.stage("00_raw"), tmp_path / "parsed")
    assert isinstance(events[0], RawScanned)
    done = [event for event in events if isinstance(event, StageDone)]
    assert sorted(event.day for event in done) == list(DAYS)
    assert {event.dataset for event in done} == {"parsed"}
    assert len(list((tmp_path / "parsed").rglob("*.parquet"))) == 6


def test_partitions_become_partitions_and_can_be_loaded(home, tmp_path):
    run(home, "parse", home.stage("00_raw"), tmp_path / "parsed")
    run(home, "aggregate", tmp_path / "parsed", tmp_path / "aggregated", windows=["60s"])
    loaded = run(home, DUCKDB["treatment"], tmp_path / "aggregated", tmp_path / "loaded")
    (event,) = loaded
    assert isinstance(event, StageLoaded)
    assert event.result.rows == dict.fromkeys(DAYS, 10)


def test_the_input_is_never_written(home, tmp_path):
    before = sorted(home.path.rglob("datasets/**/*"))
    run(home, "parse", home.stage("00_raw"), tmp_path / "parsed")
    assert sorted(home.path.rglob("datasets/**/*")) == before


@pytest.mark.parametrize("treatment", ["parse", "clean", "to_duckdb"])
def test_a_folder_with_nothing_to_read_is_refused(home, tmp_path, treatment):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(PartitionError, match="there are no"):
        run(home, treatment, empty, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wrong_parameters_are_refused_before_anything_is_read(home, tmp_path):
    with pytest.raises(ParameterError, match="unknown parameter 'freq'"):
        run(home, "clean", tmp_path, tmp_path / "out", freq="1s")
