"""`make stress`: kill many runs at random moments, and see that nothing is torn, lost or left.

A third of them has a second run beside it, that waits for what the first one holds.

python tests/stress_kills.py --kills 200 --seed 1
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from killed_runs import COMMANDS, KilledRuns

from procezo_assets.stores import embedded_postgres


def main() -> None:
    """Kill as many runs as asked for, and say what became of them."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("--kills", type=int, default=200)
    asked.add_argument("--seed", type=int, default=1)
    options = asked.parse_args()
    moments = random.Random(options.seed)  # noqa: S311 - which moments is no secret
    with tempfile.TemporaryDirectory(prefix="procezo-stress-") as folder:
        Path(folder).chmod(0o711)  # under root the server's user must pass through
        server = embedded_postgres.start(Path(folder, "server", ".procezo"))
        try:
            outcomes = _kill(KilledRuns(Path(folder, "homes"), server), options.kills, moments)
        finally:
            embedded_postgres.stop(Path(folder, "server", ".procezo"))
    print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))
    sys.exit(1 if outcomes["FAILED"] else 0)


def _kill(runs: KilledRuns, kills: int, moments: random.Random) -> Counter[str]:
    outcomes: Counter[str] = Counter({"killed": 0, "killed beside another": 0})
    while outcomes.total() - outcomes["ended"] < kills:
        command = moments.choice(list(COMMANDS))
        kind = moments.choice(("change", "seconds", "beside"))
        change = moments.randint(1, runs.changes[command])
        seconds = runs.seconds[command] * moments.uniform(0.1, 1.2)
        try:
            if kind == "beside":
                outcome = runs.survive_beside(command, change=change, lag=seconds)
            elif kind == "change":
                outcome = runs.survive(command, change=change)
            else:
                outcome = runs.survive(command, seconds=seconds)
        except AssertionError as error:
            outcome = "FAILED"
            told = " ".join(str(error).split())[:1000]
            print(f"{command} {kind} {change=} {seconds=:.1f}: {told}", flush=True)
        outcomes[outcome] += 1
        if outcomes.total() % 20 == 0:
            print(f"{outcomes.total()} runs: {dict(outcomes)}", flush=True)
    return outcomes


if __name__ == "__main__":
    main()
