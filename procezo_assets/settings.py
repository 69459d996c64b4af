"""Every environment variable that the project reads, in one place, read when asked for."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from procezo_assets.errors import HomeError


class Settings(BaseSettings):
    """What the environment says; an empty variable counts as unset."""

    model_config = SettingsConfigDict(env_prefix="PROCEZO_", env_ignore_empty=True, frozen=True)

    home: Path = Field(
        default_factory=Path.cwd,
        description="PROCEZO_HOME: the folder with datasets/, flows/ and treatments/.",
    )
    postgres_url: SecretStr | None = Field(
        default=None,
        description="PROCEZO_POSTGRES_URL: the server that to_postgres loads into; "
        "unset, an embedded one is started.",
    )
    dagster_postgres_url: SecretStr | None = Field(
        default=None,
        description="PROCEZO_DAGSTER_POSTGRES_URL: where Dagster keeps runs and events; "
        "unset, SQLite in DAGSTER_HOME.",
    )
    keep_runs_days: int = Field(
        default=90,
        ge=1,
        description="PROCEZO_KEEP_RUNS_DAYS: age in days at which Dagster's runs are removed.",
    )
    keep_printed: bool = Field(
        default=True,
        description="PROCEZO_KEEP_PRINTED: whether Dagster keeps what treatments print with the "
        "run; the commands set it to 0 for theirs, which print to the terminal.",
    )
    register_datasets: bool = Field(
        default=True,
        description="PROCEZO_REGISTER_DATASETS: whether loading the definitions makes the datasets "
        "on disk known to Dagster; queued runs set it to 0 for themselves, as theirs is known.",
    )
    dagster_home: Path | None = Field(
        default=None, validation_alias="DAGSTER_HOME", description="DAGSTER_HOME, as Dagster reads."
    )


def load_settings() -> Settings:
    """Read the environment.

    Returns:
        The settings, with `home` made absolute.

    Raises:
        HomeError: Where `PROCEZO_HOME` is not a folder.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        raise HomeError(
            f"environment variable {'.'.join(map(str, first['loc']))}: {first['msg']}",
            "unset it or set it right",
        ) from None
    home = settings.home.expanduser().absolute()
    if not home.is_dir():
        raise HomeError(
            f"PROCEZO_HOME {home} is not a folder",
            "make it, or run in the folder that is your home",
        )
    return settings.model_copy(update={"home": home})
