"""Views of stages in a real DuckDB file."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pytest
from warehouse_parts import D1, D2, TABLE, columns, query, run, stage_input, tables, write_part

from procezo_assets.datasets import Home
from procezo_assets.stores import warehouse_views
from procezo_assets.stores.warehouse_tables import load


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / 'a home [1]*\'s "x" a=b')


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


def test_what_fails_after_the_rows_are_there_is_a_warning(home, monkeypatch):
    write_part(home, D1, {"m0": [1]}, window=None, folder="20_clean")
    write_part(home, D1, {"a": [1]})

    def fail(views, _alive):
        views.connection.execute("DROP VIEW premanip_grace.no_such_view")

    monkeypatch.setattr(warehouse_views._Views, "drop_dead", fail)
    loaded = run(home, D1)

    assert loaded.rows == {D1: 1}
    assert query(home, f"SELECT a FROM {TABLE}") == [(1,)]
    (warning,) = loaded.warnings
    assert warning.startswith("the views of schema premanip_grace could not be kept up to date: ")
    assert "no_such_view" in warning


def test_a_new_view_by_the_name_of_a_former_one_stays(home):
    write_part(home, D1, {"m0": [2]}, window=None, folder="21_clean")
    run(home, D1)
    write_part(home, D1, {"m0": [1]}, window=None, folder="20_clean")
    run(home, D1)

    assert query(home, "SELECT m0 FROM premanip_grace.bio_signal_clean") == [(1,)]
    assert query(home, 'SELECT m0 FROM premanip_grace."bio_signal_21_clean"') == [(2,)]


def test_views_can_be_left_out(home):
    write_part(home, D1, {"m0": [1]}, window=None, folder="20_clean")
    write_part(home, D1, {"a": [1]})

    run(home, D1, views=False)

    assert tables(home) == ["premanip_grace.bio_signal_10s BASE TABLE"]
