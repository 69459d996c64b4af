"""Verification: what it compares, what it finds, and that it leaves the home as it was."""

from __future__ import annotations

import hashlib
import shutil
from datetime import timedelta

import polars as pl
import pytest
from core_home import (
    AGGREGATE,
    CLEAN,
    D1,
    D2,
    D3,
    NORMALIZE,
    PARSE,
    RESAMPLE,
    CoreHome,
    lines,
)

from procezo_assets import day_lock
from procezo_assets import verification as verification_module
from procezo_assets.datasets import part_files
from procezo_assets.errors import RawFileError, TransientStoreError
from procezo_assets.raw.catalog import Catalog
from procezo_assets.raw.catalog_rows import FileEntry
from procezo_assets.raw.catalog_store import CatalogStore
from procezo_assets.stores.parquet import Provenance, read_part, read_provenance, write_partition
from procezo_assets.verification import verification

STEPS = (PARSE, CLEAN, RESAMPLE, {**NORMALIZE, "input": "25_resampled"}, AGGREGATE)


@pytest.fixture
def home(tmp_path):
    home = CoreHome(tmp_path)
    home.raw_days(D1, D2, D3)
    return home


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A home that is copied, and never changed itself."""
    home = CoreHome(tmp_path_factory.mktemp("ran"))
    home.raw_days(D1, D2, D3)
    home.run_well(home.flow(*STEPS), D1, D2, D3)
    return home.home.path


@pytest.fixture
def flow(home, ran):
    shutil.copytree(ran, home.home.path, dirs_exist_ok=True)
    return home.flow(*STEPS)


def verify(home, flow, **days):
    with verification(flow, home.home.dataset("DS"), **days) as work:
        return work.run()


def everything(home):
    """Every file of the home but locks, with its bytes and time."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in home.home.path.rglob("*")
        if path.is_file() and "locks" not in path.parts
    }


def entry(name, day, *, content="0" * 64):
    """A raw file as the catalog knows it."""
    return FileEntry(
        path=name,
        size=1,
        mtime_ns=1,
        ctime_ns=1,
        sha256=content,
        content=content,
        reading="r",
        device="pil-90",
        lines=1,
        rows=1,
        quarantined={},
        excluded=0,
        blank=0,
        header=0,
        first=None,
        last=None,
        dialect=None,
        refused=None,
        more={},
        due=None,
        kept=True,
        meaning="m",
        read_at=1.0,
        days={day: 1},
    )


def part(home, folder, day, domain="bio_signal"):
    files = part_files(home.home.dataset("DS").stage(folder), day)
    return next((key, path) for key, path in files.items() if key.domain == domain)


def rewrite(home, folder, day, change, **footer):
    """Change a file's rows or footer as a hand would."""
    key, path = part(home, folder, day)
    found = read_provenance(path)
    data = change(read_part(path))
    path.unlink()
    stage = home.home.dataset("DS").stage(folder)
    others = {
        other: (read_part(other_path), read_provenance(other_path))
        for other, other_path in part_files(stage, day).items()
    }
    write_partition(
        stage,
        day,
        {key: data, **{other: frame for other, (frame, _) in others.items()}},
        {
            key: Provenance(**{**vars(found), **footer}),
            **{other: about for other, (_, about) in others.items()},
        },
    )


def test_what_runs_made_is_identical_and_the_home_stays_as_it_was(home, flow):
    before = everything(home)
    verified = verify(home, flow)
    assert (verified.differences, verified.first) == (0, None)
    assert verified.days == [D1, D2, D3]
    assert {name: (s.days, s.files, s.different) for name, s in verified.stages.items()} == {
        "parsed": (3, 6, 0),
        "clean": (3, 6, 0),
        "resampled": (3, 6, 0),
        "normalized": (3, 6, 0),
        "aggregated": (3, 12, 0),
    }
    assert everything(home) == before
    assert list((home.home.state / "scratch").iterdir()) == []


def test_only_the_asked_days_are_compared(home, flow):
    part(home, "20_clean", D1)[1].unlink()
    assert verify(home, flow, first=D2).first is None
    assert verify(home, flow, first=D2, last=D2).days == [D2]
    assert verify(home, flow, last=D1).first is not None


def test_days_in_several_spans_are_the_same_as_in_one(home, flow, monkeypatch):
    monkeypatch.setattr(verification_module, "_DAYS_AT_ONCE", 1)
    told = []
    with verification(flow, home.home.dataset("DS")) as work:
        verified = work.run(told.append)
    assert verified.first is None
    assert verified.stages["aggregated"].files == 12
    assert told == list(range(1, 16))


