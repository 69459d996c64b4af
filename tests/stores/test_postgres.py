from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import polars as pl
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from procezo_assets.errors import StoreError, TransientStoreError
from procezo_assets.stores.postgres import replace_tidy, replace_wide
from procezo_assets.stores.postgres_connection import Address, DayRefusedError
from procezo_assets.stores.postgres_names import wide_frame, wide_table
from procezo_assets.stores.postgres_tables import widened

DAY = date(2026, 2, 1)
NEXT = date(2026, 2, 2)


@pytest.fixture
def _empty(postgres_url):
    with psycopg.connect(postgres_url) as connection:
        connection.execute("DROP SCHEMA IF EXISTS flow, other CASCADE")
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def at(second, day=DAY):
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=second)


def rows(url, query):
    with psycopg.connect(url, options="-c timezone=UTC") as connection:
        return connection.execute(query).fetchall()


def run(url, statement):
    with psycopg.connect(url) as connection:
        connection.execute(statement)


def tidy(device="a", day=DAY, **values):
    count = len(next(iter(values.values())))
    return pl.DataFrame(
        {"device": [device] * count, "ts": [at(n, day) for n in range(count)], **values}
    )


def load(url, tables, *, dataset="D", day=DAY, schema="flow", origin="flow/to_postgres"):
    return replace_tidy(url, schema=schema, tables=tables, dataset=dataset, day=day, origin=origin)


def fill(url, frame, *, table="T", day=DAY, owned=(), dataset="D", origin="flow/to_postgres"):
    """Load one wide table and return its rows."""
    loaded = replace_wide(
        url, tables={table: frame}, owned={table: owned}, dataset=dataset, day=day, origin=origin
    )
    return loaded.get(table)


def wide(day=DAY, **values):
    count = len(next(iter(values.values())))
    return pl.DataFrame({"ts": [at(n, day) for n in range(count)], **values})


def comment(url, table="T"):
    query = f"SELECT obj_description('\"{table}\"'::regclass, 'pg_class')"
    return rows(url, query)[0][0]


def types(url, table, schema="flow"):
    return dict(
        rows(
            url,
            "SELECT column_name, data_type FROM information_schema.columns "
            f"WHERE table_schema = '{schema}' AND table_name = '{table}' ORDER BY ordinal_position",
        )
    )


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


