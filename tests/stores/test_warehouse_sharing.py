"""A DuckDB file that other programs and runs use."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from warehouse_parts import D1, D2, TABLE, query, run, stage_input, write_part

from procezo_assets.datasets import Home
from procezo_assets.errors import StoreError, TransientStoreError
from procezo_assets.stores.warehouse import (
    connect_readonly,
)
from procezo_assets.stores.warehouse_tables import load


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / 'a home [1]*\'s "x" a=b')


def holder(home, seconds):
    """Start a program that keeps the warehouse open for so long, as a notebook does."""
    code = """
        import sys, time, duckdb
        connection = duckdb.connect(sys.argv[1])
        print("open", flush=True)
        time.sleep(float(sys.argv[2]))
        connection.close()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), home.warehouse, str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "open\n"
    return process


def test_program_that_holds_the_file_is_named(home):
    write_part(home, D1, {"a": [1]})
    run(home, D1)
    with holder(home, 120) as process:
        try:
            with pytest.raises(TransientStoreError) as caught:
                run(home, D1, busy_wait_s=0.3)
            assert f"{Path(sys.executable).resolve().name} (PID" in str(caught.value)
            assert f"(PID {process.pid})" in caught.value.problem
            assert "connection.close()" in caught.value.hint
            with (
                pytest.raises(StoreError, match=f"PID {process.pid}"),
                connect_readonly(home, wait_s=0.1),
            ):
                pass
        finally:
            process.kill()
    assert run(home, D1).rows == {D1: 1}


def test_program_that_closes_the_file_in_time_is_waited_for(home):
    write_part(home, D1, {"a": [1]})
    run(home, D1)
    with holder(home, 1):
        assert run(home, D1).rows == {D1: 1}


def test_a_reader_that_comes_and_goes_breaks_no_load_and_no_load_breaks_it(home):
    code = """
        import sys
        from pathlib import Path
        from procezo_assets.datasets import Home
        from procezo_assets.stores.warehouse import connect_readonly
        print("open", flush=True)
        while not (Path(sys.argv[1]) / "stop").exists():
            with connect_readonly(Home(Path(sys.argv[1]))) as connection:
                print(*connection.execute(sys.argv[2]).fetchone())
    """
    whole = f"SELECT count(*), min(a) = max(a) FROM {TABLE}"
    write_part(home, D1, {"a": [0] * 1000})
    run(home, D1)
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(home.path), whole],
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdout.readline() == "open\n"
        for value in range(1, 9):
            write_part(home, D1, {"a": [value] * 1000})
            assert run(home, D1).rows == {D1: 1000}
        (home.path / "stop").touch()
        seen = reader.stdout.read().splitlines()
    assert reader.returncode == 0
    assert set(seen) == {"1000 True"}


def test_runs_that_load_at_the_same_time_take_turns(home):
    write_part(home, D1, {"a": [1]})
    write_part(home, D2, {"a": [2], "b": [0.5]})
    context = multiprocessing.get_context("spawn")
    loads = [
        context.Process(target=load, args=([stage_input(home, day)],), kwargs={"busy_wait_s": 0.1})
        for day in (D1, D2)
    ]
    for process in loads:
        process.start()
    for process in loads:
        process.join()

    assert [process.exitcode for process in loads] == [0, 0]
    assert query(home, f"SELECT a, b FROM {TABLE} ORDER BY ts") == [(1, None), (2, 0.5)]


def test_reader_in_this_process_is_named(home):
    write_part(home, D1, {"a": [1]})
    run(home, D1)

    with connect_readonly(home), pytest.raises(StoreError, match="by this same process"):
        run(home, D1, busy_wait_s=0.1)

    assert run(home, D1).rows == {D1: 1}


def test_file_that_is_no_warehouse_is_said_so(home):
    home.path.mkdir()
    home.warehouse.write_text("no database" * 1000)
    write_part(home, D1, {"a": [1]})

    with pytest.raises(StoreError, match=r"cannot open .*warehouse.duckdb"):
        run(home, D1)


def test_reading_before_anything_was_loaded(home):
    with (
        pytest.raises(StoreError, match=r"no warehouse .* yet; run a flow that has a to_duckdb"),
        connect_readonly(home),
    ):
        pass


def test_loading_nothing_makes_nothing(home):
    assert load([]) == []
    assert not home.warehouse.exists()
