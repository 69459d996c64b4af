"""What treatments print: kept with the run for the UI, or left on the terminal of a command.

Every Dagster process imports this module: it imports nothing that it does not need.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

# dagster.yaml can only name a class, and Dagster exports none of these.
from dagster._core.storage.compute_log_manager import CapturedLogContext
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._serdes import ConfigurableClassData

KEEP_PRINTED = "PROCEZO_KEEP_PRINTED"


class KeptOrShown(LocalComputeLogManager):
    """Keeps what runs print, but not what runs of commands print.

    Dagster takes the terminal's streams away to keep them, and with them the progress bar; its
    helper processes answer Ctrl-C with tracebacks of their own.
    """

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """It takes nothing from dagster.yaml."""
        return {}

    @classmethod
    def from_config_value(
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Mapping[str, Any],  # noqa: ARG003 - Dagster's signature
    ) -> Self:
        """Keep files where Dagster keeps them by default, under DAGSTER_HOME."""
        folder = Path(os.environ.get("DAGSTER_HOME") or ".") / "storage"
        return cls(base_dir=str(folder), inst_data=inst_data)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext, None, None]:
        """Keep what is printed in the block, unless a command's run prints it."""
        from procezo_assets.settings import load_settings  # noqa: PLC0415

        if load_settings().keep_printed:
            with super().capture_logs(log_key) as context:
                yield context
        else:
            yield CapturedLogContext(log_key)