@pytest.mark.usefixtures("_empty")
class TestWide:
    def test_the_established_table_is_filled_as_before(self, postgres_url):
        run(
            postgres_url,
            'CREATE TABLE "PREMANIP_GRACE__AGGREGATED__10S" (ts TIMESTAMPTZ PRIMARY KEY, '
            "pil_90__m0__raw__mean DOUBLE PRECISION, pil_98__m0__raw__mean DOUBLE PRECISION)",
        )
        with (
            psycopg.connect(postgres_url) as connection,
            connection.cursor().copy(
                'COPY "PREMANIP_GRACE__AGGREGATED__10S" FROM STDIN (FORMAT csv)'
            ) as copy,
        ):
            copy.write("2026-02-01T00:00:00Z,1.5,2\n2026-02-01T00:00:10Z,,3\n2026-02-02Z,7,8\n")
        columns = 'SELECT * FROM "PREMANIP_GRACE__AGGREGATED__10S" ORDER BY ts'
        before = rows(postgres_url, columns)
        frame = wide_frame(
            [
                ("pil-90", "bio", pl.DataFrame({"ts": [at(0)], "m0__raw__mean": [1.5]})),
                ("pil-98", "bio", pl.DataFrame({"ts": [at(0), at(10)], "m0__raw__mean": [2, 3]})),
            ]
        )

        loaded = fill(postgres_url, frame, table="PREMANIP_GRACE__AGGREGATED__10S")

        assert loaded == 2
        assert rows(postgres_url, columns) == before

    def test_a_day_is_replaced_and_nothing_else_moves(self, postgres_url):
        for day in (DAY, NEXT):
            frame = pl.DataFrame({"ts": [at(0, day), at(1, day)], "a__m0": [1, 2]})
            fill(postgres_url, frame, day=day)

        frame = pl.DataFrame({"ts": [at(1), at(2)], "a__m0": [2.5, 3]})
        fill(postgres_url, frame)

        assert rows(postgres_url, 'SELECT * FROM "T" ORDER BY ts') == [
            (at(1), 2.5),
            (at(2), 3.0),
            (at(0, NEXT), 1.0),
            (at(1, NEXT), 2.0),
        ]

    def test_columns_of_others_keep_their_values(self, postgres_url):
        both = pl.DataFrame({"ts": [at(0), at(1), at(2)], "a__m0": [1, 2, 3], "b__m0": [4, 5, 6]})
        fill(postgres_url, both, origin="another/to_postgres")
        run(postgres_url, "UPDATE \"T\" SET b__m0 = NULL WHERE ts = '2026-02-01T00:00:02Z'")

        frame = pl.DataFrame({"ts": [at(0), at(9)], "a__m0": [10, 11]})
        fill(postgres_url, frame)

        assert rows(postgres_url, 'SELECT ts, a__m0, b__m0 FROM "T" ORDER BY ts') == [
            (at(0), 10, 4),
            (at(1), None, 5),
            (at(9), 11, None),
        ]

    def test_columns_of_the_files_of_other_days_lose_theirs(self, postgres_url):
        run(
            postgres_url,
            'CREATE TABLE "T" (ts TIMESTAMPTZ PRIMARY KEY, a__m0 BIGINT, b__m0 BIGINT)',
        )
        run(
            postgres_url,
            "INSERT INTO \"T\" VALUES ('2026-02-01Z', 1, 4), ('2026-02-01 1:00Z', 2, 5)",
        )

        fill(postgres_url, wide(a__m0=[10]), owned={"b__m0", "c__m0"})

        assert rows(postgres_url, 'SELECT ts, a__m0, b__m0 FROM "T"') == [(at(0), 10, None)]

    def test_columns_that_it_wrote_before_lose_theirs(self, postgres_url):
        fill(postgres_url, wide(old__m0=[1, 2, 3]))
        fill(postgres_url, wide(NEXT, old__m0=[4]), day=NEXT)

        fill(postgres_url, wide(new__m0=[5, 6]))

        query = 'SELECT ts, old__m0, new__m0 FROM "T" ORDER BY ts'
        assert rows(postgres_url, query) == [
            (at(0), None, 5),
            (at(1), None, 6),
            (at(0, NEXT), 4, None),
        ]

    def test_columns_that_only_another_origin_wrote_keep_theirs(self, postgres_url):
        fill(postgres_url, wide(a__m0=[1, 2], b__m0=[3, None]), origin="one/to_postgres")
        run(postgres_url, 'ALTER TABLE "T" ADD COLUMN by_hand bigint')
        run(postgres_url, "UPDATE \"T\" SET by_hand = 7 WHERE ts = '2026-02-01Z'")
        fill(postgres_url, wide(c__m0=[5, 6, 7]), origin="two/to_postgres", owned={"b__m0"})

        query = 'SELECT ts, a__m0, b__m0, c__m0, by_hand FROM "T" ORDER BY ts'
        assert rows(postgres_url, query) == [
            (at(0), 1, 3, 5, 7),
            (at(1), 2, None, 6, None),
            (at(2), None, None, 7, None),
        ]
        fill(postgres_url, wide_frame([]), origin="two/to_postgres")
        assert rows(postgres_url, query) == [
            (at(0), 1, 3, None, 7),
            (at(1), 2, None, None, None),
        ]
        fill(postgres_url, wide_frame([]), origin="one/to_postgres")
        assert rows(postgres_url, query) == [(at(0), None, None, None, 7)]

    def test_a_day_without_a_frame_is_emptied(self, postgres_url):
        nothing = wide_frame([])
        assert fill(postgres_url, nothing, owned={"a"}) is None
        assert rows(postgres_url, "SELECT to_regclass('\"T\"')::text") == [(None,)]
        fill(postgres_url, pl.DataFrame({"ts": [at(0)], "a": [1], "b": [2]}))

        assert fill(postgres_url, nothing) == 0
        assert rows(postgres_url, 'SELECT a, b FROM "T"') == []

    def test_values_leave_the_tables_of_the_step_that_got_no_frame(self, postgres_url):
        for origin, table in (("flow/one", "T"), ("flow/one", "U"), ("flow/two", "V")):
            fill(postgres_url, wide(a__m0=[1]), table=table, origin=origin)
        fill(postgres_url, wide(a__m0=[2]), table="W", origin="flow/one", dataset="E")

        def load_tables(*names):
            return replace_wide(
                postgres_url,
                tables={name: wide(a__m0=[3, 4]) for name in names},
                owned={},
                dataset="D",
                day=DAY,
                origin="flow/one",
            )

        assert load_tables("U") == {"T": 0, "U": 2}
        assert load_tables() == {"T": 0, "U": 0}
        for table, expected in (("T", []), ("U", []), ("V", [(1,)]), ("W", [(2,)])):
            assert rows(postgres_url, f'SELECT a__m0 FROM "{table}"') == expected

    def test_a_table_holds_one_dataset(self, postgres_url):
        fill(postgres_url, wide(a__m0=[1]), dataset="a-b")

        with pytest.raises(StoreError, match=r"'a-b'.*'a_b'.*\{experience\}") as caught:
            fill(postgres_url, wide(a__m0=[2], b__m0=[3]), dataset="a_b")

        assert not isinstance(caught.value, DayRefusedError)
        assert rows(postgres_url, 'SELECT * FROM "T"') == [(at(0), 1)]
        fill(postgres_url, wide(a__m0=[4]), dataset="a-b")
        assert rows(postgres_url, 'SELECT * FROM "T"') == [(at(0), 4)]

    def test_two_datasets_at_once_do_not_share_a_new_table(self, postgres_url):
        def one(dataset):
            try:
                return fill(postgres_url, wide(a__m0=[1]), dataset=dataset)
            except StoreError:
                return None

        with ThreadPoolExecutor(4) as pool:
            assert sorted(map(str, pool.map(one, "ABCD"))) == ["1", "None", "None", "None"]

    def test_the_memory_is_written_with_the_rows_or_not_at_all(self, postgres_url):
        run(postgres_url, 'CREATE TABLE "T" (ts TIMESTAMPTZ PRIMARY KEY, a__m0 BIGINT)')

        with pytest.raises(DayRefusedError):
            fill(postgres_url, wide(a__m0=[1], note=["a\0b"]), dataset="first")

        assert comment(postgres_url) is None
        fill(postgres_url, wide(a__m0=[2]), dataset="second")
        assert '"second"' in comment(postgres_url)

    def test_what_people_said_of_the_table_stays(self, postgres_url):
        run(postgres_url, 'CREATE TABLE "T" (ts TIMESTAMPTZ PRIMARY KEY, a__m0 BIGINT)')
        run(postgres_url, 'COMMENT ON TABLE "T" IS E\'For Grafana.\\n{"dataset": "X"}\'')

        fill(postgres_url, wide(a__m0=[1]))
        fill(postgres_url, wide(b__m0=[1]))

        *said, ours = comment(postgres_url).split("\n")
        assert said == ["For Grafana.", '{"dataset": "X"}']
        assert json.loads(ours.removeprefix("Loaded by procezo: ")) == {
            "dataset": "D",
            "columns": {"flow/to_postgres": ["a__m0", "b__m0"]},
        }

    def test_a_memory_that_someone_broke_counts_as_none(self, postgres_url):
        fill(postgres_url, wide(a__m0=[1]))
        run(postgres_url, 'COMMENT ON TABLE "T" IS \'Loaded by procezo: {"dataset": "D\'')

        assert fill(postgres_url, wide(a__m0=[2]), dataset="E") == 1
        assert len(comment(postgres_url).split("\n")) == 2

    def test_odd_names_are_remembered(self, postgres_url):
        odd = "d'\\\"é\u2028{}%s"
        fill(postgres_url, wide(**{odd: [1]}), dataset=odd, origin=odd)

        loaded = replace_wide(postgres_url, tables={}, owned={}, dataset=odd, day=DAY, origin=odd)

        assert loaded == {"T": 0}
        assert rows(postgres_url, 'SELECT * FROM "T"') == []

    def test_as_many_columns_as_a_table_holds_are_remembered(self, postgres_url):
        names = [f"{'c' * 36}{n:04}" for n in range(1500)]
        for first in range(0, 1500, 500):  # a row of all would not fit into a page
            chosen = names[first : first + 500]
            fill(postgres_url, wide(**{name: [1] for name in chosen}))

        fill(postgres_url, wide(**{names[0]: [2]}))

        assert rows(postgres_url, "SELECT jsonb_strip_nulls(to_jsonb(t)) - 'ts' FROM \"T\" t") == [
            ({names[0]: 2},)
        ]
        assert all(name in comment(postgres_url) for name in names)

    def test_who_does_not_own_the_table_is_told(self, postgres_url):
        run(postgres_url, 'CREATE TABLE "T" (ts TIMESTAMPTZ PRIMARY KEY, a__m0 BIGINT)')
        run(postgres_url, "DROP ROLE IF EXISTS procezo_guest")
        run(postgres_url, "CREATE ROLE procezo_guest LOGIN")
        run(postgres_url, "GRANT USAGE ON SCHEMA public TO procezo_guest")
        run(postgres_url, 'GRANT ALL ON "T" TO procezo_guest')
        try:
            with pytest.raises(StoreError, match=r"must be owner.*OWNER TO"):
                fill(make_conninfo(postgres_url, options="-c role=procezo_guest"), wide(a__m0=[1]))
        finally:
            run(postgres_url, "DROP OWNED BY procezo_guest; DROP ROLE procezo_guest")

    def test_integers_are_bigint_and_floats_double(self, postgres_url):
        frame = pl.DataFrame({"ts": [at(0)], "a": [1], "b": [1.5]})
        fill(postgres_url, frame)

        assert types(postgres_url, "T", "public") == {
            "ts": "timestamp with time zone",
            "a": "bigint",
            "b": "double precision",
        }

    def test_more_than_1600_columns_are_refused_by_name_of_the_other_layout(self, postgres_url):
        def frame(first, last):
            return pl.DataFrame({"ts": [at(0)], **{f"c{n}": [n] for n in range(first, last)}})

        with pytest.raises(DayRefusedError, match=r'1,601 columns.*layout: "tidy"'):
            fill(postgres_url, frame(0, 1600), day=DAY)
        fill(postgres_url, frame(0, 900), day=DAY)
        with pytest.raises(DayRefusedError, match="1,601 columns"):
            fill(postgres_url, frame(900, 1600), day=NEXT)

    def test_a_row_that_fills_more_than_a_page_is_refused_alike(self, postgres_url):
        frame = pl.DataFrame({"ts": [at(0)], **{f"c{n}": [n] for n in range(1100)}})

        with pytest.raises(DayRefusedError, match=r'row is too big.*layout: "tidy"'):
            fill(postgres_url, frame)

    def test_names_over_63_bytes_are_refused(self, postgres_url):
        frame = pl.DataFrame({"ts": [at(0)], "c" * 64: [1]})
        with pytest.raises(DayRefusedError, match="64 bytes"):
            fill(postgres_url, frame)
        with pytest.raises(StoreError, match="64 bytes"):
            fill(postgres_url, wide_frame([]), table="T" * 64)


