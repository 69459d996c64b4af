from __future__ import annotations

import json
import shutil
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr, ValidationError

from procezo_assets.cli.postgres import postgres
from procezo_assets.datasets import Home, PartKey
from procezo_assets.errors import ParameterError, StoreError
from procezo_assets.stores import embedded_postgres
from procezo_assets.stores.loads import StageInput
from procezo_assets.treatments.model import marked_treatments
from procezo_assets.treatments.postgres_server import server_identity
from procezo_assets.treatments.to_postgres import (
    Source,
    ToPostgres,
    names_no_dataset,
    to_postgres,
)

DAY = date(2026, 2, 1)
NEXT = date(2026, 2, 2)


@pytest.fixture(autouse=True)
def _empty(postgres_url, monkeypatch):
    monkeypatch.setenv("PROCEZO_POSTGRES_URL", postgres_url)
    with psycopg.connect(postgres_url) as connection:
        connection.execute('DROP SCHEMA IF EXISTS my_flow, "Lab" CASCADE')
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def at(second, day=DAY):
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=second)


def stage(home, dataset="D", days=(DAY,), name="aggregated", output="40_aggregated"):
    folder = home.dataset(dataset).stage(output)
    return StageInput(
        home=home,
        flow="my-flow",
        dataset=dataset,
        stage=name,
        folder=folder,
        output=home.dataset(dataset).stage("60_postgres"),
        days=tuple(days),
        step="to_postgres",
    )


def write(source, device, domain, window="10s", day=DAY, **values):
    path = PartKey(device, domain, window).path(source.folder, day)
    path.parent.mkdir(parents=True, exist_ok=True)
    count = len(next(iter(values.values())))
    pl.DataFrame(
        {"ts": [at(n, day) for n in range(count)], "device": [device] * count, **values}
    ).write_parquet(path)
    return path


def rows(url, query):
    with psycopg.connect(url, options="-c timezone=UTC") as connection:
        return connection.execute(query).fetchall()


def columns(url, table):
    return {
        name
        for (name,) in rows(
            url, f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'"
        )
    } - {"dataset", "device", "ts"}


def one(inputs, **params):
    (loaded,) = to_postgres(inputs, ToPostgres(**params))
    return loaded


