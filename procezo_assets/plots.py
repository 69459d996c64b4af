"""Plots of one column over a day, before and after a stage: small SVG, and PNG for reading."""

from __future__ import annotations

import io
import math
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import polars as pl

from procezo_assets.stores.replacing import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DAY_MICROSECONDS = 86_400_000_000

# Each bin becomes at most two points, and a line breaks where no value came for as long as a bin:
# so a line has at most 300 points and 150 pieces, whatever the data.
_BINS = 150
_BIN_MICROSECONDS = _DAY_MICROSECONDS // _BINS

# A line of regular values is broken where one is missing.
_MISSED_STEPS = 1.8

_WIDTH, _HEIGHT = 600, 160
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 590, 26, 138
_BEFORE_COLOR, _AFTER_COLOR, _TEXT_COLOR = "#eb9a86", "#1f5a96", "#3b4350"

_MAX_NAME = 60
# far beyond any sensor, and differences of such values are still finite
_LARGEST = 1e150

_PNG_PANELS = 3
_PNG_GAP_SECONDS = 60.0


def day_svg(before: pl.DataFrame, after: pl.DataFrame, column: str, *, title: str) -> str:
    """Draw a column over its UTC day, before (light) and after (strong) a stage.

    The y range is that of the values after the stage; values beyond it are drawn at the edge.

    Args:
        before: `ts` (datetime[us, UTC], sorted) and columns.
        after: The same after the stage.
        column: Which column; a frame that lacks it, or has no numbers in it, gives no line.
        title: What stands before the column's name, such as the device.

    Returns:
        An SVG of 600 x 160, of less than 10 kB.
    """
    day = _day_of(before, after)
    points = [_day_values(frame, column, day) for frame in (before, after)]
    low, high = _value_range(points[1] if points[1].height else points[0])
    svg = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": str(_WIDTH),
            "height": str(_HEIGHT),
            "viewBox": f"0 0 {_WIDTH} {_HEIGHT}",
            "font-family": "Helvetica,Arial,sans-serif",
            "font-size": "11",
            "fill": _TEXT_COLOR,
        },
    )
    name, about = _drawable(column), _drawable(title)
    ET.SubElement(svg, "title").text = f"{about} {name}".strip()
    ET.SubElement(
        svg, "rect", {"width": str(_WIDTH), "height": str(_HEIGHT), "rx": "4", "fill": "#fff"}
    )
    _draw_frame(svg, low, high, has_values=any(frame.height for frame in points))
    heading = _text(svg, _LEFT, 17, about)
    ET.SubElement(heading, "tspan", {"font-weight": "bold"}).text = f" {name}"
    margin = 0.06 * (high - low)
    for frame, color, width, label, x in (
        (points[0], _BEFORE_COLOR, "1", "before", 496),
        (points[1], _AFTER_COLOR, "1.6", "after", 556),
    ):
        _text(svg, x, 17, label)
        line = {"fill": "none", "stroke": color, "stroke-linejoin": "round"}
        ET.SubElement(svg, "path", {"d": f"M{x - 18} 13h13", "stroke-width": "3", **line})
        path = _path(_reduced(frame), low - margin, high + margin)
        if path:
            style = {"stroke-width": width, "stroke-linecap": "round"}
            ET.SubElement(svg, "path", {"d": path, **style, **line})
    return ET.tostring(svg, encoding="unicode")


def most_changed_column(before: pl.DataFrame, after: pl.DataFrame) -> str | None:
    """Name the numeric column of both frames that lost most values; the first of equals.

    Returns:
        The name, or None where none lost any.
    """
    lost = {
        column: before[column].count() - after[column].count()
        for column, dtype in before.schema.items()
        if dtype.is_numeric() and column in after.columns
    }
    most = max(lost, key=lost.__getitem__, default=None)
    return most if most is not None and lost[most] > 0 else None


def write_day_png(
    path: Path,
    before: pl.DataFrame,
    after: pl.DataFrame,
    *,
    device: str,
    day: date,
    columns: list[str],
) -> None:
    """Draw up to three columns of a day, raw and cleaned, with the removed values marked.

    Args:
        path: The PNG to write, of 1600 x 900 pixels.
        before: The raw values: `ts` (datetime[us, UTC], sorted) and columns.
        after: The cleaned values.
        device: Whose values.
        day: The UTC day.
        columns: Which columns, a panel each; those beyond the third are left out.

    Raises:
        ValueError: Where no column is named.
    """
    if not columns:
        raise ValueError("a figure needs at least one column")
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - half a second
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(16, 9), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    shown = columns[:_PNG_PANELS]
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    figure.subplots_adjust(left=0.065, right=0.975, top=0.875, bottom=0.085, hspace=0.16)
    for panel, column in zip(panels, shown, strict=True):
        _draw_panel(
            panel,
            _day_values(before, column, day),
            _day_values(after, column, day),
            name=_in_font(column),
        )
    panels[-1].set_xlim(0, 24)
    panels[-1].set_xticks(range(0, 25, 3), [f"{hour:02d}:00" for hour in range(0, 25, 3)])
    panels[-1].set_xlabel("time of day (UTC)", fontsize=13, labelpad=8)
    figure.text(
        0.065, 0.945, f"{_in_font(device)}, {day}", fontsize=20, weight="bold", parse_math=False
    )
    figure.text(0.065, 0.908, "raw and cleaned signal", fontsize=13, color="#5b6470")
    handles, labels = panels[0].get_legend_handles_labels()
    legend = figure.legend(
        handles,
        labels,
        loc="lower right",
        bbox_to_anchor=(0.98, 0.918),
        ncols=len(labels),
        frameon=False,
        fontsize=13,
        handlelength=1.6,
        columnspacing=1.8,
    )
    for handle in legend.get_lines():
        handle.set_linewidth(max(handle.get_linewidth(), 2.5))
        handle.set_markersize(7)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    write_atomically(path, drawn.getvalue())


