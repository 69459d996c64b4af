"""Whether two folders hold the same parquet files, with equal frames.

    python benchmarks/compare_outputs.py A B

Paths, columns, types, order and nulls must be the same. Floats may differ by 1e-9 of their size,
and those near zero by 1e-9.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

TOLERANCE = 1e-9


def differences(left: Path, right: Path) -> Iterator[str]:
    """Name each file that is in one folder only or differs, with what differs."""
    here, there = (
        {path.relative_to(folder) for path in folder.rglob("*.parquet")} for folder in (left, right)
    )
    for path in sorted(here ^ there):
        yield f"{path}: only in {left if path in here else right}"
    for path in sorted(here & there):
        frames = [
            pl.read_parquet(folder / path, glob=False, hive_partitioning=False)
            for folder in (left, right)
        ]
        try:
            # rounding leaves a little of what ought to be zero, as the deviation of equal values
            assert_frame_equal(*frames, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        except AssertionError as error:
            yield f"{path}: {error}"


def main() -> None:
    """Compare, print the differences, and exit with 1 if there are any."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("a", type=Path)
    asked.add_argument("b", type=Path)
    options = asked.parse_args()
    found = list(differences(options.a, options.b))
    files = sum(1 for _ in options.a.rglob("*.parquet"))
    print("\n".join(found) or f"{files} files are equal")
    sys.exit(bool(found) or not files)


if __name__ == "__main__":
    main()