class TestTidy:
    def test_a_table_for_each_domain_and_window(self, home, postgres_url):
        source = stage(home, days=(DAY, NEXT))
        write(source, "pil-90", "bio", m0__raw__mean=[1.5, 2.5])
        write(source, "pil-98", "bio", m0__raw__mean=[3], m1__raw__mean=[4])
        write(source, "pil-90", "bio", "1h", m0__raw__mean=[9.5])
        write(source, "pil-90", "env", day=NEXT, t__raw__mean=[20.0])

        loaded = one([source])

        assert loaded.dataset == "D"
        assert loaded.rows == {DAY: 4, NEXT: 1}
        assert loaded.failed == {}
        assert loaded.warnings == ()
        assert loaded.tables == ("my_flow.bio_10s", "my_flow.bio_1h", "my_flow.env_10s")
        assert rows(postgres_url, "SELECT * FROM my_flow.bio_10s ORDER BY device, ts") == [
            ("D", "pil-90", at(0), 1.5, None),
            ("D", "pil-90", at(1), 2.5, None),
            ("D", "pil-98", at(0), 3.0, 4),
        ]
        assert rows(postgres_url, "SELECT * FROM my_flow.env_10s") == [
            ("D", "pil-90", at(0, NEXT), 20.0)
        ]

    def test_a_day_whose_files_are_gone_is_emptied(self, home, postgres_url):
        source = stage(home)
        path = write(source, "a", "bio", m0=[1])
        one([source])
        path.unlink()

        assert one([source]).rows == {DAY: 0}
        assert rows(postgres_url, "SELECT * FROM my_flow.bio_10s") == []

    def test_a_stage_without_windows_names_its_tables_by_the_stage(self, home, postgres_url):
        source = stage(home, name="clean", output="20_clean")
        write(source, "a", "bio", None, m0=[1])

        assert one([source]).tables == ("my_flow.bio_clean",)
        assert rows(postgres_url, "SELECT m0 FROM my_flow.bio_clean") == [(1,)]

    def test_schema_prefix_and_aggregations(self, home, postgres_url):
        source = stage(home)
        write(source, "a", "bio", "10s", m0=[1])
        write(source, "a", "bio", "1h", m0=[2])

        loaded = one([source], schema="Lab", table_prefix="v1-", aggregations=["1h", "7s"])

        assert loaded.tables == ("Lab.v1_bio_1h",)
        assert loaded.warnings == ("there are no files of the window '7s'",)
        assert rows(postgres_url, 'SELECT m0 FROM "Lab".v1_bio_1h') == [(2,)]

    def test_several_datasets_share_the_tables(self, home, postgres_url):
        sources = [stage(home, name) for name in ("D", "event1/[group] x")]
        for number, source in enumerate(sources):
            write(source, "a", "bio", m0=[number])

        assert [loaded.rows for loaded in to_postgres(sources, ToPostgres())] == [{DAY: 1}] * 2
        assert rows(postgres_url, "SELECT dataset, m0 FROM my_flow.bio_10s ORDER BY m0") == [
            ("D", 0),
            ("event1/[group] x", 1),
        ]

    def test_one_bad_day_does_not_stop_the_others(self, home, postgres_url):
        source = stage(home, days=(DAY, NEXT))
        path = write(source, "a", "bio", m0=[1])
        pl.concat([pl.read_parquet(path)] * 2).write_parquet(path)
        write(source, "a", "bio", day=NEXT, m0=[2])

        loaded = one([source])

        assert loaded.rows == {NEXT: 1}
        assert list(loaded.failed) == [DAY]
        assert "load a stage from clean on" in loaded.failed[DAY]
        assert rows(postgres_url, "SELECT m0 FROM my_flow.bio_10s") == [(2,)]

    def test_a_broken_file_fails_its_day_only(self, home):
        source = stage(home, days=(DAY, NEXT))
        write(source, "a", "bio", m0=[1]).write_bytes(b"no parquet")
        write(source, "a", "bio", day=NEXT, m0=[2])

        loaded = one([source])

        assert loaded.rows == {NEXT: 1}
        assert "cannot be read" in loaded.failed[DAY]


class TestSources:
    @pytest.fixture
    def source(self, home):
        made = stage(home)
        values = {
            "m0__raw__mean": [1],
            "m0__raw__std": [2],
            "m1__raw__mean": [3],
            "m0__sqrt_inv__norm__mean": [4],
        }
        for device in ("a", "b"):
            write(made, device, "bio", **values)
        write(made, "a", "env", t__raw__mean=[5])
        return made

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            (
                {},
                {"m0__raw__mean", "m0__raw__std", "m1__raw__mean", "m0__sqrt_inv__norm__mean"},
            ),
            ({"sensors": ["m1"]}, {"m1__raw__mean"}),
            ({"metrics": ["std"]}, {"m0__raw__std"}),
            ({"transforms": ["sqrt_inv__norm"]}, {"m0__sqrt_inv__norm__mean"}),
            (
                {"sensors": ["m0"], "transforms": ["raw"], "metrics": ["mean"]},
                {"m0__raw__mean"},
            ),
            ({"columns": ["m0__raw__std"], "sensors": ["m1"]}, {"m0__raw__std"}),
        ],
    )
    def test_columns_are_chosen(self, source, postgres_url, filters, expected):
        loaded = one([source], sources=[{"domain": "bio", **filters}])

        assert loaded.tables == ("my_flow.bio_10s",)
        assert columns(postgres_url, "bio_10s") == expected

    def test_devices_are_chosen(self, source, postgres_url):
        one([source], sources=[{"domain": "bio", "devices": ["b"]}])

        assert rows(postgres_url, "SELECT device FROM my_flow.bio_10s") == [("b",)]

    def test_a_column_that_is_not_there_is_told(self, source):
        loaded = one([source], sources=[{"domain": "bio", "columns": ["m0__raw__std", "m7"]}])

        assert loaded.warnings == ("a column that sources names is not in every file: bio: m7",)

    def test_columns_of_stages_before_the_aggregation(self):
        source = Source(domain="bio", sensors=("m0",), transforms=("raw",), metrics=("mean",))

        assert source.takes("m0")
        assert not source.takes("m1")
        assert not source.takes("m0__log")


