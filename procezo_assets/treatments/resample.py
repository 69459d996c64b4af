"""`resample`: irregular samples onto a regular grid, short gaps filled."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field

from procezo_assets.parameters import Parameters
from procezo_assets.treatments.durations import DAY_US, Duration, microseconds
from procezo_assets.treatments.model import PartAbout, treatment
from procezo_assets.treatments.treated import FLOAT_INTEGERS, Frame, Treated

Method = Literal["nearest", "first", "last", "mean"]
MASK_SUFFIX = "__is_interpolated"


class ResampleParameters(Parameters):
    """The grid and what fills it."""

    freq: Duration = Field("1s", description="Length of a bin of the grid (`500ms`, `1s`, `1min`).")
    max_gap_fill_s: float = Field(
        2, ge=0, description="Longest gap that is filled forward, in seconds."
    )
    agg_method: dict[str, Method] = Field(
        {"bio_signal": "nearest"},
        description="What becomes of several samples in one bin, by domain: the first that is not "
        "null (`nearest`, `first`), the `last`, or their `mean`; other domains take the mean.",
    )
    long_gaps: Literal["leave", "fill_head"] = Field(
        "leave",
        description="Longer gaps stay null throughout (`leave`), or have their first bins filled "
        "up to the limit (`fill_head`).",
    )
    mask: bool = Field(
        False, description=f"Add `<column>{MASK_SUFFIX}`, true where a value was filled."
    )


@treatment(
    parameters=ResampleParameters,
    version="1",
    inputs=("20_clean", "10_parsed"),
    output="25_resampled",
    keeps_types=True,
    unique_ts=lambda _: True,
    domains_named=lambda params: (
        params.agg_method if "agg_method" in params.model_fields_set else ()
    ),
    unit_source=lambda _params, _domain, column: column,
)
def resample(frame: Frame, params: ResampleParameters, *, about: PartAbout) -> Treated:
    """Floor samples to a regular grid, one row a bin, and fill short gaps forward.

    The grid starts at the first bin with any value and ends at the bin of the last row. A gap is a
    run of nulls in one column on that grid; the limit is ceil(`max_gap_fill_s` / `freq`) bins.

    Args:
        frame: `ts` (sorted), then columns; of those that are not numeric `mean` is the first.
        params: Grid and filling.
        about: Names the domain.

    Returns:
        The same columns, integers as integers; counts `merged` and `gap_fill` (values), and
        `merged`, `before_first_value` and `grid` (rows).
    """
    columns = [column for column in frame.columns if column != "ts"]
    step = microseconds(params.freq)
    method = params.agg_method.get(about.domain, "mean")
    binned = _binned(frame, columns, step, method)
    merged = {column: frame[column].count() - binned[column].count() for column in columns}
    rows_removed = {"merged": frame.height - binned.height}
    has_value = binned.select(
        any=pl.any_horizontal(
            [pl.col(column).is_not_null() for column in columns] or [pl.lit(False)]
        )
    )["any"]
    first = has_value.arg_max() if has_value.any() else None
    leading = binned.height if first is None else first
    kept = binned[leading:]
    rows_removed["before_first_value"] = leading
    grid = _grid(kept, step)
    gridded = kept
    if grid.height > kept.height:
        gridded = grid.join(kept, on="ts", how="left", maintain_order="left")
    limit = _limit(params.max_gap_fill_s, step)
    filled = gridded.with_columns(
        _filled(gridded[column], limit, head=params.long_gaps == "fill_head") for column in columns
    )
    added = {column: filled[column].count() - gridded[column].count() for column in columns}
    if params.mask:
        filled = _with_masks(gridded, filled, columns)
    return Treated(
        {None: filled},
        rows_removed=rows_removed,
        rows_added={"grid": filled.height - kept.height},
        values_removed={"merged": merged},
        values_added={"gap_fill": added},
        derived={column + MASK_SUFFIX: "" for column in columns if params.mask},
    )


def _limit(seconds: float, step: int) -> int:
    """The longest gap that is filled, in bins; at most all bins of a day."""
    bins_a_day = -(-DAY_US // step)
    if seconds * 1_000_000 >= DAY_US:
        return bins_a_day
    # whole microseconds first: 2.007 s are 2007 bins of 1 ms, though 2.007 * 1e6 / 1e3 is more
    return -(-round(seconds * 1_000_000) // step)


def _floor(step: int) -> pl.Expr:
    if DAY_US % step == 0:  # bins of the epoch are those of midnight
        physical = pl.col("ts").to_physical()
        return (physical // step * step).cast(pl.Datetime("us", "UTC"))
    midnight = pl.col("ts").dt.truncate("1d")
    into_day = (pl.col("ts") - midnight).dt.total_microseconds()
    return midnight + pl.duration(microseconds=into_day // step * step)


def _binned(frame: Frame, columns: list[str], step: int, method: Method) -> Frame:
    """One row a bin; only rows that share one are merged, as nearly all have theirs alone."""
    floored = frame.with_columns(_floor(step))
    ts = pl.col("ts")
    starts, goes_on = floored.select(
        starts=ts.ne_missing(ts.shift()), goes_on=ts.eq_missing(ts.shift(-1))
    ).get_columns()
    shared = goes_on | ~starts
    if not shared.any():
        return floored
    merged = (
        floored.filter(shared)
        .group_by("ts", maintain_order=True)
        .agg(_merge(frame, column, method) for column in columns)
    )
    places = shared.filter(starts).arg_true()
    first = floored.filter(starts)
    return first.with_columns(first[column].scatter(places, merged[column]) for column in columns)


def _merge(frame: Frame, column: str, method: Method) -> pl.Expr:
    values = pl.col(column).drop_nulls()
    if method == "last":
        return values.last()
    dtype = frame[column].dtype  # the schema is made anew of all columns at each look
    if method == "mean" and dtype.is_integer():
        return _whole_mean(frame[column]).alias(column)
    if method == "mean" and dtype.is_numeric():
        return values.mean().alias(column)
    return values.first()


def _whole_mean(column: pl.Series) -> pl.Expr:
    """The mean of integers, halves to even; exact for those that a float cannot hold, too."""
    values = pl.col(column.name).drop_nulls()
    extremes = [abs(value) for value in (column.min(), column.max()) if isinstance(value, int)]
    if max(extremes, default=0) <= FLOAT_INTEGERS:
        return values.mean().round(0, mode="half_to_even").cast(column.dtype)
    total, count = values.cast(pl.Int128).sum(), values.len().cast(pl.Int128)
    floor = total // count
    twice = (total - floor * count) * 2
    up = (twice > count) | ((twice == count) & (floor % 2 != 0))
    return pl.when(count > 0).then((floor + up.cast(pl.Int128)).cast(column.dtype))


def _grid(kept: Frame, step: int) -> Frame:
    if kept.is_empty():
        return kept.select("ts")
    first, last = kept["ts"][0], kept["ts"][-1]
    grid = pl.datetime_range(
        first, last, interval=f"{step}us", time_unit="us", time_zone="UTC", eager=True
    ).alias("ts")
    if DAY_US % step:  # the last bin before midnight is short, so that the day's grid ends there
        grid = grid.filter(grid <= last)
    return grid.to_frame()


def _filled(values: pl.Series, limit: int, *, head: bool) -> pl.Series:
    """Carry values forward into gaps of up to so many bins, or into the first of longer ones."""
    if head:
        return values.forward_fill(limit) if limit else values
    nulls = values.is_null().arg_true().to_numpy().astype(np.int64)
    starts = np.flatnonzero(np.diff(nulls, prepend=-2) != 1)
    lengths = np.diff(starts, append=len(nulls))
    before = np.repeat(nulls[starts] - 1, lengths)
    short = (np.repeat(lengths, lengths) <= limit) & (before >= 0)
    if not short.any():
        return values
    return values.clone().scatter(nulls[short], values.gather(before[short]))


def _with_masks(gridded: Frame, filled: Frame, columns: list[str]) -> Frame:
    masks = {
        column: (gridded[column].is_null() & filled[column].is_not_null()) for column in columns
    }
    ordered = [filled["ts"]]
    for column, mask in masks.items():
        ordered += [filled[column], mask.alias(column + MASK_SUFFIX)]
    return pl.DataFrame(ordered)
