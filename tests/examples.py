"""How many examples a costly law is tried with."""

from __future__ import annotations

import os

_TIMES = int(os.environ.get("PROCEZO_TEST_EXAMPLES", "1"))


def examples(everyday: int) -> int:
    """Return how many to try: with `PROCEZO_TEST_EXAMPLES=20`, twenty times those of every day."""
    return everyday * _TIMES
