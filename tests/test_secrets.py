"""Secrets in every place that takes one, and then every byte that is left or was shown."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import polars as pl
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value
from psycopg.conninfo import conninfo_to_dict
from small_home import AGGREGATE, CLEAN, CSV, DAYS, DUCKDB, PARSE, SmallHome

from procezo_assets.orchestration.code_location import build_defs
from procezo_assets.parameters import is_secret_name, is_secret_text
from procezo_assets.stores import postgres_connection

pytestmark = [
    # one of Apprise's plugins imports it
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
    # what Dagster says of itself when it describes a schedule
    pytest.mark.filterwarnings("ignore:.*environment_vars:DeprecationWarning"),
]

# in each secret before, between and after what addresses have to escape
CANARY = "kanarienvogel"
ODD = f"{CANARY}@{CANARY}/{CANARY}?{CANARY}#{CANARY}%{CANARY} {CANARY}"
ESCAPED = quote(ODD, safe="")

OWN = '''
import os
from datetime import date
from pathlib import Path
import polars as pl
from pydantic import Field, SecretStr
from procezo_assets.treatments import Parameters, PartAbout, treatment

class Login(Parameters):
    phrase: SecretStr

class Own(Parameters):
    key: SecretStr
    api_token: str = ""
    called: SecretStr | None = Field(None, alias="said")
    login: Login | None = None
    several: tuple[Login, ...] = ()
    by_name: dict[str, list[SecretStr]] = {}

@treatment(parameters=Own, version="1", inputs=("20_clean",), output="22_own")
def own(frame: pl.DataFrame, params: Own) -> pl.DataFrame:
    """Use a key, and note what anybody sees of the processes."""
    assert params.key.get_secret_value()
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            with Path(os.environ["SEEN"]).open("ab") as seen:
                seen.write(command.read_bytes())
        except OSError:
            pass
    return frame

@treatment(parameters=Own, version="1", inputs=("20_clean",), output="23_fails")
def fails(frame: pl.DataFrame, params: Own, *, about: PartAbout) -> pl.DataFrame:
    """Fail on a day."""
    if about.day == date(2026, 1, 21):
        raise ZeroDivisionError(params)
    return frame
'''


def server(**values):
    given = {"host": "127.0.0.1", "port": 1, "dbname": "d", "user": "u", "password": ODD}
    return {"treatment": "to_postgres", "input": "20_clean", "params": {**given, **values}}


def at(url, **more):
    return {"treatment": "to_postgres", "input": "20_clean", "params": {"url": url}, **more}


# what people write by mistake; each is refused, or fails
MISTAKES = {
    "notify is no list": {"notify": f"slack://{CANARY}"},
    "an address is in a list": {"notify": [[f"slack://{CANARY}"]]},
    "an address is named": {"notify": [{"url": f"slack://{CANARY}"}]},
    "parameters are a list": {"steps": [{**server(), "params": ["password", CANARY]}]},
    "steps are no list": {"steps": {"params": {"password": CANARY}}},
    "a step is a text": {"steps": [f"password={CANARY}"]},
    "a step is a list": {"steps": [["password", CANARY]]},
    "overrides of one level": {"overrides": {"DS-1": {"password": CANARY}}},
    "overrides are a list": {"overrides": [{"password": CANARY}]},
    "the password is a list": {"steps": [PARSE, server(password=[CANARY])]},
    "the password is an object": {"steps": [PARSE, server(password={"is": CANARY})]},
    "the port is an object": {"steps": [PARSE, server(port={"password": CANARY})]},
    "the host is an object": {"steps": [PARSE, server(host={"password": CANARY})]},
    "the host is an address": {"steps": [PARSE, server(host=f"postgresql://u:{ESCAPED}@h")]},
    "the database is an address": {"steps": [PARSE, server(dbname=f"postgresql://u:{CANARY}@h/d")]},
    "both ways": {"steps": [PARSE, {**server(), "params": {**server()["params"], "url": CANARY}}]},
    "a key is a number": {
        "steps": [PARSE, CLEAN, {"treatment": "own", "params": {"key": [CANARY]}}]
    },
}
URLS = {
    "unescaped": f"postgresql://u:{ODD}@127.0.0.1:1/d",
    "at": f"postgresql://u:{CANARY}@{CANARY}@127.0.0.1:1/d",
    "slash": f"postgresql://u:{CANARY}/{CANARY}@127.0.0.1:1/d",
    "question": f"postgresql://u:{CANARY}?{CANARY}@127.0.0.1:1/d",
    "percent": f"postgresql://u:{CANARY}%zz@127.0.0.1:1/d",
    "noslashes": f"postgresql:u:{CANARY}@127.0.0.1:1/d",
    "oneslash": f"postgresql:/u:{CANARY}@127.0.0.1:1/d",
    "nohost": f"postgresql://u:{CANARY}",
    "other": f"mysql://u:{CANARY}@127.0.0.1:1/d",
    "words": f"host=127.0.0.1 port=1 password='{CANARY}",
    "option": f"postgresql://u:{ESCAPED}@127.0.0.1:1/d?{CANARY}=1",
    "unreachable": f"postgresql://u:{ESCAPED}@127.0.0.1:1/d",
    "query": f"postgresql://127.0.0.1:1/d?user=u&password={ESCAPED}&sslpassword={CANARY}",
    "alchemy": f"postgresql+psycopg2://u:{ESCAPED}@127.0.0.1:1/d",
}


class Shown:
    """All that commands print, and where secrets are in it."""

    def __init__(self, home):
        self.home = home
        self.leaks = []

    def look(self, what, text):
        data = text if isinstance(text, bytes) else str(text).encode()
        place = data.find(CANARY.encode())
        if place >= 0:
            self.leaks.append((what, data[max(0, place - 120) : place + 60]))

    def procezo(self, *args):
        ended = self.home.procezo(*args)
        self.look(args, ended.out + ended.err)
        return ended

    def look_at_files(self, *written_by_people):
        for path in self.home.path.rglob("*"):
            if path.is_file() and path not in written_by_people:
                self.look(path, content(path))


def content(path: Path) -> bytes:
    """What a file holds, unpacked."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".parquet":
        return data + str(pl.read_parquet(path, hive_partitioning=False).to_dicts()).encode()
    return data


