"""What a person should know of raw files whose lines were read: clocks, zones, policies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta

from procezo_assets.raw.files import FileCounts

_POLICIES = {"ambiguous": "exist twice", "nonexistent": "do not exist"}


def file_remarks(counted: FileCounts) -> tuple[str, ...]:
    """Tell of one file, a sentence each; of what is in quarantine, its reasons tell."""
    return tuple(_remarks(counted.dialect.problems if counted.dialect else (), counted.notes))


def device_remarks(files: Iterable[FileCounts]) -> list[str]:
    """Tell of many files, one sentence for each device and kind of remark."""
    problems: dict[str, dict[str, list[str]]] = {}
    noted: dict[str, dict[str, list[FileCounts]]] = {}
    for counted in files:
        device = counted.file.device
        for problem in counted.dialect.problems if counted.dialect else ():
            problems.setdefault(device, {}).setdefault(problem, []).append(counted.file.name)
        for name in counted.notes:
            noted.setdefault(device, {}).setdefault(name, []).append(counted)
    told: list[str] = []
    for device in sorted({*problems, *noted}):
        for problem, names in problems.get(device, {}).items():
            told.append(f"{device}: {problem} ({_files(names)})")
        for note, found in noted.get(device, {}).items():
            notes = {note: sum(one.notes[note] for one in found)}
            if note == "out_of_order":
                steps = (one.notes.get("clock_back_s", 0) for one in found)
                notes["clock_back_s"] = max(steps)
            names = [one.file.name for one in found]
            told += [f"{device}: {remark} ({_files(names)})" for remark in _remarks((), notes)]
    return told


def _remarks(problems: Iterable[str], notes: Mapping[str, int]) -> Iterator[str]:
    yield from problems
    if back := notes.get("out_of_order", 0):
        times = "once" if back == 1 else f"{back} times"
        step = timedelta(seconds=notes.get("clock_back_s", 0))
        yield f"the clock jumps back {times}, at most by {step}"
    for name, told in _POLICIES.items():
        if number := notes.get(name, 0):
            yield f"{number} local times that {told} were settled by the policy '{name}'"


def _files(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{min(names)}{more}"
