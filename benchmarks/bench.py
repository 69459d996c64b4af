"""The project beside a bare Polars script and plain pandas: `make bench`.

    python benchmarks/bench.py --devices 3 --days 7 --rounds 3

All of them turn the same files of 1 Hz into the same parquet files, parse to aggregate, as whole
commands, one after the other in each round. The figures are medians, and ratios of medians, as
absolute times are of one machine. Writes `benchmarks/RESULTS.md` and a plot beside it.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar
from unittest.mock import patch

import matplotlib as mpl
from valvometry import write_files

P = ParamSpec("P")
T = TypeVar("T")

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
    asked.add_argument("--shares", type=Path, help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.shares:
        print(json.dumps(_shares(options.shares)))
        return
    home = Path(tempfile.mkdtemp(prefix="procezo-bench-"))
    try:
        raw = _make_home(home, options.devices, options.days)
        commands = _commands(home, raw)
        measured: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for number in range(options.rounds):
            for name, command in commands.items():
                _empty(home)
                took = _run(command, home)
                measured[name].append(took)
                print(f"round {number + 1}: {name} {took[0]:.1f} s, {took[1]:.0f} MB", flush=True)
        _empty(home)
        shares = json.loads(_output_of([sys.executable, __file__, "--shares", str(home)], home))
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


def _run(command: list[str], home: Path) -> tuple[float, float]:
    """Run a command: seconds, and its peak memory in MB."""
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        os.execvpe(command[0], command, _environment(home))  # noqa: S606 - our own scripts
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: exit code {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "PROCEZO_HOME": str(home), "DAGSTER_HOME": str(home)}


def _output_of(command: list[str], home: Path) -> str:
    import subprocess  # noqa: PLC0415 - `_run` has to know the peak of its child alone

    done = subprocess.run(  # noqa: S603 - our own script
        command, env=_environment(home), capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


def _shares(home: Path) -> dict[str, float]:
    """Run the flow in this process, and tell the processor seconds of what it does.

    The timed functions do not call one another; what is left is start and the rest.
    """
    begun = time.process_time()
    from procezo_assets import pipeline, runs  # noqa: PLC0415 - importing is part of the start
    from procezo_assets.cli import main as command  # noqa: PLC0415
    from procezo_assets.orchestration import assets, launch  # noqa: PLC0415
    from procezo_assets.raw.source import RawSource  # noqa: PLC0415
    from procezo_assets.schemas import load_pandera  # noqa: PLC0415
    from procezo_assets.treatments.model import Treatment  # noqa: PLC0415

    assert runs  # noqa: S101 - imported for its time
    load_pandera()
    seconds = {"start (imports)": time.process_time() - begun}
    timed = functools.partial(_timed, seconds)
    with (
        patch.object(RawSource, "scan_changes", timed("read", RawSource.scan_changes)),
        patch.object(RawSource, "read_day", timed("read", RawSource.read_day)),
        patch.object(pipeline, "parse_device_day", timed("compute", pipeline.parse_device_day)),
        patch.object(Treatment, "apply", timed("compute", Treatment.apply)),
        patch.object(pipeline, "check_schema", timed("validate", pipeline.check_schema)),
        patch.object(pipeline, "write_partition", timed("write", pipeline.write_partition)),
        patch.object(assets._Reporter, "report", timed("Dagster", assets._Reporter.report)),  # noqa: SLF001
        patch.object(launch, "_create_run", timed("Dagster", launch._create_run)),  # noqa: SLF001
        patch.object(sys, "argv", ["procezo", "flow", FLOW]),
        patch.object(sys, "stdout", sys.stderr),
    ):
        try:
            command()
        except SystemExit as ended:
            if ended.code:
                raise
    seconds["rest"] = time.process_time() - begun - sum(seconds.values())
    assert home.is_dir()  # noqa: S101 - it was named by the environment
    return seconds


def _timed(seconds: dict[str, float], name: str, function: Callable[P, T]) -> Callable[P, T]:
    """Add the seconds of a function; Polars' own threads are not in it."""
    lock = threading.Lock()

    @functools.wraps(function)
    def timed(*args: P.args, **named: P.kwargs) -> T:
        started = time.perf_counter()
        try:
            return function(*args, **named)
        finally:
            with lock:
                seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started

    return timed


def _report(
    measured: dict[str, list[tuple[float, float]]],
    shares: dict[str, float],
    *,
    devices: int,
    days: int,
) -> str:
    medians = {name: statistics.median(s for s, _ in runs) for name, runs in measured.items()}
    about = (
        f"`make bench`, {datetime.now(UTC):%Y-%m-%d}: {devices} devices, {days} days of 1 Hz, "
        f"12 integer channels and a temperature; {', '.join(STEPS)}; whole commands, medians of "
        f"{len(measured[PROJECT])} on {os.cpu_count()} cores. Ratios are the figures."
    )
    rows = [
        f"| {name} | {medians[name]:.1f} | {medians[name] / medians[BARE]:.2f} "
        f"| {medians[PANDAS] / medians[name]:.2f} | {max(mb for _, mb in runs):.0f} |"
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


def _plot(measured: dict[str, list[tuple[float, float]]], path: Path) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after its backend is chosen

    figure, axes = plt.subplots(figsize=(7, 2.2), layout="constrained")
    names = list(measured)[::-1]
    seconds = [statistics.median(s for s, _ in measured[name]) for name in names]
    bars = axes.barh(names, seconds, color=["#9aa5b1", "#1f5a96", "#9aa5b1"])
    axes.bar_label(bars, fmt="%.1f s", padding=4)
    axes.set_xlabel("seconds, whole command")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    figure.savefig(path, dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