@pytest.fixture
def home(tmp_path):
    home = SmallHome(tmp_path / "home", {"SEEN": str(tmp_path / "seen")})
    home.write_raw(*DAYS[:1], odd=["spoilt"])
    home.write_treatment("own", OWN)
    return home


@pytest.fixture
def shown(home, capfd):
    shown = Shown(home)
    yield shown
    shown.look("the terminal", "".join(capfd.readouterr()))
    assert not shown.leaks, "\n".join(map(str, shown.leaks))


def test_a_flow_full_of_secrets_leaves_and_shows_none(home, shown, postgres_url, tmp_path):
    parts = conninfo_to_dict(postgres_url)
    its = {name: parts[name] for name in ("host", "dbname", "user")} | {"port": int(parts["port"])}
    home.more["PASSWORD"] = home.more["PROCEZO_CANARY"] = ODD
    home.more["PROCEZO_POSTGRES_URL"] = f"{postgres_url} password={CANARY}"
    home.more["NOTIFY"] = f"json://u:{ESCAPED}@127.0.0.1:1/{CANARY}"
    home.write_flow(
        PARSE,
        CLEAN,
        {"treatment": "own", "params": {"key": ODD, "api_token": CANARY}},
        AGGREGATE | {"input": "22_own"},
        DUCKDB,
        CSV,
        {"treatment": "to_postgres"},
        server(**its) | {"output": "70_plain"},
        server(**its, password={"env": "PASSWORD"}) | {"output": "71_named"},
        notify=[f"json://u:{ESCAPED}@127.0.0.1:1/", {"env": "NOTIFY"}, f"foo://{CANARY}",
                f"mailto://u:{CANARY}", f"{CANARY}"],
        overrides={"DS-1": {"plain": {"password": f"{ODD}2"}}},
    )  # fmt: skip
    ended = shown.procezo("flow", "small", "--format", "json")
    assert ended.code == 0, ended.err
    for args in (
        ("check",), ("check", "--format", "json"), ("status",), ("ledger", "DS-1"),
        ("list", "flows", "--format", "json"), ("list", "steps"), ("describe", "to_postgres"),
        ("flow", "small", "--dry-run"), ("verify", "small"),
        ("postgres", "url"),
        ("export", "DS-1", "--with-stages", "--output", home.path / "a.tar.gz"),
    ):  # fmt: skip
        assert shown.procezo(*args).code == 0, args
    with home.environment():
        repository = build_defs(home.home).get_repository_def()
    shown.look("what the UI is told", serialize_value(RepositorySnap.from_def(repository)))
    shown.look("processes", (tmp_path / "seen").read_bytes())
    with (
        home.environment(),
        home.instance() as instance,
        dg.build_sensor_context(instance, repository_def=repository) as context,
    ):
        told = repository.get_sensor_def("small_notify").evaluate_tick(context)
    shown.look("sensor", told)
    shown.look_at_files(home.path / "flows/small.json")


def test_run_parameters_with_a_secret_are_kept_nowhere(home, shown):
    home.write_flow(PARSE, CLEAN, {"treatment": "own", "params": {"key": CANARY}}, server())
    for params in (
        {"password": CANARY},
        {"password": ODD},  # as in the flow
        {"postgres": {"password": ODD}},
        {"url": f"postgresql://u:{CANARY}@h/d"},
        {"key": CANARY},
        {"own": {"key": CANARY}},
        {"said": CANARY},
        {"own": {"called": CANARY}},
        {"login": {"phrase": CANARY}},
        {"several": [{"phrase": CANARY}]},
        {"by_name": {"one": [CANARY]}},
        {"passwort": CANARY},
        {"postgres": [CANARY]},
        {"port": {"password": CANARY}},
    ):
        ended = shown.procezo("flow", "small", "--params", json.dumps(params))
        assert ended.code == 1, params
    for text in (
        f'{{"password": "{CANARY}"', f'["password", "{CANARY}"]',
        f'{{"postgres": {{"password": "{CANARY}\\u0000"}}}}', f'{{"password": "{CANARY}\\ud800"}}',
    ):  # fmt: skip
        assert shown.procezo("flow", "small", "--params", text).code == 2
    shown.look_at_files(home.path / "flows/small.json")


