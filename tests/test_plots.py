"""Plots stay small and readable whatever the data and the names."""

import re
import struct
from datetime import UTC, date, datetime, timedelta
from xml.etree import ElementTree as ET

import numpy as np
import polars as pl
import pytest
from matplotlib.image import imread

from procezo_assets.plots import day_svg, most_changed_column, write_day_png

MIDNIGHT = datetime(2026, 1, 20, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<m0 & \"x\" 'y'>\0\x1b\ud800\ufffe]]>$\\frac{$ 测 😀\n" + "&" * 200
HOSTILE_COLUMN = HOSTILE.encode(errors="replace").decode()  # Polars takes no lone surrogate


def frame(values, *, step=1.0, column="m0", dtype=None):
    ts = [MIDNIGHT + timedelta(seconds=step * number) for number in range(len(values))]
    return pl.DataFrame(
        {"ts": ts, column: pl.Series(values, dtype=dtype)},
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
    )


def lines(svg):
    """The path data of the values, without axes and legend: before, then after."""
    found = ET.fromstring(svg).findall(f"{SVG}path[@stroke-linecap]")  # noqa: S314 - our own
    return [path.get("d") for path in found]


def texts(svg):
    return ["".join(text.itertext()) for text in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314


def absolute(path):
    """Pieces of a path, each a list of points."""
    pieces = []
    for command, numbers in re.findall(r"([Mlh])([^Mlh]*)", path):
        values = [int(number) for number in re.findall(r"-?\d+", numbers)]
        if command == "M":
            pieces.append([tuple(values)])
        elif command == "l":
            x, y = pieces[-1][-1]
            pieces[-1].append((x + values[0], y + values[1]))
    return pieces


def test_a_small_line_is_drawn_point_by_point():
    # 0, 12 and 24 h are x 52, 321 and 590; the range 0..100 has a margin of 6 on both sides
    data = frame([0, 100, 50], step=43199.5)
    svg = day_svg(data, data, "m0", title="pil-90")
    assert absolute(lines(svg)[1]) == [[(52, 132), (321, 32), (590, 82)]]
    assert texts(svg) == [
        "0",
        "6",
        "12 h UTC",
        "18",
        "24",
        "100",
        "0",
        "pil-90 m0",
        "before",
        "after",
    ]


def test_a_day_of_noise_stays_small():
    random = np.random.default_rng(1)
    before = frame(random.normal(0, 1e6, 86_400))
    after = frame(random.normal(0, 1e-3, 86_400))
    svg = day_svg(before, after, "m0", title="x" * 1000)
    assert len(svg.encode()) < 10_000
    assert all(sum(map(len, absolute(line))) <= 300 for line in lines(svg))


@pytest.mark.parametrize("run", [1, 7, 600, 1200])
def test_a_day_of_gaps_stays_small(run):
    random = np.random.default_rng(2)
    values = pl.Series(random.normal(0, 1, 86_400))
    holes = pl.Series(np.arange(86_400) // run % 2 == 0)
    data = frame(values).with_columns(m0=pl.when(holes).then("m0"))
    named = data.rename({"m0": HOSTILE_COLUMN})
    svg = day_svg(named, named, HOSTILE_COLUMN, title=HOSTILE)
    assert len(svg.encode()) < 10_000
    assert len(lines(svg)) == 2


def test_extremes_within_a_bin_are_kept():
    values = [50.0] * 86_400
    values[40_000] = 100.0
    values[40_001] = 0.0
    data = frame(values)
    ys = {y for piece in absolute(lines(day_svg(data, data, "m0", title=""))[1]) for _, y in piece}
    assert ys == {32, 82, 132}


def test_nulls_and_absence_break_the_line():
    values = [float(number % 5) for number in range(86_400)]
    nulls = frame([None if 20_000 <= n < 23_000 else value for n, value in enumerate(values)])
    whole = frame(values)
    absent = whole.filter(~pl.col("ts").is_between(nulls["ts"][20_000], nulls["ts"][22_999]))
    for data in (nulls, absent):
        before, after = lines(day_svg(whole, data, "m0", title="x"))
        assert len(absolute(before)) == 1
        first, second = absolute(after)
        # the gap is from x 176.5 to 195.2; a piece's ends may lie a bin of 3.6 inside it
        assert 172 <= first[-1][0] <= 177
        assert 195 <= second[0][0] <= 199


def test_a_slow_column_is_one_line_that_breaks_where_a_value_is_missing():
    hourly = frame(list(range(24)), step=3600)
    holed = hourly.with_columns(m0=pl.when(pl.col("m0") != 12).then("m0"))
    before, after = lines(day_svg(hourly, holed, "m0", title="x"))
    assert [len(piece) for piece in absolute(before)] == [24]
    assert [len(piece) for piece in absolute(after)] == [12, 11]


def test_spikes_are_cut_off_at_the_edge():
    raw = frame([10, 11, 1_000_000, 12, -1_000_000, 10], step=3600)
    clean = raw.with_columns(m0=pl.when(pl.col("m0").is_between(0, 100)).then("m0"))
    svg = day_svg(raw, clean, "m0", title="x")
    ys = [y for piece in absolute(lines(svg)[0]) for _, y in piece]
    assert (min(ys), max(ys)) == (26, 138)
    assert {"10", "12"} <= set(texts(svg))


@pytest.mark.parametrize(
    "values",
    [
        [],
        [None, None],
        [7, 7, 7],
        [0, 0],
        [float("nan"), float("inf"), None],
        [-1e308, 1e308, 0.0],
        [5e-324, 0.0],
        ["a", "1.5", None],
        [True, False],
        [1],
    ],
)
def test_any_values_give_a_plot(values, tmp_path):
    data = frame(values, dtype=None if values else pl.Int64)
    for before, after in ((data, data), (data, data.clear()), (data.clear(), data)):
        svg = day_svg(before, after, "m0", title="x")
        assert len(svg.encode()) < 10_000
        ET.fromstring(svg)  # noqa: S314 - our own
        write_day_png(
            tmp_path / "a.png", before, after, device="x", day=date(2026, 1, 20), columns=["m0"]
        )


def test_a_column_that_is_missing_or_empty_says_so():
    data = frame([None, None], dtype=pl.Int64)
    assert "no values" in texts(day_svg(data, data, "m0", title="x"))
    assert "no values" in texts(day_svg(data, data, "m1", title="x"))
    assert "no values" in texts(day_svg(data, data, "ts", title="x"))


def test_names_are_escaped_and_shortened():
    data = frame([1, 2, 3], column=HOSTILE_COLUMN)
    svg = day_svg(data, data, HOSTILE_COLUMN, title="<script>alert(1)</script>")
    assert "<script>" not in svg
    heading = texts(svg)[-3]
    assert heading.startswith("<script>alert(1)</script> <m0 & \"x\" 'y'>")
    assert len(heading) < 150


def test_only_the_day_is_drawn():
    data = pl.concat(
        [frame([1, 2]), frame([900, 900]).with_columns(pl.col("ts").dt.offset_by("1d"))]
    )
    assert "900" not in texts(day_svg(data, data, "m0", title="x"))


def test_the_most_changed_column_lost_most_values():
    before = pl.DataFrame({"ts": [1, 2, 3], "a": [1, 2, 3], "b": [1.0, 2.0, 3.0], "c": ["x"] * 3})
    after = pl.DataFrame(
        {"ts": [1, 2, 3], "a": [1, None, 3], "b": [None, None, 3.0], "c": [None] * 3}
    )
    assert most_changed_column(before, after) == "b"


def test_no_column_changed_most_where_none_lost_a_value():
    before = pl.DataFrame({"a": [1, None], "gone": [1, 2]})
    assert most_changed_column(before, pl.DataFrame({"a": [1, 2]})) is None
    assert most_changed_column(pl.DataFrame(), pl.DataFrame()) is None


def test_a_column_that_is_elsewhere_no_number_is_not_the_most_changed():
    before = pl.DataFrame({"a": ["x", "y"], "b": [1, 2]})
    after = pl.DataFrame(
        {"a": [None, None], "b": [1, None]}, schema={"a": pl.String, "b": pl.Int64}
    )
    assert most_changed_column(before, after) == "b"


def test_the_figure_is_a_png_of_1600_by_900(tmp_path):
    random = np.random.default_rng(3)
    raw = frame(random.normal(400, 20, 86_400)).with_columns(m1=pl.lit(None), m2="m0", m3="m0")
    cleaned = raw.with_columns(m0=pl.when(pl.col("m0").is_between(360, 440)).then("m0"))
    path = tmp_path / "new" / "day.png"
    columns = ["m0", "m1", "m2", "m3"]
    write_day_png(path, raw, cleaned, device="pil-90", day=date(2026, 1, 20), columns=columns)
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", data[16:24]) == (1600, 900)
    assert list(path.parent.iterdir()) == [path]


def test_the_figure_marks_what_was_removed(tmp_path):
    raw = frame([400, 401, 10, 402, 403] * 100, step=60)
    cleaned = raw.with_columns(m0=pl.when(pl.col("m0") > 100).then("m0"))
    assert red_pixels(tmp_path, raw, cleaned) > red_pixels(tmp_path, raw, raw) + 1000
    repeated = pl.concat([raw, raw.with_columns(pl.col("m0") + 1)]).sort("ts", maintain_order=True)
    assert red_pixels(tmp_path, repeated, raw) > red_pixels(tmp_path, raw, raw) + 1000


def red_pixels(folder, raw, cleaned):
    path = folder / "day.png"
    write_day_png(path, raw, cleaned, device="x", day=date(2026, 1, 20), columns=["m0"])
    red, green, blue = np.moveaxis(imread(path)[:, :, :3], 2, 0)
    return int(((red > 0.78) & (green < 0.25) & (blue < 0.25)).sum())


def test_the_figure_takes_any_name(tmp_path):
    data = frame([1, 2, 3], column=HOSTILE_COLUMN)
    path = tmp_path / "a.png"
    write_day_png(path, data, data, device=HOSTILE, day=date(2026, 1, 20), columns=[HOSTILE_COLUMN])
    assert path.stat().st_size > 1000


def test_a_figure_without_columns_is_refused(tmp_path):
    data = frame([1])
    with pytest.raises(ValueError, match="at least one column"):
        write_day_png(tmp_path / "a.png", data, data, device="x", day=date(2026, 1, 20), columns=[])
