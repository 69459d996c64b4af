"""A disk that is full: one clear line, what was there stays, and it goes on once there is room."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from small_home import AGGREGATE, CLEAN, CSV, DAYS, DUCKDB, NORMALIZE, PARSE, RESAMPLE, SmallHome

STEPS = (PARSE, CLEAN, RESAMPLE, NORMALIZE, AGGREGATE, DUCKDB, CSV)


class SmallDisk:
    """A file system of its own, of a few MB."""

    def __init__(self, folder):
        self.folder = folder
        self._mount("size=64m")

    def leave(self, size):
        """Leave so many bytes free."""
        self._ballast.unlink(missing_ok=True)
        with self._ballast.open("wb") as file:
            file.write(bytes(max(0, shutil.disk_usage(self.folder).free - size)))

    def make_room(self):
        self._ballast.unlink()

    @property
    def _ballast(self):
        return self.folder / "ballast"

    def _mount(self, options):
        mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(self.folder)]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def yesterday(home, *, fitted=True):
    """Results of two days, without a fit where asked, and raw files that ask for more."""
    home.write_flow(*STEPS)
    home.write_raw(*DAYS[:2])
    assert home.command("procezo", "flow", "small").code == 0
    if not fitted:
        shutil.rmtree(home.stage("35_normalized"))
    before = home.digests()
    for place, day in enumerate(DAYS):
        home.write_raw(day, lines=3000, level=300 + 100 * place)
    return before


def where_there_is_room(folder, *, fitted=True):
    """A home where there always was room."""
    home = SmallHome(folder)
    yesterday(home, fitted=fitted)
    assert home.command("procezo", "flow", "small", "--last").code == 0
    return home


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return where_there_is_room(tmp_path_factory.mktemp("undisturbed"))


def goes_on(home, undisturbed):
    """Once there is room, the result is what it would have been."""
    again = home.command("procezo", "flow", "small", "--last")
    assert again.code == 0, again.err
    assert not list(home.path.rglob(".*procezo-tmp"))
    assert home.digests() == undisturbed.digests()
    assert home.rows("FROM small.bio_signal_60s ORDER BY ALL") == undisturbed.rows(
        "FROM small.bio_signal_60s ORDER BY ALL"
    )
    return undisturbed.digests()


@pytest.mark.parametrize("free", [20_000, 1_000_000])
def test_all_of_a_home(disk, undisturbed, free):
    home = SmallHome(disk.folder / "home")
    before = yesterday(home)
    disk.leave(free)
    failed = home.command("procezo", "flow", "small", "--last")
    assert failed.code == 1
    assert "full" in failed.error
    assert "make room and run again" in failed.error
    assert "Traceback" not in failed.err
    assert home.digests() == before
    disk.make_room()
    goes_on(home, undisturbed)


@pytest.mark.parametrize(("fitted", "free"), [(True, 60_000), (False, 200_000)])
def test_the_datasets_alone(disk, undisturbed, tmp_path, fitted, free):
    home = SmallHome(tmp_path / "home")
    (home.path / "datasets").symlink_to(disk.folder)
    before = yesterday(home, fitted=fitted)
    disk.leave(free)
    failed = home.command("procezo", "flow", "small", "--last")
    assert failed.code == 1
    assert "No space left on device" in failed.error
    assert "Traceback" not in failed.err
    found = home.digests()
    disk.make_room()
    if not fitted:
        undisturbed = where_there_is_room(tmp_path / "undisturbed", fitted=False)
    after = goes_on(home, undisturbed)
    assert any("/fits/" in name for name in after)
    assert before.keys() <= found.keys()
    found.pop("ballast")
    for name, digest in found.items():
        assert digest in {before.get(name), after.get(name)} or name.endswith("loaded.json"), name
