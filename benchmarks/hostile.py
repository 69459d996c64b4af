"""`make hostile`: the largest hostile raw files, each beside a good one, in time and memory.

`python benchmarks/hostile.py [NAME …]` tries some; all need 15 GB of disk. Each runs in a process
of its own, whose memory is measured. Exits with 1 where the good file lost a row or a bad one was
taken.
"""

from __future__ import annotations

import gzip
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import xlsxwriter

from procezo_assets.datasets import Home
from procezo_assets.flow_files import load_flows
from procezo_assets.runs import DayFailed, RawScanned, StageDone, Work, run
from procezo_assets.treatments.registry import load_registry

DAY = date(2025, 3, 1)
MB = 1024**2
GOOD = "".join(f"{DAY}T10:00:{second:02}Z;m0:{second}\n" for second in range(60))


def line_of_2_gb(path: Path) -> None:
    """Two rows, and between them a line of 2 GB."""
    with path.open("wb") as file:
        file.write(f"{DAY}T10:00:00Z;m0:1\n{DAY}T10:00:01Z;m0:".encode())
        for _ in range(2048):
            file.write(b"1" * MB)
        file.write(f"\n{DAY}T10:00:02Z;m0:3\n".encode())


def nothing_of_2_gb(path: Path) -> None:
    """A sparse file: one line of NUL bytes."""
    with path.open("wb") as file:
        file.truncate(2048 * MB)


def gzip_of_10_gb(path: Path) -> None:
    """Zeros, 10 GB of them in 10 MB."""
    with gzip.open(path, "wb") as file:
        for _ in range(640):
            file.write(bytes(16 * MB))


def zips_in_zips(path: Path) -> None:
    """Sixteen zips in a zip, five layers deep, as 42.zip: 256 TB."""
    data = _zipped({"0.dll": bytes(256 * MB)})
    for _ in range(5):
        data = _zipped({f"lib {number}.zip": data for number in range(16)})
    path.write_bytes(data)


def zip_of_many(path: Path) -> None:
    """A zip of 300,000 empty files."""
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(300_000):
            archive.writestr(str(number), b"")


def wide_sheet(path: Path) -> None:
    """A sheet of two cells, in the first and the last place that Excel has: 550 GB of cells."""
    book = xlsxwriter.Workbook(path)
    page = book.add_worksheet()
    page.write(0, 0, "ts")
    page.write(1_048_575, 16_383, 1)
    book.close()


def million_keys(path: Path) -> None:
    """Lines that each name other keys: a million columns."""
    with path.open("w") as file:
        for second in range(50):
            keys = (f"m{20_000 * second + place}:1" for place in range(20_000))
            file.write(f"{DAY}T11:00:{second:02}Z;{';'.join(keys)}\n")


KINDS: dict[str, Callable[[Path], None]] = {
    kind.__name__: kind
    for kind in (
        *(line_of_2_gb, nothing_of_2_gb, gzip_of_10_gb, zips_in_zips, zip_of_many, wide_sheet),
        million_keys,
    )
}


def _zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _measure(folder: Path) -> dict[str, object]:
    """Run the flow of a home; what became of its files."""
    home = Home(folder)
    flow = load_flows(home, load_registry(home)).get("f")
    started = time.perf_counter()
    found: dict[str, object] = {}
    for event in run(Work(flow, flow.stages, {home.dataset("DS"): [DAY]})):
        if isinstance(event, RawScanned):
            for name, counted in event.source.files.items():
                found[name] = {"rows": counted.rows, **counted.quarantined}
        elif isinstance(event, DayFailed):
            found["failed"] = event.reason[:200]
        elif isinstance(event, StageDone):
            found["devices"] = sorted({key.device for key in event.files})
    usage = (resource.getrusage(who).ru_maxrss // 1024 for who in _WHOSE)
    found["seconds"] = round(time.perf_counter() - started, 1)
    found["peak_mb"], found["peak_mb_of_children"] = usage
    return found


_WHOSE = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def main() -> int:
    """Try each kind in a home and a process of its own."""
    wrong = 0
    for name in sys.argv[1:] or KINDS:
        with tempfile.TemporaryDirectory(prefix="procezo-hostile-") as folder:
            raw = Path(folder, "datasets", "DS", "00_raw")
            raw.mkdir(parents=True)
            Path(folder, "flows").mkdir()
            flow = {"dataset": "DS", "steps": [{"treatment": "parse"}]}
            Path(folder, "flows", "f.json").write_text(json.dumps(flow))
            (raw / f"x_good_{DAY}.csv").write_text(GOOD)
            bad = raw / f"x_bad_{DAY}.csv"
            KINDS[name](bad)
            command = [sys.executable, __file__, "--measure", folder]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
            safe = "good" in found.get("devices", ()) or "failed" in found
            wrong += not safe
            size = bad.stat().st_size / MB
            print(f"{name}: {size:.2f} MB, {'safe' if safe else 'WRONG'}, {found or done.stderr}")
    return 1 if wrong else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(_measure(Path(sys.argv[2]))))
        sys.exit(0)
    sys.exit(main())
