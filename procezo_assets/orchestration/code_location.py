"""All definitions of a home, built when asked for."""

from __future__ import annotations

import logging

import dagster as dg

from procezo_assets.datasets import Home
from procezo_assets.flow_files import load_flows
from procezo_assets.flows import Flow, FlowSet
from procezo_assets.orchestration.assets import flow_assets, stage_key
from procezo_assets.orchestration.notify import notify_sensor
from procezo_assets.orchestration.partitions import register_datasets
from procezo_assets.orchestration.raw_asset import raw_asset
from procezo_assets.orchestration.retention import prune_old_runs, prune_schedule
from procezo_assets.orchestration.schedules import flow_schedule
from procezo_assets.orchestration.sensors import raw_files_sensor
from procezo_assets.settings import load_settings
from procezo_assets.treatments.registry import load_registry

_logger = logging.getLogger("procezo_assets")


def build_defs(home: Home | None = None, *, register: bool = True) -> dg.Definitions:
    """Build the definitions of all flows of a home; a flow that is wrong is reported and left out.

    Args:
        home: The home folder; that of the environment where left out.
        register: Whether the instance is told of the datasets on disk.
    """
    settings = load_settings()
    home = home or Home(settings.home)
    flows = load_flows(home, load_registry(home))
    _report(flows, home)
    if settings.dagster_home is None:
        _logger.warning(
            "DAGSTER_HOME is not set: this run will be forgotten and knows no dataset; "
            "set it to your home folder: export DAGSTER_HOME=%s",
            home.path,
        )
    elif register and settings.register_datasets:
        with dg.DagsterInstance.get() as instance:
            register_datasets(home, flows.flows.values(), instance)
    jobs = {flow.name: flow_job(flow) for flow in flows.flows.values()}
    return dg.Definitions(
        assets=[
            *(flow_assets(flow, home) for flow in flows.flows.values()),
            *(raw_asset(flow) for flow in flows.flows.values() if flow.source is not None),
        ],
        jobs=[*jobs.values(), prune_old_runs],
        schedules=[
            *(
                flow_schedule(flow, home, jobs[flow.name])
                for flow in flows.flows.values()
                if flow.schedule is not None
            ),
            prune_schedule,
        ],
        sensors=[
            *(
                raw_files_sensor(flow, home, jobs[flow.name])
                for flow in flows.flows.values()
                if flow.source is not None
            ),
            *(notify_sensor(flow) for flow in flows.flows.values() if flow.notify),
        ],
        # a run costs 3 s less than with one process a step, and treatments use all cores anyway
        executor=dg.in_process_executor,
    )


def flow_job(flow: Flow) -> dg.UnresolvedAssetJobDefinition:
    """The job that materializes all stages of a flow."""
    return dg.define_asset_job(
        flow.identifier,
        selection=dg.AssetSelection.assets(*(stage_key(flow, stage) for stage in flow.stages)),
        description=flow.description or f"All stages of the flow {flow.name}.",
    )


def _report(flows: FlowSet, home: Home) -> None:
    for error in flows.problems.values():
        _logger.error("flow left out: %s", error)
    if not flows.flows and not flows.problems:
        _logger.warning("no flows in %s: procezo init DATASET makes one", home.flows)
