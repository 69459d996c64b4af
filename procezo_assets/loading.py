"""Loading stages: what they are given, and whose turn it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from procezo_assets.datasets import Dataset
from procezo_assets.flows import Flow, Stage
from procezo_assets.parameters import Parameters
from procezo_assets.stores.loads import (
    Loaded,
    StageInput,
    digests_to_load,
    record_loaded,
    turn_to_load,
)
from procezo_assets.treatments.model import load_identity


def stage_input(flow: Flow, stage: Stage, dataset: Dataset, days: tuple[date, ...]) -> StageInput:
    """What a loading stage is given of a dataset.

    Args:
        flow: The flow.
        stage: The loading stage.
        dataset: The dataset.
        days: The days to load, sorted.
    """
    source = flow.input_of(stage)
    return StageInput(
        home=dataset.home,
        flow=flow.name,
        dataset=dataset.name,
        stage=source.name if source else stage.input,
        folder=dataset.stage(stage.input),
        output=dataset.stage(stage.output),
        days=days,
        step=stage.name,
    )


def load_in_turn(
    stage: Stage, params: Parameters, inputs: Sequence[StageInput]
) -> Sequence[Loaded]:
    """Load datasets with the same parameters, and remember what was loaded.

    Args:
        stage: The loading stage.
        params: Its parameters.
        inputs: The datasets and their days.

    Raises:
        ProcezoError: Where nothing, or not all, could be loaded; what was counts as not loaded.
    """
    identity = load_identity(stage.treatment, params, inputs[0].home)
    by_dataset = {one.dataset: one for one in inputs}
    with turn_to_load(inputs):
        digests = {one.dataset: digests_to_load(one, identity) for one in inputs}
        results: Sequence[Loaded] = stage.treatment.function(inputs, params)
        for result in results:
            loaded = {
                day: digest
                for day, digest in digests[result.dataset].items()
                if day not in result.failed
            }
            record_loaded(by_dataset[result.dataset], loaded, result)
    return results
