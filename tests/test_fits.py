"""Fits: readable JSON, one a version, and which one is current."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, date, datetime

import polars as pl
import pytest
from filelock import FileLock

from procezo_assets.datasets import Home, PartKey
from procezo_assets.errors import FitError
from procezo_assets.fits import current_fit, make_fit
from procezo_assets.stores.parquet import Provenance, write_partition
from procezo_assets.treatments.normalize import NormalizeParameters
from procezo_assets.treatments.registry import built_in

NORMALIZE = built_in()["normalize"]
MADE = Provenance("f", "clean", "clean", "1", "cafe", "f00d", 1)


def write(folder, day, *, device="pil-90", domain="bio_signal", **columns):
    frame = pl.DataFrame(
        {"ts": [datetime(2026, 1, day, 8, tzinfo=UTC)]} | columns,
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
    )
    key = PartKey(device, domain)
    write_partition(folder, date(2026, 1, day), {key: frame}, {key: MADE})


@pytest.fixture
def folders(tmp_path):
    dataset = Home(tmp_path / "home").dataset("DS")
    return {
        "dataset": dataset,
        "input_folder": dataset.stage("20_clean"),
        "stage_folder": dataset.stage("35_normalized"),
    }


def fit(folders, **params):
    params = NormalizeParameters.model_validate({"method": "minmax", **params})
    return make_fit(NORMALIZE, params, **folders)


def test_a_fit_is_made_from_all_days_of_the_fitted_domain(folders):
    write(folders["input_folder"], 1, m0=[1], m1=[5])
    write(folders["input_folder"], 2, m0=[2.5])  # another type, and a column less
    write(folders["input_folder"], 3, device="pil-98", m0=[9])
    write(folders["input_folder"], 4, domain="environment", m0=[100])

    made = fit(folders)

    assert made.content["devices"] == {
        "pil-90": {
            "m0": {"low": 1.0, "high": 2.5, "count": 2},
            "m1": {"low": 5.0, "high": 5.0, "count": 1},
        },
        "pil-98": {"m0": {"low": 9.0, "high": 9.0, "count": 1}},
    }
    assert (made.content["first"], made.content["last"]) == ("2026-01-01", "2026-01-03")


def test_no_fit_is_made_of_halves_of_two_runs(folders):
    day = date(2026, 1, 1)

    def write_one(device, value):
        path = PartKey(device, "bio_signal").path(folders["input_folder"], day)
        path.parent.mkdir(parents=True, exist_ok=True)
        stamp = datetime(2026, 1, 1, 8, tzinfo=UTC)
        pl.DataFrame({"ts": [stamp], "device": [device], "m0": [value]}).write_parquet(path)

    write_one("pil-90", 1)
    write_one("pil-98", 1)
    lock = folders["dataset"].lock(day)
    lock.parent.mkdir(parents=True)
    with ThreadPoolExecutor(1) as pool:
        with FileLock(lock):  # as a run does that writes the day
            write_one("pil-90", 2)
            fitting = pool.submit(fit, folders)
            wait([fitting], timeout=0.5)
            write_one("pil-98", 2)
        devices = fitting.result(20).content["devices"]
    assert {name: device["m0"]["low"] for name, device in devices.items()} == {
        "pil-90": 2.0,
        "pil-98": 2.0,
    }


@pytest.mark.parametrize("times", [1, 99])
def test_days_that_are_replaced_are_fitted_on_again(folders, times):
    write(folders["input_folder"], 1, m0=[1])
    left = iter(range(times))

    def fit_meanwhile(frames, params):
        content = NORMALIZE.fit(frames, params)
        if (number := next(left, None)) is not None:
            write(folders["input_folder"], 1, m0=[2 + number])
        return content

    params = NormalizeParameters.model_validate({"method": "minmax"})
    disturbed = replace(NORMALIZE, fit=fit_meanwhile)
    if times == 1:
        made = make_fit(disturbed, params, **folders)
        assert made.content["devices"]["pil-90"]["m0"]["low"] == 2.0
    else:
        with pytest.raises(FitError, match="are replaced while they are fitted on"):
            make_fit(disturbed, params, **folders)
        assert current_fit(folders["stage_folder"]) is None


def test_a_fit_is_named_by_its_content(folders):
    write(folders["input_folder"], 1, m0=[1])

    made = fit(folders)

    data = made.path.read_bytes()
    assert made.sha256 == hashlib.sha256(data).hexdigest()
    assert made.path.name == f"{made.sha256[:16]}.json"
    assert json.loads(data) == made.content
    assert fit(folders) == made == current_fit(folders["stage_folder"])
    assert len(list(made.path.parent.glob("*.json"))) == 1


def test_earlier_fits_stay(folders):
    write(folders["input_folder"], 1, m0=[1])
    first = fit(folders)
    write(folders["input_folder"], 2, m0=[2])

    second = fit(folders)

    assert current_fit(folders["stage_folder"]) == second != first
    assert first.path.is_file()


def test_names_of_devices_are_taken_as_they_are(folders):
    write(folders["input_folder"], 1, device="a[1]*", m0=[1])
    write(folders["input_folder"], 2, device="a1", m0=[2])

    assert list(fit(folders).content["devices"]) == ["a1", "a[1]*"]


def test_nothing_to_fit_on(folders):
    write(folders["input_folder"], 1, domain="environment", outdoor_temp=[1.0])

    with pytest.raises(FitError, match=r"nothing to fit on in .*; run the stages before it first"):
        fit(folders)
    assert current_fit(folders["stage_folder"]) is None


@pytest.mark.parametrize(
    "damage", ["{", None, "[1, 2]", "[" * 100_000, '{"a": NaN}', '{"a": Infinity}']
)
def test_a_damaged_fit_says_so(folders, damage):
    write(folders["input_folder"], 1, m0=[1])
    path = fit(folders).path
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage)

    with pytest.raises(FitError, match=r"cannot be read: .*; fit again with --refit"):
        current_fit(folders["stage_folder"])


@pytest.mark.parametrize(
    "pointer", [b"", b"../../x.json", b"/etc/passwd", b"\xff\xfe\x00", b"a\0b", b"x" * 5_000_000]
)
def test_a_damaged_name_of_the_current_fit_says_so(folders, pointer):
    write(folders["input_folder"], 1, m0=[1])
    fit(folders).path.with_name("current").write_bytes(pointer)

    with pytest.raises(FitError, match=r"current cannot be read: .*; fit again with --refit"):
        current_fit(folders["stage_folder"])
    assert current_fit(folders["stage_folder"].parent) is None
    assert fit(folders) == current_fit(folders["stage_folder"])


def test_a_fit_that_could_not_be_read_again_is_not_kept(folders):
    write(folders["input_folder"], 1, m0=[1])
    endless = replace(NORMALIZE, fit=lambda *_: {"high": float("inf")})
    params = NormalizeParameters.model_validate({"method": "minmax"})

    with pytest.raises(FitError, match="cannot be kept: Infinity is no number in JSON"):
        make_fit(endless, params, **folders)
    assert current_fit(folders["stage_folder"]) is None


def test_a_treatment_without_a_fit(folders):
    with pytest.raises(FitError, match="'clean' has no fit"):
        make_fit(built_in()["clean"], built_in()["clean"].parameters(), **folders)
