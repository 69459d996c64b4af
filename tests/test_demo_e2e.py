"""The demo, as a newcomer runs it: one test, since it is the longest of all."""

from __future__ import annotations

import re

import psycopg
import pytest
from small_home import SmallHome

COUNTS = """
SELECT count(*), count(m0__raw__mean), round(sum(m0__raw__mean)), min(device), max(device)
FROM valvometry.bio_signal_60s"""
# both databases show the same four hours of the first device
SHOWN = re.compile(r"^ *pil-90 +2026-01-20 0[0-3]:00 +[0-9]+ +[\d.,]+ +[\d.,]+ *$", re.MULTILINE)
RESULT = re.compile(r"^ +(datasets/\S+\.(?:parquet|csv|png))", re.MULTILINE)


@pytest.mark.timeout(240)
def test_the_demo_shows_results_and_gives_the_same_ones_again(tmp_path, postgres_url):
    home = SmallHome(tmp_path / "home", {"PROCEZO_POSTGRES_URL": postgres_url})

    def counts():
        with psycopg.connect(postgres_url) as connection:
            return home.rows(COUNTS)[0], connection.execute(COUNTS).fetchone()

    ended = home.command("procezo", "demo")
    assert ended.code == 0, ended.err
    said = ended.err.splitlines()
    assert said[0].startswith("1. sample data")
    assert not [line for line in said if "Traceback" in line or "Warning" in line]
    for text in (
        "removed by reason",
        "DuckDB, warehouse.duckdb",
        "PostgreSQL, PROCEZO_POSTGRES_URL",
        "FROM valvometry.bio_signal_60s",
    ):
        assert text in ended.out
    assert len(SHOWN.findall(ended.out)) == 8, ended.out
    shown = RESULT.findall(ended.out)
    assert len(shown) >= 8  # an example of each stage, and the plot
    assert not [name for name in shown if (home.path / name).stat().st_size == 0]
    assert (home.path / shown[-1]).read_bytes().startswith(b"\x89PNG")

    in_duckdb, in_postgres = counts()
    assert in_duckdb == in_postgres
    assert in_duckdb[0] > 8000  # two devices, three days of minutes
    assert in_duckdb[3:] == ("pil-90", "pil-98")

    digests = home.digests()
    assert home.command("procezo", "demo").code == 0
    assert home.digests() == digests
    assert counts() == (in_duckdb, in_postgres)
