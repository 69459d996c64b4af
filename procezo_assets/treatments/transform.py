"""`transform`: formulas on chosen columns, beside them or in their place."""

from __future__ import annotations

from typing import Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from procezo_assets.parameters import Parameters
from procezo_assets.treatments.model import PartAbout, treatment
from procezo_assets.treatments.treated import Frame, Treated


class Target(BaseModel):
    """Which columns a formula is for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: tuple[str, ...] = Field((), description="These columns, in whatever domain they are.")
    domain: str | None = Field(None, description="All numeric columns of this domain.")

    @model_validator(mode="after")
    def _check(self) -> Target:
        if bool(self.columns) == (self.domain is not None):
            raise ValueError("a target needs either columns or a domain")
        return self


class Formula(BaseModel):
    """A formula and its columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    function: Literal["sqrt_inv", "cbrt_inv", "log"] = Field(
        description="`sqrt_inv` 1/√x, `cbrt_inv` 1/∛x, `log` ln x; null where x ≤ 0."
    )
    target: Target = Field(description="Which columns.")
    mode: Literal["add", "replace"] = Field(
        "add", description="`add` writes `<column>__<function>` next to its source."
    )


class TransformParameters(Parameters):
    """Which formulas."""

    transforms: tuple[Formula, ...] = Field(
        (), description="The formulas, each on the columns that the step is given."
    )


def _unit_source(params: TransformParameters, domain: str, column: str) -> str | None:
    replaced = any(
        formula.mode == "replace"
        and (formula.target.domain == domain or column in formula.target.columns)
        for formula in params.transforms
    )
    return None if replaced else column


@treatment(
    parameters=TransformParameters,
    version="1",
    inputs=("25_resampled", "20_clean", "10_parsed"),
    output="30_transform",
    domains_named=lambda params: [
        one.target.domain for one in params.transforms if one.target.domain
    ],
    unit_source=_unit_source,
)
def transform(frame: Frame, params: TransformParameters, *, about: PartAbout) -> Treated:
    """Apply formulas to chosen columns, beside them or in their place.

    Args:
        frame: `ts`, then columns.
        params: The formulas.
        about: Names the domain.

    Returns:
        The frame with Float64 results; counts `not_positive` where a formula has none.
    """
    after: dict[str, list[pl.Expr]] = {column: [pl.col(column)] for column in frame.columns}
    derived: dict[str, str] = {}
    lost: dict[str, int] = {}
    for formula in params.transforms:
        for column in _chosen(frame, formula.target, about.domain):
            name = column
            if formula.mode == "add":
                name = f"{column}__{formula.function}"
                if name in derived:  # two targets name the same column
                    continue
                derived[name] = column
                after[column].append(_apply(formula.function, column).alias(name))
            else:
                after[column][0] = _apply(formula.function, column).alias(name)
            lost[name] = int((frame[column] <= 0).sum())
    return Treated(
        {None: frame.select(expression for group in after.values() for expression in group)},
        values_removed={"not_positive": {name: count for name, count in lost.items() if count}},
        derived=derived,
    )


def _chosen(frame: Frame, target: Target, domain: str) -> list[str]:
    if target.domain is not None and target.domain != domain:
        return []
    return [
        column
        for column, dtype in frame.schema.items()
        if dtype.is_numeric() and (target.domain is not None or column in target.columns)
    ]


def _apply(function: str, column: str) -> pl.Expr:
    x = pl.col(column).cast(pl.Float64)
    result = {"sqrt_inv": 1 / x.sqrt(), "cbrt_inv": 1 / x.cbrt(), "log": x.log()}[function]
    return pl.when(x > 0).then(result)
