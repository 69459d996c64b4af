"""One raw file of any size through `procezo inspect` and `procezo flow`: peak memory and speed.

    python benchmarks/large_file.py --megabytes 500 --format kv_csv
    python benchmarks/large_file.py --megabytes 5000 --format csv --home /data/big --keep

The file holds 12 channels and a temperature every second, day after day, of one device. Peak memory
is the largest resident set of the command or of any process it starts and waits for.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from measuring import measure
from valvometry import COLUMNS, FIRST_DAY, day_of_lines

DATASET = "LARGE"
FLOW = "large"


def pieces(raw_format: str, size: int, *, hertz: int = 1) -> Iterator[bytes]:
    """A file of about so many bytes, a day at a time."""
    if raw_format == "csv":
        yield f"ts,{','.join(COLUMNS)}\n".encode()
    lines = day_of_lines(FIRST_DAY, raw_format=raw_format, hertz=hertz)
    for number in range(-(-size // len(lines))):
        day = str(FIRST_DAY + timedelta(days=number)).encode()
        yield lines.replace(str(FIRST_DAY).encode(), day)


def make_home(home: Path, raw_format: str, size: int, *, hertz: int = 1) -> Path:
    """Write a home with a flow of one dataset with one raw file; the file's path."""
    parse: dict[str, object] = {"format": raw_format}
    if raw_format == "csv":
        parse["domains"] = {
            "bio_signal": {"prefix": "m", "dtype": "int"},
            "environment": {"columns": ["outdoor_temp"]},
        }
    steps = [
        {"treatment": "parse", "params": parse},
        {"treatment": "clean"},
        {"treatment": "resample"},
        {"treatment": "aggregate"},
    ]
    flow = {"name": FLOW, "dataset": DATASET, "start": str(FIRST_DAY), "steps": steps}
    raw = home / "datasets" / DATASET / "00_raw" / f"{DATASET}_pil-90.csv"
    raw.parent.mkdir(parents=True, exist_ok=True)
    (home / "flows").mkdir(exist_ok=True)
    (home / "flows" / f"{FLOW}.json").write_text(json.dumps(flow))
    with raw.open("wb") as file:
        for piece in pieces(raw_format, size, hertz=hertz):
            file.write(piece)
    return raw


def main() -> None:
    """Make the file, run the commands, print what they took."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--megabytes", type=int, default=500)
    asked.add_argument("--format", choices=["kv_csv", "csv"], default="kv_csv")
    asked.add_argument("--hertz", type=int, default=1)
    asked.add_argument("--home", type=Path, help="where to work; else a temporary folder")
    asked.add_argument("--keep", action="store_true", help="leave the home there")
    asked.add_argument("--only", choices=["inspect", "flow"])
    options = asked.parse_args()
    home = options.home or Path(tempfile.mkdtemp(prefix="procezo-large-"))
    try:
        raw = make_home(home, options.format, options.megabytes * 10**6, hertz=options.hertz)
        params = json.dumps({"format": options.format})
        procezo = [sys.executable, "-c", "from procezo_assets.cli import main; main()"]
        commands = {
            "inspect": [*procezo, "inspect", str(raw), "--params", params],
            "flow": [*procezo, "flow", FLOW],
        }
        megabytes = raw.stat().st_size / 1e6
        print(f"{raw.name}: {megabytes:.0f} MB of {options.format}, {options.hertz} Hz")
        for name, command in commands.items():
            if options.only in {None, name}:
                took = measure(command, home)
                speed = megabytes / took.seconds
                print(
                    f"{name:8} {took.seconds:8.1f} s  {speed:6.1f} MB/s  "
                    f"peak {took.peak_mb:.0f} MB",
                    flush=True,
                )
    finally:
        if not options.keep:
            shutil.rmtree(home)


if __name__ == "__main__":
    main()
