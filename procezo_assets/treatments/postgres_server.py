"""The PostgreSQL server that a step names: its parameters, and its URL."""

from __future__ import annotations

import os
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from procezo_assets.datasets import Home
from procezo_assets.errors import ParameterError
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
        return self

    @property
    def names_parts(self) -> bool:
        """Whether the server is given in parts."""
        parts = (self.host, self.port, self.dbname, self.user, self.password)
        return any(part is not None for part in parts)

    @property
    def has_plain_secret(self) -> bool:
        """Whether a password, or a URL that may hold one, is written out."""
        return any(isinstance(given, SecretStr) for given in (self.password, self.url))


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

        given = {
            "host": params.host if params.host is not None else "localhost",
            "port": params.port,
            "dbname": params.dbname,
            "user": params.user,
            "password": params.password,
        }
        return make_conninfo(
            "", **{name: _value(part, name) for name, part in given.items() if part is not None}
        )
    from procezo_assets.settings import load_settings  # noqa: PLC0415 - read when asked for

    if (own := load_settings().postgres_url) is not None:
        return own.get_secret_value()
    from procezo_assets.stores.embedded_postgres import start  # noqa: PLC0415 - heavy

    return start(home.state)


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
