"""Archives: what goes in, what comes out, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
import tracemalloc

import pytest
from core_home import AGGREGATE, CLEAN, D1, D2, NORMALIZE, PARSE, RESAMPLE, CoreHome

from procezo_assets.portability import exporting, importing
from procezo_assets.portability.exporting import default_name, export_dataset
from procezo_assets.portability.importing import import_dataset
from procezo_assets.portability.manifest import ArchiveError, is_safe
from procezo_assets.portability.readings import later_reading
from procezo_assets.raw.catalog import Catalog
from procezo_assets.raw.catalog_rows import FileEntry
from procezo_assets.raw.catalog_store import CatalogStore

STEPS = (PARSE, CLEAN, RESAMPLE, {**NORMALIZE, "input": "25_resampled"}, AGGREGATE)


def home_with_raw(path):
    home = CoreHome(path)
    home.raw_days(D1, D2)
    home.raw("deep/er/x_pil-91_2025-03-01.csv", "2025-03-01T10:00:00Z;m0:1\nrubbish\n")
    return home


@pytest.fixture
def home(tmp_path):
    return home_with_raw(tmp_path / "A")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A home that is copied, and never changed itself."""
    home = home_with_raw(tmp_path_factory.mktemp("ran"))
    home.run_well(home.flow(*STEPS), D1, D2)
    return home.home.path


@pytest.fixture
def flow(home, ran):
    shutil.copytree(ran, home.home.path, dirs_exist_ok=True)
    return home.flow(*STEPS)


def export(home, flow, name="x.tar.gz", **options):
    output = home.home.path.parent / name
    return export_dataset(home.home.dataset("DS"), [flow] if flow else [], output, **options)


def members(path):
    with tarfile.open(path) as archive:
        return {one.name: archive.extractfile(one).read() for one in archive.getmembers()}


def everything(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".procezo" not in path.parts
    }


def test_the_round_trip_gives_the_same_bytes(home, flow, tmp_path):
    done = export(home, flow)
    other = CoreHome(tmp_path / "B")
    other.home.path.mkdir()
    imported = import_dataset(other.home, done.path)
    assert imported.manifest.dataset == "DS"
    assert imported.placed == ("flows/f.json",)
    raw, raw_there = home.home.dataset("DS").raw, other.home.dataset("DS").raw
    assert everything(raw) == everything(raw_there)
    assert all(
        (raw / name).stat().st_mtime == pytest.approx((raw_there / name).stat().st_mtime)
        for name in everything(raw)
    )
    other.run_well(other.flow(*STEPS), D1, D2)
    assert other.digests() == home.digests()
    assert len(other.digests()) > 10
    assert not [path for path in other.home.datasets.iterdir() if path.name.startswith(".")]


def test_with_stages_everything_comes_along_but_what_was_loaded(home, flow, tmp_path):
    (home.home.dataset("DS").stage("50_duckdb")).mkdir()
    (home.home.dataset("DS").stage("50_duckdb") / "loaded.json").write_text("{}")
    done = export(home, flow, with_stages=True)
    other = CoreHome(tmp_path / "B")
    import_dataset(other.home, done.path)
    known = {k: v for k, v in home.digests().items() if not k.endswith("loaded.json")}
    assert other.digests() == known
    assert any(name.startswith("quarantine/f/") for name in known)


def test_two_archives_of_the_same_differ_in_their_date_only(home, flow):
    one, other = export(home, flow, "1.tar.gz"), export(home, flow, "2.tar.gz")
    left, right = members(one.path), members(other.path)
    assert list(left) == list(right)
    first, *rest = left
    assert (first, rest) == ("manifest.json", sorted(rest))
    assert {k: v for k, v in left.items() if k != "manifest.json"} == {
        k: v for k, v in right.items() if k != "manifest.json"
    }
    manifest = json.loads(left["manifest.json"])
    assert manifest["counts"]["raw_files"] == 3
    for name, said in manifest["members"].items():
        assert said == {
            "size": len(left[name]),
            "sha256": hashlib.sha256(left[name]).hexdigest(),
        }


