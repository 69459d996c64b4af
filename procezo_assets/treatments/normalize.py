"""`normalize`: each device's columns to [0, 1], by a fit that is an input of its own."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal

import polars as pl
from pydantic import Field, TypeAdapter, model_validator
from typing_extensions import TypedDict

from procezo_assets.errors import FitError
from procezo_assets.parameters import Parameters
from procezo_assets.treatments.model import Fit, PartAbout, treatment
from procezo_assets.treatments.treated import Frame, Treated


class NormalizeParameters(Parameters):
    """What is normalized, and how its fit is made."""

    fit: bool = Field(
        False,
        description="Make the fit from all available days where none exists yet; otherwise apply "
        "the one that is there.",
    )
    method: Literal["percentile", "minmax"] = Field(
        "percentile", description="Bounds at two percentiles, or at the smallest and largest value."
    )
    percentile_min: float = Field(2, ge=0, le=100, description="Lower percentile, in percent.")
    percentile_max: float = Field(98, ge=0, le=100, description="Upper percentile, in percent.")
    domain: str = Field("bio_signal", description="The domain to normalize; others pass.")
    drop_domains: tuple[str, ...] = Field((), description="Domains to leave out altogether.")
    columns: tuple[str, ...] | dict[str, str] = Field(
        (),
        description="Empty: all numeric columns, in place. A list: these, in place. A mapping of "
        'patterns such as {"*__sqrt_inv": "*__sqrt_inv__norm"}: new columns beside the old.',
    )
    clip: bool = Field(True, description="Keep results within [0, 1].")
    fit_window_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="Fit on the last days of data only, in days; 0 takes them all.",
    )
    min_range_warn: float = Field(
        0, ge=0, description="Warn where a fitted range is narrower, in the unit of the values."
    )

    @model_validator(mode="after")
    def _check(self) -> NormalizeParameters:
        if self.percentile_min >= self.percentile_max:
            raise ValueError("percentile_min is not below percentile_max")
        if isinstance(self.columns, dict):
            for pattern, result in self.columns.items():
                if pattern.count("*") > 1 or result.count("*") != pattern.count("*"):
                    raise ValueError(
                        f"columns: '{pattern}' and '{result}' need one * each, or none"
                    )
        return self


class _Range(TypedDict):
    low: float
    high: float


_ranges = TypeAdapter(dict[str, _Range])


def _fits_domain(params: NormalizeParameters, domain: str) -> bool:
    return domain == params.domain


# a device's years of one column fit in memory; thousands of columns of a day are read together,
# because each reading looks at all of them
_VALUES_AT_ONCE = 4_000_000


def fit_ranges(frames: Mapping[str, pl.LazyFrame], params: NormalizeParameters) -> Fit:
    """Fit each device's columns: the values that become 0 and 1.

    Args:
        frames: All rows of each device: `ts`, then columns.
        params: Method and window.

    Returns:
        JSON-ready: how it was made, `first` and `last` day, and under `devices` for each device
        and column `low`, `high` (in the unit of the values) and `count`, of its finite values.
    """
    spans = pl.collect_all(
        [
            f.select(pl.col("ts").min().alias("first"), pl.col("ts").max().alias("last"))
            for f in frames.values()
        ]
    )
    known = [row for span in spans for row in span.rows() if row[0] is not None]
    last = max((row[1] for row in known), default=None)
    first = min((row[0] for row in known), default=None)
    if last is not None and params.fit_window_days:
        opening = (last - timedelta(days=params.fit_window_days - 1)).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        frames = {device: frame.filter(pl.col("ts") >= opening) for device, frame in frames.items()}
        first = max(first, opening)
    return {
        "method": params.method,
        "percentile_min": params.percentile_min,
        "percentile_max": params.percentile_max,
        "domain": params.domain,
        "fit_window_days": params.fit_window_days,
        "first": first and str(first.date()),
        "last": last and str(last.date()),
        "devices": {device: _fit_device(frames[device], params) for device in sorted(frames)},
    }


def _fit_device(frame: pl.LazyFrame, params: NormalizeParameters) -> dict[str, Any]:
    columns = [source for source, _ in column_pairs(frame.collect_schema(), params)]
    rows = frame.select(pl.len()).collect().item()
    at_once = max(1, _VALUES_AT_ONCE // max(1, rows))
    ranges: dict[str, Any] = {}
    for start in range(0, len(columns), at_once):
        some = frame.select(pl.col(columns[start : start + at_once]).cast(pl.Float64)).collect()
        for column in some.iter_columns():
            # infinities, as of 1/0, are no bounds; one of them must not take the others' fit away
            if found := _range_of(column.filter(column.is_finite()), params):
                ranges[column.name] = found
    return ranges


def _range_of(values: pl.Series, params: NormalizeParameters) -> dict[str, Any] | None:
    if values.is_empty():
        return None
    if params.method == "percentile":
        bounds = [params.percentile_min / 100, params.percentile_max / 100]
    else:
        bounds = [0.0, 1.0]
    low, high = (values.quantile(at, interpolation="linear") for at in bounds)
    return {"low": low, "high": high, "count": len(values)}


def column_pairs(schema: pl.Schema, params: NormalizeParameters) -> list[tuple[str, str]]:
    """List which column each result comes from: `(source, result)`, in the order of the sources."""
    numeric = [name for name, dtype in schema.items() if dtype.is_numeric()]
    if not params.columns:
        return [(name, name) for name in numeric]
    if not isinstance(params.columns, dict):
        return [(name, name) for name in numeric if name in params.columns]
    pairs: dict[str, str] = {}
    for pattern, result in params.columns.items():
        before, star, after = pattern.partition("*")
        for name in numeric:
            if fnmatchcase(name, pattern):
                middle = name[len(before) : len(name) - len(after)] if star else ""
                pairs.setdefault(result.replace("*", middle), name)
    return sorted(
        ((name, result) for result, name in pairs.items()), key=lambda pair: numeric.index(pair[0])
    )


def _bounds(params: NormalizeParameters, domain: str) -> tuple[float, float] | None:
    in_place = not params.columns and domain == params.domain
    return (0.0, 1.0) if params.clip and in_place else None


def _unit_source(params: NormalizeParameters, domain: str, column: str) -> str | None:
    """A normalized column has no unit; the others keep theirs."""
    results = params.columns.values() if isinstance(params.columns, dict) else params.columns
    normalized = not params.columns or any(fnmatchcase(column, result) for result in results)
    return None if domain == params.domain and normalized else column


@treatment(
    parameters=NormalizeParameters,
    version="1",
    inputs=("30_transform", "25_resampled", "20_clean"),
    output="35_normalized",
    fit=fit_ranges,
    fits_domain=_fits_domain,
    bounds=_bounds,
    domains_named=lambda params: (params.domain, *params.drop_domains),
    unit_source=_unit_source,
)
def normalize(frame: Frame, params: NormalizeParameters, *, about: PartAbout, fit: Fit) -> Treated:
    """Bring each device's columns to [0, 1]: (x - low) / (high - low), 0 where they are equal.

    Args:
        frame: `ts`, then columns.
        params: Which columns.
        about: Names device and domain.
        fit: What `fit_ranges` made.

    Returns:
        The frame with Float64 results; counts `no_fit` for values of a device or column that the
        fit does not know.

    Raises:
        FitError: Where the fit has no ranges.
    """
    if about.domain in params.drop_domains:
        gone = {column: frame[column].count() for column in frame.columns if column != "ts"}
        return Treated(
            {},
            rows_removed={"dropped_domain": frame.height},
            values_removed={"dropped_domain": gone},
        )
    if about.domain != params.domain:
        return Treated({None: frame})
    ranges = _ranges_of(fit, about.device)
    after: dict[str, list[pl.Expr]] = {column: [pl.col(column)] for column in frame.columns}
    derived: dict[str, str] = {}
    unknown: dict[str, int] = {}
    warnings = [
        f"the fit was made with {name} {fit[name]}, not {getattr(params, name)}; fit again "
        "with --refit"
        for name in ("method", "percentile_min", "percentile_max", "fit_window_days")
        if name in fit and fit[name] != getattr(params, name)
    ]
    for source, result in column_pairs(frame.schema, params):
        bounds = ranges.get(source)
        if bounds is None and frame[source].count():
            unknown[result] = frame[source].count()
        if bounds and bounds["high"] - bounds["low"] < params.min_range_warn:
            warnings.append(
                f"{about.device} {source}: fitted range {bounds['high'] - bounds['low']:g} is "
                f"below min_range_warn {params.min_range_warn:g}"
            )
        scaled = _scale(source, bounds, clip=params.clip).alias(result)
        if result == source:
            after[source][0] = scaled
        else:
            derived[result] = source
            after[source].append(scaled)
    if unknown:
        warnings.append(
            f"{about.device}: the fit does not know {', '.join(unknown)}; fit again with --refit"
        )
    return Treated(
        {None: frame.select(expression for group in after.values() for expression in group)},
        values_removed={"no_fit": unknown},
        derived=derived,
        warnings=tuple(warnings),
    )


def _ranges_of(fit: Fit, device: str) -> dict[str, _Range]:
    devices = fit.get("devices")
    ranges = devices.get(device, {}) if isinstance(devices, dict) else None
    try:
        return _ranges.validate_python(ranges)
    except ValueError:
        raise FitError(
            f"the fit has no ranges of the columns of {device}", "fit again with --refit"
        ) from None


def _scale(column: str, bounds: _Range | None, *, clip: bool) -> pl.Expr:
    x = pl.col(column).cast(pl.Float64)
    if bounds is None:
        return pl.when(pl.lit(False)).then(x)
    low, high = bounds["low"], bounds["high"]
    if math.isinf(high - low):  # halves keep differences of the largest floats finite
        x, low, high = x / 2, low / 2, high / 2
    # below the smallest normal float a division may give anything
    equal = high - low < sys.float_info.min
    scaled = x * 0 if equal else (x - low) / (high - low)
    return scaled.clip(0, 1) if clip else scaled
