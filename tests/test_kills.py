"""Runs that are killed: nothing torn is seen, and the next run leaves what it would have left.

`make stress` kills many more.
"""

from __future__ import annotations

from contextlib import closing

import pytest
from killed_runs import FIRST_FIT, KilledRuns


@pytest.fixture(scope="module")
def runs(tmp_path_factory, postgres_url):
    with closing(KilledRuns(tmp_path_factory.mktemp("homes"), postgres_url)) as made:
        yield made


def test_runs_killed_in_parsing_in_the_middle_and_while_loading(runs):
    for command, share in (("last", 0.3), (FIRST_FIT, 0.3), (FIRST_FIT, 0.6), ("last", 0.9)):
        change = round(runs.changes[command] * share)
        assert runs.survive(command, change=change) == "killed"
    assert runs.survive("full-replace", seconds=runs.seconds["full-replace"] / 2) in {
        "killed",
        "ended",  # where the machine was busier before
    }


def test_a_run_that_waits_for_one_that_is_killed_does_it_all(runs):
    change, lag = runs.changes["last"] // 2, 2 * runs.seconds["last"]
    assert runs.survive_beside("last", change=change, lag=lag) in {
        "killed beside another",
        "killed",  # where it held nothing right then
    }