def test_fits_come_along_without_stages_and_links_as_files(home, flow):
    (path,) = home.home.dataset("DS").raw.glob("*2025-03-01*")
    (path.parent / "x_pil-92_2025-03-02.csv").symlink_to(path.name)
    found = members(export(home, flow).path)
    assert found["dataset/00_raw/x_pil-92_2025-03-02.csv"] == path.read_bytes()
    assert any("/fits/current" in name for name in found)
    assert not any("domain=" in name for name in found)


@pytest.mark.parametrize("place", ["00_raw/x.csv", "00_raw/folder", "30_normalized/fits/x.json"])
def test_a_link_that_leads_elsewhere_gives_nothing_away(home, flow, tmp_path, place):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    link = home.home.dataset("DS").path / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside if link.name == "folder" else outside / "secret")
    with pytest.raises(ArchiveError, match="is a link that leads out of"):
        export(home, flow)
    assert list(home.home.path.glob("*.tar.gz*")) == []


def test_treatments_of_the_flow_come_along(home, tmp_path):
    home.treatment(
        "own",
        "from procezo_assets.treatments import Parameters, treatment\n"
        '@treatment(inputs=("20_clean",), output="22_own")\n'
        'def own(frame, params: Parameters):\n    """Same."""\n    return frame\n',
    )
    home.treatment("unused", "raise ImportError\n")
    flow = home.flow(PARSE, CLEAN, {"treatment": "own"})
    done = export(home, flow)
    found = members(done.path)
    assert "treatments/own.py" in found
    assert "treatments/unused.py" not in found
    other = CoreHome(tmp_path / "B")
    assert import_dataset(other.home, done.path).placed == ("treatments/own.py", "flows/f.json")


def test_plain_secrets_stay_home(home):
    flow = home.flow(
        PARSE,
        CLEAN,
        {
            "treatment": "to_postgres",
            "input": "20_clean",
            "params": {"host": "db", "user": "me", "password": "hunter2"},
        },
        {
            "treatment": "to_postgres",
            "input": "20_clean",
            "output": "62_other",
            "params": {"url": {"env": "URL"}},
        },
        notify=["slack://tokenA/tokenB", {"env": "NOTIFY"}],
        overrides={"DS": {"postgres": {"password": "hunter3"}}},
    )
    done = export(home, flow)
    said = members(done.path)["flows/f.json"].decode()
    assert "hunter" not in said
    assert "token" not in said
    content = json.loads(said)
    assert content["steps"][2]["params"] == {"host": "db", "user": "me"}
    assert content["steps"][3]["params"] == {"url": {"env": "URL"}}
    assert content["notify"] == [{"env": "NOTIFY"}]
    assert len(done.warnings) == 3
    assert not any("hunter" in warning for warning in done.warnings)


def test_columns_that_are_called_like_secrets_come_along(home):
    named = {"byssus_secretion": "token", "groundsnow": "redsnapper", "secret": "notify_level"}
    taken = {"columns": list(named), "rename": named}
    parse = {"domains": {"bio_signal": taken}, "units": {"token": "mV", "groundsnow": "cm"}}
    flow = home.flow(
        {**PARSE, "params": parse},
        overrides={"DS": {"parsed": {"units": {"token": "V"}}}},
    )
    done = export(home, flow)
    assert done.warnings == ()
    assert members(done.path)["flows/f.json"] == flow.path.read_bytes()


def test_a_step_that_is_called_like_a_parameter_keeps_its_secrets_home(home):
    server = {"host": "db", "user": "me", "password": "hunter2"}
    load = {"treatment": "to_postgres", "input": "20_clean", "params": server, "name": "rename"}
    flow = home.flow(PARSE, CLEAN, load, overrides={"DS": {"rename": {"password": "hunter3"}}})
    assert b"hunter" not in members(export(home, flow).path)["flows/f.json"]


def test_a_flow_without_secrets_is_the_same_byte_for_byte(home, flow):
    assert members(export(home, flow).path)["flows/f.json"] == flow.path.read_bytes()


def test_export_replaces_nothing(home, flow):
    done = export(home, flow)
    before = done.path.read_bytes()
    with pytest.raises(ArchiveError, match="exists"):
        export(home, flow)
    assert done.path.read_bytes() == before


