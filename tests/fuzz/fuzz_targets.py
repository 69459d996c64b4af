"""What is fuzzed: each target takes any bytes, and fails where a promise does not hold."""

from __future__ import annotations

from collections.abc import Callable

import fuzz_archives
import fuzz_flows
import fuzz_raw

TARGETS: dict[str, Callable[[bytes], None]] = {
    "kv_csv": fuzz_raw.kv_csv,
    "csv": fuzz_raw.csv,
    "packed": fuzz_raw.packed,
    "dataset": fuzz_raw.dataset,
    "settled": fuzz_raw.settled,
    "inspected": fuzz_raw.inspected,
    "stamps": fuzz_raw.stamps,
    "flow": fuzz_flows.flow,
    "archive": fuzz_archives.archive,
}
