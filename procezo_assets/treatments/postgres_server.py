"""The PostgreSQL server that a step names: its parameters, and its URL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from procezo_assets.datasets import Home
from procezo_assets.errors import ParameterError, StoreError
from procezo_assets.parameters import Parameters


class FromEnvironment(BaseModel):
    """The name of an environment variable that holds a value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    env: str = Field(min_length=1, description="The environment variable's name.")


Text = str | FromEnvironment
Secret = SecretStr | FromEnvironment


class Server(Parameters):
    """Which server to load into, and how to log in."""

    url: Secret | None = Field(
        default=None,
        description="The database's URL, or {env: NAME}. Without it and the five below: "
        "PROCEZO_POSTGRES_URL, and where that is unset the embedded server.",
    )
    host: Text | None = Field(
        default=None, description="The server's host; localhost where only others are given."
    )
    port: int | FromEnvironment | None = Field(default=None, description="The server's port; 5432.")
    dbname: Text | None = Field(default=None, description="The database; named as the user.")
    user: Text | None = Field(default=None, description="The user.")
    password: Secret | None = Field(
        default=None, description="The password; {env: NAME} keeps it out of the flow."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.url is not None and self.names_parts:
            raise ValueError("give url, or host, port, dbname, user and password; not both")
        for name, part in (("host", self.host), ("dbname", self.dbname)):
            if isinstance(part, str) and "://" in part:  # it would be shown, password and all
                raise ValueError(f"{name} is an address; give it as url")
        return self

    @property
    def names_parts(self) -> bool:
        """Whether the server is given in parts."""
        parts = (self.host, self.port, self.dbname, self.user, self.password)
        return any(part is not None for part in parts)


def server_url(params: Server, home: Home) -> str:
    """Find the server: the parameters', else PROCEZO_POSTGRES_URL's, else the embedded one.

    Args:
        params: What a flow says.
        home: The home, whose embedded server is started where nothing is said.

    Raises:
        ParameterError: Where an environment variable that the parameters name is not set.
        StoreError: Where the embedded server cannot run.
    """
    if params.url is not None:
        return _value(params.url, "url")
    if params.names_parts:
        from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - heavy

        return make_conninfo(
            "", **{name: _value(part, name) for name, part in _parts(params).items()}
        )
    from procezo_assets.settings import load_settings  # noqa: PLC0415 - read when asked for

    if (own := load_settings().postgres_url) is not None:
        return own.get_secret_value()
    from procezo_assets.stores.embedded_postgres import start  # noqa: PLC0415 - heavy

    return start(home.state)


def server_identity(params: Server, home: Home) -> str:  # noqa: ARG001 - see `embedded` below
    """Name the server and database of a step, without reaching for them and without secrets.

    Args:
        params: What a flow says.
        home: The home; its embedded server is known as that alone, so that a home may move.

    Returns:
        `host:port/dbname`, or `embedded`. `$NAME` stands for an environment variable that is not
        set, `unreadable` for a URL that is none.
    """
    from procezo_assets.settings import load_settings  # noqa: PLC0415 - read when asked for

    if params.url is not None:
        return _identity_of_url(_value_or_name(params.url))
    if params.names_parts:
        return _identity(
            {
                name: _value_or_name(part)
                for name, part in _parts(params).items()
                if name != "password"
            }
        )
    own = load_settings().postgres_url
    return "embedded" if own is None else _identity_of_url(own.get_secret_value())


def _parts(params: Server) -> dict[str, str | int | SecretStr | FromEnvironment]:
    given = {
        "host": params.host if params.host is not None else "localhost",
        "port": params.port,
        "dbname": params.dbname,
        "user": params.user,
        "password": params.password,
    }
    return {name: part for name, part in given.items() if part is not None}


def _identity_of_url(url: str) -> str:
    from procezo_assets.stores.postgres_connection import Address  # noqa: PLC0415 - heavy

    if url.startswith("$"):
        return url
    try:
        return _identity(Address.parse(url).settings)
    except StoreError:  # the load itself says what is wrong with it
        return "unreadable"


def _identity(settings: Mapping[str, str]) -> str:
    from psycopg.pq import Conninfo  # noqa: PLC0415 - heavy

    # libpq takes what is not given from PGHOST and its like
    found = {o.keyword.decode(): o.val.decode() for o in Conninfo.get_defaults() if o.val}
    found |= settings
    host = found.get("host") or found.get("hostaddr") or "local socket"
    database = found.get("dbname") or found.get("user") or "?"
    service = f" of service {found['service']}" if found.get("service") else ""
    return f"{host}:{found.get('port', '5432')}/{database}{service}"


def _value_or_name(given: str | int | SecretStr | FromEnvironment) -> str:
    if isinstance(given, FromEnvironment):
        return os.environ.get(given.env) or f"${given.env}"
    return given.get_secret_value() if isinstance(given, SecretStr) else str(given)


def _value(given: str | int | SecretStr | FromEnvironment, name: str) -> str:
    if isinstance(given, SecretStr):
        return given.get_secret_value()
    if not isinstance(given, FromEnvironment):
        return str(given)
    value = os.environ.get(given.env)
    if not value:
        raise ParameterError(
            f"{name} of to_postgres: the environment variable {given.env} is not set",
            "set it where the run starts",
        )
    return value