class TestWideFrame:
    def test_devices_and_domains_stand_side_by_side(self):
        frame = wide_frame(
            [
                ("pil-90", "bio", pl.DataFrame({"ts": [at(1), at(2)], "m0": [1, 2]})),
                ("pil-90", "env", pl.DataFrame({"ts": [at(0), at(2)], "t": [0.5, 1.5]})),
            ]
        )

        assert frame.rows() == [(at(0), None, 0.5), (at(1), 1, None), (at(2), 2, 1.5)]
        assert frame.columns == ["ts", "pil_90__m0", "pil_90__t"]

    def test_devices_that_would_share_columns_are_refused_by_name(self):
        frame = pl.DataFrame({"ts": [at(0)], "m0": [1]})
        with pytest.raises(DayRefusedError, match=r"'pil-90' and 'pil\.90'"):
            wide_frame([("pil-90", "bio", frame), ("pil.90", "bio", frame)])

    def test_values_that_would_share_a_column_are_refused_by_name(self):
        frame = pl.DataFrame({"ts": [at(0)], "m0": [1]})
        with pytest.raises(DayRefusedError, match="in bio and 'm0' of 'a' in env"):
            wide_frame([("a", "bio", frame), ("a", "env", frame)])

    def test_repeated_timestamps_are_refused(self):
        frame = pl.DataFrame({"ts": [at(0), at(0)], "m0": [1, 2]})
        with pytest.raises(DayRefusedError, match="repeats timestamps"):
            wide_frame([("a", "bio", frame)])


