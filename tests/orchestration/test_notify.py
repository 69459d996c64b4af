"""Telling of failed runs and red checks: to a real HTTP server."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from unittest.mock import patch

import dagster as dg
import pytest
from small_home import CLEAN, DAYS, FAILS_ON_A_DAY, PARSE, SmallHome

from procezo_assets.orchestration import notify
from procezo_assets.orchestration.code_location import build_defs

# one of Apprise's plugins imports it
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

SECRET = "correct-horse"  # noqa: S105 - the test is that nobody sees it


class Received:
    """A server that keeps what it is told, or refuses it."""

    def __init__(self):
        self.messages = []
        self.refuses = False
        self.arrived = []
        self.answers = threading.Event()
        self.answers.set()
        received = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                received.arrived.append(time.monotonic())
                received.answers.wait()
                if received.refuses:
                    self.send_error(503)
                    return
                received.messages.append((body["title"], body["message"]))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://u:{SECRET}@127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.answers.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def received():
    found = Received()
    yield found
    found.close()


@pytest.fixture
def home(tmp_path, received):
    home = SmallHome(tmp_path / "home", {"OPS_ADDRESS": received.url})
    home.write_treatment("picky", FAILS_ON_A_DAY)
    home.write_flow(PARSE, CLEAN, {"treatment": "picky"}, notify=[{"env": "OPS_ADDRESS"}])
    return home


class Sensor:
    """Ticks as the daemon does."""

    def __init__(self, home, name="small_notify"):
        self.home = home
        self.cursor = None
        with home.environment():
            self.repository = build_defs(home.home).get_repository_def()
        self.definition = self.repository.get_sensor_def(name)
        self.tick()

    def tick(self):
        with self.home.instance() as instance:
            context = dg.build_sensor_context(
                instance, cursor=self.cursor, repository_def=self.repository
            )
            with context:
                self.data = self.definition.evaluate_tick(context)
        self.cursor = self.data.cursor
        return self.data.skip_message


def test_a_failed_run_is_told_of_once(home, received):
    sensor = Sensor(home)
    home.write_raw(*DAYS)
    outcome = home.launch(DAYS[0], DAYS[2])
    assert not outcome.success
    sensor.tick()
    sensor.tick()
    ((title, message),) = received.messages
    assert title == "procezo: small"
    assert message == (
        f"run {outcome.run_id[:8]} of DS-1, 2026-01-20 to 2026-01-22, failed: "
        "DS-1 2026-01-21 at picky: ZeroDivisionError: the calibration of 21 January is missing "
        "(picky.py:10)"
    )
    assert SECRET not in sensor.cursor


def test_what_was_before_the_first_tick_is_not_told(home, received):
    home.write_raw(DAYS[1])
    home.launch(DAYS[1])
    Sensor(home).tick()
    assert received.messages == []


def test_a_check_is_told_of_when_it_turns_red_and_not_while_it_stays_so(home, received):
    sensor = Sensor(home)
    home.write_raw(DAYS[0], odd=["spoilt"])
    for _ in range(2):
        assert home.launch(DAYS[0]).success
        sensor.tick()
    ((_, message),) = received.messages
    assert message == (
        "check quarantine of parsed of DS-1 warns: "
        "1 lines of 1 raw files are in quarantine: timestamp 1"
    )
    home.write_raw(DAYS[0])  # corrected
    assert home.launch(DAYS[0]).success
    sensor.tick()
    assert len(received.messages) == 1
    home.write_raw(DAYS[0], odd=["spoilt"])
    assert home.launch(DAYS[0]).success
    sensor.tick()
    assert len(received.messages) == 2


def test_runs_that_dagster_started_are_seen(home, received):
    sensor = Sensor(home)
    home.write_raw(DAYS[1])
    assert home.materialize("--partition", f"DS-1|{DAYS[1]}").code != 0
    sensor.tick()
    assert [title for title, _ in received.messages] == ["procezo: small"]


def test_runs_of_other_flows_are_not_told_of(home, received):
    sensor = Sensor(home)
    home.write_flow(PARSE, {"treatment": "picky", "input": "10_parsed"}, name="other", dataset="D2")
    home.write_raw(DAYS[1], dataset="D2")
    assert not home.launch(DAYS[1], flow="other", dataset="D2").success
    sensor.tick()
    assert received.messages == []


def test_an_address_out_of_reach_is_tried_again_and_given_up(home, received, capsys):
    sensor = Sensor(home)
    home.write_raw(DAYS[1])
    home.launch(DAYS[1])
    received.refuses = True
    later = time.time()
    tries = 0
    while '"unsent": {}' not in sensor.cursor or not tries:
        with patch.object(time, "time", lambda at=later: at):
            sensor.tick()
        tries += 1
        later += 3600
    assert tries == notify._TRIES
    logged = capsys.readouterr().err
    assert "address 1 (JSON) is out of reach; it is not told: run " in logged
    assert "of DS-1, 2026-01-21, failed: " in logged
    assert SECRET not in logged
    received.refuses = False
    sensor.tick()
    assert received.messages == []


def test_what_did_not_get_through_is_told_once_when_it_does(home, received):
    sensor = Sensor(home)
    home.write_raw(DAYS[1])
    home.launch(DAYS[1])
    received.refuses = True
    sensor.tick()
    received.refuses = False
    sensor.tick()  # too early
    assert received.messages == []
    later = time.time() + 60
    with patch.object(time, "time", lambda: later):
        sensor.tick()
        sensor.tick()
    assert len(received.messages) == 1


def test_silent_addresses_hold_a_tick_up_together_and_not_one_after_the_other(
    home, received, monkeypatch
):
    others = [Received() for _ in range(3)]
    home.write_flow(
        PARSE,
        CLEAN,
        {"treatment": "picky"},
        notify=[{"env": "OPS_ADDRESS"}, *(f"{other.url}?rto=3600" for other in others)],
    )
    sensor = Sensor(home)
    monkeypatch.setattr(notify, "_SENDING_SECONDS", 2.0)
    home.write_raw(DAYS[1])
    home.launch(DAYS[1])
    for other in others:
        other.answers.clear()
    message = sensor.tick()
    arrived = [other.arrived[0] for other in others]
    assert max(arrived) - min(arrived) < 2  # each is waited for as long
    assert message == "1 things to tell; 1 messages sent"
    assert len(received.messages) == 1
    assert len(json.loads(sensor.cursor)["unsent"]) == 3
    for other in others:
        other.close()


def test_an_address_that_is_named_twice_is_told_once(home, received):
    home.write_flow(
        PARSE, CLEAN, {"treatment": "picky"}, notify=[received.url, {"env": "OPS_ADDRESS"}]
    )
    sensor = Sensor(home)
    home.write_raw(DAYS[1])
    home.launch(DAYS[1])
    sensor.tick()
    assert len(received.messages) == 1


def test_a_wrong_address_is_told_of_by_check_and_stops_no_other(home, received):
    addresses = ["nonsense://x", {"env": "NOT_SET"}, {"env": "OPS_ADDRESS"}]
    home.write_flow(PARSE, CLEAN, {"treatment": "picky"}, notify=addresses)
    home.write_raw(DAYS[1])
    checked = home.procezo("check")
    assert checked.code == 0
    warnings = [line for line in checked.err.splitlines() if line.startswith("warning")]
    assert "notify[0] is a secret that stands in the flow file" in warnings.pop(0)
    assert [line.partition(";")[0] for line in warnings] == [
        "warning: small.json, notify: address 1 is none that Apprise knows",
        "warning: small.json, notify: address 2 is empty",
    ]
    sensor = Sensor(home)
    home.launch(DAYS[1])
    sensor.tick()
    assert len(received.messages) == 1


def test_a_flow_without_addresses_has_no_such_sensor(home):
    home.write_flow(PARSE)
    with home.environment():
        names = [one.name for one in build_defs(home.home).get_repository_def().sensor_defs]
    assert names == ["small_raw_files"]
