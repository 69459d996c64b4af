"""Bytes as a flow file: a flow that can be asked everything, or one line on what is wrong."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from fuzz_raw import one_line

from procezo_assets.datasets import Home
from procezo_assets.errors import ProcezoError
from procezo_assets.flow_files import load_flows, read_flow
from procezo_assets.parameters import canonical_json
from procezo_assets.treatments.registry import Registry, built_in


def flow(data: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="procezo-fuzz-") as folder:
        home = Home(Path(folder))
        home.dataset("DS").raw.mkdir(parents=True)
        home.flows.mkdir()
        path = home.flows / "f.json"
        path.write_bytes(data)
        found = load_flows(home, _registry())
        problems = [str(problem) for problem in found.problems.values()]
        try:
            read = read_flow(path, _registry())
        except ProcezoError as error:
            told = error
        else:
            assert problems == []
            _is_whole(home, read)
            (again,) = found.flows.values()
            assert again == read
            return
        one_line(told)
        assert problems == [str(told)]


def _is_whole(home, flow):
    assert flow.name.isascii()
    assert flow.identifier.isidentifier() or flow.identifier[0].isdigit()
    flow.description.encode()
    for text in (*flow.labels, *flow.labels.values(), *flow.patterns):
        text.encode()
    flow.takes_dataset("DS")
    place = home.dataset("DS")
    for stage in flow.stages:
        assert place.stage(stage.output).resolve().parent == place.path.resolve()
        assert flow.stage(stage.name) == stage
        try:
            canonical_json(flow.parameters(stage, "DS")).encode()
        except ProcezoError as error:  # overrides of several patterns may not go together
            one_line(error)


@cache
def _registry() -> Registry:
    return Registry(built_in(), {})