@pytest.mark.parametrize(
    ("template", "window", "expected"),
    [
        ("{experience}__{step}__{aggregation}", "10s", "EVENT1_GROUP_1__AGGREGATED__10S"),
        ("{experience}__{step}__{aggregation}", None, "EVENT1_GROUP_1__AGGREGATED"),
        ("{aggregation}__{experience}", None, "EVENT1_GROUP_1"),
        ("{domain}_{aggregation}_{step}", None, "BIO_AGGREGATED"),
        ("été", None, "_T_"),
    ],
)
def test_wide_table_names(template, window, expected):
    values = {
        "experience": "event1/group-1",
        "step": "aggregated",
        "aggregation": window,
        "domain": "bio",
    }
    assert wide_table(template, values) == expected


@pytest.mark.parametrize(
    ("have", "asked", "expected"),
    [
        ("bigint", "bigint", "bigint"),
        ("integer", "bigint", "bigint"),
        ("bigint", "double precision", "double precision"),
        ("double precision", "bigint", "double precision"),
        ("real", "bigint", "double precision"),
        ("numeric(10,2)", "double precision", "numeric"),
        ("numeric", "bigint", "numeric"),
        ("boolean", "bigint", "text"),
        ("text", "bigint", "text"),
        ("timestamp with time zone", "double precision", "text"),
        ("character varying(3)", "text", "text"),
    ],
)
def test_widened(have, asked, expected):
    assert widened(have, asked) == expected


