from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from adbc_driver_postgresql import dbapi

from procezo_assets.errors import StoreError
from procezo_assets.stores import embedded_account, embedded_postgres, embedded_process
from procezo_assets.stores.embedded_account import ELSEWHERE

_START = """
import sys
from pathlib import Path
from procezo_assets.stores import embedded_postgres
print(embedded_postgres.start(Path(sys.argv[1])))
"""


@contextmanager
def open_folder():
    """A folder that the server's user can enter, also where root runs the tests."""
    made = Path(tempfile.mkdtemp(prefix="procezo-tests-"))
    made.chmod(0o711)
    yield made
    for state in made.rglob(".procezo"):
        embedded_postgres.stop(state)
        elsewhere = ELSEWHERE / hashlib.sha256(os.fsencode(state)).hexdigest()[:16]
        shutil.rmtree(elsewhere, ignore_errors=True)
    shutil.rmtree(made)


@pytest.fixture
def folder():
    with open_folder() as made:
        yield made


@pytest.fixture
def state(folder):
    return folder / ".procezo"


@pytest.fixture(scope="module")
def running():
    """A server that no test stops or starts anew."""
    with open_folder() as made:
        embedded_postgres.start(made / ".procezo")
        yield made / ".procezo"


def scalar(url, query):
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchone()[0]


def postmaster(state):
    data = json.loads((state / "postgres" / "server.json").read_text())["data"]
    return int((Path(data) / "postmaster.pid").read_text().splitlines()[0])


def test_every_client_accepts_the_url_and_the_server_is_utf8_and_utc(running):
    url = embedded_postgres.start(running)

    assert scalar(url, "SELECT current_database()") == "procezo"
    assert scalar(url, "SHOW timezone") == "UTC"
    assert scalar(url, "SHOW server_encoding") == "UTF8"
    assert scalar(url, "SELECT upper('é')") == "É"
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
    with dbapi.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
    psql = embedded_account.find_binaries().psql
    done = subprocess.run([psql, "-Atc", "SELECT 1", url], capture_output=True, check=True)
    assert done.stdout == b"1\n"


def test_start_again_finds_the_same_server_and_stop_ends_it(state):
    assert embedded_postgres.url_if_running(state) is None
    assert not embedded_postgres.stop(state)
    assert not state.exists()

    url = embedded_postgres.start(state)
    assert embedded_postgres.start(state) == url
    assert embedded_postgres.url_if_running(state) == url

    assert embedded_postgres.stop(state)
    assert embedded_postgres.url_if_running(state) is None
    assert not embedded_postgres.stop(state)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)


def test_data_and_address_outlive_a_restart(state):
    url = embedded_postgres.start(state)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    embedded_postgres.stop(state)

    assert embedded_postgres.start(state) == url
    assert scalar(url, "SELECT n FROM kept") == 7


def test_the_reader_reads_over_tcp_and_does_nothing_else(running):
    with psycopg.connect(embedded_postgres.start(running)) as connection:
        connection.execute("CREATE SCHEMA flow")
        connection.execute("CREATE TABLE flow.t AS SELECT 7 AS n")
    reader = embedded_postgres.reader_url_if_running(running)

    assert "@127.0.0.1:" in reader
    assert scalar(reader, "SELECT n FROM flow.t") == 7
    with psycopg.connect(reader) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM flow.t")
        connection.rollback()
    port = reader.rpartition(":")[2].partition("/")[0]
    for wrong in ("reader:wrong", "procezo", "procezo:wrong"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"postgresql://{wrong}@127.0.0.1:{port}/procezo")


def test_socket_and_password_are_the_users_own(running):
    record = json.loads((running / "postgres" / "server.json").read_text())
    assert Path(record["socket"]).stat().st_mode & 0o777 == 0o700
    assert embedded_postgres.password_file(running).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["with blanks", 'été à l\'Île $HOME "x"', "n" * 200])
def test_homes_with_difficult_paths(folder, name):
    home = folder / name
    home.mkdir()

    assert scalar(embedded_postgres.start(home / ".procezo"), "SELECT 1") == 1


def test_processes_that_race_get_one_server(state):
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _START, state], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    answers = [racer.communicate(timeout=120) for racer in racers]

    assert [racer.returncode for racer in racers] == [0, 0, 0, 0], answers
    urls = {out.decode().strip() for out, _ in answers}
    assert urls == {embedded_postgres.url_if_running(state)}


