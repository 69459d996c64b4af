"""`clean`: repeated timestamps dropped, impossible values and spikes turned to null."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from procezo_assets.parameters import Parameters
from procezo_assets.treatments.model import PartAbout, treatment
from procezo_assets.treatments.treated import Frame, Treated

_EXACT_HALVES = 2**52  # of smaller integers a float holds the mean of two exactly
_ROUNDING = 1e-12  # more than the share of a value that rounding may change
_LOOKED_AT = 4096  # rows that show whether a column is so noisy that most are suspects


class DomainLimits(BaseModel):
    """What values a domain can have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_value: float | None = Field(None, description="Smallest possible value, in its own unit.")
    max_value: float | None = Field(None, description="Largest possible value, in its own unit.")
    spike_window: int = Field(
        10, ge=1, description="Rows of the centred rolling median that spikes are measured from."
    )
    spike_threshold: float | None = Field(
        None, gt=0, description="Distance from the median beyond which a value is a spike."
    )

    @model_validator(mode="after")
    def _check(self) -> DomainLimits:
        low, high = self.min_value, self.max_value
        if low is not None and high is not None and low > high:
            raise ValueError(f"min_value {low} is above max_value {high}")
        return self


class CleanParameters(Parameters):
    """What `clean` removes."""

    drop_duplicates: bool = Field(
        True, description="Keep the first row of each timestamp and drop the others."
    )
    domains: dict[str, DomainLimits] = Field(
        {
            "bio_signal": DomainLimits(
                min_value=0, max_value=800, spike_window=10, spike_threshold=100
            ),
            "environment": DomainLimits(
                min_value=-10, max_value=50, spike_window=7, spike_threshold=5
            ),
        },
        description="Limits by domain; domains without any pass unchanged.",
    )


def _bounds(params: CleanParameters, domain: str) -> tuple[float | None, float | None] | None:
    limits = params.domains.get(domain)
    return (limits.min_value, limits.max_value) if limits else None


@treatment(
    parameters=CleanParameters,
    version="1",
    inputs=("10_parsed",),
    output="20_clean",
    bounds=_bounds,
    keeps_types=True,
    unique_ts=lambda params: params.drop_duplicates,
    domains_named=lambda params: params.domains if "domains" in params.model_fields_set else (),
    unit_source=lambda _params, _domain, column: column,
)
def clean(frame: Frame, params: CleanParameters, *, about: PartAbout) -> Treated:
    """Drop repeated timestamps, then turn values out of range and spikes to null.

    Args:
        frame: `ts` (sorted), then columns; only numeric ones have limits.
        params: Limits by domain.
        about: Names the domain.

    Returns:
        The same columns; counts `repeated_timestamp` (rows and their values), `out_of_range` and
        `spike`.
    """
    values = [column for column in frame.columns if column != "ts"]
    schema = frame.schema  # made anew whenever it is asked for
    measured = [column for column in values if schema[column].is_numeric()]
    rows_removed: dict[str, int] = {}
    removed: dict[str, dict[str, int]] = {}
    kept = frame
    if params.drop_duplicates:
        kept = frame.filter(pl.col("ts").ne_missing(pl.col("ts").shift()))
        if kept.height < frame.height:
            rows_removed["repeated_timestamp"] = frame.height - kept.height
            removed["repeated_timestamp"] = _fewer(frame, kept, values)
    limits = params.domains.get(about.domain)
    if limits is None or not measured:
        return Treated({None: kept}, rows_removed=rows_removed, values_removed=removed)
    in_range = kept.with_columns(
        pl.when(_within(column, limits)).then(column).alias(column) for column in measured
    )
    removed["out_of_range"] = _fewer(kept, in_range, measured)
    cleaned = in_range
    if limits.spike_threshold is not None:
        cleaned = in_range.with_columns(
            _without_spikes(in_range[column], limits.spike_window, limits.spike_threshold)
            for column in measured
        )
        removed["spike"] = _fewer(in_range, cleaned, measured)
    return Treated({None: cleaned}, rows_removed=rows_removed, values_removed=removed)


