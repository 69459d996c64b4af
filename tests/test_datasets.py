"""Names and paths of datasets, stages and their files."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procezo_assets.datasets import (
    Home,
    PartKey,
    is_dataset_name,
    matches_pattern,
    part_files,
    stage_days,
)
from procezo_assets.errors import DatasetError

DAY = date(2026, 1, 25)
HERE = Home(Path("/home/here"))


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@pytest.mark.parametrize(
    "name",
    ["PREMANIP-GRACE", "event1/group1", "a b", "été", "a.b", "a..b", "x" * 200, "A=1", "a/b/c/d"],
)
def test_names(home, name):
    assert home.dataset(name).name == name
    assert home.dataset(name).path == home.path / "datasets" / name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "/etc",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        ".hidden",
        "a|b",
        "a\\b",
        "a:b",
        "a*",
        "a?",
        'a"b',
        "<a>",
        "a,b",
        "a...b",
        " a",
        "a ",
        "a\nb",
        "a\tb",
        "a\0b",
        "\x7f",
        "00_raw",
        "a/00_raw",
        "x" * 201,
    ],
)
def test_names_that_are_refused(home, name):
    with pytest.raises(DatasetError, match="cannot be a dataset's name; use letters"):
        home.dataset(name)


@given(st.text(max_size=20))
@settings(deadline=None, max_examples=200)
def test_a_name_that_is_taken_stays_under_its_folder(name):
    if is_dataset_name(name):
        path = HERE.dataset(name).path
        assert path.is_relative_to(HERE.datasets)
        assert path != HERE.datasets
        assert path.relative_to(HERE.datasets).as_posix() == name


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("PREMANIP-1", "PREMANIP-*", True),
        ("PREMANIP-1", "premanip-*", False),
        ("event1/g1", "event1/*", True),
        ("event1/g1", "*/*", True),
        ("event1/g1", "*", False),
        ("event1/g1/deep", "event1/*", False),
        ("event1", "event1/*", False),
        ("a1", "a[12]", True),
        ("a3", "a[12]", False),
        ("ab", "a?", True),
        ("a", "a", True),
    ],
)
def test_patterns_stay_within_a_folder_level(name, pattern, fits):
    assert matches_pattern(name, pattern) == fits


def test_datasets_are_the_folders_above_00_raw(home):
    for name in ("B", "a/x", "a/y", "deep/er/z"):
        home.dataset(name).raw.mkdir(parents=True)
    (home.datasets / "no-raw").mkdir()
    (home.datasets / "B" / "inner" / "00_raw").mkdir(parents=True)
    (home.datasets / ".hidden" / "00_raw").mkdir(parents=True)
    (home.datasets / "a|b" / "00_raw").mkdir(parents=True)
    touch(home.datasets / "file")

    assert home.dataset_names() == ["B", "a/x", "a/y", "deep/er/z"]
    assert home.matching_datasets(["a/*", "B", "nothing"]) == ["B", "a/x", "a/y"]


def test_a_home_without_datasets(home):
    assert home.dataset_names() == []
    with pytest.raises(
        DatasetError, match=r"no dataset 'a' under .*; there are none \(procezo init"
    ):
        home.existing_dataset("a")


def test_an_unknown_dataset_names_the_nearest(home):
    home.dataset("PREMANIP").raw.mkdir(parents=True)

    assert home.existing_dataset("PREMANIP").name == "PREMANIP"
    with pytest.raises(DatasetError, match="did you mean 'PREMANIP'"):
        home.existing_dataset("PREMANI")


NAMES = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=["Cs", "Cc"]),
    min_size=1,
    max_size=12,
).filter(lambda name: not name.startswith("."))


@given(
    st.sets(
        st.builds(
            PartKey,
            st.one_of(
                NAMES, st.sampled_from(["a__b", "pil 90", "x__bio__2026-01-25", "a.b", "[x]"])
            ),
            st.sampled_from(["bio", "bio_signal", "a-b", "x"]),
            st.sampled_from([None, "10s", "5min"]),
        ),
        max_size=6,
    )
)
@settings(deadline=None, max_examples=60)
def test_names_of_part_files_can_be_read_back(tmp_path_factory, keys):
    folder = tmp_path_factory.mktemp("stage")
    for key in keys:
        touch(key.path(folder, DAY))
        touch(key.path(folder, date(2026, 1, 26)))

    found = part_files(folder, DAY)

    assert set(found) == keys
    assert all(found[key] == key.path(folder, DAY) for key in keys)
    assert list(found) == sorted(keys, key=lambda key: tuple(part or "" for part in key))


def test_the_name_of_a_part_file():
    key = PartKey("pil-90", "bio_signal", "10s")

    assert key.file_name(DAY) == "pil-90__bio_signal__2026-01-25__10s.parquet"
    assert PartKey("pil-90", "x").file_name(DAY) == "pil-90__x__2026-01-25.parquet"


def test_other_files_are_no_part_files(tmp_path):
    folder = tmp_path / "domain=bio" / "day=2026-01-25"
    for name in (
        ".pil__bio__2026-01-25.parquet",
        ".pil__bio__2026-01-25.parquet.0a.tmp",
        "pil__bio__2026-01-24.parquet",
        "pil__other__2026-01-25.parquet",
        "__bio__2026-01-25.parquet",
        "notes.txt",
    ):
        touch(folder / name)

    assert part_files(tmp_path, DAY) == {}
    assert part_files(tmp_path / "nowhere", DAY) == {}


def test_days_of_a_stage(tmp_path):
    touch(PartKey("a", "x").path(tmp_path, date(2026, 1, 26)))
    touch(PartKey("a", "y", "1h").path(tmp_path, date(2026, 1, 25)))
    touch(PartKey("b", "y").path(tmp_path, date(2026, 1, 25)))
    (tmp_path / "domain=x" / "day=2026-01-27").mkdir()
    touch(tmp_path / "domain=x" / "day=soon" / "a.parquet")
    touch(tmp_path / "fits" / "day=2026-01-28" / "a.parquet")

    assert stage_days(tmp_path) == [date(2026, 1, 25), date(2026, 1, 26)]
    assert stage_days(tmp_path / "nowhere") == []


def test_a_folder_of_a_day_that_is_none_takes_nothing_down(tmp_path):
    touch(PartKey("a", "x").path(tmp_path, DAY))
    touch(tmp_path / "domain=x" / "day=2026-02-30" / "a.parquet")

    assert stage_days(tmp_path) == [DAY]


def test_paths_of_a_dataset(home):
    dataset = home.dataset("lab/A")

    assert dataset.stage("20_clean") == home.path / "datasets/lab/A/20_clean"
    assert dataset.quarantine("valvo") == home.path / "datasets/lab/A/quarantine/valvo"
    assert dataset.lock(DAY) == home.path / ".procezo/locks/lab/A/2026-01-25.lock"


def test_a_folder_that_cannot_be_opened_hides_no_other_dataset(tmp_path):
    home = Home(tmp_path)
    home.dataset("open").raw.mkdir(parents=True)
    # a name that is too long cannot be opened by anybody, root included
    (home.datasets / "loop").symlink_to(home.datasets / "loop")
    assert home.dataset_names() == ["open"]
