"""Which treatments there are, the user's own among them: native Polars, native pandas."""

from __future__ import annotations

import polars as pl
import pytest
from core_home import CLEAN, D1, PARSE, CoreHome, done, failures
from polars.testing import assert_frame_equal

from procezo_assets.datasets import PartKey
from procezo_assets.errors import ProcezoError, TreatmentError
from procezo_assets.treatments.registry import built_in, load_registry

INTEGERS = {**PARSE, "params": {"domains": {"bio_signal": {"prefix": "m", "dtype": "int"}}}}
BIO = PartKey("pil-90", "bio_signal")

POLARS = '''
from pydantic import Field
import polars as pl
from procezo_assets.treatments import Parameters, PartAbout, treatment

class OffsetParameters(Parameters):
    """What is added."""

    by: int = Field(1, description="What is added.")

@treatment(parameters=OffsetParameters, inputs=("20_clean",), output="21_offset", version="3")
def offset(frame: pl.DataFrame, params: OffsetParameters, *, about: PartAbout) -> pl.DataFrame:
    """Add a constant."""
    assert about.device == "pil-90"
    return frame.with_columns(pl.selectors.numeric() + params.by)
'''

PANDAS = """
from __future__ import annotations

import pandas as pd
from procezo_assets.treatments import Parameters, treatment

@treatment(inputs=("20_clean",), output="23_smooth")
def smooth(frame: pd.DataFrame, params: Parameters) -> pd.DataFrame:
    assert str(frame["m0"].dtype) == "Int64", frame.dtypes
    return BODY
"""


UNKNOWN_ANNOTATION = """
from __future__ import annotations
from procezo_assets.treatments import treatment

@treatment()
def clean(frame: pd.DataFrame, params):
    return frame
"""


@pytest.fixture
def lab(tmp_path):
    made = CoreHome(tmp_path)
    made.raw_days(D1)
    return made


def test_built_in_treatments():
    assert set(built_in()) == {
        "parse",
        "clean",
        "resample",
        "transform",
        "normalize",
        "aggregate",
        "exportcsv",
        "exportnour",
        "exportparquet",
        "to_duckdb",
        "to_postgres",
    }
    assert all(one.summary for one in built_in().values())
    assert {one.origin for one in built_in().values()} == {"built in"}


def test_every_parameter_has_a_sentence():
    for one in built_in().values():
        for name, field in one.parameters.model_fields.items():
            assert field.description, f"{one.name}.{name}"


def test_an_unknown_treatment_names_the_nearest(tmp_path):
    registry = load_registry(CoreHome(tmp_path).home)

    with pytest.raises(TreatmentError, match="unknown treatment 'claen'; did you mean 'clean'"):
        registry.get("claen")


def test_a_polars_treatment(lab):
    lab.treatment("offset", POLARS)
    flow = lab.flow(PARSE, CLEAN, {"treatment": "offset", "params": {"by": 5}})

    events = lab.run_well(flow, D1)

    before, after = lab.frames("20_clean", D1)[BIO], lab.frames("21_offset", D1)[BIO]
    assert (after["m0"] - before["m0"]).unique().to_list() == [5]
    assert after.schema["m0"] == pl.Int64
    registered = flow.stage("offset").treatment
    assert registered.summary == "Add a constant."
    assert registered.origin.endswith("offset.py")
    assert registered.version.startswith("3+")
    assert done(events)["offset", D1].ledger.removed_by_reason() == {}


def test_an_edited_treatment_is_another_version(lab):
    lab.treatment("offset", POLARS)
    before = load_registry(lab.home).get("offset").version
    lab.treatment("offset", POLARS + "\n# edited\n")

    assert load_registry(lab.home).get("offset").version != before


