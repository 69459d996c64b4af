"""The project beside a bare Polars script and plain pandas: `make bench`.

    python benchmarks/bench.py --devices 3 --days 7 --rounds 3

All of them turn the same files of 1 Hz into the same parquet files, parse to aggregate, as whole
commands, one after the other in each round. The figures are medians, and ratios of medians, as
absolute times are of one machine. Writes `benchmarks/RESULTS.md` and a plot beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

from matplotlib.figure import Figure
from measuring import Took, environment, measure
from valvometry import write_files

HERE = Path(__file__).parent
DATASET = "VALVO-BENCH"
FLOW = "bench"
STEPS = ("parse", "clean", "resample", "aggregate")
PROJECT, BARE, PANDAS = "procezo flow", "bare Polars", "plain pandas"


def main() -> None:
    """Measure, print, and write the results."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--devices", type=int, default=3)
    asked.add_argument("--days", type=int, default=7)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--output", type=Path, default=HERE / "RESULTS.md")
    options = asked.parse_args()
    home = Path(tempfile.mkdtemp(prefix="procezo-bench-"))
    try:
        raw = _make_home(home, options.devices, options.days)
        commands = _commands(home, raw)
        measured: dict[str, list[Took]] = defaultdict(list)
        for number in range(options.rounds):
            for name, command in commands.items():
                _empty(home)
                took = measure(command, home)
                measured[name].append(took)
                print(
                    f"round {number + 1}: {name} {took.seconds:.1f} s, {took.peak_mb:.0f} MB",
                    flush=True,
                )
        _empty(home)
        shares = _shares(home)
    finally:
        shutil.rmtree(home)
    text = _report(measured, shares, devices=options.devices, days=options.days)
    print(text)
    options.output.write_text(text)
    _plot(measured, options.output.with_suffix(".png"))


def _make_home(home: Path, devices: int, days: int) -> Path:
    raw = home / "datasets" / DATASET / "00_raw"
    write_files(
        raw,
        dataset=DATASET,
        devices=devices,
        days=days,
        hertz=1,
        first_day=datetime(2021, 1, 1, tzinfo=UTC).date(),
    )
    steps = [{"treatment": step} for step in STEPS]
    flow = {"name": FLOW, "dataset": DATASET, "start": "2021-01-01", "steps": steps}
    (home / "flows").mkdir()
    (home / "flows" / f"{FLOW}.json").write_text(json.dumps(flow))
    return raw


def _commands(home: Path, raw: Path) -> dict[str, list[str]]:
    other = str(home / "other")
    procezo = "from procezo_assets.cli import main; main()"
    return {
        BARE: [sys.executable, str(HERE / "bare_polars.py"), str(raw), other],
        PROJECT: [sys.executable, "-c", procezo, "flow", FLOW],
        PANDAS: [sys.executable, str(HERE / "plain_pandas.py"), str(raw), other],
    }


def _empty(home: Path) -> None:
    """Leave raw files and the flow, and nothing that an earlier command has made."""
    kept = {"datasets", "flows"}
    made = [path for path in home.iterdir() if path.name not in kept]
    made += [path for path in (home / "datasets" / DATASET).iterdir() if path.name != "00_raw"]
    for path in made:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _shares(home: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, str(HERE / "shares.py"), FLOW],
        env=environment(home),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _report(
    measured: dict[str, list[Took]],
    shares: dict[str, float],
    *,
    devices: int,
    days: int,
) -> str:
    medians = {
        name: statistics.median(one.seconds for one in runs) for name, runs in measured.items()
    }
    about = (
        f"`make bench`, {datetime.now(UTC):%Y-%m-%d}: {devices} devices, {days} days of 1 Hz, "
        f"12 integer channels and a temperature; {', '.join(STEPS)}; whole commands, medians of "
        f"{len(measured[PROJECT])} on {os.cpu_count()} cores. Ratios are the figures."
    )
    rows = [
        f"| {name} | {medians[name]:.1f} | {medians[name] / medians[BARE]:.2f} "
        f"| {medians[PANDAS] / medians[name]:.2f} | {max(one.peak_mb for one in runs):.0f} |"
        for name, runs in measured.items()
    ]
    parts = [f"| {name} | {value:.1f} |" for name, value in shares.items()]
    return "\n".join(
        [
            "# Results",
            "",
            about,
            "",
            "| what | s | times bare Polars | times faster than pandas | peak MB |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "![Seconds](RESULTS.png)",
            "",
            "Where the project's time goes, in seconds of its threads, of which two work at once:",
            "",
            "| part | s |",
            "|---|---|",
            *parts,
            "",
        ]
    )


def _plot(measured: dict[str, list[Took]], path: Path) -> None:
    figure = Figure(figsize=(7, 2.2), layout="constrained")
    axes = figure.subplots()
    names = list(measured)[::-1]
    seconds = [statistics.median(one.seconds for one in measured[name]) for name in names]
    bars = axes.barh(names, seconds, color=["#9aa5b1", "#1f5a96", "#9aa5b1"])
    axes.bar_label(bars, fmt="%.1f s", padding=4)
    axes.set_xlabel("seconds, whole command")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    figure.savefig(path, dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
