"""Fuzz the targets, guided by which code their inputs reach; needs atheris.

What is found is kept under `.fuzz/findings/`, what reaches new code under `.fuzz/corpus/`.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from mutators import mutated_json, mutated_lines

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
CORPUS = HERE / "corpus"
WORK = PROJECT / ".fuzz"
FINDINGS = WORK / "findings"
NAMES = ("kv_csv", "csv", "packed", "dataset", "settled", "inspected", "stamps", "flow", "archive")

SECONDS_AN_INPUT = 20
MEGABYTES = 3_000
LONGEST_INPUT = 2_048
_COUNTED = re.compile(rb"^#([0-9]+)", re.MULTILINE)
_DONE = re.compile(rb"stat::number_of_executed_units: ([0-9]+)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "targets", nargs="*", help=f"of {', '.join(NAMES)}; all where none is named"
    )
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--within", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.within:
        fuzz(asked.targets[0], asked.seconds)
        return 0
    if find_spec("atheris") is None:
        print("fuzz: atheris is not installed; make fuzz does it, on Linux", file=sys.stderr)
        return 2
    targets = asked.targets or NAMES
    print(f"{'target':<12}{'executions':>12}{'seconds':>9}{'findings':>10}")
    found = 0
    for target in targets:
        started = time.monotonic()
        executions = fuzz_for(target, asked.seconds / len(targets))
        findings = sum(kept.suffix != ".txt" for kept in (FINDINGS / target).iterdir())
        found += findings
        seconds = time.monotonic() - started
        print(f"{target:<12}{executions:>12}{seconds:>9.0f}{findings:>10}", flush=True)
    if found:
        print(f"fuzz: {found} findings in {FINDINGS.relative_to(PROJECT)}/", file=sys.stderr)
    return 1 if found else 0


def fuzz_for(target: str, seconds: float) -> int:
    """Fuzz a target in processes of its own: one that hangs or eats memory ends, and is a finding.

    Returns:
        The executions.
    """
    executions = 0
    for folder in (FINDINGS / target, WORK / "corpus" / target):
        folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 1:
        command = [sys.executable, __file__, target, "--within", "--seconds", str(int(left) + 1)]
        done = subprocess.run(command, capture_output=True, check=False, env=_environment())
        counted = _DONE.findall(done.stderr) or _COUNTED.findall(done.stderr) or [b"0"]
        executions += int(counted[-1])
        if done.returncode:
            (FINDINGS / target / f"process-{executions}.txt").write_bytes(done.stderr[-20_000:])
        if done.returncode and not int(counted[-1]):
            raise SystemExit(done.stderr.decode(errors="replace")[-2_000:])
    return executions


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(PROJECT), str(HERE), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "POLARS_MAX_THREADS": "1"}


def fuzz(target: str, seconds: int) -> None:
    """Fuzz a target in this process, which ends then."""
    import atheris

    with atheris.instrument_imports(include=["procezo_assets", "tarfile", "zipfile"]):
        from fuzz_targets import TARGETS

    findings = FINDINGS / target
    corpus = WORK / "corpus" / target
    mutated = mutated_json if target in {"settled", "flow", "archive"} else mutated_lines
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={seconds}",
            f"-timeout={SECONDS_AN_INPUT}",
            f"-rss_limit_mb={MEGABYTES}",
            f"-max_len={LONGEST_INPUT}",
            "-print_final_stats=1",
            f"-artifact_prefix={findings}/",
            str(corpus),
            str(CORPUS / target),
        ],
        partial(kept_on_failure, TARGETS[target], findings),
        custom_mutator=lambda data, most, seed: mutated(data, most, seed, atheris.Mutate),
    )
    atheris.Fuzz()


def kept_on_failure(target: Callable[[bytes], None], findings: Path, data: bytes) -> None:
    """Run a target; of each place where it fails, the shortest input is kept."""
    try:
        target(data)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever escapes is what is looked for
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if str(PROJECT) in frame.filename][-1]
        place = f"{type(error).__name__}-{Path(ours.filename).stem}-{ours.lineno}"
        kept = findings / f"{place}.bytes"
        if not kept.exists() or len(data) < kept.stat().st_size:
            kept.write_bytes(data)
            kept.with_suffix(".txt").write_text(
                "".join(traceback.format_exception(error))[-8_000:], errors="replace"
            )


if __name__ == "__main__":
    sys.exit(main())
