"""The yardstick: parse, clean, resample and aggregate as one fast Polars script, and nothing else.

    python benchmarks/bare_polars.py INPUT_FOLDER OUTPUT_FOLDER

It reads the files of `valvometry.py` and writes the same frames to the same paths as a flow of
those four stages with their default parameters. It has no checks, ledger, footers or quarantine.
Lines are cut into columns by position: every line of a file must have the keys of its first.
"""

from __future__ import annotations

import argparse
import io
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

WINDOWS = {"10s": 10_000_000, "60s": 60_000_000, "5min": 300_000_000, "1h": 3_600_000_000}
STEP = 1_000_000
MAX_GAP = 2

_NAME = re.compile(r"_([^_]+)_(\d{4}-\d{2}-\d{2})\.csv$")
_COLONS_TO_SEMICOLONS = bytes.maketrans(b":", b";")

# Of bins up to so long, the hash of `group_by` is faster than the slices of `group_by_dynamic`.
_SHORT = 10_000_000


@dataclass(frozen=True)
class Domain:
    """A group of columns and how it is cleaned.

    Args:
        name: Its name.
        keys: What the keys look like.
        dtype: Type of the values.
        low: Smallest possible value.
        high: Largest possible value.
        spike_window: Rows of the centred median.
        spike_threshold: Distance from the median beyond which a value is a spike.
        mean: Whether several values in a bin become their mean; else the first is taken.
    """

    name: str
    keys: re.Pattern[str]
    dtype: pl.DataType
    low: float
    high: float
    spike_window: int
    spike_threshold: float
    mean: bool


DOMAINS = (
    Domain("bio_signal", re.compile(r"m\d+"), pl.Int64(), 0, 800, 10, 100, mean=False),
    Domain("environment", re.compile("outdoor_temp"), pl.Float64(), -10, 50, 7, 5, mean=True),
)


@dataclass(frozen=True)
class Output:
    """Where the files of one domain of a device-day go."""

    folder: Path
    device: str
    day: str
    domain: str

    def write(self, frame: pl.DataFrame, stage: str, window: str | None = None) -> None:
        """Write one file, with the column `device` after `ts`."""
        stem = "__".join(filter(None, (self.device, self.domain, self.day, window)))
        path = self.folder / stage / f"domain={self.domain}" / f"day={self.day}" / f"{stem}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        device = pl.lit(self.device).alias("device")
        table = frame.select("ts", device, pl.exclude("ts"))
        table.write_parquet(path, compression="zstd", row_group_size=1 << 20)


def treat(path: Path, output: Path) -> None:
    """Take one file, a device-day, through all stages."""
    found = _NAME.search(path.name)
    if found is None:
        raise ValueError(f"{path.name} is not called <dataset>_<device>_<day>.csv")
    device, day = found.groups()
    for domain, parsed in parse(path.read_bytes()):
        files = Output(output, device, day, domain.name)
        files.write(parsed, "10_parsed")
        cleaned = clean(parsed, domain)
        files.write(cleaned, "20_clean")
        resampled = resample(cleaned, domain)
        files.write(resampled, "25_resampled")
        for window, frame in aggregate(resampled):
            files.write(frame, "40_aggregated", window)


def parse(data: bytes) -> Iterator[tuple[Domain, pl.DataFrame]]:
    """Read `key:value` lines as typed columns, by domain.

    With `:` read as `;`, every line is a row of CSV with a key before each value, and the reader
    makes numbers of the values without texts in between. The time of day falls apart into
    `2026-01-20T09`, `07` and `58.142308Z`. What is no number of the column's type is null; a flow
    reads `12.0` as an integer, too, which these files do not have.
    """
    fields = data[: data.index(b"\n")].decode().split(";")[1:]
    keys = [field.partition(":")[0] for field in fields]
    columns = {
        domain: sorted(filter(domain.keys.fullmatch, keys), key=lambda key: (len(key), key))
        for domain in DOMAINS
    }
    dtypes = {key: domain.dtype for domain, named in columns.items() for key in named}
    schema: dict[str, pl.DataType] = {"hour": pl.String(), "minute": pl.Int64(), "s": pl.String()}
    for key in keys:
        schema |= {f"key {key}": pl.String(), key: dtypes.get(key, pl.String())}
    frame = (
        pl.scan_csv(
            io.BytesIO(data.translate(_COLONS_TO_SEMICOLONS)),
            has_header=False,
            separator=";",
            quote_char=None,
            schema=schema,
            ignore_errors=True,
        )
        .select(_timestamp().alias("ts"), *dtypes)
        .collect()
    )
    if not frame["ts"].is_sorted():
        frame = frame.sort("ts", maintain_order=True)
    frame = frame.with_columns(pl.col("ts").set_sorted())
    for domain, named in columns.items():
        yield domain, frame.select("ts", *named)


def _timestamp() -> pl.Expr:
    second = pl.col("s")
    date = pl.col("hour").str.head(10)  # whose few texts are each read once
    return date.str.to_datetime("%Y-%m-%d", time_unit="us", time_zone="UTC") + pl.duration(
        hours=pl.col("hour").str.slice(11, 2).cast(pl.Int64),
        minutes="minute",
        seconds=second.str.head(2).cast(pl.Int64),
        microseconds=second.str.slice(3, 6).cast(pl.Int64),
    )


