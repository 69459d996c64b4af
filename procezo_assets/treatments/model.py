"""What a treatment is: typed parameters, a function, and what the function hands back."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import polars as pl

from procezo_assets.datasets import Home
from procezo_assets.errors import TreatmentError
from procezo_assets.parameters import Parameters, parameters_hash
from procezo_assets.treatments.treated import Frame, Treated, count_differences

if TYPE_CHECKING:
    from typing_extensions import TypeIs

Fit = dict[str, Any]


@dataclass(frozen=True)
class PartAbout:
    """What a treatment may know about the frame it is given.

    Args:
        device: The logger.
        domain: The group of columns.
        day: The UTC day.
        window: The aggregation window, where the input stage has one.
    """

    device: str
    domain: str
    day: date
    window: str | None = None


BUILT_IN = "built in"

Kind = Literal["source", "frame", "folder", "load"]
Target = Callable[[Any, Home], str]
DomainsNamed = Callable[[Any], Iterable[str]]
FitFunction = Callable[[Mapping[str, pl.LazyFrame], Any], Fit]
Bounds = Callable[[Any, str], tuple[float | None, float | None] | None]
UnitSource = Callable[[Any, str, str], str | None]


@dataclass(frozen=True)
class Treatment:
    """A named treatment: how to call it and what its parameters are.

    Args:
        name: What flows call it.
        kind: `source` reads raw files, `frame` maps one frame at a time, `folder` maps a folder
            in the established layout, `load` acts on many days at the end of a run.
        version: Raised whenever the same input gives another output.
        parameters: The model of its parameters.
        function: The function of that kind (see `treatment`, `loader`).
        inputs: The standard input folders, the preferred first.
        output: The standard output folder.
        summary: One sentence on what it does.
        fit: Makes the fit from all frames of each device, for treatments that need one.
        fits_domain: Tells whether frames of a domain take part in the fit.
        bounds: The closed range that values of a domain lie in afterwards, where there is one.
        keeps_types: Whether columns keep the types that their domain declares.
        unique_ts: Tells of its parameters whether timestamps are unique afterwards; None keeps
            what the input stage promises.
        domains_named: The domains that a person's parameters name, which must be there.
        unit_source: Names, of its parameters, a domain and an output column, the input column whose
            unit the values keep; None where they have another unit or none. Without it no column
            keeps its unit.
        target: Names where a loading treatment loads to, without secrets.
        one_dataset_only: Why a loading treatment cannot hold several datasets, where it cannot.
        origin: Where it comes from: `built in` or a path.
    """

    name: str
    kind: Kind
    version: str
    parameters: type[Parameters]
    function: Callable[..., Any]
    inputs: tuple[str, ...] = ()
    output: str = ""
    summary: str = ""
    fit: FitFunction | None = None
    fits_domain: Callable[[Any, str], bool] | None = None
    bounds: Bounds | None = None
    keeps_types: bool = False
    unique_ts: Callable[[Any], bool] | None = None
    domains_named: DomainsNamed | None = None
    unit_source: UnitSource | None = None
    target: Target | None = None
    one_dataset_only: Callable[[Any], str | None] | None = None
    origin: str = BUILT_IN

    def apply(
        self, frame: Frame, params: Parameters, about: PartAbout, fit: Fit | None = None
    ) -> Treated:
        """Run a frame treatment on one frame.

        Args:
            frame: `ts` (datetime[us, UTC], sorted), then values.
            params: Its parameters.
            about: Device, domain, day and window of the frame.
            fit: The fit, for treatments that have one.

        Raises:
            TreatmentError: Where it returns what no stage can hold.
        """
        accepted = inspect.signature(self.function).parameters
        extra: dict[str, Any] = {}
        if "about" in accepted:
            extra["about"] = about
        if "fit" in accepted:
            extra["fit"] = fit
        result = self.function(frame, params, **extra)
        if isinstance(result, Treated):
            return result
        if isinstance(result, pl.DataFrame):
            # counted as the null that it becomes
            cleared = result.with_columns(pl.selectors.float().fill_nan(None))
            return count_differences(frame, cleared)
        raise TreatmentError(
            f"treatment '{self.name}' returned {type(result).__name__}",
            "return a frame with the column ts",
        )

    def units_after(
        self, params: Parameters, domain: str, columns: Iterable[str], units: Mapping[str, str]
    ) -> dict[str, str]:
        """Tell the units of what a frame treatment makes.

        Args:
            params: Its parameters.
            domain: The domain of the frame.
            columns: The columns of the output.
            units: Unit by column of the input.
        """
        if self.unit_source is None or not units:
            return {}
        sources = {column: self.unit_source(params, domain, column) for column in columns}
        return {
            column: units[source]
            for column, source in sources.items()
            if source and source in units
        }


def load_identity(treatment: Treatment, params: Parameters, home: Home) -> str:
    """How and where a loading treatment loads: hash of its parameters, and its target."""
    target = treatment.target(params, home) if treatment.target else ""
    return f"{parameters_hash(params)} {target}"


F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__procezo_treatment__"


def treatment(
    *,
    parameters: type[Parameters] = Parameters,
    version: str = "1",
    name: str | None = None,
    inputs: Sequence[str] = (),
    output: str = "",
    fit: FitFunction | None = None,
    fits_domain: Callable[[Any, str], bool] | None = None,
    bounds: Bounds | None = None,
    keeps_types: bool = False,
    unique_ts: Callable[[Any], bool] | None = None,
    domains_named: DomainsNamed | None = None,
    unit_source: UnitSource | None = None,
) -> Callable[[F], F]:
    """Register a function `(frame, params)` as a frame treatment.

    The function may also take `about` (a `PartAbout`) and `fit` by keyword. It returns a frame
    with `ts` and values, or a `Treated`. A frame annotated as `pandas.DataFrame` is handed over
    and taken back as pandas.

    Args:
        parameters: The model of its parameters.
        version: Raise it whenever the same input gives another output.
        name: What flows call it; the function's name where left out.
        inputs: The standard input folders, the preferred first.
        output: The standard output folder.
        fit: Makes the fit, for treatments that need one.
        fits_domain: Tells whether frames of a domain take part in the fit.
        bounds: The range that values of a domain lie in afterwards.
        keeps_types: Whether columns keep the types that their domain declares.
        unique_ts: Tells of the parameters whether timestamps are unique afterwards.
        domains_named: The domains that the parameters name, which must be there.
        unit_source: Names the input column whose unit an output column's values keep, of the
            parameters, the domain and the output column; without it units end here.
    """

    def mark(function: F) -> F:
        made = Treatment(
            name=name or function.__name__,
            kind="frame",
            version=version,
            parameters=parameters,
            function=function,
            inputs=tuple(inputs),
            output=output,
            summary=_first_line(function),
            fit=fit,
            fits_domain=fits_domain,
            bounds=bounds,
            keeps_types=keeps_types,
            unique_ts=unique_ts,
            domains_named=domains_named,
            unit_source=unit_source,
        )
        return _marked(function, made)

    return mark


def source(
    *, parameters: type[Parameters], version: str, output: str, inputs: Sequence[str]
) -> Callable[[F], F]:
    """Register the function that turns raw lines into rows (there is one, `parse`)."""

    def mark(function: F) -> F:
        made = Treatment(
            name=function.__name__,
            kind="source",
            version=version,
            parameters=parameters,
            function=function,
            inputs=tuple(inputs),
            output=output,
            summary=_first_line(function),
            keeps_types=True,
        )
        return _marked(function, made)

    return mark


def loader(
    *,
    parameters: type[Parameters],
    version: str = "1",
    aliases: Sequence[tuple[str, str]] = (),
    inputs: Sequence[str] = ("40_aggregated",),
    output: str,
    target: Target | None = None,
    one_dataset_only: Callable[[Any], str | None] | None = None,
) -> Callable[[F], F]:
    """Register a function `(inputs, params)` that acts on many days at the end of a run.

    The function takes a list of `StageInput`, one a dataset, and returns a list of `Loaded`.

    Args:
        parameters: The model of its parameters.
        version: Raise it whenever the same input gives another output.
        aliases: Other names that flows may call it, each with its standard output folder.
        inputs: The standard input folders, the preferred first.
        output: The standard output folder.
        target: Names where it loads to, without secrets; a change makes its days stale.
        one_dataset_only: Tells of the parameters why they cannot hold several datasets.
    """

    def mark(function: F) -> F:
        made = [
            Treatment(
                name=name,
                kind="load",
                version=version,
                parameters=parameters,
                function=function,
                inputs=tuple(inputs),
                output=folder,
                summary=_first_line(function),
                target=target,
                one_dataset_only=one_dataset_only,
            )
            for name, folder in [(function.__name__, output), *aliases]
        ]
        return _marked(function, *made)

    return mark


def marked_treatments(function: object) -> tuple[Treatment, ...]:
    """The treatments that a function was registered as; empty where it is no treatment."""
    if not _is_function(function):
        return ()
    return cast("tuple[Treatment, ...]", getattr(function, _MARK, ()))


def _is_function(value: object) -> TypeIs[Callable[..., Any]]:
    return inspect.isfunction(value)


def _marked(function: F, *made: Treatment) -> F:
    setattr(function, _MARK, made)
    return function


def _first_line(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]
