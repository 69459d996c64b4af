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


def test_every_make_target_that_is_named_exists_and_is_in_its_help():
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in (ROOT / "docs" / "guarantees.md", ROOT / "README.md", ROOT / "ARCHITECTURE.md"):
        assert {*re.findall(r"`make ([a-z]+)", page.read_text())} <= targets, page
