"""Parse, clean, resample and aggregate in plain pandas, as one would write it for one's own data.

    python benchmarks/plain_pandas.py INPUT_FOLDER OUTPUT_FOLDER

It reads the files of `valvometry.py` and writes the same frames to the same paths as a flow of
those four stages with their default parameters.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pandas as pd

WINDOWS = {"10s": "10s", "60s": "60s", "5min": "5min", "1h": "1h"}
METRICS = ["mean", "std", "min", "max"]
MAX_GAP = 2

KEYS = {"bio_signal": re.compile(r"m\d+"), "environment": re.compile("outdoor_temp")}
DTYPES = {"bio_signal": "Int64", "environment": "float64"}
LIMITS = {"bio_signal": (0, 800), "environment": (-10, 50)}
SPIKES = {"bio_signal": (10, 100), "environment": (7, 5)}

NAME = re.compile(r"_([^_]+)_(\d{4}-\d{2}-\d{2})\.csv$")


def treat(path: Path, output: Path) -> None:
    """Take one file, a device-day, through all stages."""
    found = NAME.search(path.name)
    if found is None:
        raise ValueError(f"{path.name} is not called <dataset>_<device>_<day>.csv")
    device, day = found.groups()
    for domain, parsed in parse(path).items():
        cleaned = clean(parsed, domain)
        resampled = resample(cleaned, domain)
        stages = {"10_parsed": parsed, "20_clean": cleaned, "25_resampled": resampled}
        where = f"domain={domain}/day={day}"
        stem = f"{device}__{domain}__{day}"
        for stage, frame in stages.items():
            write(frame, device, output / stage / where / f"{stem}.parquet")
        for window, every in WINDOWS.items():
            summary = aggregate(resampled, every)
            write(summary, device, output / "40_aggregated" / where / f"{stem}__{window}.parquet")


def parse(path: Path) -> dict[str, pd.DataFrame]:
    """Read `key:value` lines as one frame a domain, by time."""
    with path.open() as file:
        fields = file.readline().strip().split(";")[1:]
    keys = [field.partition(":")[0] for field in fields]
    texts = pd.read_csv(path, sep=";", header=None, names=["ts", *keys], dtype=str)
    times = pd.to_datetime(texts["ts"], format="%Y-%m-%dT%H:%M:%S.%fZ", utc=True)
    texts.index = pd.DatetimeIndex(times.dt.as_unit("us"), name="ts")
    frames = {}
    for domain, pattern in KEYS.items():
        columns = {
            key: pd.to_numeric(texts[key].str.removeprefix(f"{key}:"), errors="coerce")
            for key in keys
            if pattern.fullmatch(key)
        }
        frames[domain] = pd.DataFrame(columns).astype(DTYPES[domain]).sort_index(kind="stable")
    return frames


def clean(frame: pd.DataFrame, domain: str) -> pd.DataFrame:
    """Drop repeated timestamps, then blank values out of range and spikes."""
    low, high = LIMITS[domain]
    window, threshold = SPIKES[domain]
    once = frame[~frame.index.duplicated()]
    in_range = once.where((once >= low) & (once <= high))
    floats = in_range.astype("float64")
    median = floats.rolling(window, min_periods=1, center=True).median()
    return in_range.where((floats - median).abs() <= threshold)


def resample(frame: pd.DataFrame, domain: str) -> pd.DataFrame:
    """Bring values to one row a second, and fill gaps of one or two seconds."""
    bins = frame.resample("1s")
    binned = bins.first() if domain == "bio_signal" else bins.mean()
    binned = binned[binned.notna().any(axis=1).cummax()]
    return binned.apply(fill_short_gaps)


def fill_short_gaps(column: pd.Series) -> pd.Series:
    """Carry values forward into gaps that are short enough."""
    missing = column.isna()
    run = (missing != missing.shift()).cumsum()
    length = missing.groupby(run).transform("size")
    return column.where(~missing | (length > MAX_GAP), column.ffill())


def aggregate(frame: pd.DataFrame, window: str) -> pd.DataFrame:
    """Summarise the values of each window."""
    summary = frame.resample(window).agg(METRICS)
    summary.columns = [f"{column}__raw__{metric}" for column, metric in summary.columns]
    return summary


def write(frame: pd.DataFrame, device: str, path: Path) -> None:
    """Write one file, with the columns `ts` and `device` first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = frame.reset_index()
    table.insert(1, "device", device)
    table.to_parquet(path, index=False, compression="zstd")


def main() -> None:
    """Treat all files of a folder, one after another."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("input", type=Path)
    asked.add_argument("output", type=Path)
    options = asked.parse_args()
    for path in sorted(options.input.glob("*.csv")):
        treat(path, options.output)


if __name__ == "__main__":
    main()
