"""Which faults of a PostgreSQL server pass by themselves."""

from __future__ import annotations

import re

LOCKED = "55P03"
"""The SQLSTATE of a table that another session has held for longer than was to be waited."""

# connection lost, server stopping, too many connections, idle for too long, serialization failure,
# deadlock
_PASSING = re.compile(rf"08\w{{3}}|57P0[1-5]|53300|25P03|{LOCKED}|40001|40P01")
# of a server that starts, stops or recovers, and of one that has too many clients
_BUSY = ("the database system", "terminating connection", "too many", "connection slots")


def state_passes(sqlstate: str) -> bool:
    """Whether waiting may mend what a server has refused with a SQLSTATE."""
    return _PASSING.fullmatch(sqlstate) is not None


def refusal_passes(reason: str) -> bool:
    """Whether waiting may mend why there is no connection, where no SQLSTATE tells."""
    return "FATAL" not in reason or any(word in reason for word in _BUSY)
