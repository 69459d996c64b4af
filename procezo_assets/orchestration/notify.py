"""Telling people of failed runs and of checks that turn red, once each, whoever started the run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import dagster as dg

from procezo_assets.errors import FlowError
from procezo_assets.flows import Flow
from procezo_assets.harmless import harmless
from procezo_assets.notices import Address, addresses, send_to_all
from procezo_assets.orchestration.checks import check_warnings
from procezo_assets.orchestration.in_flight import is_run_of
from procezo_assets.orchestration.partitions import dataset_partitions_name, tagged

_INTERVAL_SECONDS = 15
_RUNS_AT_ONCE = 100
_LINES = 20
_LINE_LENGTH = 500

# an address out of reach is tried again after 30 s, then after twice as long each time
_TRIES = 6
_FIRST_WAIT_SECONDS = 30.0
# Dagster ends a tick after 60 s, and would then have all told again
_SENDING_SECONDS = 30.0

_ENDS: Final = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS)


def notify_sensor(flow: Flow) -> dg.SensorDefinition:
    """The sensor that tells of a flow's runs, for a flow that names addresses."""
    told: set[str] = set()

    @dg.sensor(
        name=f"{flow.identifier}_notify",
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Tells of failed runs and checks that turn red of the flow {flow.name}.",
    )
    def notify(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        state = _State.read(context.cursor)
        if state is None:  # what was before the first tick is history
            state = _State(after=_newest(context.instance))
        lines = list(_news(context.instance, flow, state))
        known = list(addresses(flow))
        wrong = {str(address) for address in known if isinstance(address, FlowError)}
        for problem in sorted(wrong - told):
            context.log.warning(problem)
        told.update(wrong)
        reachable = [address for address in known if isinstance(address, Address)]
        sent = _tell(context, flow, state, reachable, lines)
        context.update_cursor(state.text)
        return dg.SkipReason(f"{len(lines)} things to tell; {sent} messages sent")

    return notify


@dataclass
class _Unsent:
    """What an address out of reach has not been told.

    Args:
        lines: What.
        tries: How often it was tried.
        at: When it is to be tried again, in seconds since 1970.
    """

    lines: list[str] = field(default_factory=list)
    tries: int = 0
    at: float = 0.0


@dataclass
class _State:
    """What the sensor remembers.

    Args:
        after: The storage id of the last end of a run that was looked at.
        red: The checks that are red, as `stage check dataset`.
        unsent: What addresses have not been told, by their key.
    """

    after: int
    red: set[str] = field(default_factory=set)
    unsent: dict[str, _Unsent] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str | None) -> _State | None:
        """Read what a tick has left; None where there is nothing that can be read."""
        try:
            values = json.loads(text or "")
            unsent = {key: _Unsent(*one) for key, one in values["unsent"].items()}
            return cls(int(values["after"]), set(values["red"]), unsent)
        except (ValueError, KeyError, TypeError):
            return None

    @property
    def text(self) -> str:
        """What the next tick is given."""
        unsent = {key: [one.lines, one.tries, one.at] for key, one in self.unsent.items()}
        return json.dumps({"after": self.after, "red": sorted(self.red), "unsent": unsent})


def _newest(instance: dg.DagsterInstance) -> int:
    newest = [instance.fetch_run_status_changes(kind, limit=1).records for kind in _ENDS]
    return max((record.storage_id for records in newest for record in records), default=0)


def _news(instance: dg.DagsterInstance, flow: Flow, state: _State) -> Iterator[str]:
    """What ended since the last tick, a line each."""
    ended: list[tuple[int, str, dg.DagsterEventType]] = []
    up_to: list[int] = []
    for kind in _ENDS:
        changes = dg.RunStatusChangeRecordsFilter(kind, after_storage_id=state.after)
        found = instance.fetch_run_status_changes(changes, limit=_RUNS_AT_ONCE, ascending=True)
        ended += [(record.storage_id, record.run_id, kind) for record in found.records]
        if found.has_more:
            up_to.append(found.records[-1].storage_id)
    known = instance.get_dynamic_partitions(dataset_partitions_name(flow)) if ended else ()
    for storage_id, run_id, kind in sorted(ended, key=lambda one: one[0]):
        if up_to and storage_id > min(up_to):
            break
        state.after = storage_id
        run = instance.get_run_by_id(run_id)
        if run is not None and is_run_of(run, flow):
            yield from _of_run(instance, run, kind, state, known)


