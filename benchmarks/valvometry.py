"""Valvometry files of any size, the same bytes for the same arguments.

    python benchmarks/valvometry.py FOLDER --devices 3 --days 7 --hertz 1

Each file is a day of one device: `key:value` lines of 12 integer channels and a temperature, 11 MB
at 1 Hz. Channels wander, and now and then have a spike or an impossible value. The clock of a
device drifts a little, lines are missing for some seconds, and some lines are there twice.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

DATASET = "VALVO-BENCH"
FIRST_DAY = date(2021, 1, 1)
SECONDS = 86_400
CHANNELS = tuple(f"m{number}" for number in range(12))
COLUMNS = (*CHANNELS, "outdoor_temp")

_DRIFT = 1.00002
_SPIKES = 0.0005
_IMPOSSIBLE = 0.0001
_GAPS = 0.0005
_REPEATED = 0.0002


def write_files(
    folder: Path,
    *,
    dataset: str = DATASET,
    devices: int = 3,
    days: int = 7,
    hertz: float = 1,
    first_day: date = FIRST_DAY,
) -> list[Path]:
    """Write one file per device and day.

    Args:
        folder: Where to; made if it is not there.
        dataset: The first part of the files' names.
        devices: How many, named `pil-01` and so on.
        days: How many, from `first_day` on.
        hertz: Lines a second.
        first_day: The UTC day of the first files.

    Returns:
        The files, by device, then day.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for device in range(1, devices + 1):
        for day in (first_day + timedelta(days=number) for number in range(days)):
            path = folder / f"{dataset}_pil-{device:02}_{day}.csv"
            path.write_bytes(day_of_lines(day, hertz=hertz, seed=(device, day.toordinal())))
            paths.append(path)
    return paths


def day_of_lines(
    day: date,
    *,
    raw_format: Literal["kv_csv", "csv"] = "kv_csv",
    hertz: float = 1,
    seed: Sequence[int] = (1,),
) -> bytes:
    """One day of lines of one device.

    Args:
        day: Its UTC day.
        raw_format: `kv_csv`: `ts;m0:410;…`; `csv`: `ts,410,…`, without a header.
        hertz: Lines a second.
        seed: What the values follow from.
    """
    random = np.random.default_rng(seed)
    micros = _clock(random, hertz)
    midnight = np.datetime64(day)
    channels = _wandering(random, len(micros))
    frame = pl.DataFrame(
        {
            "ts": midnight.astype("datetime64[us]") + micros.astype("timedelta64[us]"),
            **dict(zip(CHANNELS, channels, strict=True)),
            "outdoor_temp": _temperature(random, micros),
        }
    )
    key_of = (lambda name: f"{name}:") if raw_format == "kv_csv" else (lambda _: "")
    lines = frame.select(
        pl.concat_str(
            pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"),
            *(pl.concat_str(pl.lit(key_of(name)), pl.col(name)) for name in COLUMNS),
            separator=";" if raw_format == "kv_csv" else ",",
        ).str.join("\n")
    )
    return str(lines.item()).encode() + b"\n"


def _clock(random: np.random.Generator, hertz: float) -> npt.NDArray[np.int64]:
    """Microseconds of the day of each line, sorted."""
    ticks = np.arange(round(SECONDS * hertz))
    seconds = ticks * _DRIFT + random.uniform(0.1, 0.9) + random.normal(0, 0.005, len(ticks))
    micros = np.sort(seconds * 1_000_000 / hertz).astype(np.int64)
    kept = micros < SECONDS * 1_000_000
    starts = np.flatnonzero(random.random(len(ticks)) < _GAPS)
    for start, length in zip(starts, random.integers(1, 7, len(starts)), strict=True):
        kept[start : start + length] = False
    times = np.where(random.random(len(ticks)) < _REPEATED, 2, 1)
    return np.repeat(micros[kept], times[kept])


def _wandering(random: np.random.Generator, rows: int) -> npt.NDArray[np.int64]:
    """Channels by row: each walks between 0 and 800 from a place of its own."""
    shape = (len(CHANNELS), rows)
    walk = random.uniform(0, 800, (len(CHANNELS), 1)) + random.normal(0, 5, shape).cumsum(axis=1)
    values = np.abs((walk + 800) % 1600 - 800).astype(np.int64)  # turns back at either end
    values[random.random(shape) < _SPIKES] += 300
    values[random.random(shape) < _IMPOSSIBLE] = -1
    return values


def _temperature(
    random: np.random.Generator, micros: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Degrees, warmest in the afternoon."""
    of_day = micros / (SECONDS * 1_000_000)
    values = 12 - 6 * np.cos((of_day - 0.1) * 2 * np.pi) + random.normal(0, 0.3, len(micros))
    values[random.random(len(micros)) < _SPIKES] += 15
    values[random.random(len(micros)) < _IMPOSSIBLE] = 85
    return values.round(1)


def main() -> None:
    """Write the files that the command line asks for."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("folder", type=Path)
    asked.add_argument("--dataset", default=DATASET)
    asked.add_argument("--devices", type=int, default=3)
    asked.add_argument("--days", type=int, default=7)
    asked.add_argument("--hertz", type=float, default=1)
    asked.add_argument("--first-day", type=date.fromisoformat, default=FIRST_DAY)
    options = vars(asked.parse_args())
    paths = write_files(**options)
    print(f"{len(paths)} files, {sum(path.stat().st_size for path in paths) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
