"""Which raw files a folder has."""

from __future__ import annotations

import os

import pytest

from procezo_assets.raw.folder import find_files, leads_out


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")


@pytest.fixture
def raw(tmp_path):
    for name in ("b.csv", "a/c.csv", "a/.x", ".y/z.csv", "a/d/e"):
        put(tmp_path / "DS" / "00_raw" / name)
    put(tmp_path / "elsewhere" / "secret.csv")
    return tmp_path / "DS" / "00_raw"


def sizes(raw):
    return {name: file.size for name, file in find_files(raw).files.items()}


def test_files_are_found_at_any_depth_and_hidden_ones_are_not(raw):
    assert sizes(raw) == {"a/c.csv": 1, "a/d/e": 1, "b.csv": 1}


def test_a_folder_that_is_missing_has_no_files(tmp_path):
    assert find_files(tmp_path / "00_raw").files == {}


def test_links_within_the_folder_are_followed(raw):
    (raw / "same.csv").symlink_to("b.csv")
    (raw / "again").symlink_to("a/d")
    (raw / "a" / "up").symlink_to("..")
    found = sizes(raw)
    assert found["same.csv"] == 1
    assert [name for name in found if name.endswith("/e")] in (["a/d/e"], ["again/e"])
    assert not any("up" in name for name in found)


def test_links_that_lead_out_cannot_be_read_and_hide_nothing_else(raw, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    put(raw.parent / "00_raw_too" / "x.csv")
    (raw / "file.csv").symlink_to(elsewhere / "secret.csv")
    (raw / "folder").symlink_to(elsewhere)
    (raw / "parent").symlink_to("../..")
    (raw / "twin").symlink_to("../00_raw_too")
    (raw / "a" / "two.csv").symlink_to("../hop.csv")
    (raw / "hop.csv").symlink_to(elsewhere / "secret.csv")
    (raw / "endless").symlink_to("/dev/zero")
    (raw / "circle").symlink_to("circle")

    found = find_files(raw)

    bad = {name for name, file in found.files.items() if file.size < 0}
    assert bad == {
        *("file.csv", "folder", "parent", "twin", "a/two.csv", "hop.csv", "endless", "circle")
    }
    assert found.files.keys() - bad == {"a/c.csv", "a/d/e", "b.csv"}
    # what was known of files below is neither gone nor there
    assert "folder/secret.csv".startswith(found.closed)


def test_the_folder_itself_may_be_a_link(raw, tmp_path):
    (tmp_path / "linked").symlink_to(raw)
    (raw / "same.csv").symlink_to("b.csv")
    assert sizes(tmp_path / "linked") == {"a/c.csv": 1, "a/d/e": 1, "b.csv": 1, "same.csv": 1}


def test_a_path_leads_out_by_its_links_only(raw, tmp_path):
    assert not leads_out(raw / "a" / ".." / "b.csv", os.path.realpath(raw))
    assert leads_out(raw / ".." / "x", os.path.realpath(raw))
    assert not leads_out(raw, os.path.realpath(raw))
    assert leads_out(tmp_path / "DS" / "00_raw_too", os.path.realpath(raw))
