"""The demo's raw files: two valvometry devices over three days, with the faults of the field.

The files are the same bytes on every machine: random numbers come from a bit generator whose stream
is fixed, only as uniform floats, and all arithmetic on them is of the operations that IEEE 754
rounds exactly (no sine, no power, no pairwise sum). Text is made from integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

DATASET = "VALVO-DEMO"
DEVICES = ("pil-90", "pil-98")
DAYS = (date(2026, 1, 20), date(2026, 1, 21), date(2026, 1, 22))
CHANNELS = 12

_SEED = 20_260_120
_SECOND = 1_000_000  # microseconds, the unit of all times here
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_START = datetime(2026, 1, 20, tzinfo=UTC)

_LATE_SENSOR = ("pil-98", 11, 5 * _HOUR + 40 * _MINUTE)
_CROSSES_MIDNIGHT = ("pil-98", 0, 7 * _MINUTE + 30 * _SECOND)

_Floats = npt.NDArray[np.float64]
_Integers = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Signals:
    """What a device measured, sample by sample.

    Args:
        micros: Microseconds since the start, sorted.
        opening: Opening levels, of shape samples x channels.
        temperature: Hundredths of a degree Celsius.
    """

    micros: _Integers
    opening: _Integers
    temperature: _Integers


def write_sample(raw_folder: Path) -> list[Path]:
    """Write the demo's raw files: `VALVO-DEMO_<device>_<day>.csv`, in the `kv_csv` dialect.

    Channels m0 to m11 are opening levels of mussels (0 to 800, every 5 to 10 s), outdoor_temp is in
    degrees Celsius on every third line. The faults are those that loggers have: gaps, spikes,
    values out of range or no numbers, missing keys, a sensor that starts late, NUL bytes, blank and
    truncated lines, repeated timestamps, and a file with lines of the next day.

    Args:
        raw_folder: The dataset's `00_raw`, which is made where missing; files of these names are
            replaced.

    Returns:
        The files, sorted.
    """
    raw_folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for number, device in enumerate(DEVICES):
        random = np.random.Generator(np.random.PCG64(_SEED + number))
        for day, data in _device_files(device, random).items():
            path = raw_folder / f"{DATASET}_{device}_{day}.csv"
            path.write_bytes(data)
            paths.append(path)
    return sorted(paths)


def _device_files(device: str, random: np.random.Generator) -> dict[date, bytes]:
    micros = _sampling_times(random)
    signals = _Signals(
        micros=micros,
        opening=np.stack([_opening(micros, random) for _ in range(CHANNELS)], axis=1),
        temperature=_temperature(micros, random),
    )
    kept, reboots = _outside_gaps(micros.size, random)
    lines = _lines(device, signals, reboots, random).filter(pl.Series(kept))
    restarted = np.cumsum(kept)[reboots] - 1
    ends = [_DAY * (number + 1) for number in range(len(DAYS))]
    if device == _CROSSES_MIDNIGHT[0]:
        ends[_CROSSES_MIDNIGHT[1]] += _CROSSES_MIDNIGHT[2]
    cuts = [0, *np.searchsorted(micros[kept], ends).tolist()]
    files: dict[date, bytes] = {}
    for number, (day, first, last) in enumerate(zip(DAYS, cuts[:-1], cuts[1:], strict=True)):
        inside = restarted[(restarted > first) & (restarted < last)] - first
        text = _with_odd_lines(lines[first:last].to_list(), inside.tolist(), number)
        if day == DAYS[-1]:
            text = _truncated(text, in_timestamp=device == DEVICES[0])
        files[day] = text.encode()
    return files


def _sampling_times(random: np.random.Generator) -> _Integers:
    """Times every 5.5 to 10.5 s; some repeated, some twice within a second."""
    steps = _floor(_uniform(random, len(DAYS) * _DAY // (7 * _SECOND), 5.5e6, 10.5e6))
    micros = np.cumsum(steps)
    micros = micros[micros < len(DAYS) * _DAY]
    repeated = _places(random, 30, micros.size - 2)
    micros[repeated + 1] = micros[repeated]
    twice = _places(random, 60, micros.size - 2)
    twice = twice[~np.isin(twice, [repeated - 1, repeated, repeated + 1])]
    # fractions that leave room for the second sample before the next second
    micros[twice] = micros[twice] // _SECOND * _SECOND + micros[twice] % 300_000
    micros[twice + 1] = micros[twice] + 412_607
    return np.sort(micros)


def _opening(micros: _Integers, random: np.random.Generator) -> _Integers:
    """One mussel: open with a drift and a day rhythm, closing at times and reopening slowly."""
    opened = _uniform(random, 1, 330.0, 620.0)[0]
    closed = _uniform(random, 1, 18.0, 70.0)[0]
    rhythm = _uniform(random, 1, 10.0, 45.0)[0] * _day_wave(micros, random.random())
    level = opened + rhythm + _drift(micros, 3 * _HOUR, 28.0, random)
    share = np.ones(micros.size)
    for start in _uniform(random, 8 * len(DAYS), 0.0, float(len(DAYS) * _DAY)).tolist():
        full = random.random()
        dip = _closing(
            micros,
            start,
            # most events are long and complete, some are short and partial
            floor=0.0 if full > 0.35 else 0.35 + full,  # noqa: PLR2004 - a share of events
            still=(3.0 + 50.0 * random.random() * random.random()) * _MINUTE,
            reopening=(5.0 + 30.0 * random.random()) * _MINUTE,
        )
        share[dip[0]] = np.minimum(share[dip[0]], dip[1])
    values = closed + (level - closed) * share + _noise(random, micros.size, 2.5)
    return np.clip(_floor(values + 0.5), 0, 800)


def _closing(
    micros: _Integers, start: float, *, floor: float, still: float, reopening: float
) -> tuple[slice, _Floats]:
    """The share of its opening that a mussel keeps from the start of a closing to its end."""
    drop = 12.0 * _SECOND
    place = slice(*np.searchsorted(micros, [start, start + drop + still + reopening]).tolist())
    since = micros[place].astype(np.float64) - start
    falling = 1.0 - np.clip(since / drop, 0.0, 1.0)
    left = 1.0 - np.clip((since - drop - still) / reopening, 0.0, 1.0)
    rising = 1.0 - left * left
    return place, floor + (1.0 - floor) * np.maximum(falling, rising)


def _temperature(micros: _Integers, random: np.random.Generator) -> _Integers:
    wave = 380.0 * _day_wave(micros, 0.375)  # coldest about 3 h, warmest about 15 h
    degrees = 1480.0 + wave + _drift(micros, 4 * _HOUR, 90.0, random)
    return _floor(degrees + _noise(random, micros.size, 3.0))


def _outside_gaps(size: int, random: np.random.Generator) -> tuple[_Mask, _Integers]:
    """Which samples were not lost, and the first sample after each reboot."""
    shares = _uniform(random, 14 * len(DAYS), 0.0, 1.0)
    lengths = 2 + _floor(198.0 * shares * shares * shares)
    lengths[:2] = [2, 200]
    starts = _floor(_uniform(random, lengths.size, 500.0, size - 500.0))
    kept = np.ones(size, dtype=np.bool_)
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        kept[start : start + length] = False
    reboots = [start + length for start, length in zip(starts, lengths, strict=True)][::8]
    return kept, np.array([place + int(kept[place:].argmax()) for place in reboots])


def _lines(
    device: str, signals: _Signals, reboots: _Integers, random: np.random.Generator
) -> pl.Series:
    """The lines of a device, faults of single values included."""
    size = signals.micros.size
    fields = {}
    for channel in range(CHANNELS):
        values = _with_wrong_values(signals.opening[:, channel], random)
        missing = _missing(size, random)
        if (device, channel) == _LATE_SENSOR[:2]:
            missing |= signals.micros < _LATE_SENSOR[2]
        fields[f"m{channel}"] = _opening_texts(values, missing, random)
    fields["outdoor_temp"] = _temperature_texts(signals.temperature, reboots)
    times = pl.Series("ts", signals.micros).cast(pl.Duration("us")) + _START
    return (
        pl.DataFrame(fields)
        .select(
            pl.concat_str(
                times.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"),
                *(pl.lit(f"{name}:") + pl.col(name) for name in fields),
                separator=";",
                ignore_nulls=True,
            ).alias("line")
        )
        .to_series()
    )


def _with_wrong_values(values: _Integers, random: np.random.Generator) -> _Integers:
    """Spikes within the range, and the two values that the electronics send when they fail."""
    wrong = values.copy()
    spikes = _places(random, values.size // 500, values.size)
    away = _floor(_uniform(random, spikes.size, 150.0, 390.0))
    wrong[spikes] += np.where(values[spikes] > 400, -away, away)  # noqa: PLR2004 - half the range
    wrong[_places(random, values.size // 2500, values.size)] = -5
    wrong[_places(random, values.size // 2500, values.size)] = 1023
    return wrong


def _missing(size: int, random: np.random.Generator) -> _Mask:
    missing = np.zeros(size, dtype=np.bool_)
    missing[_places(random, size // 1500, size)] = True
    for start in _places(random, 2 * len(DAYS), size - 400).tolist():
        missing[start : start + 20 + int(180.0 * random.random())] = True
    return missing


def _opening_texts(values: _Integers, missing: _Mask, random: np.random.Generator) -> pl.Series:
    no_number = np.zeros(values.size, dtype=np.bool_)
    no_number[_places(random, values.size // 6000, values.size)] = True
    fraction = np.zeros(values.size, dtype=np.bool_)
    fraction[_places(random, values.size // 6000, values.size)] = True
    frame = pl.DataFrame(
        {"value": values, "missing": missing, "no_number": no_number, "fraction": fraction}
    )
    return frame.select(
        pl.when("missing")
        .then(None)
        .when("no_number")
        .then(pl.lit("N/A"))
        .when("fraction")
        .then(pl.format("{}.5", "value"))
        .otherwise(pl.col("value").cast(pl.String))
    ).to_series()


def _temperature_texts(hundredths: _Integers, reboots: _Integers) -> pl.Series:
    values = hundredths.copy()
    written = np.arange(values.size) % 3 == 0
    values[reboots] = 8500  # what this kind of thermometer reads before its first conversion
    written[reboots] = True
    frame = pl.DataFrame({"value": values, "written": written})
    degrees = pl.format(
        "{}.{}", pl.col("value") // 100, (pl.col("value") % 100).cast(pl.String).str.zfill(2)
    )
    return frame.select(pl.when("written").then(degrees)).to_series()


def _with_odd_lines(lines: list[str], reboots: list[int], number: int) -> str:
    """Put in the lines that are no rows, and the NUL bytes of a power cut."""
    third = len(lines) // 3
    nul = third + 17 * number
    lines[nul] = "\0\0\0" + lines[nul]
    odd = [
        *((place, "rebooting") for place in reboots),
        (third, ""),
        (2 * third, "   "),
        (2 * third + 40, ""),
        # the next line's time, cut off before the first value
        (third + 900, lines[third + 900].partition(";")[0] + ";"),
        (2 * third + 333, lines[2 * third + 333].partition(";")[0]),
    ]
    for place, text in sorted(odd, reverse=True):
        lines.insert(place, text)
    return "\n".join(lines) + "\n"


def _truncated(text: str, *, in_timestamp: bool) -> str:
    """Cut the last line, as where the power went: in its timestamp, or in the key m9."""
    start = text.rindex("\n", 0, -1) + 1
    return text[: start + 15] if in_timestamp else text[: text.index("m9:", start) + 2]


def _day_wave(micros: _Integers, shift: float) -> _Floats:
    """A wave between -1 and 1 with the period of a day, of two parabolas."""
    phase = micros / _DAY - shift
    phase = 2.0 * (phase - np.floor(phase))
    upper = phase < 1.0
    half = np.where(upper, phase, phase - 1.0)
    return np.where(upper, 1.0, -1.0) * 4.0 * half * (1.0 - half)


def _drift(
    micros: _Integers, spacing: int, amplitude: float, random: np.random.Generator
) -> _Floats:
    """A smooth curve through random levels at even spacing."""
    levels = _uniform(random, len(DAYS) * _DAY // spacing + 2, -amplitude, amplitude)
    place = micros // spacing
    share = micros % spacing / spacing
    share = share * share * (3.0 - 2.0 * share)
    before: _Floats = levels[place]
    return before + (levels[place + 1] - before) * share


def _noise(random: np.random.Generator, size: int, deviation: float) -> _Floats:
    """Bell-shaped noise: three uniform numbers, whose sum has a deviation of one half."""
    total = random.random(size) + random.random(size) + random.random(size)
    return (total - 1.5) * (2.0 * deviation)


def _uniform(random: np.random.Generator, size: int, low: float, high: float) -> _Floats:
    return low + (high - low) * random.random(size)


def _places(random: np.random.Generator, number: int, size: int) -> _Integers:
    """At most that many different places below `size`, sorted."""
    return np.unique(_floor(_uniform(random, number, 0.0, float(size))))


def _floor(values: _Floats) -> _Integers:
    return np.floor(values).astype(np.int64)