def clean(frame: pl.DataFrame, domain: Domain) -> pl.DataFrame:
    """Drop repeated timestamps, then turn values out of range and spikes to null."""
    ts = pl.col("ts")
    values = pl.exclude("ts")
    in_range = frame.filter(ts.ne_missing(ts.shift())).with_columns(
        pl.when(values.is_between(domain.low, domain.high)).then(values)
    )
    spikes = {name: _spikes(in_range[name], domain) for name in in_range.columns[1:]}
    return in_range.with_columns(
        in_range[name].scatter(rows, None) for name, rows in spikes.items() if len(rows)
    )


def _spikes(column: pl.Series, domain: Domain) -> npt.NDArray[np.int64]:
    """Rows that are too far from the median of the rows around.

    A value and its median are no further apart than the largest and the smallest value around, so
    that medians are only computed where those are far apart.
    """
    window, before = domain.spike_window, domain.spike_window // 2
    values = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    around = np.full(len(values) + window - 1, np.nan)
    around[before : before + len(values)] = values
    spread = _rolling(np.fmax, around, window) - _rolling(np.fmin, around, window)
    rows = np.flatnonzero((spread > domain.spike_threshold) & ~np.isnan(values))
    near = np.sort(around[rows[:, None] + np.arange(window)], axis=1)  # nan goes last
    count = window - np.isnan(near).sum(axis=1)
    at = np.arange(len(rows))
    median = (near[at, (count - 1) // 2] + near[at, count // 2]) / 2
    return rows[np.abs(values[rows] - median) > domain.spike_threshold]


def _rolling(
    pick: np.ufunc, values: npt.NDArray[np.float64], window: int
) -> npt.NDArray[np.float64]:
    """What `pick` makes of each `window` values: of 2, then 4, then 8, and so on."""
    done = 1
    while done < window:
        more = min(done, window - done)
        values = pick(values[:-more], values[more:])
        done += more
    return values


def resample(frame: pl.DataFrame, domain: Domain) -> pl.DataFrame:
    """Bring values to one row a second, and fill gaps of one or two seconds."""
    bins = frame.with_columns(pl.col("ts").dt.truncate(f"{STEP}us"))
    ts = pl.col("ts")
    shared = (ts == ts.shift()) | (ts == ts.shift(-1))
    merged = bins.filter(shared)
    if merged.height:  # few rows are: the others need no grouping
        values = pl.exclude("ts")
        one = values.mean() if domain.mean else values.drop_nulls().first()
        alone = bins.filter(shared.fill_null(value=False).not_())
        bins = pl.concat([alone, merged.group_by("ts").agg(one)])
    with_value = bins.filter(pl.any_horizontal(pl.exclude("ts").is_not_null()))["ts"]
    if with_value.is_empty():
        return bins.clear()
    first, last = with_value.min(), bins["ts"].max()
    grid = pl.datetime_range(first, last, f"{STEP}us", time_unit="us", eager=True).alias("ts")
    places = (bins["ts"].to_physical().to_numpy() - grid.to_physical()[0]) // STEP
    source = np.full(len(grid), -1)
    source[places[places >= 0]] = np.flatnonzero(places >= 0)
    rows = pl.Series(source).replace(-1, None)
    return pl.DataFrame(
        [grid, *(_filled(bins[name].gather(rows)) for name in bins.columns if name != "ts")]
    )


def _filled(column: pl.Series) -> pl.Series:
    """Carry values forward into gaps that are short enough."""
    nulls = column.is_null().arg_true().to_numpy().astype(np.int64)
    starts = np.flatnonzero(np.diff(nulls, prepend=-2) != 1)
    lengths = np.diff(starts, append=len(nulls))
    before = np.repeat(nulls[starts] - 1, lengths)
    short = (np.repeat(lengths, lengths) <= MAX_GAP) & (before >= 0)
    return column.scatter(nulls[short], column.gather(before[short])) if short.any() else column


def aggregate(frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Summarise the values of each window."""
    names = frame.columns[1:]
    metrics: list[pl.Expr] = []
    for name in names:
        column = pl.col(name)
        metrics += [
            column.mean().alias(f"{name}__raw__mean"),
            column.std().alias(f"{name}__raw__std"),
            column.min().alias(f"{name}__raw__min"),
            column.max().alias(f"{name}__raw__max"),
        ]
    for window, width in WINDOWS.items():
        if width <= _SHORT:
            # `truncate` would leave them flagged as sorted, of which `group_by` makes slices, too
            starts = (frame["ts"].to_physical() // width * width).cast(frame["ts"].dtype)
            bins = frame.with_columns(starts)
            yield window, bins.group_by("ts", maintain_order=True).agg(metrics)
        else:
            yield window, frame.group_by_dynamic("ts", every=f"{width}us").agg(metrics)


def main() -> None:
    """Treat all files of a folder, as many at once as there are cores.

    Polars and NumPy let go of the interpreter while they work, so that threads do as well as
    processes, which would each have to import them.
    """
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("input", type=Path)
    asked.add_argument("output", type=Path)
    asked.add_argument("--workers", type=int, default=os.cpu_count())
    options = asked.parse_args()
    paths = sorted(options.input.glob("*.csv"))
    with ThreadPoolExecutor(options.workers) as workers:
        for _ in workers.map(treat, paths, [options.output] * len(paths)):
            pass


if __name__ == "__main__":
    main()