@pytest.mark.usefixtures("_empty")
class TestConnection:
    def test_a_server_that_is_not_there_is_transient_and_named_without_the_password(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        begun = time.monotonic()

        with pytest.raises(TransientStoreError) as caught:
            load(f"postgresql://u:s3cr3t@127.0.0.1:{port}/lab", {"t": tidy(m0=[1])})

        assert 1 < time.monotonic() - begun < 15
        assert f"127.0.0.1:{port}/lab" in str(caught.value)
        assert "s3cr3t" not in repr(caught.value)
        assert type(caught.value) is TransientStoreError
        assert "\n" not in str(caught.value)

    def test_a_server_that_comes_up_in_time_is_waited_for(self, postgres_url):
        settings = conninfo_to_dict(postgres_url)
        host, port = settings.get("host", "127.0.0.1"), int(settings.get("port", 5432))
        target = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)
        with socket.socket() as gate:
            gate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            gate.bind(("127.0.0.1", 0))
            opened = threading.Timer(1.0, lambda: (gate.listen(), _relay(gate, target)))
            opened.start()
            through = make_conninfo(postgres_url, host="127.0.0.1", port=gate.getsockname()[1])
            through += " sslmode=disable gssencmode=disable"

            assert load(through, {"t": tidy(m0=[1])}) == {"t": 1}
            gate.shutdown(socket.SHUT_RDWR)
            opened.join()

    def test_a_dropped_connection_is_tried_again(self, postgres_url):
        load(postgres_url, {"t": tidy(m0=[1])})
        with psycopg.connect(postgres_url) as blocker:
            blocker.execute("LOCK TABLE flow.t IN ACCESS EXCLUSIVE MODE")
            with ThreadPoolExecutor(1) as pool:
                loading = pool.submit(load, postgres_url, {"t": tidy(m0=[2])})
                victims = []
                while not victims:
                    victims = rows(
                        postgres_url,
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE application_name = 'procezo' AND wait_event_type = 'Lock'",
                    )
                blocker.rollback()
                assert loading.result(timeout=30) == {"t": 1}

        assert rows(postgres_url, "SELECT m0 FROM flow.t") == [(2,)]

    def test_a_missing_database_is_refused_at_once(self, postgres_url):
        begun = time.monotonic()
        with pytest.raises(StoreError, match="does not exist") as caught:
            load(make_conninfo(postgres_url, dbname="no_such"), {"t": tidy(m0=[1])})

        assert not isinstance(caught.value, TransientStoreError)
        assert time.monotonic() - begun < 1


@pytest.mark.parametrize(
    "url", ["postgresql://u:s3c%zz@h/db", "postgresql://u:s3c@h:port/d b", "nonsense s3c"]
)
def test_a_url_that_cannot_be_read_is_not_quoted(url):
    with pytest.raises(StoreError) as caught:
        Address.parse(url)

    assert "s3c" not in str(caught.value)


def test_sqlalchemys_urls_are_understood():
    address = Address.parse("postgresql+psycopg://u:p%40ss@h:5433/db")

    assert str(address) == "h:5433/db"
    assert address.settings["password"] == "p@ss"  # noqa: S105 - no one's
    assert "p@ss" not in repr(address)


def _relay(gate, target):
    """Pass connections on to the server until the gate is shut."""
    pumps = []

    def pump(source, sink):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    with contextlib.ExitStack() as ends:
        while True:
            try:
                client = ends.enter_context(gate.accept()[0])
            except OSError:
                break
            family = socket.AF_UNIX if isinstance(target, str) else socket.AF_INET
            server = ends.enter_context(socket.socket(family))
            server.connect(target)
            for pair in ((client, server), (server, client)):
                pumps.append(threading.Thread(target=pump, args=pair))
                pumps[-1].start()
        for thread in pumps:
            thread.join()
