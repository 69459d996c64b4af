"""The raw files of a flow, which it reads and does not make."""

from __future__ import annotations

import dagster as dg

from procezo_assets.datasets import RAW_FOLDER
from procezo_assets.flows import RAW_STAGE, Flow
from procezo_assets.orchestration.partitions import flow_partitions


def raw_key(flow: Flow) -> dg.AssetKey:
    """The asset key of a flow's raw files."""
    return dg.AssetKey([flow.name, RAW_STAGE])


def raw_asset(flow: Flow) -> dg.AssetSpec:
    """The raw files as an asset that comes from outside.

    It has a group of its own, so that the flow's group is what can be materialized.
    """
    return dg.AssetSpec(
        raw_key(flow),
        group_name=f"{flow.identifier}_raw",
        description="Raw files, as their sensor finds them: it tells of each day that they touch.",
        kinds={"file"},
        partitions_def=flow_partitions(flow),
        metadata={"folder": f"datasets/<dataset>/{RAW_FOLDER}"},
    )
