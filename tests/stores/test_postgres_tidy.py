"""Tidy tables in a real PostgreSQL: what a load changes, and what it leaves alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import polars as pl
import psycopg
import pytest
from postgres_rows import DAY, NEXT, at, fill, load, rows, run, tidy, types

from procezo_assets.errors import StoreError
from procezo_assets.stores.postgres_connection import DayRefusedError


@pytest.mark.usefixtures("_empty")
class TestTidy:
    def test_rows_arrive_with_their_types_and_a_primary_key(self, postgres_url):
        frame = tidy(m0=[1, None], m1=[0.5, 2.25], ok=[True, False], note=["x", None])

        assert load(postgres_url, {"bio_10s": frame}) == {"bio_10s": 2}

        assert rows(postgres_url, "SELECT * FROM flow.bio_10s ORDER BY ts") == [
            ("D", "a", at(0), 1, 0.5, True, "x"),
            ("D", "a", at(1), None, 2.25, False, None),
        ]
        assert types(postgres_url, "bio_10s") == {
            "dataset": "text",
            "device": "text",
            "ts": "timestamp with time zone",
            "m0": "bigint",
            "m1": "double precision",
            "ok": "boolean",
            "note": "text",
        }
        with pytest.raises(psycopg.errors.UniqueViolation):
            run(postgres_url, "INSERT INTO flow.bio_10s SELECT * FROM flow.bio_10s")

    def test_a_partition_is_replaced_and_nothing_else_moves(self, postgres_url):
        for dataset in ("D", "E"):
            for day in (DAY, NEXT):
                load(postgres_url, {"t": tidy(day=day, m0=[1, 2])}, dataset=dataset, day=day)

        load(postgres_url, {"t": tidy("b", m0=[9])})

        assert rows(
            postgres_url, "SELECT dataset, device, ts, m0 FROM flow.t ORDER BY 1, 2, 3"
        ) == [
            ("D", "a", at(0, NEXT), 1),
            ("D", "a", at(1, NEXT), 2),
            ("D", "b", at(0), 9),
            ("E", "a", at(0), 1),
            ("E", "a", at(1), 2),
            ("E", "a", at(0, NEXT), 1),
            ("E", "a", at(1, NEXT), 2),
        ]

    def test_the_last_microsecond_of_the_day_is_the_days(self, postgres_url):
        last = at(86_400) - timedelta(microseconds=1)
        frame = pl.DataFrame({"device": ["a"], "ts": [last], "m0": [1]})
        load(postgres_url, {"t": tidy(day=NEXT, m0=[5])}, day=NEXT)

        load(postgres_url, {"t": frame})
        load(postgres_url, {"t": frame})

        assert rows(postgres_url, "SELECT ts, m0 FROM flow.t ORDER BY ts") == [
            (last, 1),
            (at(0, NEXT), 5),
        ]

    def test_rows_leave_the_tables_of_the_step_that_got_no_frame(self, postgres_url):
        load(postgres_url, {"bio": tidy(m0=[1]), "env": tidy(t=[2.0])})
        load(postgres_url, {"env": tidy(day=NEXT, t=[3.0])}, day=NEXT)
        load(postgres_url, {"else": tidy(m0=[4])}, origin="flow/another")

        assert load(postgres_url, {"bio": tidy(m0=[1])}) == {"bio": 1, "env": 0}

        assert rows(postgres_url, "SELECT ts FROM flow.env") == [(at(0, NEXT),)]
        assert rows(postgres_url, "SELECT m0 FROM flow.else_ ".replace("else_", '"else"')) == [(4,)]

    def test_a_day_without_any_frame_is_emptied(self, postgres_url):
        load(postgres_url, {"bio": tidy(m0=[1])})

        assert load(postgres_url, {}) == {"bio": 0}
        assert rows(postgres_url, "SELECT * FROM flow.bio") == []

    def test_columns_are_added_and_never_dropped(self, postgres_url):
        load(postgres_url, {"t": tidy(m0=[1])})
        load(postgres_url, {"t": tidy(day=NEXT, m1=[2.5])}, day=NEXT)

        assert rows(postgres_url, "SELECT m0, m1 FROM flow.t ORDER BY ts") == [
            (1, None),
            (None, 2.5),
        ]

    def test_types_are_widened_with_what_is_there(self, postgres_url):
        load(postgres_url, {"t": tidy(a=[1], b=[1], c=[1.5], d=[True], e=["x"])})

        load(
            postgres_url,
            {"t": tidy(day=NEXT, a=[2.5], b=["y"], c=[7], d=[3], e=[4])},
            day=NEXT,
        )

        assert types(postgres_url, "t") == {
            "dataset": "text",
            "device": "text",
            "ts": "timestamp with time zone",
            "a": "double precision",
            "b": "text",
            "c": "double precision",
            "d": "text",
            "e": "text",
        }
        assert rows(postgres_url, "SELECT a, b, c, d, e FROM flow.t ORDER BY ts") == [
            (1.0, "1", 1.5, "true", "x"),
            (2.5, "y", 7.0, "3", "4"),
        ]

    def test_a_column_without_values_widens_nothing(self, postgres_url):
        load(postgres_url, {"t": tidy(a=[1])})

        empty = tidy(day=NEXT, a=[None]).with_columns(pl.col.a.cast(pl.String))
        load(postgres_url, {"t": empty}, day=NEXT)

        assert types(postgres_url, "t")["a"] == "bigint"
        assert rows(postgres_url, "SELECT a FROM flow.t ORDER BY ts") == [(1,), (None,)]

    def test_a_table_with_types_that_someone_chose_is_filled(self, postgres_url):
        run(postgres_url, "CREATE SCHEMA flow")
        run(
            postgres_url,
            "CREATE TABLE flow.t (dataset text, device varchar(40), ts timestamptz, "
            "a integer, b real, c numeric(10, 2), PRIMARY KEY (dataset, device, ts))",
        )

        load(postgres_url, {"t": tidy(a=[2**40], b=[0.1], c=[1.005])})

        assert rows(postgres_url, "SELECT device, a, b, c::text FROM flow.t") == [
            ("a", 2**40, 0.1, "1.005")
        ]

    def test_odd_names_and_values_are_quoted(self, postgres_url):
        name = "a\"b; DROP TABLE x --{}%s'"
        load(postgres_url, {name: tidy("d'\\\"é", **{name: [1]})}, dataset="D'; --", schema='s"c')
        load(postgres_url, {name: tidy("d'\\\"é", **{name: [2]})}, dataset="D'; --", schema='s"c')

        assert rows(postgres_url, 'SELECT * FROM "s""c"."a""b; DROP TABLE x --{}%s\'"') == [
            ("D'; --", "d'\\\"é", at(0), 2)
        ]
        run(postgres_url, 'DROP SCHEMA "s""c" CASCADE')

    def test_repeated_timestamps_are_refused_and_nothing_changes(self, postgres_url):
        load(postgres_url, {"t": tidy(m0=[1, 2])})
        twice = pl.concat([tidy(m0=[3]), tidy(m0=[4])])

        with pytest.raises(DayRefusedError, match=r"device 'a' at 2026-02-01.*from clean on"):
            load(postgres_url, {"a": tidy(m0=[1]), "t": twice})

        assert rows(postgres_url, "SELECT m0 FROM flow.t ORDER BY ts") == [(1,), (2,)]
        assert rows(postgres_url, "SELECT to_regclass('flow.a')::text") == [(None,)]

    def test_a_table_without_a_key_holds_repeated_timestamps(self, postgres_url):
        run(postgres_url, "CREATE SCHEMA flow")
        run(
            postgres_url,
            "CREATE TABLE flow.t (dataset text, device text, ts timestamptz, m0 bigint)",
        )
        twice = pl.concat([tidy(m0=[3]), tidy(m0=[4])])

        load(postgres_url, {"t": twice})
        load(postgres_url, {"t": twice})

        assert rows(postgres_url, "SELECT m0 FROM flow.t ORDER BY m0") == [(3,), (4,)]

    def test_names_over_63_bytes_are_refused_before_anything_is_written(self, postgres_url):
        with pytest.raises(StoreError, match="64 bytes"):
            load(postgres_url, {"é" * 32: tidy(m0=[1])})
        with pytest.raises(DayRefusedError, match="64 bytes"):
            load(postgres_url, {"t": tidy(**{"m" * 64: [1]})})
        with pytest.raises(StoreError, match=r"schema.*64 bytes"):
            load(postgres_url, {"t": tidy(m0=[1])}, schema="s" * 64)

        assert rows(postgres_url, "SELECT to_regclass('flow.t')::text") == [(None,)]

    def test_a_value_column_called_dataset_is_refused(self, postgres_url):
        with pytest.raises(DayRefusedError, match="called 'dataset'"):
            load(postgres_url, {"t": tidy(dataset=[1])})

    def test_a_table_that_is_not_ours_is_refused(self, postgres_url):
        run(postgres_url, "CREATE SCHEMA flow")
        run(postgres_url, "CREATE TABLE flow.t (id bigint)")

        with pytest.raises(StoreError, match="without the column 'dataset'"):
            load(postgres_url, {"t": tidy(m0=[1])})

    def test_times_without_a_zone_are_not_guessed_at(self, postgres_url):
        run(postgres_url, 'CREATE TABLE public."T" (ts timestamp PRIMARY KEY, a bigint)')

        frame = pl.DataFrame({"ts": [at(0)], "a": [1]})

        with pytest.raises(StoreError, match="make it timestamptz"):
            fill(postgres_url, frame)

    def test_values_that_the_server_refuses_are_the_days_fault(self, postgres_url):
        with pytest.raises(DayRefusedError):
            load(postgres_url, {"t": tidy(note=["a\0b"])})

    def test_a_failure_leaves_what_was_there(self, postgres_url):
        load(postgres_url, {"a": tidy(m0=[1]), "b": tidy(m0=[1])})

        with pytest.raises(DayRefusedError):
            load(postgres_url, {"a": tidy(m0=[2]), "b": tidy(note=["a\0b"])})

        assert rows(postgres_url, "SELECT m0 FROM flow.a") == [(1,)]
        assert types(postgres_url, "b") == types(postgres_url, "a")

    def test_loads_at_once_neither_deadlock_nor_duplicate(self, postgres_url):
        def one(number):
            day = DAY + timedelta(days=number % 3)
            frames = {name: tidy(day=day, **{f"m{number}": [number] * 50}) for name in ("x", "y")}
            return load(postgres_url, frames, day=day)

        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(one, range(12))) == [{"x": 50, "y": 50}] * 12

        assert rows(postgres_url, "SELECT count(*) FROM flow.x") == [(150,)]
        assert len(types(postgres_url, "x")) == 3 + 12