class TestWide:
    def test_one_row_a_timestamp_for_all_devices_and_domains(self, home, postgres_url):
        source = stage(home, "PREMANIP-GRACE")
        write(source, "pil-90", "bio", m0__raw__mean=[1.5, 2.5])
        write(source, "pil-98", "bio", m0__raw__mean=[3])
        write(source, "pil-90", "env", t__raw__mean=[20.0])

        loaded = one([source], layout="wide", mode="append")

        assert loaded.tables == ("public.PREMANIP_GRACE__AGGREGATED__10S",)
        assert loaded.rows == {DAY: 2}
        assert rows(
            postgres_url,
            "SELECT ts, pil_90__m0__raw__mean, pil_90__t__raw__mean, pil_98__m0__raw__mean "
            'FROM "PREMANIP_GRACE__AGGREGATED__10S" ORDER BY ts',
        ) == [(at(0), 1.5, 20.0, 3), (at(1), 2.5, None, None)]

    def test_a_template_makes_the_layout_wide(self, home, postgres_url):
        source = stage(home, "event1/g-1")
        write(source, "a", "bio", "10s", m0=[1])
        write(source, "a", "env", "1h", t=[2])

        loaded = one(
            [source], table_template="{experience}_{domain}_{aggregation}", table_prefix="lab_"
        )

        assert loaded.tables == ("public.LAB_EVENT1_G_1_BIO_10S", "public.LAB_EVENT1_G_1_ENV_1H")
        assert rows(postgres_url, 'SELECT a__t FROM "LAB_EVENT1_G_1_ENV_1H"') == [(2,)]

    def test_a_device_whose_file_of_the_day_is_gone_loses_its_values(self, home, postgres_url):
        source = stage(home, days=(DAY, NEXT))
        for day in (DAY, NEXT):
            write(source, "a", "bio", day=day, m0=[1])
        gone = write(source, "b", "bio", m0=[2, 3])
        write(source, "b", "bio", day=NEXT, m0=[4])
        one([source], layout="wide")
        with psycopg.connect(postgres_url) as connection:
            connection.execute('ALTER TABLE "D__AGGREGATED__10S" ADD COLUMN other bigint')
            connection.execute('UPDATE "D__AGGREGATED__10S" SET other = 7')
        gone.unlink()

        one([source], layout="wide")

        query = 'SELECT ts, a__m0, b__m0, other FROM "D__AGGREGATED__10S" ORDER BY ts'
        assert rows(postgres_url, query) == [
            (at(0), 1, None, 7),
            (at(1), None, None, 7),
            (at(0, NEXT), 1, 4, 7),
        ]

    def test_a_device_that_would_share_columns_fails_its_days_only(self, home, postgres_url):
        days = [DAY, NEXT, NEXT + timedelta(1), NEXT + timedelta(2)]
        source = stage(home, days=days)
        for number, day in enumerate(days[::2]):
            write(source, "pil-90", "bio", day=day, m0=[number])
        for day in days[1::2]:
            write(source, "pil.90", "bio", day=day, m0=[70])

        loaded = one([source], layout="wide")

        assert loaded.rows == {days[0]: 1, days[2]: 1}
        assert list(loaded.failed) == [days[1], days[3]]
        for reason in loaded.failed.values():
            assert "'pil-90' and 'pil.90' would share the columns 'pil_90__…'" in reason
            assert "those of 'pil-90'" in reason
        assert rows(postgres_url, 'SELECT pil_90__m0 FROM "D__AGGREGATED__10S" ORDER BY ts') == [
            (0,),
            (1,),
        ]
        alone = [{"domain": "bio", "devices": ["pil-90"]}]
        assert one([source], layout="wide", sources=alone).failed == {}

    def test_columns_stay_with_the_device_that_filled_them(self, home, postgres_url):
        days = [DAY + timedelta(number) for number in range(5)]

        def loaded(device, day):
            write(stage(home), device, "bio", day=day, m0=[day.day])
            ended = one([stage(home, days=[day])], layout="wide")
            return not ended.failed

        assert loaded("pil.90", days[1])
        assert [loaded("pil-90", day) for day in days[2:4]] == [False, False]  # more of them
        assert not loaded("pil-90", days[0])  # an earlier one
        assert loaded("pil.90", days[4])
        query = 'SELECT pil_90__m0 FROM "D__AGGREGATED__10S" ORDER BY ts'
        assert rows(postgres_url, query) == [(days[1].day,), (days[4].day,)]

        for path in stage(home).folder.rglob("pil.90*"):  # as a name that was wrong and is no more
            path.unlink()
        assert one([stage(home, days=days)], layout="wide").failed == {}
        assert rows(postgres_url, query) == [(day.day,) for day in (days[0], *days[2:4])]

    def test_a_broken_file_fails_its_day_only(self, home):
        source = stage(home, days=(DAY, NEXT))
        write(source, "a", "bio", m0=[1])
        write(source, "a", "bio", day=NEXT, m0=[2]).write_bytes(b"no parquet")

        loaded = one([source], layout="wide")

        assert loaded.rows == {DAY: 1}
        assert list(loaded.failed) == [NEXT]

    def test_several_windows_need_their_placeholder(self, home):
        source = stage(home)
        write(source, "a", "bio", "10s", m0=[1])
        write(source, "a", "bio", "1h", m0=[1])

        with pytest.raises(ParameterError, match=r"D 10s and D 1h.*\{aggregation\}"):
            one([source], table_template="{experience}")
        assert one([source], table_template="{experience}", aggregations=["1h"]).rows == {DAY: 1}

    def test_several_datasets_need_their_placeholder(self, home):
        sources = [stage(home, name) for name in ("D", "E")]

        with pytest.raises(ParameterError, match=r"D, E one table.*\{experience\}"):
            to_postgres(sources, ToPostgres(table_template="{step}"))

    def test_datasets_whose_tables_would_have_one_name_are_refused(self, home):
        sources = [stage(home, name) for name in ("a-b", "a_b")]
        for source in sources:
            write(source, "a", "bio", m0=[1])

        with pytest.raises(ParameterError, match="one table A_B__AGGREGATED__10S"):
            to_postgres(sources, ToPostgres(layout="wide"))

    @pytest.mark.parametrize(
        ("names", "template"),
        [(("A", "B"), "{step}__{aggregation}"), (("a-b", "a_b"), "{experience}")],
    )
    def test_a_dataset_of_an_earlier_run_is_not_overwritten(
        self, home, postgres_url, names, template
    ):
        first, second = (stage(home, name) for name in names)
        write(first, "dev1", "bio", m0=[1, 2])
        write(second, "dev1", "bio", m0=[3])
        (table,) = one([first], table_template=template).tables

        with pytest.raises(StoreError, match=rf"'{names[0]}'.*'{names[1]}'.*\{{experience\}}"):
            one([second], table_template=template)

        name = table.removeprefix("public.")
        assert rows(postgres_url, f'SELECT dev1__m0 FROM "{name}" ORDER BY ts') == [(1,), (2,)]
        assert one([first], table_template=template).rows == {DAY: 2}

    def test_a_device_that_is_gone_from_all_files_loses_its_values(self, home, postgres_url):
        source = stage(home)
        gone = write(source, "old", "bio", m0=[1, 2, 3])
        one([source], layout="wide")
        gone.unlink()
        new = write(source, "new", "bio", m0=[4, 5])

        assert one([source], layout="wide").rows == {DAY: 2}
        query = 'SELECT ts, old__m0, new__m0 FROM "D__AGGREGATED__10S" ORDER BY ts'
        assert rows(postgres_url, query) == [(at(0), None, 4), (at(1), None, 5)]

        new.unlink()
        loaded = one([source], layout="wide")
        assert loaded.rows == {DAY: 0}
        assert loaded.tables == ("public.D__AGGREGATED__10S",)
        assert rows(postgres_url, query) == []


