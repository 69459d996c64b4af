"""Servers that tests share: started once a session, for all workers."""

from __future__ import annotations

import gc
import json
import os
import shutil
import tempfile
import uuid
from pathlib import Path

import psycopg
import pytest
from filelock import FileLock
from hypothesis import settings
from migrations import migrations_read_once
from psycopg import sql
from psycopg.conninfo import make_conninfo

from procezo_assets.stores import embedded_postgres

# CI must say the same of the same commit; new examples are looked for on developers' machines
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

_OTHER_SERVER = "PROCEZO_TEST_POSTGRES_URL"
_SERVERS = ["embedded", *(["given"] if os.environ.get(_OTHER_SERVER) else [])]

# begun first, so that no worker is left alone with one at the end
_LONGEST = {"test_demo_e2e", "test_kills", "test_live", "test_readme"}


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in _LONGEST)


def pytest_collection_finish():
    # what was imported is no garbage: no test needs to look through it
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
    gc.unfreeze()  # else DuckDB takes at the exit what it made for leaks


@pytest.fixture(scope="session")
def _embedded_url(tmp_path_factory):
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    users = shared / "embedded-postgres.json"
    lock = FileLock(shared / "embedded-postgres.lock")
    with lock:
        if users.exists():
            known = json.loads(users.read_text())
        else:
            home = tempfile.mkdtemp(prefix="procezo-tests-")
            Path(home).chmod(0o711)  # under root the server's user must pass through
            known = {"home": home, "count": 0}
        home = Path(known["home"])
        url = embedded_postgres.start(home / ".procezo")
        users.write_text(json.dumps({**known, "count": known["count"] + 1}))
    yield url
    with lock:
        known = json.loads(users.read_text())
        users.write_text(json.dumps({**known, "count": known["count"] - 1}))
        if known["count"] == 1:
            embedded_postgres.stop(home / ".procezo")
            shutil.rmtree(home)
            users.unlink()


@pytest.fixture(scope="module", params=_SERVERS)
def postgres_url(request):
    """A fresh database, on the embedded server and on the one of PROCEZO_TEST_POSTGRES_URL."""
    if request.param == "embedded":
        server = request.getfixturevalue("_embedded_url")
    else:
        server = os.environ[_OTHER_SERVER]
    name = f"procezo_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield make_conninfo(server, dbname=name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(autouse=True, scope="session")
def _migrations_are_read_once():
    with migrations_read_once():
        yield
