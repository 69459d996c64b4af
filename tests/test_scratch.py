"""Scratch folders go when they are done with, and when whoever made them was killed."""

from __future__ import annotations

import pytest

from procezo_assets.scratch import scratch_folder


def test_a_scratch_folder_is_hidden_and_goes_with_what_is_in_it(tmp_path):
    with scratch_folder(tmp_path, "verify") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")
        assert folder.name.startswith(".verify-")
    assert list(tmp_path.iterdir()) == []


def test_it_goes_after_an_interruption_too(tmp_path):
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path, "verify"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_a_link_in_it_points_to_stays(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a.csv").write_text("x")
    with scratch_folder(tmp_path / "scratch", "verify") as folder:
        (folder / "00_raw").symlink_to(raw, target_is_directory=True)
    assert (raw / "a.csv").read_text() == "x"


def test_one_left_by_a_killed_process_goes_and_one_in_use_stays(tmp_path):
    (tmp_path / ".verify-dead").mkdir()
    (tmp_path / ".verify-dead.lock").touch()
    (tmp_path / ".import-other").mkdir()
    (tmp_path / ".import-other.lock").touch()
    with scratch_folder(tmp_path, "verify") as one, scratch_folder(tmp_path, "verify") as other:
        assert one.is_dir()
        assert other.is_dir()
        assert not (tmp_path / ".verify-dead").exists()
        assert not (tmp_path / ".verify-dead.lock").exists()
    assert (tmp_path / ".import-other").is_dir()