class TestNamesNoDataset:
    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"layout": "wide"},
            {"table_template": "{experience}"},
            {"table_template": "x_{experience}_{step}", "table_prefix": "lab_"},
        ],
    )
    def test_datasets_have_rows_of_their_own(self, given):
        assert names_no_dataset(ToPostgres(**given)) is None

    @pytest.mark.parametrize("template", ["{step}__{aggregation}", "GRACE", ""])
    def test_the_template_is_named_with_what_to_do(self, template):
        problem = names_no_dataset(ToPostgres(table_template=template))

        assert problem is not None
        assert f"table_template '{template}'" in problem
        assert problem.endswith("put {experience} into it")


class TestServerIdentity:
    @pytest.fixture(autouse=True)
    def _alone(self, monkeypatch):
        for name in ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PROCEZO_POSTGRES_URL", "postgresql://own:s3cr3t@own.lab/own")
        monkeypatch.setenv("LAB_HOST", "db.lab")
        monkeypatch.setenv(
            "LAB_URL", "postgresql+psycopg://u:s3cr3t@url.lab:5433/lab?sslmode=require"
        )

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({}, "own.lab:5432/own"),
            ({"url": "postgresql://u:s3cr3t@h:5433/d"}, "h:5433/d"),
            ({"url": "host=h dbname=d password=s3cr3t"}, "h:5432/d"),
            ({"url": "postgresql:///d?host=/run/pg"}, "/run/pg:5432/d"),
            ({"url": "service=lab dbname=d"}, "local socket:5432/d of service lab"),
            ({"url": {"env": "LAB_URL"}}, "url.lab:5433/lab"),
            ({"url": {"env": "NO_URL"}}, "$NO_URL"),
            ({"url": "nonsense s3cr3t"}, "unreadable"),
            ({"host": "h", "port": 5433, "dbname": "d", "password": "s3cr3t"}, "h:5433/d"),
            ({"dbname": "d", "password": {"env": "NO_PASSWORD"}}, "localhost:5432/d"),
            ({"host": {"env": "LAB_HOST"}, "user": "grace"}, "db.lab:5432/grace"),
            (
                {"host": {"env": "NO_HOST"}, "port": {"env": "NO_PORT"}, "dbname": "d"},
                "$NO_HOST:$NO_PORT/d",
            ),
        ],
    )
    def test_server_and_database_are_named_without_secrets(self, home, given, expected):
        assert server_identity(ToPostgres(**given), home) == expected

    def test_what_libpq_takes_from_the_environment_counts(self, home, monkeypatch):
        monkeypatch.setenv("PGHOST", "pg.lab")
        monkeypatch.setenv("PGPORT", "5434")

        assert server_identity(ToPostgres(url="postgresql:///d"), home) == "pg.lab:5434/d"

    def test_the_embedded_server_is_not_started(self, home, monkeypatch):
        monkeypatch.delenv("PROCEZO_POSTGRES_URL")

        assert server_identity(ToPostgres(), home) == "embedded"
        assert not home.state.exists()