@pytest.mark.parametrize("how", ["grown", "cut", "altered"])
def test_a_file_that_changes_meanwhile_is_refused_and_nothing_is_left(home, flow, how):
    done = export(home, flow)
    done.path.unlink()
    raw = home.home.dataset("DS").raw / "deep/er/x_pil-91_2025-03-01.csv"
    whole = raw.read_bytes()
    changed = {
        "grown": whole + b"more\n",
        "cut": whole[:-5],
        "altered": whole.replace(b"0", b"1"),
    }[how]
    seen = 0

    def change(_):
        nonlocal seen
        seen += 1
        if seen == len(done.manifest.members):  # all are measured, none is written
            raw.write_bytes(changed)

    with pytest.raises(ArchiveError, match="changed while it was exported"):
        export(home, flow, advance=change)
    assert not [path for path in done.path.parent.iterdir() if path.is_file()]


def test_the_default_name_has_no_folders():
    assert default_name("event1/group1").startswith("event1_group1_2")
    assert default_name("event1/group1").endswith(".tar.gz")


# what is refused


def refused(home, path, **options):
    before = everything(home.home.path)
    with pytest.raises(ArchiveError) as caught:
        import_dataset(home.home, path, **options)
    assert everything(home.home.path) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def empty(tmp_path):
    home = CoreHome(tmp_path / "B")
    home.home.path.mkdir()
    return home


def test_what_exists_is_refused(home, flow, empty):
    path = export(home, flow).path
    home.raw("more.csv", "x")
    assert "dataset 'DS' exists" in refused(home, path)
    empty.home.flows.mkdir()
    (empty.home.flows / "f.json").write_text("{}")
    assert "flows/f.json exists here with other content" in refused(empty, path)
    assert "--replace-flows" in refused(empty, path)
    (empty.home.flows / "f.json").chmod(0o600)
    import_dataset(empty.home, path, replace_flows=True)
    assert (empty.home.flows / "f.json").stat().st_mode & 0o777 == 0o600
    assert (empty.home.flows / "f.json").read_bytes() == flow.path.read_bytes()
    assert (empty.home.flows / "f.json.bak").read_text() == "{}"


def test_identical_flows_are_no_trouble(home, flow, empty):
    path = export(home, flow).path
    empty.home.flows.mkdir()
    shutil.copy(flow.path, empty.home.flows)
    assert import_dataset(empty.home, path).placed == ()


def test_a_dataset_within_a_dataset_is_refused(tmp_path, empty):
    home = CoreHome(tmp_path / "A")
    home.raw("a.csv", "x\n", dataset="event1/group1")
    path = tmp_path / "x.tar.gz"
    export_dataset(home.home.dataset("event1/group1"), [], path)
    (empty.home.datasets / "event1" / "00_raw").mkdir(parents=True)
    assert "inside the dataset 'event1'" in refused(empty, path)


