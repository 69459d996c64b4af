"""What the files of a dataset have in common, and what does not fit."""

from __future__ import annotations

import polars as pl
import pytest

from procezo_assets.errors import DialectError
from procezo_assets.raw.classify import classify, read_fields
from procezo_assets.raw.dialect import Dialect, FixedDialect, OpenedFacts
from procezo_assets.raw.sniff import sniff
from procezo_assets.treatments.parse import ParseParameters


def sniffed(text, *, fixed=None, **params):
    lines = pl.Series(text.splitlines(), dtype=pl.String)
    declared = ParseParameters.model_validate({"format": "csv", **params})
    return sniff(lambda: iter([lines]), OpenedFacts(), declared, fixed=fixed)


def values(text, dialect, **params):
    declared = ParseParameters.model_validate({"format": "csv", **params})
    lines = pl.Series(text.splitlines(), dtype=pl.String)
    frame = pl.DataFrame({"line": range(1, len(lines) + 1), "text": lines})
    classified, _ = classify(frame, dialect, declared)
    rows = classified.filter(pl.col("problem").is_null())
    fields, counts = read_fields(rows["text"], dialect, declared)
    return fields.rename(lambda key: key.removeprefix("key:")).to_dict(as_series=False), counts


FIRST = "Date Time, GMT+01:00;Temp, °C (LGR S/N: 1);n\n13.03.2024 22:00;1,5;1\n"


@pytest.mark.parametrize(
    "later",
    [
        FIRST,
        "Plot Title: 2\nDate Time, GMT+02:00;Temp, °C (LGR S/N: 2);n\n14.06.2024 22:00;1,5;1\n",
        "Date Time, GMT+01:00;RH, %;n\n13.03.2024 22:00;1,5;1\n",
        "Date Time, GMT+01:00;n;Temp, °C;more\n13.03.2024 22:00;1;2,5;3\n",
        "Date Time, GMT+01:00;Temp, °C;n\n13.03.2024 22:00;1;2\n",
        "#;Date Time, GMT+01:00;Temp, °C\n1;13.03.2024 22:00;1,5\n",
    ],
    ids=["the same", "another logger", "another column", "moved columns", "whole numbers", "a #"],
)
def test_files_that_fit(later):
    fixed = sniffed(FIRST).fixed()

    assert fixed.misfit(sniffed(later, fixed=fixed)) is None


@pytest.mark.parametrize(
    ("later", "told"),
    [
        (FIRST.replace(";", "\t"), "the delimiter is '\\t', was ';'"),
        (FIRST.replace("1,5", "1.5"), "the decimal sign is '.', was ','"),
        (FIRST.replace("°C", "°F"), "the unit of 'Temp' is '°F', was '°C'"),
        (FIRST.replace("13.03.2024", "03/13/2024"), "the order of dates is 'MDY', was 'DMY'"),
        (FIRST.replace("13.03.2024", "2024-03-13"), "the order of dates is 'YMD', was 'DMY'"),
        (FIRST.replace(", GMT+01:00", ""), "the time zone is 'not named', was 'named'"),
        (FIRST.replace("Date Time", "Uploaded"), "the timestamp's column is 'Uploaded', was 'Date"),
        (
            "Date Time, GMT+00:00;Temp\n1710367200;1,5\n",
            "the kind of timestamps is 'epoch_s', was 'text'",
        ),
    ],
)
def test_files_that_do_not_fit(later, told):
    fixed = sniffed(FIRST).fixed()

    assert told in str(fixed.misfit(sniffed(later, fixed=fixed)))


def test_what_is_declared_always_fits():
    fixed = sniffed(FIRST).fixed()
    later = FIRST.replace("1,5", "1.5").replace(", GMT+01:00", "")

    dialect = sniffed(later, fixed=fixed, decimal=".", timezone="+01:00")

    assert fixed.misfit(dialect) is None
    assert fixed.merge(dialect).decimal == "."


def test_a_later_file_narrows_what_was_open():
    fixed = sniffed("t;v\n05/05/2024 22:00;1\n").fixed()
    assert (fixed.decimal, fixed.date_orders) == (None, ("DMY", "MDY"))

    narrowed = fixed.merge(sniffed("t;v\n13/05/2024 22:00;1,5\n", fixed=fixed))

    assert (narrowed.decimal, narrowed.date_orders) == (",", ("DMY",))
    assert FixedDialect.model_validate_json(narrowed.model_dump_json()) == narrowed
    assert narrowed.merge(sniffed("t;v\n05/05/2024 22:00;1\n")) == narrowed