def the_run(instance):
    (run,) = instance.get_runs()
    return run.run_id


def test_a_mistake_in_a_flow_is_told_without_secrets(home, shown):
    for what, fields in MISTAKES.items():
        flow = {"name": "wrong", "dataset": "DS-1", "steps": [PARSE], **fields}
        (home.path / "flows").mkdir(exist_ok=True)
        (home.path / "flows/wrong.json").write_text(json.dumps(flow))
        assert shown.procezo("check").code == 1, what
    with home.environment():
        build_defs(home.home)


def test_servers_and_treatments_that_fail_are_told_of_without_secrets(
    home, shown, postgres_url, monkeypatch
):
    monkeypatch.setattr(postgres_connection, "_GIVE_UP_AFTER_S", 0)
    parts = conninfo_to_dict(postgres_url)
    refuses = server(port=int(parts["port"]), dbname=parts["dbname"], user="reader")
    steps = [at(url) | {"output": f"{at_}_{name}"} for at_, (name, url) in enumerate(URLS.items())]
    fails = {"treatment": "fails", "params": {"key": ODD, "api_token": CANARY}}
    home.write_raw(DAYS[1])
    home.write_flow(PARSE, CLEAN, fails, server(), refuses | {"output": "90_refuses"}, *steps)
    assert shown.procezo("check").code == 0
    ended = shown.procezo("flow", "small")
    assert ended.code == 1
    with home.instance() as instance:
        log = str([entry.user_message for entry in instance.all_logs(the_run(instance))])
    for told in ("authentication failed", "Connection refused", "cannot be read", "ZeroDivision"):
        assert told in log
    shown.procezo("status")
    for url in URLS.values():
        home.more["PROCEZO_POSTGRES_URL"] = url
        shown.procezo("postgres", "url")
    shown.look_at_files(home.path / "flows/small.json")


@pytest.mark.parametrize("name", ["unescaped", "at", "nohost", "words", "option", "other"])
def test_a_wrong_address_of_dagsters_own_database_is_told_without_its_secret(home, shown, name):
    home.more["PROCEZO_DAGSTER_POSTGRES_URL"] = URLS[name]
    home.write_flow(PARSE)
    ended = shown.procezo("flow", "small")
    assert ended.code == 1
    assert "PROCEZO_DAGSTER_POSTGRES_URL" in ended.error


def test_secrets_are_known_by_the_words_of_their_names():
    for name in (
        "password", "sslpassword", "PGPASSWORD", "passwort", "db_pwd", "client_secret", "token",
        "clientSecret", "APIToken", "access-tokens", "accesstoken", "token2", "apiKey", "api_key",
        "private-key", "sentry_dsn", "credentials", "passphrase", "notify", "url", "pass",
        "api_pass", "auth", "authorization", "cookie", "webhook", "hook_url", "access_key",
        "aws_secret_access_key", "account-key", "conn_str", "connectionString",
    ):  # fmt: skip
        assert is_secret_name(name), name
    for name in (
        "byssus_secretion", "groundsnow", "redsnapper", "notify_level", "tokenizer", "curl",
        "upwdraft", "url_count", "key", "low_pass", "passes", "author", "hooked", "keys_used",
        "connections",
    ):  # fmt: skip
        assert not is_secret_name(name), name


def test_secrets_are_known_by_what_stands_in_a_text():
    for text in (
        "postgresql://u:my pass@h/d", "postgresql://u:a/b@h", "host=h password=x", "passwd = x",
        "DefaultEndpointsProtocol=https;AccountKey=abc", "pwd=x",
    ):  # fmt: skip
        assert is_secret_text(text), text
    for text in (
        "https://example.org/a?b#c", "a@b", "the key = 5", "m0 of 10 at 5@10",
        "see https://example.org, then write to me@example.org",
    ):  # fmt: skip
        assert not is_secret_text(text), text


def test_check_warns_of_each_secret_in_a_flow_file_by_its_place(home, shown):
    token = {"treatment": "own", "params": {"key": CANARY, "api_token": CANARY}}
    home.write_flow(PARSE, CLEAN, token, server(), notify=[f"slack://{CANARY}", {"env": "SLACK"}])
    (home.path / "flows/small.json").chmod(0o644)

    ended = shown.procezo("check")

    told = [line for line in ended.err.splitlines() if "stands in the flow file" in line]
    steps = ["steps[2].params.api_token", "steps[2].params.key", "steps[3].params.password"]
    assert sorted(line.split()[2] for line in told) == ["notify[0]", *steps]
    assert all("which others on this machine can read" in line for line in told)