def test_an_altered_value_is_named(home, flow):
    at = pl.datetime(2025, 3, 2, 10, 0, 20, time_zone="UTC")
    rewrite(
        home,
        "20_clean",
        D2,
        lambda f: f.with_columns(m0=pl.when(pl.col("ts") == at).then(7).otherwise("m0")),
    )
    found = verify(home, flow).first
    assert (found.stage, found.day) == ("clean", D2)
    assert (
        found.file
        == "20_clean/domain=bio_signal/day=2025-03-02/" + part(home, "20_clean", D2)[1].name
    )
    assert found.what == "m0 at 2025-03-02T10:00:20.000000Z: 7, made again 102"
    assert "procezo flow f --dataset DS --from 2025-03-02 --to 2025-03-02" in found.remedy


def test_the_first_difference_is_of_the_first_day_and_its_first_stage(home, flow):
    rewrite(home, "40_aggregated", D1, lambda f: f.head(0))
    rewrite(home, "20_clean", D2, lambda f: f.head(3))
    rewrite(home, "10_parsed", D2, lambda f: f.head(5))
    verified = verify(home, flow)
    assert verified.differences == 3
    assert (verified.first.stage, verified.first.day) == ("aggregated", D1)
    assert verified.first.what.startswith("rows: 0, made again ")
    found = verify(home, flow, first=D2).first
    assert (found.stage, found.what) == ("parsed", "rows: 5, made again 30")


def test_other_columns_and_types_are_named(home, flow):
    rewrite(home, "20_clean", D1, lambda f: f.with_columns(extra=pl.lit(1)))
    assert verify(home, flow).first.what == "columns: extra"
    rewrite(home, "20_clean", D1, lambda f: f.drop("extra").cast({"m0": pl.Float64}))
    assert verify(home, flow).first.what == "type of m0: Float64, made again Int64"


def test_missing_extra_and_damaged_files_are_named(home, flow):
    _, path = part(home, "20_clean", D1)
    kept = path.read_bytes()
    path.unlink()
    found = verify(home, flow).first
    assert (found.stage, found.what) == ("clean", "is missing")
    assert found.remedy.endswith("procezo flow f --dataset DS --last")
    path.write_bytes(kept)
    extra = path.with_name(path.name.replace("pil-90", "ghost"))
    extra.write_bytes(kept)
    assert "is extra" in verify(home, flow).first.what
    extra.unlink()
    path.write_bytes(kept[:-20])
    assert verify(home, flow).first.what == "is damaged: its footer cannot be read"


def test_a_footer_that_says_otherwise_is_named(home, flow):
    rewrite(home, "20_clean", D1, lambda f: f, version="0")
    found = verify(home, flow).first
    assert (found.stage, found.what) == ("clean", "version: 0 in the footer, now 1")
    assert "stale" in found.remedy


@pytest.mark.usefixtures("flow")
def test_changed_parameters_are_stale(home):
    changed = home.flow(PARSE, {**CLEAN, "params": {"domains": {}}}, *STEPS[2:])
    found = verify(home, changed).first
    assert found.stage == "clean"
    assert found.what.startswith("parameters: ")
    assert found.remedy.startswith("it is stale")


def test_new_lines_and_days_that_nobody_ran_are_stale(home, flow):
    home.raw("x_pil-90_2025-03-09.csv", lines(D2, start=12)[0])
    found = verify(home, flow).first
    assert (found.stage, found.day) == ("parsed", D2)
    assert found.what.startswith("input: ")
    assert found.remedy.endswith("--last")
    home.raw("x_pil-90_2025-03-09.csv", lines(D3 + timedelta(days=1))[0])
    found = verify(home, flow).first
    assert (found.day, found.what) == (D3 + timedelta(days=1), "is missing")


def test_a_fit_is_applied_as_it_is_and_never_made_again(home, flow):
    # other values, so that a fit made here would be another one
    home.raw_days(D3, level=500)
    home.run_well(flow, D3)
    assert verify(home, flow).first is None
    folder = next(s for s in flow.stages if s.name == "normalized").output
    shutil.rmtree(home.home.dataset("DS").stage(folder) / "fits")
    verified = verify(home, flow)
    assert verified.first is None
    assert "normalized" in verified.left_out
    assert "normalized" not in verified.stages


def test_days_whose_raw_file_is_gone_cannot_be_verified(home, flow):
    home.home.dataset("DS").raw.joinpath(f"x_pil-90_{D2}.csv").unlink()
    verified = verify(home, flow)
    assert verified.first is None
    assert verified.days == [D1, D3]
    assert verified.unverifiable == {D2: "raw file gone (x_pil-90_2025-03-02.csv)"}