def flipped(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


DAMAGES = {
    "cut": lambda data: data[: len(data) // 2],
    "cut at the end": lambda data: data[:-6],
    "empty": lambda _: b"",
    "text": lambda _: b"this is no archive\n" * 100,
    "flipped": flipped,
    "tail": lambda data: data + b"rubbish",
    "no tar": lambda _: gzip.compress(b"no tar in here" * 1000),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_archives_are_refused_in_one_line(home, flow, empty, kind):
    path = export(home, flow).path
    path.write_bytes(DAMAGES[kind](path.read_bytes()))
    refused(empty, path)
    assert list(empty.home.datasets.glob("*")) == []


def remade(path, change):
    """An archive of the same manifest and other members: `change` is given and hands back both."""
    with tarfile.open(path) as archive:
        found = [(one, archive.extractfile(one).read()) for one in archive.getmembers()]
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for one, data in change(found):
            archive.addfile(one, io.BytesIO(data) if data is not None else None)


def said(manifest, **changes):
    return json.dumps({**json.loads(manifest), **changes}).encode()


def with_manifest(**changes):
    def change(found):
        (first, manifest), *rest = found
        data = said(manifest, **changes)
        first.size = len(data)
        return [(first, data), *rest]

    return change


def with_member(name, data=b"x", **about):
    """Another member, of which the manifest knows."""

    def change(found):
        (first, manifest), *rest = found
        known = json.loads(manifest)["members"]
        known[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        changed = said(manifest, members=known)
        first.size = len(changed)
        header = tarfile.TarInfo(name)
        header.size = len(data) if about.get("type", tarfile.REGTYPE) == tarfile.REGTYPE else 0
        for key, value in about.items():
            setattr(header, key, value)
        return [(first, changed), *rest, (header, data if header.size else None)]

    return change


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../outside",
        "dataset/../../outside",
        "dataset/../x",
        "outside",
        "dataset/.hidden",
        "flows/../../x.json",
        "flows/deep/x.json",
        "dataset//00_raw",
        "dataset/./x",
        ".procezo/catalog.sqlite",
        "dataset/\0x",
    ],
)
def test_paths_that_lead_elsewhere_are_refused(home, flow, empty, name):
    assert not is_safe(name)
    path = export(home, flow).path
    remade(path, with_member(name))
    assert "no path that an archive may have" in refused(empty, path)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.LNKTYPE, "dataset/00_raw/x_pil-90_2025-03-01.csv"),
        (tarfile.CHRTYPE, ""),
        (tarfile.FIFOTYPE, ""),
        (tarfile.DIRTYPE, ""),
    ],
)
def test_links_devices_and_folders_are_refused(home, flow, empty, kind, target):
    path = export(home, flow).path
    remade(path, with_member("dataset/00_raw/link", type=kind, linkname=target))
    assert "is no plain file" in refused(empty, path)


def test_what_the_manifest_does_not_say_is_refused(home, flow, empty):
    path = export(home, flow).path
    whole = path.read_bytes()

    def trial(change):
        path.write_bytes(whole)
        remade(path, change)
        return refused(empty, path)

    extra = tarfile.TarInfo("dataset/00_raw/extra.csv")
    extra.size = 1
    assert "is not in the manifest" in trial(lambda found: [*found, (extra, b"x")])
    assert "comes twice" in trial(lambda found: [*found, found[1]])
    assert "comes twice" in trial(lambda found: [*found, found[0]])
    assert "lacks 1 members" in trial(lambda found: found[:-1])
    assert "does not begin with manifest.json" in trial(lambda found: found[1:])

    def altered(found):
        header, data = found[-1]
        return [*found[:-1], (header, b"#" + data[1:])]

    assert "its checksum differs" in trial(altered)

    def longer(found):
        header, data = found[-1]
        header.size += 5
        return [*found[:-1], (header, data + b"12345")]

    assert "bytes where the manifest says" in trial(longer)


def test_other_formats_and_wrong_manifests_are_refused(home, flow, empty):
    path = export(home, flow).path
    whole = path.read_bytes()

    def trial(**changes):
        path.write_bytes(whole)
        remade(path, with_manifest(**changes))
        return refused(empty, path)

    assert "has the format 2; this version reads 1" in trial(format=2, new_field=1)
    assert "manifest is damaged" in trial(dataset="../evil")
    assert "manifest is damaged" in trial(kind="backup")
    assert "manifest is damaged" in trial(members={"dataset/x": {"size": -1, "sha256": "0"}})
    huge = {"dataset/x": {"size": 10**18, "sha256": "0" * 64}}
    assert "bytes, more than 200 times its size; if these are data" in trial(members=huge)


def test_a_bomb_is_not_unpacked(home, flow, empty, monkeypatch):
    path = export(home, flow).path
    monkeypatch.setattr(importing, "_HEADER_BYTES", 2048)

    def bomb(found):
        header, data = found[-1]
        header.pax_headers = {"comment": "x" * 50_000_000}
        return [*found[:-1], (header, data)]

    remade(path, bomb)
    assert path.stat().st_size < 5_000_000
    assert "holds more than its manifest says" in refused(empty, path)


