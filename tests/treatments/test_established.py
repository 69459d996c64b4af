"""The user's treatments in the established form: a folder with treatment.json and run.py."""

from __future__ import annotations

import json

import polars as pl
import pytest
from core_home import AGGREGATE, CLEAN, D1, D2, PARSE, CoreHome, done, failures

from procezo_assets.datasets import PartKey
from procezo_assets.errors import ProcezoError, TreatmentError
from procezo_assets.treatments.established import load_established
from procezo_assets.treatments.registry import load_registry

DECLARED = {
    "name": "shout",
    "description": "Make it louder.",
    "params": {"by": {"type": "int", "default": 2, "description": "Factor."}},
}

LOUDER = """
import shutil
from pathlib import Path
import polars as pl

def run(input_dir, output_dir, params):
    print("shouting")
    for path in sorted(Path(input_dir).glob("domain=*/*.parquet")):
        target = Path(output_dir) / path.parent.name
        target.mkdir(parents=True, exist_ok=True)
        frame = pl.read_parquet(path, hive_partitioning=False)
        frame = frame.with_columns(pl.selectors.integer() * params["by"])
        frame.write_parquet(target / path.name.replace("__STEP__", "__shout__"))
"""

LAYOUT = """
import json
from pathlib import Path
import polars as pl

def run(input_dir, output_dir, params):
    seen = {
        "files": sorted(str(p.relative_to(input_dir)) for p in Path(input_dir).rglob("*.parquet")),
        "output": sorted(str(p) for p in Path(output_dir).iterdir()),
        "columns": {
            p.name: pl.read_parquet(p, hive_partitioning=False).columns
            for p in Path(input_dir).rglob("*.parquet")
        },
        "params": params,
    }
    Path(SEEN).write_text(json.dumps(seen))
"""


@pytest.fixture
def lab(tmp_path):
    made = CoreHome(tmp_path)
    made.raw_days(D1, D2)
    return made


def install(lab, script, *, name="shout", declared=DECLARED):
    folder = lab.home.treatments / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "treatment.json").write_text(json.dumps(declared))
    (folder / "run.py").write_text(script)
    return folder


def shout(**step):
    return {"treatment": "shout", "input": "20_clean", "output": "29_shout", **step}


def test_a_partition_goes_through_its_folders(lab, capsys):
    install(lab, LOUDER.replace("STEP", "clean"))

    events = lab.run_well(lab.flow(PARSE, CLEAN, shout(params={"by": 3})), D1, D2)

    for day in (D1, D2):
        before, after = lab.frames("20_clean", day), lab.frames("29_shout", day)
        assert before.keys() == after.keys()
        key = PartKey("pil-90", "bio_signal")
        assert after[key]["m0"].to_list() == (before[key]["m0"] * 3).to_list()
        assert after[key].schema["m1"] == pl.Int64
    assert done(events)["shout", D1].ledger.balanced
    printed = capsys.readouterr()
    assert printed.out == ""  # stdout carries only results
    assert "shouting" in printed.err


def test_the_layout_of_its_folders(lab, tmp_path):
    seen = tmp_path / "seen.json"
    install(lab, LAYOUT.replace("SEEN", repr(str(seen))))
    lab.raw_days(D1, dataset="lab/B")
    flow = lab.flow(PARSE, CLEAN, shout(), datasets=["lab/*"])

    lab.run_well(flow, D1, dataset="lab/B")

    found = json.loads(seen.read_text())
    assert found["files"] == [
        "domain=bio_signal/lab-B__pil-90__clean__2025-03-01.parquet",
        "domain=environment/lab-B__pil-90__clean__2025-03-01.parquet",
    ]
    assert found["output"] == []
    assert found["columns"]["lab-B__pil-90__clean__2025-03-01.parquet"][0] == "ts"
    assert found["params"] == {"by": 2}
    assert lab.frames("29_shout", D1, dataset="lab/B") == {}  # it wrote nothing


def test_windows(lab, tmp_path):
    seen = tmp_path / "seen.json"
    aggregate = {**AGGREGATE, "input": "20_clean"}
    after = shout(input="40_aggregated")
    install(lab, LAYOUT.replace("SEEN", repr(str(seen))))
    lab.run_well(lab.flow(PARSE, CLEAN, aggregate, after), D1)
    assert (
        "domain=bio_signal/DS__pil-90__aggregated__60s__2025-03-01.parquet"
        in json.loads(seen.read_text())["files"]
    )

    install(lab, LOUDER.replace("STEP", "aggregated"))
    lab.run_well(lab.flow(PARSE, CLEAN, aggregate, after), D1)

    assert lab.frames("29_shout", D1).keys() == lab.frames("40_aggregated", D1).keys()
    assert {key.window for key in lab.frames("29_shout", D1)} == {"60s", "1h"}


@pytest.mark.parametrize("device", ["a__b", "a__b__c", "pil 90", "x__1h"])
@pytest.mark.parametrize("dataset", ["DS", "A__B"])
def test_names_may_hold_the_separator(lab, device, dataset):
    pattern = {"device_pattern": r"^(?P<device>.+)_2025"}
    lab.raw_days(D1, device=device, dataset=dataset)
    for path in lab.home.dataset(dataset).raw.iterdir():
        path.rename(path.with_name(path.name.removeprefix("x_")))
    install(lab, LOUDER.replace("STEP", "clean"))
    flow = lab.flow({**PARSE, "params": pattern}, CLEAN, shout(), dataset=dataset)

    lab.run_well(flow, D1, dataset=dataset)

    keys = lab.frames("29_shout", D1, dataset=dataset).keys()
    assert PartKey(device, "bio_signal") in keys
    assert keys == lab.frames("20_clean", D1, dataset=dataset).keys()


