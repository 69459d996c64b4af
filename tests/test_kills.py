"""Runs that are killed: nothing torn is seen, and the next run leaves what it would have left.

`make stress` kills many more.
"""

from __future__ import annotations

from contextlib import closing

from killed_runs import KilledRuns


def test_runs_killed_in_parsing_in_the_middle_and_while_loading(tmp_path, postgres_url):
    with closing(KilledRuns(tmp_path, postgres_url)) as runs:
        for share in (0.3, 0.6, 0.9):
            change = round(runs.changes["last"] * share)
            assert runs.survive("last", change=change) == "killed"
        assert runs.survive("full-replace", seconds=runs.seconds["full-replace"] / 2) in {
            "killed",
            "ended",  # where the machine was busier before
        }
