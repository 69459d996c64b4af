"""The dialect of a dataset, settled by its first file."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest

from procezo_assets.datasets import Home
from procezo_assets.errors import DialectError, RawFileError
from procezo_assets.raw.dialect import Dialect
from procezo_assets.raw.files import Limits
from procezo_assets.raw.fixed import DatasetDialect
from procezo_assets.raw.source import RawSource
from procezo_assets.treatments.parse import ParseParameters

LIMITS = Limits(date(2020, 1, 1), date(2026, 1, 31))
COMMAS = "ts,a\n2026-01-25T08:00:00Z,1\n"
SEMICOLONS = "ts;a\n2026-01-25T09:00:00Z;2\n"


@pytest.fixture
def dataset(tmp_path):
    dataset = Home(tmp_path).dataset("DS")
    dataset.raw.mkdir(parents=True)
    return dataset


class Nowhere:
    def __enter__(self):
        return self

    def __exit__(self, *args):
        pass

    def add(self, lines):
        pass


def scanned(dataset, *, writes=True):
    source = RawSource(
        dataset, ParseParameters.model_validate({"format": "csv"}), LIMITS, output="10_parsed"
    )
    source.scan((lambda _: Nowhere()) if writes else None)
    return {
        name: (counted.rows, counted.quarantined) for name, counted in source.files.items()
    }, source


def test_the_first_file_by_name_settles_it_and_others_are_quarantined_whole(dataset):
    (dataset.raw / "b.csv").write_text(SEMICOLONS)
    (dataset.raw / "a.csv").write_text(COMMAS)
    (dataset.raw / "c.csv").write_text(COMMAS.replace("08", "10"))

    counts, source = scanned(dataset)

    assert counts == {"a.csv": (1, {}), "b.csv": (0, {"dialect": 2}), "c.csv": (1, {})}
    refused = source.files["b.csv"].refused
    assert refused.startswith("it is not written as the dataset's other files are: ")
    assert str(dataset.stage("10_parsed") / "dialect.json") in refused
    assert json.loads((dataset.stage("10_parsed") / "dialect.json").read_text())["delimiter"] == ","


def test_it_outlives_the_file_that_settled_it_until_it_is_removed(dataset):
    (dataset.raw / "a.csv").write_text(COMMAS)
    (dataset.raw / "c.csv").write_text(COMMAS.replace("08", "10"))
    scanned(dataset)
    (dataset.raw / "a.csv").unlink()
    (dataset.raw / "b.csv").write_text(SEMICOLONS)

    assert scanned(dataset)[0] == {"b.csv": (0, {"dialect": 2}), "c.csv": (1, {})}

    (dataset.stage("10_parsed") / "dialect.json").unlink()
    assert scanned(dataset)[0] == {"b.csv": (1, {}), "c.csv": (0, {"dialect": 2})}


def test_it_is_settled_anew_where_no_file_is_left_that_fits(dataset):
    (dataset.raw / "a.csv").write_text(COMMAS)
    scanned(dataset)
    (dataset.raw / "a.csv").unlink()
    (dataset.raw / "b.csv").write_text(SEMICOLONS)

    assert scanned(dataset)[0] == {"b.csv": (1, {})}


def test_who_only_looks_leaves_nothing_behind(dataset):
    (dataset.raw / "a.csv").write_text(COMMAS)
    (dataset.raw / "b.csv").write_text(SEMICOLONS)

    counts, _ = scanned(dataset, writes=False)

    assert counts == {"a.csv": (1, {}), "b.csv": (0, {"dialect": 2})}
    assert not dataset.stage("10_parsed").exists()


def test_a_file_that_somebody_edited_wrongly_is_named(dataset):
    (dataset.raw / "a.csv").write_text(COMMAS)
    path = dataset.stage("10_parsed") / "dialect.json"
    path.parent.mkdir()
    for text, told in (('{"format": "cvs"}', "format: .*"), ("[" * 100_000, "it is nested .*")):
        path.write_text(text)
        with pytest.raises(
            RawFileError, match=rf"dialect\.json cannot be read: {told}; correct it"
        ):
            scanned(dataset)


def test_runs_at_the_same_time_settle_one_dialect(dataset):
    dialects = [
        Dialect(format="csv", delimiter=delimiter, columns=("ts", "a")) for delimiter in ",;" * 8
    ]

    def settle(dialect):
        try:
            DatasetDialect(dataset, "10_parsed", write=True).settle(dialect)
        except DialectError:
            return None
        return dialect.delimiter

    with ThreadPoolExecutor(8) as threads:
        settled = set(threads.map(settle, dialects))

    saved = json.loads((dataset.stage("10_parsed") / "dialect.json").read_text())["delimiter"]
    assert settled == {saved, None}
