"""Partitions: one dataset and one UTC day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import dagster as dg
from filelock import FileLock

from procezo_assets.datasets import Home
from procezo_assets.flows import Flow
from procezo_assets.settings import load_settings

DATASET = "dataset"
DAY = "day"


def dataset_partitions_name(flow: Flow) -> str:
    """The name under which the instance knows the flow's datasets."""
    return f"{flow.identifier}_datasets"


def flow_partitions(flow: Flow) -> dg.MultiPartitionsDefinition:
    """The flow's partitions: its datasets, each from its first day to today."""
    return dg.MultiPartitionsDefinition(
        {
            DATASET: dg.DynamicPartitionsDefinition(name=dataset_partitions_name(flow)),
            # today is in, as files grow during the day
            DAY: dg.DailyPartitionsDefinition(start_date=str(flow.start), end_offset=1),
        }
    )


def partition_key(dataset: str, day: date) -> dg.MultiPartitionKey:
    """The key of one partition."""
    return dg.MultiPartitionKey({DATASET: dataset, DAY: str(day)})


def partition_of(key: str) -> tuple[str, date]:
    """The dataset and day of a partition's key."""
    dataset, _, day = key.rpartition("|")
    return dataset, date.fromisoformat(day)


def register_datasets(home: Home, flows: Iterable[Flow]) -> None:
    """Make the datasets on disk known to the instance, where DAGSTER_HOME names one.

    Dagster refuses a run of a partition that the instance does not know, so that without this a
    fresh clone could materialize nothing.
    """
    if load_settings().dagster_home is None:
        return
    lock = home.state / "dagster-instance.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    # several processes at once fail on fresh storage: each would create its tables
    with FileLock(lock), dg.DagsterInstance.get() as instance:
        for flow in flows:
            name = dataset_partitions_name(flow)
            known = set(instance.get_dynamic_partitions(name))
            missing = [dataset for dataset in flow.datasets(home) if dataset not in known]
            if missing:
                instance.add_dynamic_partitions(name, missing)
