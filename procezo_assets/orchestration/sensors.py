"""Sensors that see raw files come, grow, change and go, and ask for the runs that this needs.

What belongs here: what Dagster gives and wants. What does not: which days need what, which
`arrivals.py` decides.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from procezo_assets.arrival_memory import FlowMemory, Memories
from procezo_assets.arrival_news import RawDay
from procezo_assets.arrivals import Asked, Look, Memory, Span, look
from procezo_assets.dataset_use import in_use
from procezo_assets.datasets import Home
from procezo_assets.errors import ProcezoError
from procezo_assets.flows import Flow
from procezo_assets.harmless import harmless
from procezo_assets.orchestration.assets import stage_key
from procezo_assets.orchestration.in_flight import days_in_flight
from procezo_assets.orchestration.metadata import as_code
from procezo_assets.orchestration.partitions import (
    dataset_partitions_name,
    partition_key,
    run_request,
)
from procezo_assets.orchestration.raw_asset import raw_key

# Dagster ends a tick after 60 s; what is left goes on in the next one
_SECONDS = 40.0
# a file that will be still in so many seconds is waited for: the next tick is 5 s away
_WAITED_FOR = 3.0
# what Dagster does for each after the tick costs milliseconds
_RUNS_A_TICK = 100
_EVENTS_A_TICK = 200


def sensor_name(flow: Flow) -> str:
    """The name of the sensor of a flow's raw files."""
    return f"{flow.identifier}_raw_files"


def raw_files_sensor(
    flow: Flow, home: Home, job: dg.UnresolvedAssetJobDefinition
) -> dg.SensorDefinition:
    """The sensor of a flow that reads raw files.

    Args:
        flow: The flow.
        home: The home folder that its datasets are in.
        job: The job of all its stages.
    """
    told: set[str] = set()

    @dg.sensor(
        name=sensor_name(flow),
        job=job,
        minimum_interval_seconds=4,  # as often as Dagster looks, which is every 5 s
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Makes the days that raw files of the flow {flow.name} touch.",
    )
    def raw_files(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        memories = Memories(home.state / "sensors" / flow.identifier)
        tick = _Tick(flow, home, context.instance, memories.read(context.cursor))
        tick.run()
        news = [note for note in tick.notes if note not in told]
        told.intersection_update(tick.notes)
        told.update(tick.notes)
        for note in news:
            context.log.warning(harmless(note))
        return tick.result(cursor=memories.keep(tick.memory, context.cursor))

    return raw_files


class _Tick:
    """One look at all datasets of a flow, as far as the time goes."""

    def __init__(
        self, flow: Flow, home: Home, instance: dg.DagsterInstance, memory: FlowMemory
    ) -> None:
        self.flow = flow
        self.home = home
        self.memory = memory
        self.notes: list[str] = []
        self._instance = instance
        self._deadline = time.monotonic() + _SECONDS
        self._asked: list[Asked] = []
        self._days: list[RawDay] = []
        self._new: list[str] = []
        self._waiting: dict[str, float] = {}
        self._flight: Mapping[str, Sequence[Span]] = {}

    def run(self) -> None:
        """Look at each dataset, and again at those whose files are about to be still."""
        names = self.flow.datasets(self.home)
        known = set(self._instance.get_dynamic_partitions(dataset_partitions_name(self.flow)))
        self._new = [name for name in names if name not in known]
        self._flight = days_in_flight(self._instance, self.flow)
        self.notes += [
            f"{name}: its raw files are gone, its results stay"
            for name in self.memory.datasets
            if name not in names
        ]
        self.memory.datasets = {
            name: memory for name, memory in self.memory.datasets.items() if name in set(names)
        }
        self._look_at(_from(names, self.memory.turn))
        soon = [name for name, seconds in self._waiting.items() if seconds <= _WAITED_FOR]
        if soon and not self._asked and not self.memory.turn:
            time.sleep(max(0.05, *(self._waiting[name] for name in soon)))
            self._look_at(soon)

    def _look_at(self, names: Sequence[str]) -> None:
        self.memory.turn = ""
        for name in names:
            if len(self._asked) >= _RUNS_A_TICK or time.monotonic() > self._deadline:
                self.memory.turn = name
                return
            try:
                found = self._look(name)
            except Exception as error:  # noqa: BLE001 - one dataset's trouble is never another's
                told = error if isinstance(error, ProcezoError) else repr(error)
                self.notes.append(f"{name}: {told}")
                continue
            self.memory.datasets[name] = found.memory
            self.notes += found.notes
            self._asked += found.asked
            self._days += found.days
            self._waiting.pop(name, None)
            if found.waits is not None:
                self._waiting[name] = found.waits

    def _look(self, name: str) -> Look:
        dataset = self.home.existing_dataset(name)
        with in_use(dataset, wait=False):
            return look(
                self.flow,
                dataset,
                self.memory.datasets.get(name, Memory()),
                in_flight=self._flight.get(name, ()),
                deadline=self._deadline,
                told_at_once=max(0, _EVENTS_A_TICK - len(self._days)),
                asked_at_once=_RUNS_A_TICK - len(self._asked),
            )

    def result(self, *, cursor: str) -> dg.SensorResult:
        """What Dagster is to do, and what it is to give the next tick."""
        partitions = dg.DynamicPartitionsDefinition(name=dataset_partitions_name(self.flow))
        return dg.SensorResult(
            run_requests=list(self._requests()),
            skip_reason=None if self._asked else self._idle_because,
            asset_events=[_event(self.flow, day) for day in self._days],
            dynamic_partitions_requests=[partitions.build_add_request(self._new)]
            if self._new
            else [],
            cursor=cursor,
        )

    @property
    def _idle_because(self) -> str:
        if self._days:
            return f"{len(self._days)} days with changed raw files are up to date or under way"
        if self._waiting:
            return f"waiting until files of {', '.join(sorted(self._waiting))} are still"
        return "no raw file is new or changed"

    def _requests(self) -> Iterator[dg.RunRequest]:
        for asked in self._asked:
            whole = len(asked.stages) == len(self.flow.stages)
            keys = [stage_key(self.flow, stage) for stage in asked.stages]
            yield run_request(
                asked.dataset,
                asked.first,
                asked.last,
                assets=None if whole else keys,
            )


def _event(flow: Flow, raw: RawDay) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        raw_key(flow),
        partition=partition_key(raw.dataset, raw.day),
        metadata={
            "files": raw.files,
            "bytes": raw.bytes,
            "dagster/partition_row_count": raw.rows,
            "rows": raw.rows,
            "quarantined": raw.quarantined,
            "names": dg.MetadataValue.md("\n".join(map(as_code, raw.names))),
        },
    )


def _from(names: Sequence[str], turn: str) -> list[str]:
    """The datasets in an order in which the one whose turn it is comes first."""
    place = next((place for place, name in enumerate(names) if name >= turn), 0)
    return [*names[place:], *names[:place]]