def _of_run(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    kind: dg.DagsterEventType,
    state: _State,
    known: Sequence[str],
) -> Iterator[str]:
    meant = tagged(run.tags)
    datasets = meant.datasets(known) if meant else [""]
    dataset = " to ".join(dict.fromkeys((datasets[0], datasets[-1])))
    if kind == dg.DagsterEventType.RUN_FAILURE:
        last = f" to {meant.last}" if meant and meant.first != meant.last else ""
        where = f" of {dataset}, {meant.first}{last}," if meant else ""
        yield _short(f"run {run.run_id[:8]}{where} failed: {_reason(instance, run.run_id)}")
    evaluated = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    for entry in instance.all_logs(run.run_id, of_type=evaluated):
        verdict = entry.dagster_event and entry.dagster_event.asset_check_evaluation_data
        if not verdict:
            continue
        check = f"{verdict.asset_key.path[-1]} {verdict.check_name}"
        checks = {f"{check} {one}" for one in datasets}
        if verdict.passed:
            state.red -= checks
        elif checks - state.red:
            state.red |= checks
            yield _short(_red(verdict, dataset))


def _red(verdict: Any, dataset: str) -> str:  # noqa: ANN401 - Dagster exports no name for it
    stage, check = verdict.asset_key.path[-1], verdict.check_name
    of = f" of {dataset}" if dataset else ""
    if verdict.severity != dg.AssetCheckSeverity.WARN:
        return f"check {check} of {stage}{of} failed: see it in Dagster"
    values = {name: value.value for name, value in verdict.metadata.items()}
    found = "; ".join(check_warnings(check, values))
    return f"check {check} of {stage}{of} warns: {found}"


def _reason(instance: dg.DagsterInstance, run_id: str) -> str:
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        failed = entry.dagster_event and entry.dagster_event.step_failure_data
        if failed and failed.user_failure_data:
            return str(failed.user_failure_data.description)
        if failed and failed.error:
            return str((failed.error.cause or failed.error).message)
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE):
        if entry.dagster_event and entry.dagster_event.message:
            return str(entry.dagster_event.message)
    return "see its log in Dagster"


def _tell(
    context: dg.SensorEvaluationContext,
    flow: Flow,
    state: _State,
    known: Iterable[Address],
    lines: list[str],
) -> int:
    """Send what addresses have not been told; what does not get through waits its turn.

    Returns:
        How many messages got through.
    """
    told = {address: state.unsent.pop(address.key, _Unsent()) for address in known}
    for unsent in told.values():
        unsent.lines += lines
    told = {address: unsent for address, unsent in told.items() if unsent.lines}
    now = time.time()
    title = f"procezo: {flow.name}"
    got = send_to_all(
        {
            address: (title, _message(unsent.lines))
            for address, unsent in told.items()
            if now >= unsent.at
        },
        within=_SENDING_SECONDS,
    )
    for address, unsent in told.items():
        if got.get(address):
            continue
        if address in got:
            unsent.tries += 1
            unsent.at = time.time() + _FIRST_WAIT_SECONDS * 2 ** (unsent.tries - 1)
            if unsent.tries >= _TRIES:
                message = _message(unsent.lines)
                context.log.error("%s is out of reach; it is not told: %s", address.name, message)
                continue
            context.log.warning("%s is out of reach; it is tried again", address.name)
        unsent.lines = unsent.lines[: 2 * _LINES]
        state.unsent[address.key] = unsent
    return sum(got.values())


def _message(lines: list[str]) -> str:
    more = len(lines) - _LINES
    return "\n".join([*lines[:_LINES], *([f"and {more} more"] if more > 0 else [])])


def _short(text: str) -> str:
    line = harmless(" ".join(text.split()))
    return line if len(line) <= _LINE_LENGTH else line[: _LINE_LENGTH - 1] + "…"