def test_the_dataset_decides_an_order_that_a_file_cannot():
    text = "t;v\n03/04/2024 22:00;1\n"
    fixed = sniffed("t;v\n13/05/2024 22:00;1\n").fixed()

    with pytest.raises(DialectError, match="set date_order"):
        sniffed(text)
    assert sniffed(text, fixed=fixed).date_orders == ("DMY",)


def test_a_file_without_header_takes_the_names_of_the_others():
    fixed = sniffed("time,b,a [°C]\n2024-03-13 22:00,1,2\n").fixed()
    text = "2024-03-14 22:00,3,4\n"

    dialect = sniffed(text, fixed=fixed)

    assert fixed.misfit(dialect) is None
    assert (values(text, dialect)[0], dialect.units) == ({"b": ["3"], "a": ["4"]}, {"a": "°C"})
    wider = sniffed("2024-03-14 22:00,3,4,5\n", fixed=fixed)
    assert fixed.misfit(wider) == "the number of columns is 4, was 3"


def test_a_header_where_there_was_none_does_not_fit():
    fixed = sniffed("2024-03-13 22:00,1,2\n").fixed()

    later = sniffed("time,b,a\n2024-03-13 22:00,1,2\n", fixed=fixed)

    assert fixed.misfit(later) == "a header is 'there', was 'missing'"


def test_a_dialect_survives_json():
    dialect = sniffed(FIRST)

    assert Dialect.model_validate_json(dialect.model_dump_json()) == dialect


def test_the_identity_says_what_a_line_means_and_no_more():
    one = sniffed(FIRST)

    assert one.identity == sniffed(FIRST.replace("S/N: 1", "S/N: 2")).identity
    assert one.identity == sniffed("Plot Title: x\n" + FIRST).identity
    assert one.identity != sniffed(FIRST.replace("+01", "+02")).identity
    assert one.identity != sniffed(FIRST.replace(";n\n", ";m\n")).identity
    assert sniffed("2024-03-13 22:00;m0:1\n", format="kv_csv").identity == ""


def test_values_that_stand_for_none():
    text = "t;a;b;c\n2024-03-13 22:00;-200;NA; x \n2024-03-13 23:00;-200,0;--;-200,5\n"

    found, counts = values(text, sniffed(text), null_values=[-200, "x"])

    assert found == {"a": [None, None], "b": [None, None], "c": [None, "-200.5"]}
    assert counts.nulls == {"a": 2, "b": 2, "c": 1}


def test_the_other_decimal_sign_makes_no_number():
    text = "t;a\n2024-03-13 22:00;1,5\n2024-03-13 23:00;1.500\n"

    assert values(text, sniffed(text, decimal=","))[0] == {"a": ["1.5", "1,500"]}


def test_domains_name_columns_short_in_full_or_by_pattern():
    text = "t;Temp, °C;Temp, °F;RH, %;day\n2024-03-13 22:00;1;2;3;4\n"
    domains = {
        "air": {"columns": ["RH, %", "Temp*"]},
        "rest": {"columns": ["*"], "rename": {"day_column": "dayno"}},
    }

    dialect = sniffed(text, domains=domains)

    assert dialect.value_columns == ("Temp, °C", "Temp, °F", "RH", "day_column")
    found, counts = values(text, dialect, domains=domains)
    assert list(found) == ["Temp, °C", "Temp, °F", "RH, %", "day_column"]
    assert not counts.unclaimed


def test_declared_columns_and_units():
    text = "2024-03-13 22:00;1;2\n"

    dialect = sniffed(text, columns=["when", "a", "b"], units={"b": "mm"})

    assert (dialect.columns, dialect.units) == (("when", "a", "b"), {"b": "mm"})
    assert dialect.declared == ("columns", "units")


def test_a_declared_header_row():
    text = "x;y\nt;a\nz;z\n2024-03-13 22:00;1\n"

    dialect = sniffed(text, header_row=2)

    assert (dialect.columns, dialect.header_lines) == (("t", "a"), 3)
    with pytest.raises(DialectError, match="line 9, the declared header"):
        sniffed(text, header_row=9)