def test_a_day_with_one_of_two_files_gone_is_known_by_the_catalog(home, flow):
    path = home.raw("x_pil-90_2025-03-09.csv", lines(D2, start=12)[0])
    home.run_well(flow, D2)
    catalog = Catalog(CatalogStore(home.home.state / "catalog.sqlite"), "f", "DS")
    catalog.store([entry(path.name, D2)])
    path.unlink()
    before = everything(home)
    verified = verify(home, flow)
    assert verified.first is None
    assert verified.unverifiable == {D2: "raw file gone (x_pil-90_2025-03-09.csv)"}
    assert everything(home) == before


def test_a_file_of_a_device_that_was_never_there_is_extra_and_hides_nothing(home, flow):
    rewrite(home, "20_clean", D2, lambda frame: frame.with_columns(m0=pl.col("m0") + 1))
    _, path = part(home, "10_parsed", D2)
    shutil.copy(path, path.with_name(path.name.replace("pil-90", "stray")))

    verified = verify(home, flow)

    assert verified.unverifiable == {}
    assert verified.differences > 1
    assert "stray" in verified.first.file
    assert verified.first.what.startswith("is extra")
    assert verified.identical is False


def test_where_nothing_can_be_compared_nothing_is_identical(home, flow):
    home.home.dataset("DS").raw.joinpath(f"x_pil-90_{D2}.csv").unlink()

    assert verify(home, flow, first=D2, last=D2).identical is None


def test_a_file_that_moved_is_not_gone(home, flow):
    raw = home.home.dataset("DS").raw
    old = raw / f"x_pil-90_{D2}.csv"
    digest = hashlib.sha256(old.read_bytes()).hexdigest()
    catalog = Catalog(CatalogStore(home.home.state / "catalog.sqlite"), "f", "DS")
    catalog.store([entry(old.name, D2, content=digest)])
    (raw / "moved").mkdir()
    old.rename(raw / "moved" / old.name)
    verified = verify(home, flow)
    assert verified.unverifiable == {}
    assert verified.first is None


@pytest.mark.usefixtures("flow")
def test_where_the_flow_drops_them_they_are_differences(home):
    dropping = home.flow(*STEPS, removed="drop")
    home.home.dataset("DS").raw.joinpath(f"x_pil-90_{D2}.csv").unlink()
    verified = verify(home, dropping)
    assert verified.unverifiable == {}
    assert (verified.first.day, verified.first.stage) == (D2, "parsed")


def test_an_empty_raw_folder_is_refused(home, flow):
    for path in home.home.dataset("DS").raw.iterdir():
        path.unlink()
    with pytest.raises(RawFileError, match="is empty: 3 days"):
        verify(home, flow)
    assert list((home.home.state / "scratch").iterdir()) == []


def test_a_day_that_cannot_be_made_again_is_a_difference_and_stops_no_other(home):
    home.treatment(
        "picky",
        """
from pathlib import Path
from procezo_assets.treatments import Parameters, PartAbout, treatment

@treatment(inputs=("20_clean",), output="22_picky")
def picky(frame, params: Parameters, about: PartAbout):
    \"\"\"Fail on one day.\"\"\"
    if about.day.day == 2 and Path(__file__).with_name("fail").exists():
        raise ZeroDivisionError("no calibration")
    return frame
""",
    )
    flow = home.flow(PARSE, CLEAN, {"treatment": "picky"})
    home.run_well(flow, D1, D2, D3)
    (home.home.treatments / "fail").touch()
    verified = verify(home, flow)
    assert verified.differences == 1
    assert verified.first.day == D2
    assert "cannot be made again: ZeroDivisionError: no calibration" in verified.first.what
    assert verified.stages["picky"].files == 4


def test_a_day_that_a_run_writes_meanwhile_is_made_again(home, flow):
    with verification(flow, home.home.dataset("DS")) as work:
        home.raw("x_pil-90_2025-03-09.csv", lines(D2, start=12)[0])
        home.run_well(flow, D2)
        assert work.run().first is None


def test_a_run_that_never_lets_go_of_a_day_ends_the_verification(home, flow, monkeypatch):
    monkeypatch.setattr(day_lock, "TURN_WAIT_S", 0.1)
    with (
        day_lock.working_on(home.home.dataset("DS"), D2),
        pytest.raises(TransientStoreError, match="another run has been working on 2025-03-02"),
    ):
        verify(home, flow)
