"""The page of guarantees names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_test_and_page_that_is_named_exists():
    page = (ROOT / "docs" / "guarantees.md").read_text()
    paths = re.findall(r"(?:tests|benchmarks)/[\w/]*(?:\.py)?", page)
    links = re.findall(r"\]\(([^)#:]+)\)", page)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
