"""What the tests of stores share."""

from __future__ import annotations

import psycopg
import pytest


@pytest.fixture
def _empty(postgres_url):
    """Leave nothing in the database."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute("DROP SCHEMA IF EXISTS flow, other CASCADE")
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
