"""What fuzzing has shown stays shown: each input of the corpus keeps all promises."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("target", TARGETS)
def test_promises_hold_for_the_corpus(target):
    inputs = sorted((CORPUS / target).iterdir())
    assert inputs
    for one in inputs:
        try:
            TARGETS[target](one.read_bytes())
        except BaseException as error:
            error.add_note(f"corpus/{target}/{one.name}")
            raise
