"""The warehouse: what loading changes in a real DuckDB file, and what it leaves alone."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import textwrap
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from procezo_assets.datasets import Home, PartKey
from procezo_assets.errors import StoreError
from procezo_assets.stores.loads import StageInput
from procezo_assets.stores.warehouse import (
    connect_readonly,
    glob_of,
    quote_identifier,
    schema_name,
)
from procezo_assets.stores.warehouse_files import wider
from procezo_assets.stores.warehouse_tables import load

D1, D2, D3 = date(2026, 1, 25), date(2026, 1, 26), date(2026, 1, 27)
FLOW = "premanip-grace"
TABLE = 'premanip_grace."bio_signal_10s"'


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / 'a home [1]*\'s "x" a=b')


def write_part(
    home,
    day,
    values,
    *,
    device="pil-90",
    dataset="GRACE",
    domain="bio_signal",
    window="10s",
    folder="40_aggregated",
    hour=8,
):
    """Write the values of a device-day, ten seconds apart from 08:00 UTC on."""
    start = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
    size = len(next(iter(values.values()), []))
    frame = pl.DataFrame(
        {
            "ts": [start + timedelta(seconds=10 * i) for i in range(size)],
            "device": [device] * size,
        }
        | values,
        schema_overrides={"ts": pl.Datetime("us", "UTC"), "device": pl.String},
    )
    path = PartKey(device, domain, window).path(home.dataset(dataset).stage(folder), day)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)
    return path


def stage_input(home, *days, dataset="GRACE", folder="40_aggregated", flow=FLOW):
    return StageInput(
        home=home,
        flow=flow,
        dataset=dataset,
        stage=folder.partition("_")[2],
        folder=home.dataset(dataset).stage(folder),
        output=home.dataset(dataset).stage("50_duckdb"),
        days=days,
        step="to_duckdb",
    )


def run(home, *days, dataset="GRACE", folder="40_aggregated", flow=FLOW, **options):
    (loaded,) = load(
        [stage_input(home, *days, dataset=dataset, folder=folder, flow=flow)], **options
    )
    return loaded


def query(home, sql):
    with connect_readonly(home) as connection:
        return connection.execute(sql).fetchall()


def columns(home, table=TABLE):
    return [(name, kind) for name, kind, *_ in query(home, f"DESCRIBE {table}")]


def tables(home):
    return [
        f"{schema}.{name} {kind}"
        for schema, name, kind in query(
            home,
            "SELECT table_schema, table_name, table_type FROM information_schema.tables "
            "ORDER BY ALL",
        )
    ]


def test_rows_have_their_dataset_device_and_instant(home):
    write_part(home, D1, {"m0__raw__mean": [1.5, None], "n": [1, 2]}, device="pil 90")

    loaded = run(home, D1)

    assert columns(home) == [
        ("dataset", "VARCHAR"),
        ("device", "VARCHAR"),
        ("ts", "TIMESTAMP WITH TIME ZONE"),
        ("m0__raw__mean", "DOUBLE"),
        ("n", "BIGINT"),
    ]
    assert query(home, f"SELECT * FROM {TABLE} ORDER BY ts") == [
        ("GRACE", "pil 90", datetime(2026, 1, 25, 8, tzinfo=UTC), 1.5, 1),
        ("GRACE", "pil 90", datetime(2026, 1, 25, 8, 0, 10, tzinfo=UTC), None, 2),
    ]
    assert loaded.rows == {D1: 2}
    assert loaded.tables == ("premanip_grace.bio_signal_10s",)
    assert loaded.warnings == ()


def test_table_a_domain_and_window(home):
    write_part(home, D1, {"a": [1, 2]})
    write_part(home, D1, {"a": [3]}, window="1h")
    write_part(home, D1, {"t": [0.5]}, domain="environment")

    loaded = run(home, D1)

    assert tables(home) == [
        "premanip_grace.bio_signal_10s BASE TABLE",
        "premanip_grace.bio_signal_1h BASE TABLE",
        "premanip_grace.environment_10s BASE TABLE",
    ]
    assert loaded.rows == {D1: 4}


def test_stage_without_windows_has_a_table_named_for_it(home):
    write_part(home, D1, {"a": [1]}, window=None, folder="20_clean")

    assert run(home, D1, folder="20_clean").tables == ("premanip_grace.bio_signal_clean",)
    assert query(home, "SELECT a FROM premanip_grace.bio_signal_clean") == [(1,)]


def test_only_the_given_days_are_replaced(home):
    write_part(home, D1, {"a": [1, 2]})
    write_part(home, D2, {"a": [3]})
    run(home, D1, D2)
    write_part(home, D1, {"a": [10]})
    write_part(home, D2, {"a": [30]})

    loaded = run(home, D1)

    assert query(home, f"SELECT ts::DATE, a FROM {TABLE} ORDER BY ts") == [(D1, 10), (D2, 3)]
    assert loaded.rows == {D1: 1}


def test_device_and_window_that_vanish_take_their_rows_along(home):
    write_part(home, D1, {"a": [1]})
    device = write_part(home, D1, {"a": [2]}, device="pil-98")
    window = write_part(home, D1, {"a": [3]}, window="1h")
    write_part(home, D2, {"a": [4]}, window="1h")
    run(home, D1, D2)

    device.unlink()
    window.unlink()
    run(home, D1)

    assert query(home, f"SELECT device, a FROM {TABLE}") == [("pil-90", 1)]
    assert query(home, "SELECT a FROM premanip_grace.bio_signal_1h") == [(4,)]


def test_day_without_files_and_file_without_rows(home):
    write_part(home, D1, {"a": [1]})
    write_part(home, D2, {})
    write_part(home, D3, {"a": [3]}).unlink()

    loaded = run(home, D1, D2, D3)

    assert loaded.rows == {D1: 1, D2: 0, D3: 0}
    assert query(home, f"SELECT a FROM {TABLE}") == [(1,)]


def test_rerun_changes_nothing(home):
    write_part(home, D1, {"a": [1, 2]}, window=None, folder="20_clean")
    write_part(home, D1, {"a": [1.5]})
    everything = (
        "SELECT view_oid, view_name FROM duckdb_views() WHERE NOT internal "
        "UNION ALL SELECT table_oid, table_name FROM duckdb_tables() ORDER BY ALL"
    )
    first = run(home, D1)
    before = (query(home, f"FROM {TABLE}"), columns(home), query(home, everything))

    assert run(home, D1) == first
    assert (query(home, f"FROM {TABLE}"), columns(home), query(home, everything)) == before
    assert len(before[2]) == 2


def test_datasets_do_not_touch_each_other(home):
    write_part(home, D1, {"a": [1]})
    write_part(home, D1, {"a": [2]}, dataset="event 1/group'A")
    loaded = load([stage_input(home, D1), stage_input(home, D1, dataset="event 1/group'A")])
    assert [(one.dataset, one.rows) for one in loaded] == [
        ("GRACE", {D1: 1}),
        ("event 1/group'A", {D1: 1}),
    ]

    write_part(home, D1, {"a": [20]}, dataset="event 1/group'A")
    run(home, D1, dataset="event 1/group'A")

    assert query(home, f"SELECT dataset, a FROM {TABLE} ORDER BY ALL") == [
        ("GRACE", 1),
        ("event 1/group'A", 20),
    ]


def test_flows_do_not_touch_each_other(home):
    write_part(home, D1, {"a": [1]})
    run(home, D1, flow="one")
    write_part(home, D1, {"a": [2]})
    for flow in ("warehouse", "main", "temp"):  # also names that DuckDB uses itself
        run(home, D1, flow=flow)

    assert query(home, "SELECT a FROM one.bio_signal_10s") == [(1,)]
    for flow in ("warehouse", "main", "temp"):
        assert query(home, f"SELECT a FROM warehouse.{flow}.bio_signal_10s") == [(2,)]


def test_columns_are_added_and_types_widened_and_nothing_is_dropped(home):
    write_part(home, D1, {"a": [1], "b": [1], "c": [1.5], "d": [True]})
    run(home, D1)
    write_part(home, D2, {"new": ["x"], "a": [0.5], "b": ["text"], "d": [3]})

    run(home, D2)

    assert columns(home)[3:] == [
        ("a", "DOUBLE"),
        ("b", "VARCHAR"),
        ("c", "DOUBLE"),
        ("d", "VARCHAR"),
        ("new", "VARCHAR"),
    ]
    assert query(home, f"SELECT a, b, c, d, new FROM {TABLE} ORDER BY ts") == [
        (1.0, "1", 1.5, "true", None),
        (0.5, "text", None, "3", "x"),
    ]


def test_types_that_differ_within_a_load_come_out_as_they_do_one_by_one(home):
    write_part(home, D1, {"a": [True], "b": [1]})
    write_part(home, D2, {"a": [3], "b": [0.5]})
    run(home, D1, D2, flow="together")
    run(home, D1, flow="apart")
    run(home, D2, flow="apart")

    for flow in ("together", "apart"):
        assert query(home, f"SELECT a, b FROM {flow}.bio_signal_10s ORDER BY ts") == [
            ("true", 1.0),
            ("3", 0.5),
        ]


def test_column_of_nothing_but_nulls_waits_for_a_type(home):
    write_part(home, D1, {"a": [None]})
    run(home, D1)
    assert [name for name, _ in columns(home)] == ["dataset", "device", "ts"]

    write_part(home, D2, {"a": [1]})
    run(home, D1, D2)

    assert query(home, f"SELECT a FROM {TABLE} ORDER BY ts") == [(None,), (1,)]


def test_domains_and_windows_that_are_not_asked_for_stay_as_they_are(home):
    write_part(home, D1, {"a": [1]})
    write_part(home, D1, {"a": [2]}, window="1h")
    write_part(home, D1, {"t": [3]}, domain="environment")
    run(home, D1)
    write_part(home, D1, {"a": [10]})
    write_part(home, D1, {"a": [20]}, window="1h")
    write_part(home, D1, {"t": [30]}, domain="environment")

    run(home, D1, domains=["bio_signal"], windows=["10s"])

    assert query(home, f"SELECT a FROM {TABLE}") == [(10,)]
    assert query(home, "SELECT a FROM premanip_grace.bio_signal_1h") == [(2,)]
    assert query(home, "SELECT t FROM premanip_grace.environment_10s") == [(3,)]


def test_day_with_an_unreadable_file_fails_alone_and_keeps_its_rows(home):
    write_part(home, D1, {"a": [1]})
    broken = write_part(home, D2, {"a": [2]})
    run(home, D1, D2)
    write_part(home, D1, {"a": [10]})
    broken.write_bytes(b"PAR1 no parquet at all")

    loaded = run(home, D1, D2)

    assert query(home, f"SELECT a FROM {TABLE} ORDER BY ts") == [(10,), (2,)]
    assert loaded.rows == {D1: 1}
    assert list(loaded.failed) == [D2]
    assert broken.name in loaded.failed[D2]


def test_row_outside_the_day_of_its_file_is_refused_and_nothing_changes(home):
    write_part(home, D1, {"a": [1]})
    run(home, D1)
    write_part(home, D1, {"a": [5] * 8641}, hour=0)

    with pytest.raises(StoreError, match="has 1 rows outside the day of their file"):
        run(home, D1)

    assert query(home, f"SELECT a FROM {TABLE}") == [(1,)]


def test_error_in_the_middle_changes_nothing(home):
    write_part(home, D1, {"a": [1]})
    run(home, D1)
    write_part(home, D1, {"a": [2], "new": [1]})
    path = write_part(home, D1, {"a": [2]}, device="pil-98")
    content = bytearray(path.read_bytes())
    content[4:120] = bytes(116)  # the footer stays whole, the pages do not
    path.write_bytes(content)

    with pytest.raises(StoreError, match="nothing was changed"):
        run(home, D1)

    assert [name for name, _ in columns(home)[3:]] == ["a"]
    assert query(home, f"SELECT a FROM {TABLE}") == [(1,)]


@pytest.mark.parametrize("name", ["A", "dataset", "TS"])
def test_columns_that_duckdb_cannot_tell_apart_are_refused(home, name):
    write_part(home, D1, {"a": [1], name: [2]})

    with pytest.raises(StoreError, match=f"has a column '{name}' that DuckDB cannot tell from"):
        run(home, D1)


def test_two_stages_with_the_same_windows_are_refused(home):
    write_part(home, D1, {"a": [1]})
    write_part(home, D1, {"a": [2]}, folder="45_smoothed")
    run(home, D1)

    with pytest.raises(StoreError, match=r"of stage 'aggregated', not .* of stage 'smoothed'"):
        run(home, D1, folder="45_smoothed")

    assert query(home, f"SELECT a FROM {TABLE}") == [(1,)]


def test_somebody_elses_table_is_left_alone(home):
    home.path.mkdir()
    with duckdb.connect(home.warehouse) as connection:
        connection.execute(f"CREATE SCHEMA premanip_grace; CREATE TABLE {TABLE} AS SELECT 1 AS x")
    write_part(home, D1, {"a": [1]})

    with pytest.raises(StoreError, match=r"a table premanip_grace.bio_signal_10s of somebody else"):
        run(home, D1)

    assert query(home, f"FROM {TABLE}") == [(1,)]


def test_flows_that_differ_in_case_only_are_refused(home):
    write_part(home, D1, {"a": [1]})
    run(home, D1, flow="one")

    with pytest.raises(StoreError, match="has a schema 'one'"):
        run(home, D1, flow="One")


def test_domains_that_would_share_a_table_are_refused(home):
    write_part(home, D1, {"a": [1]})
    write_part(home, D1, {"a": [2]}, domain="Bio_Signal")

    with pytest.raises(StoreError, match="would share the table"):
        run(home, D1)


# Views


def test_views_of_the_other_stages(home):
    write_part(home, D1, {"m0": [1, 2]}, window=None, folder="20_clean")
    write_part(home, D2, {"m1": [0.5]}, window=None, folder="20_clean", dataset="b/x'y")
    write_part(home, D1, {"m0": [9.0]})

    loaded = load([stage_input(home, D1), stage_input(home, D2, dataset="b/x'y")])

    assert [one.warnings for one in loaded] == [(), ()]
    assert tables(home) == [
        "premanip_grace.bio_signal_10s BASE TABLE",
        "premanip_grace.bio_signal_clean VIEW",
    ]
    assert query(
        home,
        "SELECT dataset, device, ts, m0, m1, day FROM premanip_grace.bio_signal_clean ORDER BY ALL",
    ) == [
        ("GRACE", "pil-90", datetime(2026, 1, 25, 8, tzinfo=UTC), 1, None, D1),
        ("GRACE", "pil-90", datetime(2026, 1, 25, 8, 0, 10, tzinfo=UTC), 2, None, D1),
        ("b/x'y", "pil-90", datetime(2026, 1, 26, 8, tzinfo=UTC), None, 0.5, D2),
    ]
    assert [name for name, _ in columns(home, "premanip_grace.bio_signal_clean")] == [
        "dataset",
        "device",
        "ts",
        "m0",
        "day",
        "m1",
    ]


def test_view_follows_new_days_columns_and_types_without_being_made_again(home):
    write_part(home, D1, {"m0": [1]}, window=None, folder="20_clean")
    run(home, D1)
    write_part(home, D2, {"m0": [0.5], "m1": [2]}, window=None, folder="20_clean")

    assert query(home, "SELECT m0, m1 FROM premanip_grace.bio_signal_clean ORDER BY ts") == [
        (1.0, None),
        (0.5, 2),
    ]


def test_view_keeps_the_datasets_that_a_run_is_not_about(home):
    for dataset in ("A", "B"):
        write_part(home, D1, {"m0": [1]}, window=None, folder="20_clean", dataset=dataset)
        run(home, D1, dataset=dataset)

    assert query(home, "SELECT dataset FROM premanip_grace.bio_signal_clean ORDER BY ALL") == [
        ("A",),
        ("B",),
    ]


def test_view_without_files_is_dropped(home):
    path = write_part(home, D1, {"m0": [1]}, window=None, folder="20_clean")
    write_part(home, D1, {"a": [1]})
    run(home, D1)
    assert "premanip_grace.bio_signal_clean VIEW" in tables(home)

    path.unlink()
    run(home, D1)

    assert tables(home) == ["premanip_grace.bio_signal_10s BASE TABLE"]


def test_table_wins_over_a_view(home):
    write_part(home, D1, {"m0": [1]}, window=None, folder="20_clean")
    write_part(home, D1, {"a": [2]})
    run(home, D1)
    assert "premanip_grace.bio_signal_clean VIEW" in tables(home)

    run(home, D1, folder="20_clean")
    run(home, D1)

    assert tables(home) == [
        "premanip_grace.bio_signal_10s BASE TABLE",
        "premanip_grace.bio_signal_aggregated VIEW",
        "premanip_grace.bio_signal_clean BASE TABLE",
    ]
    assert query(home, 'SELECT a, "window" FROM premanip_grace.bio_signal_aggregated') == [
        (2, "10s")
    ]


def test_somebody_elses_view_is_left_alone(home):
    home.path.mkdir()
    with duckdb.connect(home.warehouse) as connection:
        connection.execute(
            "CREATE SCHEMA premanip_grace; CREATE VIEW premanip_grace.mine AS SELECT 1;"
            "CREATE VIEW premanip_grace.bio_signal_clean AS SELECT 2"
        )
    write_part(home, D1, {"m0": [1]}, window=None, folder="20_clean")

    loaded = run(home, D1)

    assert query(home, "FROM premanip_grace.mine") == [(1,)]
    assert query(home, "FROM premanip_grace.bio_signal_clean") == [(2,)]
    assert loaded.warnings == (
        "view premanip_grace.bio_signal_clean is somebody else's and was left as it is",
    )


def test_stages_that_share_a_name_have_a_view_each(home):
    write_part(home, D1, {"m0": [1]}, window=None, folder="20_clean")
    write_part(home, D1, {"m0": [2]}, window=None, folder="21_clean")

    run(home, D1)

    assert query(home, "SELECT m0 FROM premanip_grace.bio_signal_clean") == [(1,)]
    assert query(home, 'SELECT m0 FROM premanip_grace."bio_signal_21_clean"') == [(2,)]


def test_view_that_cannot_be_made_is_a_warning_and_the_rows_are_loaded(home):
    write_part(home, D1, {"m0": [1]}, window=None, folder="20_clean").write_bytes(b"no parquet")
    write_part(home, D1, {"a": [1]})

    loaded = run(home, D1)

    assert query(home, f"SELECT a FROM {TABLE}") == [(1,)]
    (warning,) = loaded.warnings
    assert warning.startswith("view premanip_grace.bio_signal_clean could not be made: ")


def test_views_can_be_left_out(home):
    write_part(home, D1, {"m0": [1]}, window=None, folder="20_clean")
    write_part(home, D1, {"a": [1]})

    run(home, D1, views=False)

    assert tables(home) == ["premanip_grace.bio_signal_10s BASE TABLE"]


# Other programs that have the file open


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
            with pytest.raises(StoreError) as caught:
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


# Names and types


def test_identifiers_are_quoted():
    names = ['a"b', "a'b", "select", "a.b", "é ü", "; DROP TABLE x; --"]
    with duckdb.connect() as connection:
        for name in names:
            connection.execute(f"CREATE TABLE {quote_identifier(name)} (x INT)")
        found = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    assert sorted(name for (name,) in found) == sorted(names)
    assert quote_identifier("c", 's"', "t") == '"c"."s""".' + '"t"'


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_names_that_no_quoting_can_carry_are_refused(name):
    with pytest.raises(StoreError, match="cannot be a name"):
        quote_identifier(name)


