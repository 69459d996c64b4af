"""Wide tables in a real PostgreSQL, and the frames that go into them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import psycopg
import pytest
from postgres_rows import DAY, NEXT, at, comment, fill, rows, run, types, wide
from psycopg.conninfo import make_conninfo

from procezo_assets.errors import StoreError
from procezo_assets.stores.postgres import replace_wide
from procezo_assets.stores.postgres_connection import DayRefusedError
from procezo_assets.stores.postgres_names import (
    check_wide_devices,
    column_owners,
    wide_frame,
    wide_table,
)
from procezo_assets.stores.postgres_tables import widened


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


class TestColumnOwners:
    @pytest.mark.parametrize(
        ("days", "owner"),
        [
            ([["a-1"], ["a.1", "b"], ["a-1"]], "a-1"),
            ([["b"], ["a.1"], ["a-1", "a.1"], ["a-1"], ["a-1"]], "a.1"),  # however many come later
            ([["a.1", "a-1"], ["a.1"]], "a-1"),  # the same day: by name
        ],
    )
    def test_columns_are_of_the_device_with_the_earliest_day(self, days, owner):
        assert column_owners(days)["a_1__"] == owner

    def test_another_device_is_refused_by_name(self):
        owners = column_owners([["pil-90", "b"]])
        check_wide_devices(["pil-90", "b", "c"], owners)

        with pytest.raises(DayRefusedError, match=r"'pil-90' and 'pil\.90' would share"):
            check_wide_devices(["b", "pil.90"], owners)


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