def _day_of(before: pl.DataFrame, after: pl.DataFrame) -> date | None:
    """The UTC day of the first row that either frame has."""
    for frame in (before, after):
        first = frame["ts"].drop_nulls().min()
        if isinstance(first, datetime):
            return first.date()
    return None


def _day_values(frame: pl.DataFrame, column: str, day: date | None) -> pl.DataFrame:
    """The finite values of a column on a day.

    Returns:
        `ts` (datetime[us, UTC]), `at` (microseconds since midnight), `value` (Float64).
    """
    if column not in frame.columns or column == "ts" or day is None:
        return pl.DataFrame(
            schema={"ts": pl.Datetime("us", "UTC"), "at": pl.Int64, "value": pl.Float64}
        )
    midnight = datetime.combine(day, time(), UTC)
    numbers = frame[column].cast(pl.Float64, strict=False)
    return (
        pl.DataFrame([frame["ts"], numbers.alias("value")])
        .filter(
            pl.col("value").is_finite(),
            pl.col("ts").is_between(midnight, midnight + timedelta(days=1), closed="left"),
        )
        .select(
            "ts",
            at=(pl.col("ts") - midnight).dt.total_microseconds(),
            value=pl.col("value").clip(-_LARGEST, _LARGEST),
        )
    )


def _value_range(points: pl.DataFrame) -> tuple[float, float]:
    """Smallest and largest value, apart from each other even where they are equal or missing."""
    if points.is_empty():
        return 0.0, 1.0
    low, high = points.select(pl.col("value").min().alias("low"), high=pl.col("value").max()).row(0)
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    apart = 0.1 * abs(low) or 1.0
    return low - apart, high + apart


def _gap_microseconds(points: pl.DataFrame, shortest: float) -> float:
    """The time without values that breaks a line: some of its steps, or else `shortest`."""
    step = points["at"].diff().median()
    return max(shortest, _MISSED_STEPS * step) if isinstance(step, float) else shortest


def _reduced(points: pl.DataFrame) -> list[tuple[int, int, float]]:
    """At most 300 points that show what all show: each bin's smallest and largest value, in order.

    Returns:
        The number of the line's piece, microseconds since midnight, value.
    """
    gap = _gap_microseconds(points, _BIN_MICROSECONDS)
    value, at = pl.col("value"), pl.col("at")
    bins = (
        points.with_columns(
            piece=(at.diff() > gap).fill_null(False).cum_sum(), bin=at // _BIN_MICROSECONDS
        )
        .group_by("piece", "bin", maintain_order=True)
        .agg(
            low=value.min(),
            low_at=at.get(value.arg_min()),
            high=value.max(),
            high_at=at.get(value.arg_max()),
        )
    )
    reduced: list[tuple[int, int, float]] = []
    for piece, _, low, low_at, high, high_at in bins.rows():
        ends = sorted({(low_at, low), (high_at, high)})
        reduced.extend((piece, *end) for end in ends)
    return reduced


def _path(points: list[tuple[int, int, float]], low: float, high: float) -> str:
    """SVG path data in whole pixels, relative, which is shortest; a lone point becomes a dot."""
    parts: list[str] = []
    previous: tuple[int, int, int] | None = None
    alone = False
    for piece, at, value in points:
        share = (min(max(value, low), high) - low) / (high - low)
        x = _x(at)
        y = round(_BOTTOM - share * (_BOTTOM - _TOP))
        if previous is None or previous[0] != piece:
            parts.append(("h0" if alone else "") + f"M{x} {y}")
            alone = True
        elif (x, y) != previous[1:]:
            step = f"{y - previous[2]:+d}" if y < previous[2] else f" {y - previous[2]}"
            parts.append(f"l{x - previous[1]}{step}")
            alone = False
        previous = (piece, x, y)
    return "".join(parts) + ("h0" if alone else "")