@pytest.mark.parametrize(
    "body",
    ["frame", "frame.set_index('ts')", "frame.assign(ts=frame['ts'].dt.tz_convert('Asia/Tokyo'))"],
)
def test_nullable_integers_survive_pandas(lab, body):
    lab.treatment("smooth", PANDAS.replace("BODY", body))
    lab.raw("y_pil-90_2025-03-01.csv", "2025-03-01T11:00:00Z;m0:9007199254740993;m1:3\n")
    flow = lab.flow(INTEGERS, {**CLEAN, "params": {"domains": {}}}, {"treatment": "smooth"})

    lab.run_well(flow, D1)

    before, after = lab.frames("20_clean", D1)[BIO], lab.frames("23_smooth", D1)[BIO]
    assert_frame_equal(after, before)
    assert after["m0"].max() == 2**53 + 1
    assert after["m1"].null_count() == 8


def test_nan_of_pandas_is_null(lab):
    lab.treatment("smooth", PANDAS.replace("BODY", "frame.assign(z=float('nan'), w=1.5)"))
    flow = lab.flow(
        INTEGERS,
        CLEAN,
        {"treatment": "smooth"},
    )

    lab.run_well(flow, D1)

    frame = lab.frames("23_smooth", D1)[BIO]
    assert frame["z"].null_count() == frame.height
    assert frame["w"].unique().to_list() == [1.5]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("frame['m0']", "treatment 'smooth' returned Series; return a pandas.DataFrame"),
        ("frame.drop(columns='ts')", "column 'ts'"),
        ("frame.iloc[::-1]", "column 'ts' breaks the schema"),
        ("frame.assign(ts='now')", "column 'ts' breaks the schema"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_what_no_stage_can_hold_fails_the_day(lab, body, reason):
    lab.treatment("smooth", PANDAS.replace("BODY", body))
    flow = lab.flow(
        INTEGERS,
        CLEAN,
        {"treatment": "smooth"},
    )

    (failed,) = failures(lab.run(flow, D1))

    assert reason in failed.reason
    assert lab.frames("23_smooth", D1) == {}


def test_what_a_plain_treatment_changes_is_entered_as_uncounted(lab):
    lab.treatment(
        "halve",
        "from procezo_assets.treatments import treatment\n"
        "@treatment(inputs=('20_clean',), output='24_half')\n"
        "def halve(frame, params):\n    return frame[::2]\n",
    )

    events = lab.run_well(lab.flow(PARSE, CLEAN, {"treatment": "halve"}), D1)

    ledger = done(events)["half", D1].ledger
    assert ledger.balanced
    assert ledger.rows_removed == {"uncounted": 30}
    assert ledger.rows_out == 30


def test_an_override_of_a_built_in_is_taken(lab):
    lab.treatment(
        "clean",
        "from procezo_assets.treatments import treatment\n"
        "@treatment(inputs=('10_parsed',), output='20_clean')\n"
        "def clean(frame, params):\n    return frame.head(1)\n",
    )

    lab.run_well(lab.flow(PARSE, CLEAN), D1)

    assert lab.frames("20_clean", D1)[BIO].height == 1
    assert built_in()["clean"].origin == "built in"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("def clean(:\n", "fails to import: SyntaxError"),
        ("import nothing_of_that_name\n", "fails to import: ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "fails to import: SystemExit: 3"),
        ("def clean(frame, params):\n    return frame\n", "registers nothing"),
        (
            UNKNOWN_ANNOTATION,
            "annotation name 'pd' is not defined",
        ),
    ],
)
def test_a_broken_override_is_reported_and_its_built_in_not_used(lab, source, problem):
    lab.treatment("clean", source)

    registry = load_registry(lab.home)

    assert "clean" not in registry.treatments
    assert "resample" in registry.treatments
    with pytest.raises(TreatmentError, match=problem):
        registry.get("clean")
    with pytest.raises(ProcezoError, match=problem):
        lab.flow(PARSE, CLEAN)


def test_hidden_and_other_files_are_left_alone(lab):
    for name in (".hidden.py", "_private.py", "notes.txt"):
        lab.home.treatments.mkdir(exist_ok=True)
        (lab.home.treatments / name).write_text("raise RuntimeError")

    assert load_registry(lab.home).problems == {}
