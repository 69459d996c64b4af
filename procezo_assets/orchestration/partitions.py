"""Partitions: one dataset and one UTC day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple

import dagster as dg
from filelock import FileLock

from procezo_assets.datasets import Home
from procezo_assets.flows import Flow

DATASET = "dataset"
DAY = "day"

# Dagster reads these, and exports no names for them
PARTITION = "dagster/partition"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


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


def partition_tags(flow: Flow, dataset: str, first: date, last: date) -> dict[str, str]:
    """The tags by which a run is told its partitions: contiguous days of one dataset."""
    start, end = partition_key(dataset, first), partition_key(dataset, last)
    if first == last:
        return dict(flow_partitions(flow).get_tags_for_partition_key(start))
    return {RANGE_START: start, RANGE_END: end}


def run_request(
    dataset: str,
    first: date,
    last: date,
    *,
    run_key: str | None = None,
    assets: Sequence[dg.AssetKey] | None = None,
) -> dg.RunRequest:
    """Ask for one run of contiguous days of a dataset.

    Args:
        dataset: The dataset's name.
        first: First day.
        last: Last day.
        run_key: No second run is ever made for the same one. A sensor gives none: a change back to
            what was there before, or days whose run failed, would be passed over.
        assets: Which of the job's assets; all where left out.
    """
    # a range even of one day: Dagster warns of the tags that it makes of a `partition_key`
    tags = {
        RANGE_START: partition_key(dataset, first),
        RANGE_END: partition_key(dataset, last),
    }
    return dg.RunRequest(run_key=run_key, tags=tags, asset_selection=assets)


class Tagged(NamedTuple):
    """What a run's tags name: the days of a dataset, or of all from one to another.

    Args:
        dataset: The dataset, or the first of them in Dagster's order.
        last_dataset: The last of them; of most runs the same one.
        first: First day.
        last: Last day.
    """

    dataset: str
    last_dataset: str
    first: date
    last: date

    def datasets(self, known: Sequence[str]) -> Sequence[str]:
        """All the datasets that are meant.

        Args:
            known: Those that Dagster knows, in its order.
        """
        if self.dataset not in known or self.last_dataset not in known:
            return list(dict.fromkeys([self.dataset, self.last_dataset]))
        return known[known.index(self.dataset) : known.index(self.last_dataset) + 1]


def tagged(tags: Mapping[str, str]) -> Tagged | None:
    """What a run's tags name; None where they name no partitions."""
    start = tags.get(RANGE_START) or tags.get(PARTITION)
    end = tags.get(RANGE_END) or start
    if not start or not end:
        return None
    try:
        dataset, first = partition_of(start)
        last_dataset, last = partition_of(end)
        return Tagged(dataset, last_dataset, first, last)
    except ValueError:  # of somebody else's partitions
        return None


def register_datasets(home: Home, flows: Iterable[Flow], instance: dg.DagsterInstance) -> None:
    """Make the datasets on disk known to the instance.

    Dagster refuses a run of a partition that the instance does not know, so that without this a
    fresh clone could materialize nothing.
    """
    lock = home.state / "dagster-instance.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):  # Dagster looks which are missing and then adds them, not in one step
        for flow in flows:
            name = dataset_partitions_name(flow)
            known = set(instance.get_dynamic_partitions(name))
            missing = [dataset for dataset in flow.datasets(home) if dataset not in known]
            if missing:
                instance.add_dynamic_partitions(name, missing)


def forget_dataset(flows: Iterable[Flow], dataset: str) -> None:
    """Take a dataset that is no more from the partitions that the instance knows."""
    with dg.DagsterInstance.get() as instance:
        for flow in flows:
            name = dataset_partitions_name(flow)
            if dataset in instance.get_dynamic_partitions(name):
                instance.delete_dynamic_partition(name, dataset)