class TestParameters:
    def test_nothing_to_load_needs_no_server(self, monkeypatch):
        monkeypatch.setenv("PROCEZO_POSTGRES_URL", "postgresql://127.0.0.1:1/none")

        assert to_postgres([], ToPostgres()) == []

    def test_a_server_given_in_parts(self, home, postgres_url, monkeypatch):
        given = conninfo_to_dict(postgres_url)
        monkeypatch.setenv("PROCEZO_POSTGRES_URL", "postgresql://127.0.0.1:1/none")
        monkeypatch.setenv("LAB_PASSWORD", "any")
        source = stage(home)
        write(source, "a", "bio", m0=[1])

        loaded = one(
            [source],
            host=given["host"],
            port=given.get("port"),
            dbname=given["dbname"],
            user=given["user"],
            password={"env": "LAB_PASSWORD"},
        )

        assert loaded.rows == {DAY: 1}
        assert loaded.warnings == ()

    def test_a_url_from_the_environment(self, home, postgres_url, monkeypatch):
        monkeypatch.delenv("PROCEZO_POSTGRES_URL")
        monkeypatch.setenv("LAB_URL", postgres_url)
        source = stage(home)
        write(source, "a", "bio", m0=[1])

        assert one([source], url={"env": "LAB_URL"}).rows == {DAY: 1}

    def test_an_unset_variable_is_named(self, home):
        with pytest.raises(ParameterError, match="NO_SUCH_VARIABLE is not set"):
            one([stage(home)], password={"env": "NO_SUCH_VARIABLE"})

    def test_a_password_in_the_flow_is_masked_and_told(self, home, postgres_url):
        params = ToPostgres(url=postgres_url)
        assert isinstance(params.url, SecretStr)
        shown = ToPostgres(password="s3cr3t")  # noqa: S106 - no one's
        assert "s3cr3t" not in repr(shown) + shown.model_dump_json()

        assert "password may stand" in one([stage(home)], url=postgres_url).warnings[0]

    def test_a_server_that_is_away_raises(self, home, monkeypatch):
        monkeypatch.setenv("PROCEZO_POSTGRES_URL", "postgresql://u:s3cr3t@127.0.0.1:1/none")
        with pytest.raises(StoreError, match=r"127\.0\.0\.1:1/none cannot be reached"):
            one([stage(home)])

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"table_template": "{experiment}"}, "did you mean 'experience'"),
            ({"table_template": "{experience"}, "table_template"),
            ({"table_template": "{step!r}"}, "formats a placeholder"),
            ({"table_template": "{step}", "layout": "tidy"}, "drop it, or layout"),
            ({"schema": "s", "layout": "wide"}, "for tidy tables"),
            ({"url": "postgresql://h/d", "host": "h"}, "not both"),
            ({"password": {"env": ""}}, "at least 1 character"),
            ({"tables": "x"}, "tables"),
        ],
    )
    def test_contradictions_are_refused(self, given, message):
        with pytest.raises(ValidationError, match=message):
            ToPostgres(**given)

    def test_every_parameter_is_described(self):
        for model in (ToPostgres, Source):
            assert all(field.description for field in model.model_fields.values())

    def test_it_is_registered(self):
        (made,) = marked_treatments(to_postgres)
        assert (made.name, made.kind, made.output) == ("to_postgres", "load", "60_postgres")
        assert made.summary