def _x(microseconds: int) -> int:
    return round(_LEFT + (_RIGHT - _LEFT) * microseconds / _DAY_MICROSECONDS)


def _draw_frame(svg: ET.Element, low: float, high: float, *, has_values: bool) -> None:
    """The axes, with the hours and the smallest and largest value."""
    grid = "".join(f"M{_x(hour * 3_600_000_000)} {_TOP}V{_BOTTOM}" for hour in range(0, 25, 6))
    ET.SubElement(svg, "path", {"d": f"{grid}M{_LEFT} {_BOTTOM}H{_RIGHT}", "stroke": "#dfe3e8"})
    for hour in range(0, 25, 6):
        label = f"{hour} h UTC" if hour == 12 else str(hour)  # noqa: PLR2004 - noon
        _text(svg, _x(hour * 3_600_000_000), _BOTTOM + 14, label, anchor="middle")
    if not has_values:
        _text(svg, (_LEFT + _RIGHT) // 2, (_TOP + _BOTTOM) // 2, "no values", anchor="middle")
        return
    height = _BOTTOM - _TOP
    inset = round(height * 0.06 / 1.12)
    for value, y in ((high, _TOP + inset), (low, _BOTTOM - inset)):
        _text(svg, _LEFT - 5, y + 4, f"{value:.4g}", anchor="end")


def _text(svg: ET.Element, x: int, y: int, text: str, *, anchor: str = "start") -> ET.Element:
    place = {"x": str(x), "y": str(y)}
    if anchor != "start":
        place["text-anchor"] = anchor
    element = ET.SubElement(svg, "text", place)
    element.text = text
    return element


def _drawable(text: str) -> str:
    """A name as one short line of characters that XML can hold."""
    shown = "".join(
        character if character.isprintable() else "�" for character in " ".join(text.split())
    )
    return shown if len(shown) <= _MAX_NAME else shown[: _MAX_NAME - 1] + "…"


def _in_font(text: str) -> str:
    """A name with `?` for what the figure's font cannot draw, which matplotlib warns about."""
    from matplotlib.font_manager import findfont, get_font  # noqa: PLC0415 - as in write_day_png

    font = get_font(findfont("DejaVu Sans"))
    return "".join(
        character if font.get_char_index(ord(character)) else "?" for character in _drawable(text)
    )


def _draw_panel(panel: Axes, raw: pl.DataFrame, cleaned: pl.DataFrame, *, name: str) -> None:
    removed = _removed(raw, cleaned)
    low, high = _value_range(cleaned if cleaned.height else raw)
    margin = 0.12 * (high - low)
    low, high = low - margin, high + margin
    panel.set_ylim(low, high)
    panel.plot(*_broken(raw), color="#e3a092", linewidth=0.8, label="raw")
    panel.plot(*_broken(cleaned), color=_AFTER_COLOR, linewidth=1.3, label="cleaned")
    removed = removed.with_columns(pl.col("at") / 3.6e9)
    for marker, label, where in (
        ("o", "removed", pl.col("value").is_between(low, high)),
        ("^", "removed, beyond the axis", pl.col("value") > high),
        ("v", None, pl.col("value") < low),
    ):
        marked = removed.filter(where)
        panel.plot(
            marked["at"],
            marked["value"].clip(low, high),
            linestyle="none",
            marker=marker,
            markersize=3.8 if marker == "o" else 6,
            color="#d02b2b",
            markeredgewidth=0,
            clip_on=False,
            zorder=5,
            label=label,
        )
    panel.set_ylabel(name, fontsize=14, weight="bold", labelpad=10, parse_math=False)
    panel.text(
        1.0,
        1.035,
        f"{removed.height:,} of {raw.height:,} values removed",
        transform=panel.transAxes,
        ha="right",
        va="bottom",
        fontsize=11,
        color="#5b6470",
    )
    panel.tick_params(labelsize=12, color="#b6bdc6", labelcolor=_TEXT_COLOR)
    panel.grid(color="#e8ebef", linewidth=0.8)
    panel.set_axisbelow(True)
    for side, spine in panel.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color("#b6bdc6")


def _removed(raw: pl.DataFrame, cleaned: pl.DataFrame) -> pl.DataFrame:
    """The raw values whose time, or repetition of a time, has no value any more."""
    turn = pl.int_range(pl.len()).over("ts").alias("turn")
    return raw.with_columns(turn).join(cleaned.with_columns(turn), on=["ts", "turn"], how="anti")


def _broken(points: pl.DataFrame) -> tuple[list[float], list[float]]:
    """Hours and values, with an empty value where no value came for long."""
    gap = _gap_microseconds(points, _PNG_GAP_SECONDS * 1e6)
    hours: list[float] = []
    values: list[float] = []
    for at, since, value in points.select("at", since=pl.col("at").diff(), v="value").rows():
        if since is not None and since > gap:
            hours.append(at / 3.6e9)
            values.append(math.nan)
        hours.append(at / 3.6e9)
        values.append(value)
    return hours, values