def test_a_manifest_that_unpacks_to_half_a_gigabyte_is_not_read(home, flow, empty):
    path = export(home, flow).path
    remade(path, with_manifest(created="x" * 40_000_000))
    assert "manifest unpacks to more than a manifest can" in refused(empty, path)


def test_what_does_not_fit_on_the_disk_is_not_unpacked(home, flow, empty, monkeypatch):
    path = export(home, flow).path
    monkeypatch.setattr(importing, "ROOM_LEFT_BYTES", 1 << 60)
    assert "bytes are to be unpacked, and" in refused(empty, path)


# the catalog


def entry(**changes):
    return FileEntry(
        **{
            "path": "a.csv",
            "size": 1,
            "mtime_ns": 1,
            "ctime_ns": 1,
            "sha256": "0" * 64,
            "content": "0" * 64,
            "reading": "r",
            "device": "pil-90",
            "lines": 3,
            "rows": 2,
            "quarantined": {"timestamp": 1},
            "excluded": 0,
            "blank": 0,
            "header": 0,
            "first": None,
            "last": None,
            "dialect": None,
            "refused": None,
            "more": {},
            "due": None,
            "kept": True,
            "meaning": "m",
            "read_at": 1.0,
            "days": {D1: 2},
            **changes,
        }
    )


def test_what_the_catalog_knew_comes_along_and_is_compared(home, flow, empty):
    path = home.home.state / "catalog.sqlite"
    path.unlink()  # with what the run learned
    store = CatalogStore(path)
    Catalog(store, "f", "DS").store([entry(), entry(path="gone.csv", removed_at=2.0)])
    done = export(home, flow)
    assert done.manifest.counts == {"raw_files": 3, "lines": 3, "rows": 2}
    imported = import_dataset(empty.home, done.path)
    assert set(imported.catalog["f"]) == {"a.csv"}
    same = {"sha256": "0" * 64, "lines": 3, "rows": 2, "quarantined": {"timestamp": 1}}
    assert later_reading(imported.catalog["f"], {"a.csv": same}) == []
    assert later_reading(imported.catalog["f"], {"a.csv": {**same, "rows": 1}}) == [
        "a.csv: rows 2 in the archive, 1 here"
    ]
    assert later_reading(imported.catalog["f"], {}) == ["a.csv is not read here"]


def test_a_catalog_holds_what_is_compared_and_no_more_than_can_be_read(home, flow, monkeypatch):
    done = export(home, flow)
    known = json.loads(members(done.path)["catalog.json"])
    assert set(known["f"]) == set(everything(home.home.dataset("DS").raw))
    assert {key for file in known["f"].values() for key in file} == {
        *("sha256", "lines", "rows", "quarantined")
    }
    monkeypatch.setattr(exporting, "MOST_BYTES", 100)
    without = export(home, flow, "without.tar.gz")
    assert "catalog.json" not in members(without.path)
    assert any("too much for catalog.json" in warning for warning in without.warnings)


def test_a_catalog_that_takes_the_memory_is_not_compared(home, flow, empty):
    path = export(home, flow).path
    assert import_dataset(empty.home, path).is_compared
    shutil.rmtree(empty.home.dataset("DS").path)
    with_catalog = b'{"f": {' + b" " * 32 * 1024**2 + b"}}"

    def change(found):
        kept = [(one, data) for one, data in found if one.name != "catalog.json"]
        return with_member("catalog.json", with_catalog)(kept)

    remade(path, change)
    tracemalloc.start()
    imported = import_dataset(empty.home, path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (imported.catalog, imported.is_compared) == ({}, False)
    assert peak < 10_000_000
    assert everything(empty.home.dataset("DS").raw) == everything(home.home.dataset("DS").raw)


def test_flows_and_treatments_are_never_read_whole(home, flow, empty):
    path = export(home, flow).path
    large = b"#" * 30_000_000
    remade(path, with_member("treatments/large.py", large))
    empty.home.treatments.mkdir()
    (empty.home.treatments / "large.py").write_bytes(large[:-1] + b"\n")
    tracemalloc.start()
    import_dataset(empty.home, path, replace_flows=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000
    assert (empty.home.treatments / "large.py").stat().st_size == len(large)
