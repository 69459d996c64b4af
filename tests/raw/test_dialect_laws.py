"""Rows written in any dialect are read back as they were, or the file is refused."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from procezo_assets.errors import DialectError
from procezo_assets.raw.classify import classify, read_fields
from procezo_assets.raw.dialect import Dialect, OpenedFacts
from procezo_assets.raw.sniff import sniff
from procezo_assets.treatments.parse import ParseParameters

DATES = {
    "YMD": ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%y.%m.%d"],
    "DMY": ["%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%d %b %Y", "%d.%m.%y"],
    "MDY": ["%m/%d/%Y", "%m-%d-%Y", "%b %d, %Y", "%m/%d/%y"],
}
TIMES = ["%H:%M:%S", "%H:%M", "%H.%M.%S", "%I:%M:%S %p"]


@dataclass(frozen=True)
class Written:
    """A file, and what it says."""

    text: str
    params: dict[str, object]
    stamps: list[datetime]
    values: list[list[float | None]]
    names: list[str] | None


TITLES = ["Logger 4711", "Site: pond", "# a comment"]


@st.composite
def written(draw):
    delimiter = draw(st.sampled_from([",", ";", "\t", "|", " "]))
    decimal = draw(st.sampled_from([".", ","]))
    order = draw(st.sampled_from(list(DATES)))
    date = draw(st.sampled_from(DATES[order]))
    time = draw(st.sampled_from(TIMES))
    if delimiter == " ":
        date = "%Y-%m-%d" if " " in date else date
        time = "%H:%M:%S" if " " in time else time
    start = draw(st.datetimes(datetime(2001, 1, 1), datetime(2039, 1, 1)))  # noqa: DTZ001
    start = start.replace(microsecond=0, second=0 if "%S" not in time else start.second)
    step = timedelta(minutes=draw(st.sampled_from([1, 10, 60, 24 * 60, 31 * 24 * 60])))
    rows = draw(st.integers(1, 25))
    stamps = [start + row * step for row in range(rows)]
    places = draw(st.integers(1, 4))
    number = st.none() | st.decimals(-999, 999, places=draw(st.integers(0, 4)))
    if delimiter == " ":
        number = number.filter(lambda value: value is not None)
    values = draw(
        st.lists(st.lists(number, min_size=places, max_size=places), min_size=rows, max_size=rows)
    )
    apart = delimiter == " " or draw(st.booleans())
    header = draw(st.booleans())
    trailing = delimiter != " " and draw(st.booleans())
    titles = draw(st.lists(st.sampled_from(TITLES)))
    names = [
        f"value {'abcd'[at]}" if delimiter != " " else f"v{'abcd'[at]}" for at in range(places)
    ]
    out = io.StringIO()
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator="\n")
    out.write("".join(f"{title}\n" for title in titles))
    if header:
        writer.writerow(["date", "time", *names] if apart else ["date time", *names])
    for stamp, line in zip(stamps, values, strict=True):
        fields = [stamp.strftime(date), stamp.strftime(time)]
        fields = fields if apart else [" ".join(fields)]
        fields += ["" if v is None else str(v).replace(".", decimal) for v in line]
        writer.writerow(fields + [""] * trailing)
    params = draw(st.sampled_from([{}, {"date_order": order}, {"decimal": decimal}]))
    return Written(
        out.getvalue(),
        params,
        [stamp.replace(tzinfo=UTC) for stamp in stamps],
        [[None if v is None else float(v) for v in line] for line in values],
        names if header else None,
    )


def read(text, params) -> tuple[Dialect, pl.DataFrame, pl.DataFrame]:
    lines = pl.Series(text.splitlines(), dtype=pl.String)
    declared = ParseParameters.model_validate({"format": "csv", **params})
    dialect = sniff(lambda: iter([lines]), OpenedFacts(), declared)
    frame = pl.DataFrame({"line": range(1, len(lines) + 1), "text": lines})
    classified, _ = classify(frame, dialect, declared)
    rows = classified.filter(pl.col("problem").is_null())
    fields, _ = read_fields(rows["text"], dialect, declared)
    return dialect, classified, fields


@given(written())
@settings(deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow])
def test_rows_are_read_back_or_the_file_is_refused(file):
    try:
        dialect, classified, fields = read(file.text, file.params)
    except DialectError as error:
        assert error.reason in {"date_order", "decimal", "timestamp_columns"}  # noqa: PT017
        return

    rows = classified.filter(pl.col("problem").is_null())
    assert rows["ts"].to_list() == file.stamps
    # of few lines with blanks between fields, a title may be a row that is damaged
    others = classified.filter(~pl.col("text").is_in(TITLES))
    assert set(others["problem"].drop_nulls()) <= {"header"}
    given_names = file.names or list(dialect.value_columns)
    for place, name in enumerate(given_names[: len(file.values[0])]):
        column = fields[f"key:{name}"] if f"key:{name}" in fields.columns else None
        expected = [line[place] for line in file.values]
        if column is None:
            assert not any(value is not None for value in expected)
        else:
            assert column.cast(pl.Float64).to_list() == expected
