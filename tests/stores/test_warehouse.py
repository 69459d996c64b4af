"""The warehouse: what loading changes in a real DuckDB file, and what it leaves alone."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import polars as pl
import pytest
from warehouse_parts import D1, D2, D3, TABLE, columns, query, run, stage_input, tables, write_part

from procezo_assets.datasets import Home
from procezo_assets.errors import StoreError
from procezo_assets.stores.warehouse import (
    glob_of,
    quote_identifier,
    schema_name,
)
from procezo_assets.stores.warehouse_files import wider
from procezo_assets.stores.warehouse_tables import load


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / 'a home [1]*\'s "x" a=b')


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


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("A", "has a column 'A' that DuckDB cannot tell from 'a'"),
        ("dataset", "has a column 'dataset' that DuckDB cannot tell from 'dataset'"),
        ("TS", "has a column 'TS' that DuckDB cannot tell from 'ts'"),
        ("a\0b", "has a column 'a\\x00b', which cannot be a name in DuckDB"),
    ],
)
def test_day_with_a_column_that_no_table_can_have_fails_alone_and_keeps_its_rows(
    home, name, reason
):
    write_part(home, D1, {"a": [1]})
    write_part(home, D2, {"a": [2]})
    run(home, D1, D2)
    write_part(home, D1, {"a": [10]})
    write_part(home, D2, {"a": [20], name: [2]})
    write_part(home, D2, {"a": [30]}, device="pil-98")
    write_part(home, D2, {"a": [40]}, dataset="LAB")

    first, other = load([stage_input(home, D1, D2), stage_input(home, D2, dataset="LAB")])

    assert query(home, f"SELECT dataset, a FROM {TABLE} ORDER BY ALL") == [
        ("GRACE", 2),
        ("GRACE", 10),
        ("LAB", 40),
    ]
    assert (first.rows, other.rows) == ({D1: 1}, {D2: 1})
    assert list(first.failed) == [D2]
    assert reason in first.failed[D2]
    assert "rename it in the flow's parse step" in first.failed[D2]
    assert other.failed == {}


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
