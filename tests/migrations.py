"""Dagster's migrations, read from disk once a process and not by each storage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from alembic.script import ScriptDirectory


@contextmanager
def migrations_read_once() -> Iterator[None]:
    """Let Dagster's storages, of which each test makes its own, share what they migrate by.

    Reading the migrations from disk is a quarter of the time of a small run.
    """
    read, known = ScriptDirectory.from_config, {}

    def from_config(config):
        location = config.get_main_option("script_location")
        if location not in known:
            known[location] = read(config)
        return known[location]

    with patch.object(ScriptDirectory, "from_config", from_config):
        yield
