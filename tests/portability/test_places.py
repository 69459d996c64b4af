"""Imports that are killed, repeated, or find something else in the places of what they restore."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import signal
import tarfile

import pytest
from core_home import D1
from killed_runs import Changes, left_behind
from small_home import CLEAN, PARSE, SmallHome
from warm import run_command

from procezo_assets.portability import importing, placing
from procezo_assets.portability.importing import import_dataset
from procezo_assets.portability.manifest import ArchiveError

MINE = '{"name": "mine"}'


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A dataset with a flow and two treatments, one of which is a folder."""
    home = SmallHome(tmp_path_factory.mktemp("there"))
    home.write_flow(PARSE, CLEAN, dataset="DS")
    home.write_raw(D1, dataset="DS", odd=["not a line"])
    assert home.procezo("flow", "small").code == 0
    path = home.path / "ds.tar.gz"
    assert home.procezo("export", "DS", "--with-stages", "--output", path).code == 0
    with_members(path, {"treatments/own.py": b"", "treatments/foo/run.py": b"x = 1\n"})
    return path


def with_members(path, more):
    """Let an archive have more members."""
    with tarfile.open(path) as opened:
        found = {one.name: opened.extractfile(one).read() for one in opened.getmembers()}
    manifest = json.loads(found.pop("manifest.json"))
    found |= more
    manifest["members"] = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in found.items()
    }
    with tarfile.open(path, "w:gz") as opened:
        for name, data in (("manifest.json", json.dumps(manifest).encode()), *found.items()):
            header = tarfile.TarInfo(name)
            header.size = len(data)
            opened.addfile(header, io.BytesIO(data))


@pytest.fixture
def home(tmp_path):
    """A home with a flow of its own under the name that the archive's has."""
    home = SmallHome(tmp_path / "here")
    (home.path / "flows").mkdir()
    (home.path / "flows" / "small.json").write_text(MINE)
    return home


def everything(home):
    return {
        path.relative_to(home.path).as_posix(): path.read_bytes() if path.is_file() else None
        for path in home.path.rglob("*")
        if not {".procezo", "__pycache__"} & set(path.parts) and path.name != "storage"
    }


def restore(home, archive):
    return import_dataset(home.home, archive, replace_flows=True)


def test_a_killed_import_leaves_all_or_nothing_and_goes_on(archive, home, tmp_path):
    command = ("import", str(archive), "--replace-flows")
    undisturbed = SmallHome(tmp_path / "undisturbed")
    shutil.copytree(home.path, undisturbed.path, dirs_exist_ok=True)
    told = tmp_path / "told"
    ended = run_command(
        "procezo", [*command], undisturbed.path, undisturbed.env, prepare=Changes(told)
    )
    assert ended.returncode == 0, ended.stderr
    wanted, changes = everything(undisturbed), int(told.read_text())
    assert wanted["flows/small.json.bak"].decode() == MINE
    states = set()
    # four changes are between the dataset's and the flow's, which comes last
    for change in (*range(1, changes - 12, 10), *range(changes - 12, changes + 1, 3)):
        trial = SmallHome(tmp_path / f"trial-{change}")
        shutil.copytree(home.path, trial.path, dirs_exist_ok=True)
        prepare = Changes(told, change)
        killed = run_command("procezo", [*command], trial.path, trial.env, prepare=prepare)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        states.add(state_of(trial, wanted))
        again = trial.procezo(*command)
        assert (again.code, everything(trial)) == (0, wanted), (change, again.err)
        assert left_behind(trial.path) == []
        shutil.rmtree(trial.path)
    assert states == {(False, False), (True, False), (True, True)}


def state_of(home, wanted):
    """Whether the dataset and the flow are there; each whole, or as it was."""
    found = {name: data for name, data in everything(home).items() if "/." not in name}
    dataset = {name: data for name, data in found.items() if name.startswith("datasets/")}
    assert dataset in ({}, {k: v for k, v in wanted.items() if k.startswith("datasets/")})
    flow = found["flows/small.json"]
    assert flow in {MINE.encode(), wanted["flows/small.json"]}
    return bool(dataset), flow != MINE.encode()


def test_what_is_there_already_is_no_trouble(archive, home):
    restore(home, archive)
    before = everything(home)
    assert restore(home, archive).placed == ()
    assert everything(home) == before


@pytest.mark.parametrize("what", ["changed", "more", "less", "a result", "no folder"])
def test_a_dataset_of_other_content_is_refused(archive, home, what):
    restore(home, archive)
    dataset = home.path / "datasets" / "DS"
    (raw,) = (dataset / "00_raw").iterdir()
    if what == "changed":
        raw.write_bytes(raw.read_bytes()[:-1] + b"#")
    elif what == "more":
        (raw.parent / "more.csv").write_text("x")
    elif what == "less":
        raw.unlink()
    elif what == "a result":
        next((dataset / "20_clean").rglob("*.parquet")).unlink()
    else:
        shutil.rmtree(dataset)
        dataset.write_text("")
    before = everything(home)
    with pytest.raises(ArchiveError, match=r"dataset .DS. exists under .* with other content"):
        restore(home, archive)
    assert everything(home) == before


