"""pandera schemas of stages, built from the flow's domains, and what breaks them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from procezo_assets.datasets import PartKey
from procezo_assets.errors import SchemaError
from procezo_assets.flows import Flow, Stage
from procezo_assets.parameters import Parameters
from procezo_assets.treatments.parse import ParseParameters

if TYPE_CHECKING:
    import pandera.polars as pa

_EXAMPLES = 5
_DTYPES: dict[str, pl.DataType] = {"int": pl.Int64(), "float": pl.Float64()}
_VALUE_DTYPES = (pl.Int64, pl.Float64, pl.Boolean, pl.String)
_TS = pl.Datetime("us", "UTC")

# whether timestamps are unique, the declared type and the bounds of the values
_Rule = tuple[bool, str | None, tuple[float | None, float | None] | None]
_Columns = tuple[tuple[str, pl.DataType], ...]


@dataclass(frozen=True)
class StageRules:
    """What holds for the files of a stage.

    Args:
        stage: The stage's name.
        unique_ts: Whether a timestamp occurs once in a file.
        domains: The declared type of each domain's columns, while the stages keep them.
        bounds: The closed range of a domain's values, where the stage promises one.
    """

    stage: str
    unique_ts: bool
    domains: dict[str, str]
    bounds: dict[str, tuple[float | None, float | None]]


def stage_rules(
    flow: Flow, stage: Stage, dataset: str, params: dict[str, Parameters]
) -> StageRules:
    """Work out what holds for a stage's files from the stages that lead to it.

    Args:
        flow: The flow.
        stage: One of its stages.
        dataset: The dataset, whose overrides count.
        params: The effective parameters of stages, by name; others are taken from the flow.
    """
    lineage = list(flow.lineage(stage))[::-1]

    def effective(one: Stage) -> Parameters:
        return params.get(one.name) or flow.parameters(one, dataset)

    unique = False
    for one in lineage:
        promise = one.treatment.unique_ts
        unique = promise(effective(one)) if promise else unique
    declared = effective(lineage[0])
    names: dict[str, str] = {}
    if isinstance(declared, ParseParameters) and all(s.treatment.keeps_types for s in lineage):
        names = {name: domain.dtype for name, domain in declared.domains.items()}
    bounds: dict[str, tuple[float | None, float | None]] = {}
    if stage.treatment.bounds is not None and isinstance(declared, ParseParameters):
        for domain in declared.domains:
            found = stage.treatment.bounds(effective(stage), domain)
            if found:
                bounds[domain] = found
    return StageRules(stage.name, unique, names, bounds)


def check_schema(rules: StageRules, key: PartKey, frame: pl.DataFrame, *, day: date) -> None:
    """Hold a frame to the rules of its stage.

    Args:
        rules: What holds.
        key: Which file.
        frame: `ts`, then values.
        day: The UTC day that all rows are of.

    Raises:
        SchemaError: Its `failures` hold one dict a failed check: column, check, count, examples.
    """
    rule = (rules.unique_ts, rules.domains.get(key.domain), rules.bounds.get(key.domain))
    columns = tuple(frame.schema.items())
    failures: list[dict[str, object]] = []
    if not _fit(rule, columns) or _breaches(_rows_schema(rule, columns), frame):
        failures = _breaches(_schema(rule, columns), frame)
    failures = failures or _outside_day(frame, day)
    if failures:
        first = failures[0]
        raise SchemaError(
            f"stage '{rules.stage}', {key.device} {key.domain}: column '{first['column']}' breaks "
            f"the schema ({first['check']}, {first['count']} times)",
            "nothing was written; correct the treatment, or report it where it is built in",
            failures,
        )


def load_pandera() -> None:
    """Import pandera and use it once, which together takes two seconds."""
    rule: _Rule = (False, None, None)
    empty = pl.DataFrame(schema={"ts": _TS})
    _breaches(_schema(rule, tuple(empty.schema.items())), empty)


def _breaches(schema: pa.DataFrameSchema, frame: pl.DataFrame) -> list[dict[str, object]]:
    import pandera.errors  # noqa: PLC0415 - loads pandas
    import pandera.polars as pa  # noqa: PLC0415

    try:
        schema.validate(frame, lazy=True)
    except (pandera.errors.SchemaErrors, pa.errors.SchemaError) as error:
        return _failures(error)
    return []


@functools.lru_cache(maxsize=512)
def _fit(rule: _Rule, columns: _Columns) -> bool:
    """Whether names, order and types of columns are right, which no row can change.

    Pandera, which then names what is not, takes minutes for 5,000 columns.
    """
    _, dtype, _ = rule
    return columns[:1] == (("ts", _TS),) and all(
        found == _expected(dtype, name, found) for name, found in columns[1:]
    )


def _expected(dtype: str | None, name: str, found: pl.DataType) -> Any:  # noqa: ANN401 - a type, or a class of types
    """The type that a column has to have, where it was found to have one."""
    if dtype and "__" not in name:
        return _DTYPES[dtype]
    return found if found in _VALUE_DTYPES else pl.Float64


@functools.lru_cache(maxsize=512)
def _rows_schema(rule: _Rule, columns: _Columns) -> pa.DataFrameSchema:
    """What rows have to hold, of all columns at once: a verdict a column costs a millisecond."""
    import pandera.polars as pa  # noqa: PLC0415

    unique_ts, _, bounds = rule
    low, high = bounds or (None, None)
    numbers = pl.col([name for name, dtype in columns if dtype.is_numeric()])

    def rows_hold(data: pa.PolarsData) -> bool:
        frame = data.lazyframe.collect()  # or pandera would work out anew what is lazy
        if frame["ts"].has_nulls():
            return False
        holds = bool(frame.select(_rising("ts", unique_ts=unique_ts).all()).item())
        if low is not None:
            holds &= all(v is None or v >= low for v in _row(frame.select(numbers.min())))
        if high is not None:
            holds &= all(v is None or v <= high for v in _row(frame.select(numbers.max())))
        return holds

    return pa.DataFrameSchema(checks=[pa.Check(rows_hold)])


def _row(frame: pl.DataFrame) -> tuple[float | None, ...]:
    return frame.row(0) if frame.width else ()


@functools.lru_cache(maxsize=512)
def _schema(rule: _Rule, columns: _Columns) -> pa.DataFrameSchema:
    """What columns and rows have to hold, column by column, so that a breach names its own."""
    import pandera.polars as pa  # noqa: PLC0415

    unique_ts, dtype, bounds = rule
    ordered = pa.Check(
        functools.partial(_sorted, unique_ts=unique_ts),
        name="strictly_rising" if unique_ts else "never_falling",
        error="timestamps are sorted" + (" and unique" if unique_ts else ""),
    )
    fields: dict[str, Any] = {"ts": pa.Column(_TS, checks=[ordered], nullable=False)}
    low, high = bounds or (None, None)
    checks = [
        *([pa.Check.ge(low)] if low is not None else []),
        *([pa.Check.le(high)] if high is not None else []),
    ]
    for name, found in columns:
        if name == "ts":
            continue
        expected = _expected(dtype, name, found)
        numeric = found in {pl.Int64, pl.Float64}
        fields[name] = pa.Column(expected, checks=checks if numeric else [], nullable=True)
    return pa.DataFrameSchema(fields, strict=True, ordered=True)


def _outside_day(frame: pl.DataFrame, day: date) -> list[dict[str, object]]:
    """Rows of other days than the partition's; apart from the schema, which serves all days."""
    start = datetime.combine(day, time(), UTC)
    end = start + timedelta(days=1)
    low, high = frame.select(low=pl.col("ts").min(), high=pl.col("ts").max()).row(0)
    if frame.is_empty() or (low >= start and high < end):
        return []
    outside = frame["ts"].filter(~frame["ts"].is_between(start, end, closed="left"))
    return [
        {
            "column": "ts",
            "check": f"within {day} UTC",
            "count": len(outside),
            "examples": [str(instant) for instant in outside.head(_EXAMPLES)],
        }
    ]


def _sorted(data: pa.PolarsData, *, unique_ts: bool) -> pl.LazyFrame:
    return data.lazyframe.select(_rising(data.key, unique_ts=unique_ts))


def _rising(column: str, *, unique_ts: bool) -> pl.Expr:
    steps = pl.col(column).diff()
    rising = steps > pl.duration() if unique_ts else steps >= pl.duration()
    return rising.fill_null(value=True)


def _failures(error: Any) -> list[dict[str, object]]:  # noqa: ANN401 - two unrelated classes
    cases = error.failure_cases
    if not isinstance(cases, pl.DataFrame):
        return [{"column": "", "check": str(error), "count": 1, "examples": []}]
    if "check" not in cases.columns:
        cases = cases.with_columns(check=pl.lit(str(error.check)), column=pl.lit(""))
    # a column that is missing, or there against the schema, stands among the examples only
    cases = cases.with_columns(pl.col("column").fill_null(pl.col("failure_case").cast(pl.String)))
    grouped = cases.group_by("column", "check", maintain_order=True).agg(
        pl.len().alias("count"),
        pl.col("failure_case").cast(pl.String).head(_EXAMPLES).alias("examples"),
    )
    return grouped.to_dicts()
