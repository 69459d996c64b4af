"""Commands at once over the same days: all is as if one had come after the other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from small_home import DAYS, EVERY_STEP, SmallHome

ROWS = "SELECT * FROM small.bio_signal_60s ORDER BY dataset, device, ts"


@pytest.mark.timeout(300)
def test_flows_over_the_same_days_at_once(tmp_path, postgres_url):
    found = []
    for name, commands in (("undisturbed", 1), ("raced", 2)):
        home = SmallHome(tmp_path / name, {"PROCEZO_POSTGRES_URL": postgres_url})
        home.write_flow(*EVERY_STEP)
        home.write_raw(*DAYS)
        with ThreadPoolExecutor(commands) as pool:
            ended = list(
                pool.map(lambda home: home.command("procezo", "flow", "small"), [home] * commands)
            )
        assert [one.code for one in ended] == [0] * commands, [one.err for one in ended]
        with psycopg.connect(postgres_url) as connection:
            found.append((home.digests(), home.rows(ROWS), connection.execute(ROWS).fetchall()))
            connection.execute("DROP SCHEMA small CASCADE")
    assert found[0] == found[1]
    assert [len(rows) for rows in found[0][1:]] == [15, 15]
    assert "nothing to do" in home.command("procezo", "flow", "small", "--last").err
