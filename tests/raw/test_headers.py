"""Header texts to names, units and zones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procezo_assets.raw.headers import column_names, read_cell, stated_offset, zone_word
from procezo_assets.raw.units import is_unit
from procezo_assets.treatments.parse import RESERVED_COLUMNS


@pytest.mark.parametrize(
    ("text", "name", "unit"),
    [
        ("Temp, °C (LGR S/N: 20024354, SEN S/N: 20024354)", "Temp", "°C"),
        ("Temp, °C (LGR S/N: 1, SEN S/N: 1, LBL: air)", "Temp", "°C"),
        ("Temp (°C) LGR S/N: 20847126,  #20847126", "Temp", "°C"),
        ("Temp, (*C)", "Temp", "*C"),
        ("Temp °F", "Temp", "°F"),
        ("RH %", "RH", "%"),
        ("Abs Pres, kPa", "Abs Pres", "kPa"),
        ("1. SWP [-bar] GB Delm.", "1. SWP GB Delm.", "-bar"),
        ("Flow (m3/s)", "Flow", "m3/s"),
        ("PAR (µmol m-2 s-1)", "PAR", "µmol m-2 s-1"),
        ("Rad (W/m²)", "Rad", "W/m²"),
        ("Anything [odd unit]", "Anything", "odd unit"),
        ("CO(GT)", "CO(GT)", ""),
        ("PT08.S1(CO)", "PT08.S1(CO)", ""),
        ("Phase (A)", "Phase (A)", ""),
        ("T_Avg(1)", "T_Avg(1)", ""),
        ("Rain in", "Rain in", ""),
        ("End Of File (LGR S/N: 20396265)", "End Of File", ""),
        ("[°C]", "[°C]", "°C"),
        ("", "", ""),
    ],
)
def test_units_are_taken_off_names(text, name, unit):
    cell = read_cell(text)

    assert (cell.name, cell.unit) == (name, unit)


@pytest.mark.parametrize(
    "text", ["°C", "%", "hPa", "mS/cm", "m³/m³", "mm/h", "1/m", "degC", "Volts"]
)
def test_units(text):
    assert is_unit(text)


@pytest.mark.parametrize("text", ["", "GT", "CO", "A", "in", "Avg", "raw", "1", "Temp"])
def test_words_that_are_no_units(text):
    assert not is_unit(text)


@pytest.mark.parametrize(
    ("headers", "names"),
    [
        (["T, °C", "T, °C"], ["T", "T_2"]),
        (["T (°C)", "T (°F)"], ["T (°C)", "T (°F)"]),
        (["x", "x", "x_2"], ["x", "x_3", "x_2"]),
        (["Temp", "temp"], ["Temp", "temp_2"]),
        (["", "", "a"], ["column_1", "column_2", "a"]),
        (["", "column_1"], ["column_1", "column_1_2"]),
        (["ts", "Device"], ["ts_column", "Device_column"]),
    ],
)
def test_every_column_has_a_name_of_its_own(headers, names):
    assert column_names([read_cell(header) for header in headers]) == names


@given(st.lists(st.sampled_from(["", "a", "A", "a_2", "ts", "T (°C)", "T (°F)", "column_1"])))
def test_names_are_never_repeated_nor_reserved(headers):
    names = column_names([read_cell(header) for header in headers])

    assert len({name.casefold() for name in names}) == len(headers)
    assert not RESERVED_COLUMNS & set(names)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("Date Time, GMT+02:00", "+02:00"),
        ("Date Time, GMT-0500", "-05:00"),
        ("Timestamp [UTC-03:30]", "-03:30"),
        ("Time (UTC)", "UTC"),
        ("UTC_Date_&_Time", "UTC"),
        ("Time +01:00", "+01:00"),
        ("Date Time", None),
        ("UTCtime", None),
    ],
)
def test_offsets_in_headers(text, offset):
    assert stated_offset(text) == offset


@pytest.mark.parametrize(
    ("text", "word"), [("Date Time (PST)", "PST"), ("Zeit [MESZ]", "MESZ"), ("TEST", None)]
)
def test_abbreviations_in_headers(text, word):
    assert zone_word(text) == word