def test_schema_names():
    assert schema_name("premanip-grace été.v2") == "premanip_grace__t__v2"


@pytest.mark.parametrize("name", ["a[1]", "a*b", "a?b", "{a,b}", "a'b", 'a"b', "a b", "~a"])
def test_paths_are_read_as_they_are(tmp_path, name):
    path = tmp_path / name / "part.parquet"
    path.parent.mkdir()
    pl.DataFrame({"a": [1]}).write_parquet(path)

    with duckdb.connect() as connection:
        assert connection.execute("FROM read_parquet(?)", [[glob_of(path)]]).fetchall() == [(1,)]
        pattern = f"{glob_of(path.parent)}/*.parquet"
        assert connection.execute("FROM read_parquet(?)", [[pattern]]).fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("BIGINT", "BIGINT", "BIGINT"),
        ("BIGINT", "DOUBLE", "DOUBLE"),
        ("INTEGER", "BIGINT", "BIGINT"),
        ("UINTEGER", "TINYINT", "BIGINT"),
        ("FLOAT", "DOUBLE", "DOUBLE"),
        ("FLOAT", "INTEGER", "DOUBLE"),
        ("BIGINT", "UBIGINT", "VARCHAR"),
        ("BOOLEAN", "BIGINT", "VARCHAR"),
        ("DATE", "TIMESTAMP", "VARCHAR"),
        ("VARCHAR", "DOUBLE", "VARCHAR"),
        ('"NULL"', "DATE", "DATE"),
        ('"NULL"', '"NULL"', '"NULL"'),
    ],
)
def test_wider_type(one, other, both):
    assert wider(one, other) == wider(other, one) == both