def test_it_may_make_devices_and_columns_of_its_own(lab):
    install(
        lab,
        "from pathlib import Path\nimport polars as pl\n"
        "def run(input_dir, output_dir, params):\n"
        "    (path,) = Path(input_dir).glob('domain=bio_signal/*.parquet')\n"
        "    frame = pl.read_parquet(path, hive_partitioning=False)\n"
        "    out = Path(output_dir) / 'domain=sums'\n"
        "    out.mkdir()\n"
        "    frame.select('ts', device=pl.lit('x'), s=pl.lit(float('nan'))).write_parquet(\n"
        "        out / 'whoever__all__sum__2025-03-01.parquet'.replace('whoever', 'DS'))\n",
    )

    lab.run_well(lab.flow(PARSE, CLEAN, shout()), D1)

    (frame,) = lab.frames("29_shout", D1).values()
    assert list(lab.frames("29_shout", D1)) == [PartKey("all", "sums")]
    assert frame.columns == ["ts", "s"]
    assert frame["s"].null_count() == frame.height == 30


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ValueError('too loud')", "ValueError: too loud"),
        ("raise SystemExit(2)", "treatment 'shout' called sys.exit(2)"),
        ("write('DS__pil-90__shout__2025-03-02')", "wrote domain=d/DS__pil-90__shout__2025-03-02"),
        ("write('pil-90')", "name it DS__<device>__<step>__[<window>__]2025-03-01.parquet"),
        ("write('DS__pil-90__2025-03-01')", "name it DS__"),
        ("write('DS__p__shout__1h__x__2025-03-01')", "name it DS__"),
        ("write('DS__p__shout__2025-03-01', 'x')", "without the column ts"),
    ],
)
def test_what_it_does_wrong_fails_its_day_alone(lab, body, reason):
    script = (
        "from pathlib import Path\nimport polars as pl\n"
        "def run(input_dir, output_dir, params):\n"
        "    def write(name, column='ts'):\n"
        "        (Path(output_dir) / 'domain=d').mkdir()\n"
        "        pl.DataFrame({column: [1]}).write_parquet(\n"
        "            Path(output_dir) / 'domain=d' / (name + '.parquet'))\n"
        "    if any('2025-03-01' in p.name for p in Path(input_dir).rglob('*.parquet')):\n"
        f"        {body}\n"
    )
    install(lab, script)

    events = lab.run(lab.flow(PARSE, CLEAN, shout()), D1, D2)

    (failed,) = failures(events)
    assert (failed.day, failed.stage.name) == (D1, "shout")
    assert reason in failed.reason
    assert ("shout", D2) in done(events)


def test_parameters_are_checked(lab):
    install(lab, LOUDER)

    with pytest.raises(ProcezoError, match="unknown parameter 'loud'; valid: by"):
        lab.flow(PARSE, CLEAN, shout(params={"loud": 1}))
    with pytest.raises(ProcezoError, match=r"parameter 'by': .*integer"):
        lab.flow(PARSE, CLEAN, shout(params={"by": "x"}))


def test_a_parameter_without_default_is_required(lab):
    install(lab, LOUDER, declared={"name": "shout", "params": {"by": {"type": "int|str"}}})

    with pytest.raises(ProcezoError, match="parameter 'by' is missing"):
        lab.flow(PARSE, CLEAN, shout())
    assert lab.flow(PARSE, CLEAN, shout(params={"by": "x"}))


def test_modules_may_use_dataclasses_and_any_parameter_name(lab):
    folder = install(
        lab,
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass State:\n    number: int = 0\n"
        "def run(input_dir, output_dir, params):\n    State()\n",
        declared={"params": {"copy": {"type": "bool", "default": True}}},
    )

    made = load_established(folder)

    assert made.name == "shout"
    assert made.parameters().model_dump() == {"copy": True}


def test_the_version_is_that_of_its_files(lab):
    folder = install(lab, LOUDER)
    before = load_established(folder).version
    assert load_established(folder).version == before
    (folder / "more.py").write_text("x = 1\n")

    assert load_established(folder).version != before


@pytest.mark.parametrize(
    ("declared", "script", "problem"),
    [
        ("{", LOUDER, r"treatment\.json: "),
        ("[1]", LOUDER, r"treatment\.json: "),
        ("[" * 100_000, LOUDER, "nested too deep"),
        ('{"params": {"by": 5}}', LOUDER, "parameter 'by' needs a type"),
        ('{"params": {"by": {"type": "integer"}}}', LOUDER, "unknown type 'integer'"),
        ('{"params": {"_by": {"type": "int"}}}', LOUDER, "cannot have that name"),
        ('{"params": {"model_config": {"type": "int"}}}', LOUDER, "cannot have that name"),
        ("{}", "x = 1\n", r"has no run\(input_dir, output_dir, params\)"),
        ("{}", "1 / 0\n", "fails to import: ZeroDivisionError"),
        ("{}", "import sys\nsys.exit(1)\n", "fails to import: SystemExit"),
        ("{}", None, r"has no run\.py"),
        (None, LOUDER, r"has no treatment\.json"),
    ],
)
def test_a_broken_one_is_reported_and_takes_no_other_down(lab, declared, script, problem):
    folder = lab.home.treatments / "clean"
    folder.mkdir(parents=True)
    for name, text in (("treatment.json", declared), ("run.py", script)):
        if text is not None:
            (folder / name).write_text(text)

    registry = load_registry(lab.home)

    assert "resample" in registry.treatments
    with pytest.raises(TreatmentError, match=problem):
        registry.get("clean")