def test_the_server_outlives_the_starter_and_its_ctrl_c(state):
    starter = subprocess.Popen(
        [sys.executable, "-c", _START + "import time; time.sleep(300)", state],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = starter.stdout.readline().decode().strip()
    os.killpg(starter.pid, signal.SIGINT)
    starter.communicate(timeout=120)

    assert starter.returncode != 0
    assert scalar(url, "SELECT 1") == 1


def test_a_killed_server_starts_again_with_what_was_committed(state):
    url = embedded_postgres.start(state)
    client = psycopg.connect(url, autocommit=True)
    client.execute("CREATE TABLE kept AS SELECT 7 AS n")
    killed = postmaster(state)
    os.kill(killed, signal.SIGKILL)
    while embedded_process.is_alive(killed):
        time.sleep(0.001)

    url = embedded_postgres.start(state)

    assert scalar(url, "SELECT n FROM kept") == 7
    client.close()


def test_a_process_that_took_the_dead_servers_number_is_no_server(state):
    url = embedded_postgres.start(state)
    embedded_postgres.stop(state)
    data = Path(json.loads((state / "postgres" / "server.json").read_text())["data"])
    owner = data.stat()
    stranger = subprocess.Popen(
        ["sleep", "60"], **({"user": owner.st_uid} if os.geteuid() == 0 else {})
    )
    try:
        stale = data / "postmaster.pid"
        stale.write_text(f"{stranger.pid}\n{data}\n1\n15432\n/tmp\nlocalhost\n1 1\nready   \n")
        os.chown(stale, owner.st_uid, owner.st_gid)

        assert embedded_postgres.url_if_running(state) is None
        assert embedded_postgres.start(state) == url
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_taken_port_gives_way_to_another(state):
    embedded_postgres.start(state)
    first = embedded_postgres.reader_url_if_running(state)
    embedded_postgres.stop(state)
    port = int(first.rpartition(":")[2].partition("/")[0])
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        embedded_postgres.start(state)
        second = embedded_postgres.reader_url_if_running(state)
        assert second != first
        assert scalar(second, "SELECT 1") == 1
    embedded_postgres.stop(state)
    embedded_postgres.start(state)
    assert embedded_postgres.reader_url_if_running(state) == second


def test_a_stolen_socket_folder_is_not_used(state):
    embedded_postgres.start(state)
    embedded_postgres.stop(state)
    known = Path(json.loads((state / "postgres" / "server.json").read_text())["socket"])
    known.mkdir(mode=0o755)
    known.chmod(0o777)
    try:
        assert str(known) not in embedded_postgres.start(state)
    finally:
        known.rmdir()


def test_an_interrupted_initdb_is_begun_anew(state):
    embedded_postgres.start(state)
    embedded_postgres.stop(state)
    data = state / "postgres" / "data"
    data.rename(data.with_name("data.partial"))
    (data.with_name("data.partial") / "PG_VERSION").unlink()

    assert scalar(embedded_postgres.start(state), "SELECT 1") == 1
    assert not data.with_name("data.partial").exists()


def test_a_copied_home_gets_its_own_server(folder):
    (folder / "one").mkdir()
    url = embedded_postgres.start(folder / "one" / ".procezo")
    embedded_postgres.stop(folder / "one" / ".procezo")
    subprocess.run(["cp", "-a", folder / "one", folder / "two"], check=True)
    embedded_postgres.start(folder / "one" / ".procezo")

    assert embedded_postgres.url_if_running(folder / "two" / ".procezo") is None
    assert embedded_postgres.start(folder / "two" / ".procezo") != url


def test_variables_of_the_users_own_server_do_not_leak_in(state, monkeypatch):
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")

    assert scalar(embedded_postgres.start(state), "SELECT 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_a_home_that_is_closed_to_the_servers_user_keeps_its_permissions(folder):
    home = folder / "closed"
    home.mkdir(mode=0o700)

    url = embedded_postgres.start(home / ".procezo")

    assert scalar(url, "SELECT 1") == 1
    assert home.stat().st_mode & 0o777 == 0o700
    assert embedded_postgres.url_if_running(home / ".procezo") == url
    record = json.loads((home / ".procezo" / "postgres" / "server.json").read_text())
    assert Path(record["data"]).is_relative_to(ELSEWHERE)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a home to another user")
def test_root_in_a_users_home_leaves_the_server_to_that_user(folder):
    home = folder / "theirs"
    home.mkdir(mode=0o700)
    os.chown(home, 12345, 12345)
    state = home / ".procezo"
    try:
        embedded_postgres.start(state)
    except StoreError as error:
        assert "12345" in str(error)  # noqa: PT017 - initdb wants a user with a name
    for path in (state, state / "postgres", state / "postgres" / "server.lock"):
        assert path.stat().st_uid == 12345


def test_a_missing_package_says_what_to_do(state, monkeypatch):
    monkeypatch.setattr(embedded_account, "_PACKAGE", "no_such_package")

    with pytest.raises(StoreError, match="PROCEZO_POSTGRES_URL"):
        embedded_postgres.start(state)


def test_a_running_server_is_found_without_delay(running):
    took = []
    for _ in range(5):  # the machine may be busy
        begun = time.perf_counter()
        embedded_postgres.start(running)
        took.append(time.perf_counter() - begun)

    assert min(took) < 0.1
