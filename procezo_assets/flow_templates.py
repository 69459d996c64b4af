"""Flow files to start from: of a valvometer, or made to fit a raw file."""

from __future__ import annotations

from collections.abc import Mapping
from math import lcm
from typing import Any

import polars as pl

from procezo_assets.flow_files import DEFAULT_START
from procezo_assets.raw.inspection import Inspection
from procezo_assets.treatments.durations import DAY_US, microseconds
from procezo_assets.treatments.parse import ParseParameters

_STEPS = (
    "parse",
    "clean",
    "resample",
    "transform",
    "aggregate",
    "to_duckdb",
    "to_postgres",
    "exportcsv",
)
_DOMAIN = "values"
_SECOND_US = 1_000_000
_WINDOWS = ("10s", "60s", "5min", "1h", "1d")
_FILLED_STEPS = 2
# what all files of a logger share; the rest each file says of itself
_LASTING = ("format", "delimiter", "decimal", "date_order", "timestamp_format")

Template = dict[str, Any]


def valvometry_template(name: str, dataset: str) -> Template:
    """The flow of a valvometer: `m0`, `m1`, … and `outdoor_temp` in `key:value` lines."""
    declared = ParseParameters().model_dump(mode="json", by_alias=True)
    domains = {
        domain: {key: value for key, value in spec.items() if value}
        for domain, spec in declared["domains"].items()
    }
    params = {"parse": {"format": declared["format"], "domains": domains}}
    return _template(name, dataset, {step: params.get(step, {}) for step in _STEPS})


def fitting_template(name: str, dataset: str, found: Inspection, given: dict[str, Any]) -> Template:
    """A flow for files like one that was looked at.

    Args:
        name: The flow's name.
        dataset: The dataset's name.
        found: The file.
        given: The parameters of `parse` that it was looked at with.
    """
    told = {key: value for key, value in found.params.items() if key in _LASTING and value}
    if found.dialect.timezone_from in {"declared", "assumed"}:
        told["timezone"] = found.dialect.timezone
    parse: dict[str, Any] = {**told, **given}
    default = ParseParameters()
    # what the valvometer's domains take all of needs no others
    if found.dialect.format == "csv" or not all(map(default.domain_of, found.columns)):
        unused = left_out(found, given)
        columns = [name for name in found.columns if name not in unused]
        parse.setdefault("domains", {_DOMAIN: {"columns": columns, "dtype": "float"}})
    step = _sampling_step(found)
    windows = _windows(step)
    first_domain = next(iter(parse.get("domains") or default.domains))
    template = _template(
        name,
        dataset,
        {
            "parse": parse,
            "clean": {},
            "resample": {"freq": _duration(step), "max_gap_fill_s": step * _FILLED_STEPS},
            "aggregate": {"windows": windows},
            "to_duckdb": {},
            "to_postgres": {},
            "exportcsv": {
                "domain": first_domain,
                "aggregation": windows[0],
                "tz": "UTC",
            },
        },
    )
    first = found.counts.first
    if first is not None and first.date() < DEFAULT_START:
        template = {**template, "start": str(first.date())}
    return template


def left_out(found: Inspection, given: Mapping[str, Any]) -> dict[str, str]:
    """The columns of a csv file that hold no measurement, by name, and what they hold instead.

    Judged by its first rows: words, or the numbers of rows before the timestamp. Where nothing
    would be left, nothing is left out.

    Args:
        found: The file.
        given: The parameters of `parse`; where they have domains, these say what is wanted.
    """
    if found.dialect.format != "csv" or "domains" in given:
        return {}
    before_time = found.dialect.columns[: min(found.dialect.timestamp_columns, default=1) - 1]
    what: dict[str, str] = {}
    for name in found.columns:
        texts = found.preview[name].drop_nulls() if name in found.preview.columns else pl.Series()
        texts = texts.cast(pl.String).str.strip_chars()
        texts = texts.filter(texts != "")
        numbers = texts.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
        if len(texts) and numbers.null_count() == len(texts):
            what[name] = "words"
        elif name in before_time and numbers.diff().drop_nulls().unique().to_list() == [1]:
            what[name] = "row numbers"
    return what if len(what) < len(found.columns) else {}


def _template(name: str, dataset: str, params: dict[str, dict[str, Any]]) -> Template:
    return {
        "name": name,
        "description": f"All stages of {dataset}.",
        "dataset": dataset,
        "steps": [
            {"treatment": step, **({"params": values} if values else {})}
            for step, values in params.items()
        ],
    }


def _sampling_step(found: Inspection) -> int:
    """The usual step of the first rows, in whole seconds that a day is a multiple of."""
    steps = found.preview["ts"].diff().drop_nulls().sort()
    usual = int(steps[len(steps) // 2].total_seconds()) if len(steps) else 1
    day = DAY_US // _SECOND_US
    return next(s for s in range(min(max(usual, 1), day), 0, -1) if day % s == 0)


def _windows(step: int) -> list[str]:
    """Three usual windows that are longer than a step, in seconds, each made a multiple of it.

    Else the bins of data every 8 s would have one sample or two in 10 s, and seven or eight in
    60 s; in 40 s and 2 min they have five and fifteen.
    """
    usual = {one: microseconds(one) // _SECOND_US for one in _WINDOWS}
    fitting = [
        one if length % step == 0 else _duration(lcm(length, step))
        for one, length in usual.items()
        if length > step
    ]
    return list(dict.fromkeys(fitting))[:3] or ["1d"]


def _duration(seconds: int) -> str:
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
