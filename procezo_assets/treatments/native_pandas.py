"""User's treatments that are annotated to take a pandas frame."""

from __future__ import annotations

import functools
import inspect
from dataclasses import replace
from typing import Any, get_type_hints

import polars as pl

from procezo_assets.errors import TreatmentError
from procezo_assets.treatments.model import Treatment
from procezo_assets.treatments.treated import Frame


def with_pandas(treatment: Treatment) -> Treatment:
    """Let a treatment whose function is annotated with `pandas.DataFrame` take and return pandas.

    Integers and floats come as the nullable `Int64` and `Float64`. A returned index named `ts`
    becomes the column again.
    """
    if not _takes_pandas(treatment):
        return treatment
    inner = treatment.function

    @functools.wraps(inner)
    def on_polars(frame: Frame, params: Any, **extra: Any) -> Frame:  # noqa: ANN401 - user's types
        return from_pandas(inner(to_pandas(frame), params, **extra), treatment.name)

    return replace(treatment, function=on_polars)


def to_pandas(frame: Frame) -> Any:  # noqa: ANN401 - pandas is imported only where it is used
    """Convert to pandas with nullable integers, floats, booleans and strings."""
    import pandas as pd  # noqa: PLC0415 - costs every command half a second otherwise
    import pyarrow as pa  # noqa: PLC0415

    nullable = {
        pa.int64(): pd.Int64Dtype(),
        pa.float64(): pd.Float64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }
    return frame.to_arrow().to_pandas(types_mapper=nullable.get)


def from_pandas(frame: Any, name: str) -> Frame:  # noqa: ANN401
    """Convert back; NaN becomes null.

    Raises:
        TreatmentError: Where it is no pandas frame.
    """
    import pandas as pd  # noqa: PLC0415

    if not isinstance(frame, pd.DataFrame):
        raise TreatmentError(
            f"treatment '{name}' returned {type(frame).__name__}", "return a pandas.DataFrame"
        )
    if frame.index.name == "ts" and "ts" not in frame.columns:
        frame = frame.reset_index()
    return pl.from_pandas(frame, nan_to_null=True)


def _takes_pandas(treatment: Treatment) -> bool:
    first = next(iter(inspect.signature(treatment.function).parameters), None)
    try:
        annotation = get_type_hints(treatment.function).get(first or "")
    except NameError as error:
        raise TreatmentError(
            f"treatment '{treatment.name}': annotation {error}", "import what it names"
        ) from None
    module = getattr(annotation, "__module__", "")
    return (
        module.partition(".")[0] == "pandas" and getattr(annotation, "__name__", "") == "DataFrame"
    )