@pytest.mark.parametrize("step", ["files_to_place", "_is_restored"])
@pytest.mark.parametrize("same", [False, True])
def test_a_dataset_that_comes_meanwhile_is_asked_of_again(
    archive, home, tmp_path, monkeypatch, *, step, same
):
    theirs = SmallHome(tmp_path / "theirs")
    restore(theirs, archive)
    if not same:
        next(theirs.home.dataset("DS").raw.iterdir()).write_text("theirs")
    asked = getattr(importing, step)
    calls = []

    def meanwhile(*args, **kwargs):
        found = asked(*args, **kwargs)
        calls.append(found)
        # the first of `_is_restored` is before unpacking, the second right before placing
        if len(calls) == (2 if step == "_is_restored" else 1):
            shutil.copytree(theirs.home.datasets, home.home.datasets, dirs_exist_ok=True)
        return found

    monkeypatch.setattr(importing, step, meanwhile)
    if same:
        assert "flows/small.json" in restore(home, archive).placed
    else:
        with pytest.raises(ArchiveError, match=r"dataset .DS. exists under .* with other content"):
            restore(home, archive)
        assert (home.path / "flows" / "small.json").read_text() == MINE
    there, here = theirs.home.dataset("DS").path, home.home.dataset("DS").path
    assert {path.relative_to(here): path.read_bytes() for path in files_in(here)} == {
        path.relative_to(there): path.read_bytes() for path in files_in(there)
    }


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("file", "folder", "told"),
    [
        ("treatments/foo", None, "foo is no folder, and treatments/foo/run.py is to be in it"),
        (None, "treatments/own.py", "own.py is no plain file, as the archive's is"),
        ("treatments", None, "treatments is no folder"),
    ],
)
def test_what_has_no_place_leaves_the_home_as_it_was(archive, home, file, folder, told):
    if folder is not None:
        (home.path / folder).mkdir(parents=True)
    else:
        (home.path / file).parent.mkdir(exist_ok=True)
        (home.path / file).write_text("mine")
    before = everything(home)
    with pytest.raises(ArchiveError, match=told):
        restore(home, archive)
    after = everything(home)
    assert {k: v for k, v in after.items() if k != "datasets"} == before


def test_flows_that_are_no_folder_leave_the_home_as_it_was(archive, home):
    shutil.rmtree(home.path / "flows")
    (home.path / "flows").write_text("mine")
    with pytest.raises(ArchiveError, match=r"flows is no folder, and flows/small\.json is to be"):
        restore(home, archive)
    assert list((home.path / "datasets").iterdir()) == []


def test_a_dataset_below_a_file_is_refused(tmp_path, home):
    there = SmallHome(tmp_path / "there")
    there.write_raw(D1, dataset="event/one")
    assert there.procezo("export", "event/one", "--output", tmp_path / "x.tar.gz").code == 0
    (home.path / "datasets").mkdir()
    (home.path / "datasets" / "event").write_text("mine")
    with pytest.raises(ArchiveError, match="event is no folder, and 'event/one' is to be in it"):
        restore(home, tmp_path / "x.tar.gz")


def test_a_full_disk_is_met_before_anything_is_in_its_place(archive, home, monkeypatch):
    seen = []

    def full(path):
        seen.append(path)
        if "small.json" in path.name:  # the last
            raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(placing, "sync", full)
    with pytest.raises(OSError, match="No space left"):
        restore(home, archive)
    assert len(seen) > 2
    files = [path for path in home.path.rglob("*") if path.is_file() and path.name[0] != "."]
    assert [path.relative_to(home.path).as_posix() for path in files] == ["flows/small.json"]


def test_what_was_kept_before_stays(archive, home):
    flow = home.path / "flows" / "small.json"
    for written in ("first", "second", "second", "third"):
        flow.write_text(written)
        restore(home, archive)
    kept = {path.name: path.read_text() for path in flow.parent.glob("*.bak")}
    assert kept == {
        "small.json.bak": "first",
        "small.json.2.bak": "second",
        "small.json.3.bak": "third",
    }


def test_what_was_loaded_elsewhere_does_not_count_as_loaded_here(archive, home, tmp_path):
    path = shutil.copy(archive, tmp_path / "copy.tar.gz")
    with_members(path, {"dataset/50_duckdb/loaded.json": b'{"days": {}, "targets": [5]}'})
    restore(home, path)
    assert not list((home.path / "datasets").rglob("loaded.json"))
    assert restore(home, path).placed == ()


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{}", b'[{"path": "/etc/passwd"}]'])
def test_gone_files_that_no_scan_could_read_are_refused(archive, home, tmp_path, content):
    path = shutil.copy(archive, tmp_path / "copy.tar.gz")
    with_members(path, {"dataset/10_parsed/gone.json": content})
    with pytest.raises(
        ArchiveError, match=r": dataset/10_parsed/gone\.json cannot be read: .*; not"
    ):
        restore(home, path)
    assert list((home.path / "datasets").iterdir()) == []


def test_gone_files_of_any_size_that_a_home_can_have_are_restored(archive, home, tmp_path):
    path = shutil.copy(archive, tmp_path / "copy.tar.gz")
    large = b"[" + b" " * 70 * 1024**2 + b"]"
    with_members(path, {"dataset/10_parsed/gone.json": large})
    restore(home, path)
    assert (home.home.dataset("DS").path / "10_parsed" / "gone.json").stat().st_size == len(large)
