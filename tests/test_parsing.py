"""Raw rows of a device-day to frames: every field is a value or counted with a reason."""

from __future__ import annotations

import pytest
from core_home import D1, PARSE, CoreHome, done

from procezo_assets.balance import dataset_balance
from procezo_assets.runs import raw_source
from procezo_assets.stores.parquet import read_provenance


@pytest.fixture
def lab(tmp_path):
    return CoreHome(tmp_path)


def parse(**params):
    return {**PARSE, "params": params}


def test_fields_that_stand_for_no_value_are_counted(lab):
    lab.raw(
        "x_pil-90_2025-03-01.csv",
        f"{D1}T10:00:00Z;m0:-9999;m1:1;outdoor_temp:2\n"
        f"{D1}T10:00:01Z;m0:-9999.0;m1:x;outdoor_temp:-9999\n"
        f"{D1}T10:00:02Z;m0:5;m1:7\n",
    )
    flow = lab.flow(parse(null_values=[-9999]))

    event = done(lab.run_well(flow, D1))["parsed", D1]

    assert event.ledger.balanced
    assert event.ledger.values_removed == {
        "null_value": {"m0": 2, "outdoor_temp": 1},
        "not_number": {"m1": 1},
    }
    assert (event.ledger.values_in, event.ledger.values_out) == (8, 4)
    counts = {key.domain: read_provenance(file.path).counts for key, file in event.files.items()}
    assert counts["environment"]["values_removed"] == {"null_value": {"outdoor_temp": 1}}
    assert (counts["environment"]["values_in"], counts["environment"]["values_out"]) == (2, 1)
    source = raw_source(flow, lab.home.dataset("DS"))
    source.scan()
    (day,) = dataset_balance(flow, lab.home.dataset("DS"), source).days
    assert day.stages[0].counts["values_removed"]["null_value"] == {"m0": 2, "outdoor_temp": 1}


def test_words_for_no_value_are_counted_under_the_name_that_the_flow_gives(lab):
    lab.raw(
        "x_pil-90_2025-03-01.csv",
        f"time,temp,hum\n{D1} 10:00:00,NA,5\n{D1} 10:00:01,1.5,\n{D1} 10:00:02,nan,7\n",
    )
    domains = {"air": {"columns": ["temp"], "rename": {"temp": "t"}}, "rest": {"columns": ["hum"]}}
    flow = lab.flow(parse(format="csv", timezone="UTC", domains=domains))

    event = done(lab.run_well(flow, D1))["parsed", D1]

    assert event.ledger.values_removed == {"null_value": {"t": 2}}
    # an empty field is no field
    assert (event.ledger.values_in, event.ledger.values_out) == (5, 3)


def test_one_odd_field_is_told_in_the_singular(lab):
    lab.raw(f"x_pil-90_{D1}.csv", f"{D1}T10:00:00Z;m0:1;x\n")
    lab.raw(f"x_pil-91_{D1}.csv", f"{D1}T10:00:00Z;m0:1;m0:2;x;y\n")
    (event,) = done(lab.run_well(lab.flow(PARSE), D1)).values()
    assert event.warnings == (
        "pil-90: 1 field without a colon",
        "pil-91: 1 repeated key in a line, the last of each was taken",
        "pil-91: 2 fields without a colon",
    )
