"""The sensors of raw files, on a real instance."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import dagster as dg
import pytest
from small_home import CLEAN, DAYS, PARSE, SLOW, SmallHome, key, keys

from procezo_assets.harmless import harmless
from procezo_assets.orchestration import launch, sensors
from procezo_assets.orchestration.code_location import build_defs
from procezo_assets.orchestration.in_flight import days_in_flight
from procezo_assets.orchestration.partitions import RANGE_END

STILL = {"settle_seconds": 0}


class Sensor:
    """Ticks as the daemon does: with the cursor of the last tick, doing what it asks."""

    def __init__(self, home, flow="small"):
        self.home = home
        self.flow = flow
        self.cursor = None
        self.requests = []
        self.waiting = []
        with home.environment():  # loaded once, as by the code server
            self.repository = build_defs(home.home).get_repository_def()

    def tick(self):
        """What a tick asks for: first and last partition of its runs; or why none."""
        with self.home.instance() as instance:
            context = dg.build_sensor_context(
                instance, cursor=self.cursor, repository_def=self.repository
            )
            definition = self.repository.get_sensor_def(f"{self.flow}_raw_files")
            with context:
                self.data = definition.evaluate_tick(context)
            for request in self.data.dynamic_partitions_requests or ():
                instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
            for event in self.data.asset_events:
                instance.report_runless_asset_event(event)
        self.cursor = self.data.cursor or self.cursor
        self.requests += self.data.run_requests
        self.waiting += self.data.run_requests
        return self.data.skip_message or [span(request) for request in self.data.run_requests]

    def run(self):
        """Run what ticks have asked for."""
        while self.waiting:
            request = self.waiting.pop()
            start, end = span(request)
            (dataset, first), (_, last) = start.split("|"), end.split("|")
            days = [day for day in DAYS if first <= str(day) <= last]
            self.home.launch(days[0], days[-1], dataset=dataset, flow=self.flow)


def span(request):
    """The first and last partition that a run is asked for."""
    return tuple(request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))


@pytest.fixture
def home(tmp_path):
    home = SmallHome(tmp_path / "home")
    home.write_flow(PARSE, CLEAN, datasets=["DS-*"], **STILL)
    return home


@pytest.fixture
def sensor(home):
    return Sensor(home)


def test_it_runs_as_soon_as_there_is_a_daemon(home):
    home.write_flow(PARSE, name="pre-manip", dataset="OTHER")
    with home.environment():
        repository = build_defs(home.home).get_repository_def()
    found = {one.name: one for one in repository.sensor_defs}
    assert set(found) == {"small_raw_files", "pre_manip_raw_files"}
    sensor = found["pre_manip_raw_files"]
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.job_name == "pre_manip"
    assert sensor.minimum_interval_seconds <= 5


def test_new_files_are_asked_for_once(home, sensor):
    home.write_raw(*DAYS)
    assert sensor.tick() == [(key(DAYS[0]), key(DAYS[2]))]
    assert sensor.tick() == "no raw file is new or changed"
    sensor.run()
    assert home.materialized("clean") == keys(*DAYS)
    assert sensor.tick() == "no raw file is new or changed"


def test_a_new_dataset_is_made_known_with_its_first_run(home, sensor):
    home.write_raw(DAYS[0])
    sensor.tick()
    home.write_raw(DAYS[1], dataset="DS-2")
    assert sensor.tick() == [(key(DAYS[1], "DS-2"), key(DAYS[1], "DS-2"))]
    (added,) = sensor.data.dynamic_partitions_requests
    assert added.partition_keys == ["DS-2"]
    home.write_raw(DAYS[1], dataset="OTHER")
    assert isinstance(sensor.tick(), str)


def test_raw_partitions_are_materialized_with_what_they_hold(home, sensor):
    home.write_raw(DAYS[0], odd=["spoilt"])
    home.write_raw(DAYS[0], DAYS[1], device="pil-91")
    sensor.tick()
    with home.instance() as instance:
        found = instance.fetch_materializations(dg.AssetKey(["small", "raw"]), limit=10).records
    values = {
        record.partition_key: {
            name: value.value for name, value in record.asset_materialization.metadata.items()
        }
        for record in found
    }
    assert values.keys() == keys(DAYS[0], DAYS[1])
    first = values[key(DAYS[0])]
    assert (first["files"], first["rows"], first["quarantined"]) == (2, 60, 1)
    size = sum(path.stat().st_size for path in home.stage("00_raw").glob(f"*{DAYS[0]}.csv"))
    assert first["bytes"] == size
    assert f"- `DS-1_pil-90_{DAYS[0]}.csv`" in first["names"]


def test_names_of_raw_files_make_no_markdown_and_steer_no_terminal(home, sensor, capfd):
    steers = "\x1b]0;owned\x07\u202e"
    hostile = (
        f"x`\n\n![p](http:evil.example)<img src=x onerror=alert(1)>{steers}_pil-90_{DAYS[0]}.csv"
    )
    home.raw_file(hostile).write_text(f"{DAYS[0]}T10:00:00Z;m0:1\n")
    sensor.tick()
    sensor.run()
    with home.instance() as instance:
        (raw,) = instance.fetch_materializations(dg.AssetKey(["small", "raw"]), limit=2).records
        (made,) = instance.fetch_materializations(dg.AssetKey(["small", "parsed"]), limit=2).records
    (line,) = raw.asset_materialization.metadata["names"].value.splitlines()
    shown = harmless(hostile).replace("`", "'")
    assert line == f"- `{shown}`"
    (record,) = made.asset_materialization.metadata["raw_files"].records
    assert record.data["file"] == harmless(hostile)

    home.raw_file(hostile).unlink()
    home.write_raw(DAYS[1])
    sensor.tick()
    sensor.run()
    told = capfd.readouterr().err
    assert f"raw file {harmless(hostile)} is gone" in told
    assert not any(character in told for character in steers if not character.isprintable())


def test_what_was_asked_for_and_never_run_is_asked_for_after_a_restart(home, sensor):
    home.write_raw(*DAYS)
    asked = sensor.tick()
    assert Sensor(home).tick() == asked


def test_a_request_whose_run_is_queued_is_not_made_again_even_where_the_memory_is_lost(home):
    home.write_raw(*DAYS)
    with home.instance() as instance:
        Sensor(home).tick()
        run = queued(instance, home, DAYS[0], DAYS[-1])
        again = Sensor(home)
        assert isinstance(again.tick(), str)
        instance.report_run_failed(run)
        assert again.tick() == [(key(DAYS[0]), key(DAYS[-1]))]


def test_a_change_back_is_asked_for_though_no_run_has_made_what_was_between(home, sensor):
    for level in (100, 200, 100):
        home.write_raw(DAYS[0], level=level)
        assert sensor.tick() == [(key(DAYS[0]), key(DAYS[0]))]
    # Dagster passes over a request that has the key of an earlier run, also of a failed one
    assert [request.run_key for request in sensor.requests] == [None] * 3


def test_a_memory_that_is_lost_is_begun_anew(home, sensor):
    home.write_raw(DAYS[0])
    sensor.tick()
    for cursor in ("nonsense", "../../x", "0" * 16):
        sensor.cursor = cursor
        assert sensor.tick() == [(key(DAYS[0]), key(DAYS[0]))]
    (memory,) = (home.path / ".procezo" / "sensors" / "small").glob(f"{sensor.cursor}.json")
    memory.write_text("[]")
    assert sensor.tick() == [(key(DAYS[0]), key(DAYS[0]))]


def test_a_tick_that_dagster_has_lost_is_repeated(home, sensor):
    home.write_raw(DAYS[0])
    sensor.tick()
    before = sensor.cursor
    home.write_raw(DAYS[1])
    assert sensor.tick() == [(key(DAYS[1]), key(DAYS[1]))]
    sensor.cursor = before
    assert sensor.tick() == [(key(DAYS[1]), key(DAYS[1]))]


def test_a_dataset_that_cannot_be_read_is_told_of_once_and_stops_no_other(home, sensor):
    home.write_raw(DAYS[0])
    home.write_raw(DAYS[0], dataset="DS-2")
    sensor.tick()
    sensor.run()
    for path in home.stage("00_raw").iterdir():
        path.unlink()
    home.stage("00_raw").joinpath("x_2026-01-20.csv").symlink_to("nowhere")
    home.write_raw(DAYS[1], dataset="DS-2")
    assert sensor.tick() == [(key(DAYS[1], "DS-2"), key(DAYS[1], "DS-2"))]


def test_an_error_of_one_dataset_fails_no_tick(home, sensor):
    home.write_raw(DAYS[0])
    home.write_raw(DAYS[0], dataset="DS-2")
    real = sensors.look

    def look(flow, dataset, *args, **fields):
        if dataset.name == "DS-1":
            raise OSError(5, "Input/output error")
        return real(flow, dataset, *args, **fields)

    with patch.object(sensors, "look", look):
        assert sensor.tick() == [(key(DAYS[0], "DS-2"), key(DAYS[0], "DS-2"))]
    assert sensor.tick() == [(key(DAYS[0]), key(DAYS[0]))]


def test_a_tick_without_time_goes_on_where_it_stopped(home, sensor):
    for number in range(1, 4):
        home.write_raw(DAYS[0], dataset=f"DS-{number}")
    with patch.object(sensors, "_RUNS_A_TICK", 2):
        assert sensor.tick() == [(key(DAYS[0], f"DS-{n}"),) * 2 for n in (1, 2)]
        assert sensor.tick() == [(key(DAYS[0], "DS-3"),) * 2]
    assert len(sensor.requests) == 3


def test_a_file_that_is_about_to_be_still_is_waited_for_in_the_tick(home):
    home.write_flow(PARSE, datasets=["DS-*"], settle_seconds=1.5)
    home.write_raw(DAYS[0])
    sensor = Sensor(home)
    assert sensor.tick() == [(key(DAYS[0]), key(DAYS[0]))]


def test_a_file_that_is_not_still_for_long_is_left_to_a_later_tick(home):
    home.write_flow(PARSE, datasets=["DS-*"], settle_seconds=60)
    home.write_raw(DAYS[0])
    sensor = Sensor(home)
    assert sensor.tick() == "waiting until files of DS-1 are still"


def queued(instance, home, first, last):
    """A run that has not started yet."""
    flow = home.flow()
    request = launch.Request(
        flow=flow, dataset="DS-1", first=first, last=last, stages=flow.stages, run_params={}
    )
    launch.flow_job_of.cache_clear()
    job = dg.build_reconstructable_job(
        launch.__name__,
        "flow_job_of",
        reconstructable_kwargs={"home": str(home.path), "flow": flow.name},
    )
    return launch._create_run(instance, job, request)


def test_days_of_a_run_that_has_not_ended_are_not_asked_for(home, sensor):
    home.write_raw(*DAYS)
    sensor.tick()
    with home.instance() as instance:
        run = queued(instance, home, DAYS[0], DAYS[1])
        flow = home.flow()
        assert days_in_flight(instance, flow) == {"DS-1": [(DAYS[0], DAYS[1])]}
        home.write_raw(*DAYS, level=200)
        assert sensor.tick() == [(key(DAYS[2]), key(DAYS[2]))]
        instance.report_run_failed(run)
        assert sensor.tick() == [(key(DAYS[0]), key(DAYS[1]))]


def test_a_run_of_several_datasets_is_under_way_for_each(home):
    with home.instance() as instance:
        instance.add_dynamic_partitions("small_datasets", ["DS-1", "DS-2", "DS-3", "DS-4"])
        run = queued(instance, home, DAYS[0], DAYS[1])
        instance.add_run_tags(run.run_id, {RANGE_END: key(DAYS[1], "DS-3")})
        days = [(DAYS[0], DAYS[1])]
        assert days_in_flight(instance, home.flow()) == dict.fromkeys(
            ["DS-1", "DS-2", "DS-3"], days
        )


def test_the_cursor_is_small_and_few_memories_are_kept(home, sensor):
    for number in range(1, 9):
        home.write_raw(*DAYS, dataset=f"DS-{number}")
        sensor.tick()
    assert len(sensor.cursor) == 16
    assert len(list((home.path / ".procezo" / "sensors" / "small").iterdir())) <= 6


def test_a_request_can_be_run_by_dagster_itself(home, sensor):
    home.write_raw(*DAYS)
    sensor.tick()
    (request,) = sensor.requests
    start, end = span(request)
    done = home.materialize("--select", "group:small", "--partition-range", f"{start}...{end}")
    assert done.code == 0, done.err
    assert home.materialized("clean") == keys(*DAYS)


@pytest.mark.timeout(120)
def test_a_request_that_runs_during_a_ranged_run_over_the_same_days(tmp_path):
    homes = {name: SmallHome(tmp_path / name) for name in ("undisturbed", "raced")}
    for home in homes.values():
        home.write_treatment("slow", SLOW.replace("sleep(2)", "sleep(0.5)"))
        home.write_flow(PARSE, CLEAN, {"treatment": "slow"}, datasets=["DS-*"], **STILL)
        home.write_raw(*DAYS)
    homes["undisturbed"].launch(DAYS[0], DAYS[-1])
    home = homes["raced"]
    sensor = Sensor(home)
    assert sensor.tick() == [(key(DAYS[0]), key(DAYS[2]))]
    days = f"{key(DAYS[0])}...{key(DAYS[2])}"
    with ThreadPoolExecutor() as pool, home.instance() as instance:
        ranged = pool.submit(home.materialize, "--select", "group:small", "--partition-range", days)
        while not any(run.status == dg.DagsterRunStatus.STARTED for run in instance.get_runs()):
            assert not ranged.done()
            time.sleep(0.05)
        sensor.run()
        assert len(instance.get_runs()) == 2
        assert ranged.result().code == 0, ranged.result().err
        assert all(run.is_success for run in instance.get_runs())
    assert sensor.tick() == "no raw file is new or changed"
    assert home.digests() == homes["undisturbed"].digests()