def _within(column: str, limits: DomainLimits) -> pl.Expr:
    within = pl.col(column).is_not_null()
    if limits.min_value is not None:
        within = within & (pl.col(column) >= limits.min_value)
    if limits.max_value is not None:
        within = within & (pl.col(column) <= limits.max_value)
    return within


def _without_spikes(values: pl.Series, window: int, threshold: float) -> pl.Series:
    """Turn values to null that are too far from the median of those around.

    A value and its median are no further apart than the largest and the smallest value around.
    Where only few are that far apart, only their medians are computed. These may differ in their
    last bits from those of Polars; where that could matter, all are left to Polars.
    """
    if values.dtype.is_float() and not values.is_finite().all():  # null stays out of it
        return _far_from_medians(values, window, threshold)
    around = _around(values, window)
    largest = np.nanmax(np.abs(around), initial=0)
    is_exact = values.dtype.is_integer() and largest <= _EXACT_HALVES
    slack = 0.0 if is_exact else largest * _ROUNDING
    if _are_few(_suspects(around[:_LOOKED_AT], window, threshold - slack), window, _LOOKED_AT):
        suspects = _suspects(around, window, threshold - slack)
        if _are_few(suspects, window, len(values)):
            distances = _distances(around, suspects, window)
            if is_exact or not (np.abs(distances - threshold) <= slack).any():
                return values.clone().scatter(suspects[distances > threshold], None)
    return _far_from_medians(values, window, threshold)


def _far_from_medians(values: pl.Series, window: int, threshold: float) -> pl.Series:
    floats = values.cast(pl.Float64)
    median = floats.rolling_median(window_size=window, min_samples=1, center=True)
    return values.set((floats - median).abs() > threshold, None)


def _around(values: pl.Series, window: int) -> npt.NDArray[np.float64]:
    """Values between what a centred window misses; an even one reaches one row further back."""
    padded = np.full(len(values) + window - 1, np.nan)
    before = window // 2
    padded[before : before + len(values)] = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return padded


def _suspects(
    around: npt.NDArray[np.float64], window: int, threshold: float
) -> npt.NDArray[np.intp]:
    """The rows with values around that are far enough apart."""
    if len(around) < window:
        return np.array([], dtype=np.intp)
    spread = _rolling(np.fmax, around, window) - _rolling(np.fmin, around, window)
    values = around[window // 2 : window // 2 + len(spread)]
    return np.flatnonzero((spread > threshold) & ~np.isnan(values))


def _are_few(suspects: npt.NDArray[np.intp], window: int, rows: int) -> bool:
    """Whether their medians one by one cost less than those of all rows at once."""
    return len(suspects) * window <= rows


def _rolling(
    pick: np.ufunc, values: npt.NDArray[np.float64], window: int
) -> npt.NDArray[np.float64]:
    """What `pick` makes of each window: of pairs, then of pairs of pairs, and so on."""
    done = 1
    while done < window:
        more = min(done, window - done)
        values = pick(values[:-more], values[more:])
        done += more
    return values


def _distances(
    around: npt.NDArray[np.float64], suspects: npt.NDArray[np.intp], window: int
) -> npt.NDArray[np.float64]:
    """How far the values of some rows are from the medians of those around."""
    near = np.sort(around[suspects[:, None] + np.arange(window)], axis=1)  # NaN goes last
    count = window - np.isnan(near).sum(axis=1)
    rows = np.arange(len(suspects))
    median = (near[rows, (count - 1) // 2] + near[rows, count // 2]) / 2
    distances: npt.NDArray[np.float64] = np.abs(around[suspects + window // 2] - median)
    return distances


def _fewer(before: Frame, after: Frame, columns: list[str]) -> dict[str, int]:
    """Count by column how many values are gone; columns that lost none are left out."""
    lost = {column: before[column].count() - after[column].count() for column in columns}
    return {column: count for column, count in lost.items() if count}
