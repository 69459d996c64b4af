"""Schedules: what they ask for, and when."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
from small_home import CLEAN, DAYS, FAILS_ON_A_DAY, PARSE, SmallHome, key, keys

from procezo_assets.orchestration.code_location import build_defs
from procezo_assets.runs import today

AT = datetime(2026, 11, 21, 3, tzinfo=UTC)


@pytest.fixture
def home(tmp_path):
    return SmallHome(tmp_path / "home")


def asked(home, name="small_schedule", at=AT):
    """What an evaluation asks for: partition tags of its runs, or why none."""
    with home.instance() as instance:
        repository = build_defs().get_repository_def()
        context = dg.build_schedule_context(
            instance, scheduled_execution_time=at, repository_def=repository
        )
        data = repository.get_schedule_def(name).evaluate_tick(context)
    return data.skip_message or [span(request) for request in data.run_requests]


def span(request):
    """The first and last partition that a run is asked for."""
    return tuple(request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))


def test_a_schedule_runs_in_its_zone_as_soon_as_there_is_a_daemon(home):
    home.write_flow(PARSE, schedule={"cron": "0 3 * * *", "timezone": "Europe/Paris"})
    with home.environment():
        schedule = build_defs().get_repository_def().get_schedule_def("small_schedule")
    assert schedule.cron_schedule == "0 3 * * *"
    assert schedule.execution_timezone == "Europe/Paris"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert schedule.job_name == "small"


def test_a_flow_without_one_has_none(home):
    home.write_flow(PARSE)
    with home.environment():
        names = [one.name for one in build_defs().get_repository_def().schedule_defs]
    assert names == ["prune_old_runs_daily"]


def test_what_is_new_is_asked_for_and_what_is_up_to_date_is_not(home):
    home.write_flow(PARSE, CLEAN, datasets=["DS-*"], schedule="0 3 * * *")
    home.write_raw(*DAYS)
    home.write_raw(DAYS[0], date(2026, 3, 1), dataset="DS-2")
    later = key(date(2026, 3, 1), "DS-2")
    assert sorted(asked(home)) == [
        (key(DAYS[0]), key(DAYS[2])),
        (key(DAYS[0], "DS-2"), key(DAYS[0], "DS-2")),
        (later, later),
    ]
    assert home.launch(*DAYS[::2]).success
    assert home.launch(date(2026, 1, 20), date(2026, 3, 1), dataset="DS-2").success
    assert asked(home) == "everything is up to date"


def test_what_failed_is_asked_for_again(home):
    home.write_treatment("picky", FAILS_ON_A_DAY)
    home.write_flow(PARSE, CLEAN, {"treatment": "picky"}, schedule="0 3 * * *")
    home.write_raw(*DAYS)
    assert not home.launch(*DAYS[::2]).success
    assert asked(home) == [(key(DAYS[1]), key(DAYS[1]))]


def test_the_last_days_are_made_again(home):
    home.write_flow(PARSE, schedule="0 3 * * *", lookback_days=3)
    days = [today() - timedelta(days=back) for back in (9, 2, 1)]
    home.write_raw(*days)
    assert home.launch(days[0], days[2]).success
    assert asked(home) == [(key(days[1]), key(days[2]))]


def test_a_dataset_without_rows_of_the_last_days_is_up_to_date(home):
    home.write_flow(PARSE, schedule="0 3 * * *", lookback_days=3)
    home.write_raw(DAYS[0])
    assert home.launch(DAYS[0]).success
    assert asked(home) == "everything is up to date"


def test_a_dataset_that_cannot_be_read_does_not_stop_the_others(home):
    home.write_flow(PARSE, datasets=["DS-*"], schedule="0 3 * * *")
    home.write_raw(DAYS[0], dataset="DS-2")
    home.raw_file("x_2026-01-20.csv").write_text("no rows\n")
    assert asked(home) == [(key(DAYS[0], "DS-2"), key(DAYS[0], "DS-2"))]


def test_an_asked_run_can_be_run(home):
    home.write_flow(PARSE, schedule="0 3 * * *")
    home.write_raw(*DAYS)
    (start, end) = asked(home)[0]
    config = json.dumps({})
    done = home.materialize("--partition-range", f"{start}...{end}", "--config-json", config)
    assert done.code == 0, done.err
    assert home.materialized("parsed") == keys(*DAYS)
