"""The demo, as a newcomer runs it."""

from __future__ import annotations

import re

import psycopg
import pytest
from small_home import SmallHome

COUNTS = (
    "SELECT count(*), count(m0__raw__mean), round(sum(m0__raw__mean)) FROM valvometry.bio_signal_60s"
)
# both databases show the same four hours of the first device
SHOWN = re.compile(r"^ *pil-90 +2026-01-20 0[0-3]:00 +60 +[\d.,]+ +[\d.,]+ *$", re.MULTILINE)


@pytest.fixture(scope="module")
def twice(tmp_path_factory, postgres_url):
    """The demo in a fresh folder, two times."""
    home = SmallHome(tmp_path_factory.mktemp("demo"), {"PROCEZO_POSTGRES_URL": postgres_url})

    def counts():
        with psycopg.connect(postgres_url) as connection:
            return home.rows(COUNTS), connection.execute(COUNTS).fetchall()

    first = home.command("procezo", "demo"), home.digests(), counts()
    second = home.command("procezo", "demo"), home.digests(), counts()
    return home, first, second


@pytest.mark.timeout(240)
def test_the_demo_shows_results_of_both_databases_and_where_files_are(twice):
    home, (ended, _, _), _ = twice
    assert ended.code == 0, ended.err
    assert len(SHOWN.findall(ended.out)) == 8, ended.out
    for text in ("DuckDB, warehouse.duckdb", "PostgreSQL, PROCEZO_POSTGRES_URL", "removed by reason"):
        assert text in ended.out
    shown = re.findall(r"^ +(datasets/\S+\.(?:parquet|csv|png))", ended.out, re.MULTILINE)
    assert len(shown) >= 8
    for name in shown:
        assert (home.path / name).stat().st_size > 0, name
    assert (home.path / shown[-1]).read_bytes().startswith(b"\x89PNG")


def test_the_demo_says_what_it_does_on_stderr(twice):
    _, (ended, _, _), _ = twice
    lines = ended.err.splitlines()
    assert lines[0].startswith("1. sample data")
    assert not [line for line in lines if "Traceback" in line or "Warning" in line]


def test_the_demo_gives_the_same_files_and_rows_twice(twice):
    _, (_, digests, counts), (again, same, recounted) = twice
    assert again.code == 0, again.err
    assert {n: d for n, d in same.items() if not n.endswith(".png")} == {
        n: d for n, d in digests.items() if not n.endswith(".png")
    }
    assert recounted == counts
    (in_duckdb,), (in_postgres,) = counts
    assert in_duckdb[0] == in_postgres[0] > 8000  # two devices, three days of minutes
    assert in_duckdb[1:] == in_postgres[1:]
