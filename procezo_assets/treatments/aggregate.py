"""`aggregate`: summaries over time windows, one file a window."""

from __future__ import annotations

from typing import Literal

import polars as pl
from pydantic import Field, model_validator

from procezo_assets.parameters import Parameters
from procezo_assets.treatments.durations import DAY_US, Duration, microseconds
from procezo_assets.treatments.model import treatment
from procezo_assets.treatments.treated import FLOAT_INTEGERS, Frame, Treated, value_counts

Metric = Literal["mean", "std", "min", "max", "median", "count"]

# of bins up to so many microseconds, a hash of rows is faster than slices of them
_SHORT = 10_000_000
_EXACT = ("mean", "min", "max", "count")


class AggregateParameters(Parameters):
    """Windows and metrics."""

    windows: tuple[Duration, ...] = Field(
        ("10s", "60s", "5min", "1h"),
        min_length=1,
        description="Lengths of the windows, one file each; bins are aligned to midnight UTC.",
    )
    metrics: tuple[Metric, ...] = Field(
        ("mean", "std", "min", "max"),
        min_length=1,
        description="What is computed of the values in a bin, nulls skipped (`std` with n - 1).",
    )
    decimals: int | None = Field(
        None, ge=0, le=15, description="Round results to this many decimals."
    )

    @model_validator(mode="after")
    def _check(self) -> AggregateParameters:
        for name in self.metrics:
            if self.metrics.count(name) > 1:
                raise ValueError(f"metrics: '{name}' is there twice")
        return self


def _unit_source(_params: AggregateParameters, _domain: str, column: str) -> str | None:
    source, _, metric = column.rpartition("__")
    return None if metric == "count" else source.removesuffix("__raw")


@treatment(
    parameters=AggregateParameters,
    version="1",
    inputs=("35_normalized", "30_transform", "25_resampled", "20_clean", "10_parsed"),
    output="40_aggregated",
    unique_ts=lambda _: True,
    unit_source=_unit_source,
)
def aggregate(frame: Frame, params: AggregateParameters) -> Treated:
    """Summarise values over time windows, one frame a window.

    Args:
        frame: `ts` (sorted), then columns; only numeric ones are summarised.
        params: Windows and metrics.

    Returns:
        For each window `ts` (start of the bin), then `<column>__raw__<metric>`, or
        `<column>__<metric>` where the column's name already has `__`. Empty bins between the first
        and the last are rows of nulls, their `count` 0. Counts `not_numeric`: values of columns
        that are not summarised, such as masks.
    """
    columns = [column for column, dtype in frame.schema.items() if dtype.is_numeric()]
    accounted = dict.fromkeys(columns, 0)
    frames: dict[str | None, Frame] = {}
    for window in params.windows:
        binned = _bins(frame, columns, microseconds(window), params.metrics)
        for column in columns:
            in_bins = int(binned[f"{column} count"].sum())
            # the window that accounts for fewest values speaks for all of them
            first = window == params.windows[0]
            accounted[column] = in_bins if first else min(accounted[column], in_bins)
        frames[window] = pl.DataFrame(
            [
                binned["ts"],
                *(
                    _rounded(binned[f"{column} {metric}"], params.decimals).alias(
                        result_name(column, metric)
                    )
                    for column in columns
                    for metric in params.metrics
                ),
            ]
        )
    return Treated(
        frames,
        rows_removed={"aggregated": frame.height},
        rows_added={"bins": sum(result.height for result in frames.values())},
        values_removed={
            "not_numeric": {
                name: count for name, count in value_counts(frame).items() if name not in accounted
            }
        },
        accounted=accounted,
    )


def result_name(column: str, metric: str) -> str:
    """Name a metric's column: `m0__raw__mean`, `m0__sqrt_inv__mean`."""
    return f"{column}__{metric}" if "__" in column else f"{column}__raw__{metric}"


def _bins(frame: Frame, columns: list[str], width: int, metrics: tuple[Metric, ...]) -> Frame:
    computed = dict.fromkeys([*metrics, "count", *(("min", "max") if "std" in metrics else ())])
    offset = _offset(frame, width)
    exact = _exact(frame, columns) if width <= _SHORT else []
    by_hash = [(column, metric) for column in exact for metric in computed if metric in _EXACT]
    # Slices of a sorted frame, not a hash: a float sum then has one order on any number of cores.
    grouped = frame.group_by_dynamic(
        "ts", every=f"{width}us", offset=f"{offset}us", start_by="window"
    ).agg(
        _metric(column, metric).alias(f"{column} {metric}")
        for column in columns
        for metric in computed
        if (column, metric) not in by_hash
    )
    if by_hash:
        # `truncate` would leave them flagged as sorted, of which `group_by` makes slices, too
        starts = (frame["ts"].to_physical() - offset) // width
        hashed = (
            frame.select(exact)
            .group_by(starts.alias("ts"), maintain_order=True)
            .agg(_metric(column, metric).alias(f"{column} {metric}") for column, metric in by_hash)
        )
        grouped = grouped.hstack(hashed.drop("ts"))
    if grouped.is_empty():
        return grouped
    if "std" in metrics:
        grouped = grouped.with_columns(_deviation(column) for column in columns)
    every = pl.datetime_range(
        grouped["ts"][0],
        grouped["ts"][-1],
        f"{width}us",
        time_unit="us",
        time_zone="UTC",
        eager=True,
    )
    if len(every) == grouped.height:
        return grouped
    return (
        every.alias("ts")
        .to_frame()
        .join(grouped, on="ts", how="left", maintain_order="left")
        .with_columns(pl.col(f"{column} count").fill_null(0) for column in columns)
    )


def _exact(frame: Frame, columns: list[str]) -> list[str]:
    """The columns whose sums a float holds exactly, so that these have no order."""
    schema = frame.schema  # made anew whenever it is asked for
    integers = [column for column in columns if schema[column].is_integer()]
    if not integers or frame.is_empty():
        return []
    extremes = zip(
        *(frame.select(of).row(0) for of in (pl.col(integers).min(), pl.col(integers).max())),
        strict=True,
    )
    return [
        column
        for column, (low, high) in zip(integers, extremes, strict=True)
        if max(-(low or 0), high or 0) * frame.height < FLOAT_INTEGERS
    ]


def _offset(frame: Frame, width: int) -> int:
    """Where bins must start after the epoch's own multiples, to be aligned to midnight."""
    if frame.is_empty() or DAY_US % width == 0:
        return 0
    day = frame.select(pl.col("ts").first().dt.truncate("1d").dt.epoch("us")).item()
    return int(day % width)


def _metric(column: str, metric: str) -> pl.Expr:
    values = pl.col(column)
    results = {
        "mean": values.mean(),
        "std": values.std(),
        "min": values.min(),
        "max": values.max(),
        "median": values.median(),
        "count": values.count().cast(pl.Int64),
    }
    return results[metric]


def _deviation(column: str) -> pl.Expr:
    """The deviation of each bin: zero of equal values, of which rounding leaves 1e-17."""
    deviation = pl.col(f"{column} std")
    equal = pl.col(f"{column} min") == pl.col(f"{column} max")
    return pl.when(equal).then(deviation * 0).otherwise(deviation)


def _rounded(values: pl.Series, decimals: int | None) -> pl.Series:
    return values if decimals is None or not values.dtype.is_float() else values.round(decimals)