class TestEmbedded:
    @pytest.fixture
    def home(self, monkeypatch):
        made = Path(tempfile.mkdtemp(prefix="procezo-tests-"))
        made.chmod(0o711)
        monkeypatch.delenv("PROCEZO_POSTGRES_URL")
        monkeypatch.setenv("PROCEZO_HOME", str(made))
        yield Home(made)
        embedded_postgres.stop(made / ".procezo")
        shutil.rmtree(made)

    def test_it_is_started_where_no_server_is_named(self, home):
        source = stage(home)
        write(source, "a", "bio", m0=[1])

        assert one([source]).rows == {DAY: 1}
        url = embedded_postgres.url_if_running(home.state)
        assert rows(url, "SELECT m0 FROM my_flow.bio_10s") == [(1,)]

    def test_the_command_line_starts_shows_and_stops_it(self, home):
        def run(*arguments):
            return CliRunner().invoke(postgres, arguments)

        missing = run("url")
        assert isinstance(missing.exception, StoreError)
        assert "procezo postgres start" in str(missing.exception)
        assert not home.state.exists()

        started = run("start")
        assert started.exit_code == 0
        assert started.stdout.strip() == embedded_postgres.url_if_running(home.state)
        assert "psql" in started.stderr
        assert run("url").stdout == started.stdout
        reader = run("url", "--reader").stdout.strip()
        assert rows(reader, "SELECT current_user::text") == [("reader",)]

        assert run("stop").exit_code == 0
        assert embedded_postgres.url_if_running(home.state) is None
        assert "was not running" in run("stop").stderr

    def test_the_command_line_masks_the_users_own_server(self, home, monkeypatch):
        monkeypatch.setenv("PROCEZO_POSTGRES_URL", "postgresql://u:s3cr3t@db.lab:5433/lab")

        shown = CliRunner().invoke(postgres, ["url"])

        assert shown.exit_code == 0
        assert "db.lab" in shown.stdout
        assert "s3cr3t" not in shown.output
        assert json.dumps(shown.stdout).count("\\n") == 1
        assert not home.state.exists()
