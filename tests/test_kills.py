"""Runs that are killed: nothing torn is seen, and the next run leaves what it would have left."""

from __future__ import annotations

import pytest
from killed_runs import KilledRuns


@pytest.fixture(scope="module")
def killed(tmp_path_factory, postgres_url):
    return KilledRuns(tmp_path_factory.mktemp("killed"), postgres_url)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_run_killed_before_a_change(killed, share):
    change = round(killed.changes["last"] * share)
    assert killed.survive("last", change=change) == "killed"
