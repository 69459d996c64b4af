"""PostgreSQL that is away, slow, or comes back."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from postgres_rows import NEXT, OURS, load, rows, tidy
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tcp_proxy import Proxy

from procezo_assets.errors import StoreError, TransientStoreError
from procezo_assets.stores.postgres_connection import (
    Address,
    DayRefusedError,
    _connect_error,
    connections_kept,
)


@pytest.mark.usefixtures("_empty")
class TestConnection:
    def test_a_server_that_is_not_there_is_transient_and_named_without_the_password(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        begun = time.monotonic()

        with pytest.raises(TransientStoreError) as caught:
            load(f"postgresql://u:s3cr3t@127.0.0.1:{port}/lab", {"t": tidy(m0=[1])})

        assert time.monotonic() - begun > 1  # it was tried again
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

    def test_days_follow_each_other_on_one_connection_even_where_it_is_dropped(self, postgres_url):
        ours = f"FROM pg_stat_activity WHERE {OURS}"
        with connections_kept():
            load(postgres_url, {"t": tidy(m0=[1])})
            first = rows(postgres_url, f"SELECT pid {ours}")
            load(postgres_url, {"t": tidy(m0=[2], day=NEXT)}, day=NEXT)
            assert rows(postgres_url, f"SELECT pid {ours}") == first
            assert rows(postgres_url, f"SELECT pg_terminate_backend(pid) {ours}") == [(True,)]

            load(postgres_url, {"t": tidy(m0=[3])})
            with pytest.raises(DayRefusedError):
                load(postgres_url, {"t": tidy(m0=[4], m1=[[1]])})
            load(postgres_url, {"t": tidy(m0=[5], day=NEXT)}, day=NEXT)

        assert rows(postgres_url, "SELECT m0 FROM flow.t ORDER BY m0") == [(3,), (5,)]
        end = time.monotonic() + 10  # the server's process ends a little later
        while (left := rows(postgres_url, f"SELECT pid {ours}")) and time.monotonic() < end:
            time.sleep(0.05)
        assert left == []

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
                        f"WHERE {OURS} AND wait_event_type = 'Lock'",
                    )
                blocker.rollback()
                assert loading.result(timeout=30) == {"t": 1}

        assert rows(postgres_url, "SELECT m0 FROM flow.t") == [(2,)]

    def test_a_missing_database_is_refused_at_once(self, postgres_url):
        with (
            Proxy(postgres_url) as line,
            pytest.raises(StoreError, match="does not exist") as caught,
        ):
            load(make_conninfo(line.url, dbname="no_such"), {"t": tidy(m0=[1])})

        assert not isinstance(caught.value, TransientStoreError)
        assert line.connections == 1


@pytest.mark.parametrize(
    ("said", "transient"),
    [
        ("FATAL:  the database system is starting up", True),
        ("FATAL:  the database system is shutting down", True),
        ("FATAL:  the database system is not yet accepting connections", True),
        ("FATAL:  terminating connection due to administrator command", True),
        ("FATAL:  sorry, too many clients already", True),
        ('FATAL:  too many connections for role "u"', True),
        ("FATAL:  remaining connection slots are reserved", True),
        ('FATAL:  password authentication failed for user "u"', False),
        ('FATAL:  no pg_hba.conf entry for host "h"', False),
        ('FATAL:  database "d" is not currently accepting connections', False),
    ],
)
def test_a_server_that_is_busy_is_no_server_that_refuses(said, transient):
    error = _connect_error(Address({"host": "h"}), f"IO: {said}")
    assert isinstance(error, TransientStoreError) is transient


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3c%zz@h/db",
        "postgresql://u:s3c@h:port/d b",
        "nonsense s3c",
        # libpq would take what follows the first `@` or `/` for host or database
        "postgresql://u:s3@s3c@h/db",
        "postgresql://u:s3/s3c@h/db",
        "postgresql://u:s3c",
        "postgresql://h?password=s3@s3c",
    ],
)
def test_a_url_that_cannot_be_read_is_not_quoted(url):
    with pytest.raises(StoreError) as caught:
        Address.parse(url)

    assert "s3c" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown", "password"),
    [
        ("postgresql://u:p?#:!@h/db", "h/db", "p?#:!"),
        ("postgresql://u:p@h1:1,h2:2/db?target_session_attrs=any", "h1,h2:1,2/db", "p"),
        ("postgres://[::1]:5433/db?user=me@here&password=p@q/r", "::1:5433/db", "p@q/r"),
        ("postgresql://u@/db?host=%2Frun%2Fpg", "/run/pg/db", None),
        ("postgresql://", "the local socket/?", None),
        ("host=h dbname=a@b password='p@q/r'", "h/a@b", "p@q/r"),
    ],
)
def test_an_address_that_is_not_ambiguous_is_read_as_libpq_does(url, shown, password):
    address = Address.parse(url)
    assert (str(address), address.settings.get("password")) == (shown, password)


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
