"""`procezo postgres`: the embedded PostgreSQL server of the home."""

from __future__ import annotations

import click


@click.group()
def postgres() -> None:
    """The PostgreSQL server that to_postgres loads into."""


@postgres.command()
@click.option("--reader", is_flag=True, help="The read-only role on 127.0.0.1, for Grafana.")
def url(*, reader: bool) -> None:
    """Print where the server is, and start nothing.

    Where PROCEZO_POSTGRES_URL is set, that is where; its password is not shown.
    """
    from procezo_assets.datasets import Home  # noqa: PLC0415 - the command line must start fast
    from procezo_assets.errors import StoreError  # noqa: PLC0415 - as above
    from procezo_assets.settings import load_settings  # noqa: PLC0415 - as above
    from procezo_assets.stores import embedded_postgres as embedded  # noqa: PLC0415 - as above

    settings = load_settings()
    if settings.postgres_url is not None:
        if reader:
            raise click.UsageError(
                "--reader is for the embedded server; PROCEZO_POSTGRES_URL is set"
            )
        from procezo_assets.stores.postgres_connection import Address  # noqa: PLC0415 - as above

        click.echo(Address.parse(settings.postgres_url.get_secret_value()).shown)
        click.echo("PROCEZO_POSTGRES_URL names this server", err=True)
        return
    state = Home(settings.home).state
    found = (embedded.reader_url_if_running if reader else embedded.url_if_running)(state)
    if found is None:
        raise StoreError(
            "the embedded PostgreSQL is not running", "start it with: procezo postgres start"
        )
    click.echo(found)
    _hint(found, with_reader=not reader)


@postgres.command()
def start() -> None:
    """Start the embedded server, unless it runs, and print its URL."""
    from procezo_assets.datasets import Home  # noqa: PLC0415 - as above
    from procezo_assets.settings import load_settings  # noqa: PLC0415 - as above
    from procezo_assets.stores import embedded_postgres as embedded  # noqa: PLC0415 - as above

    settings = load_settings()
    found = embedded.start(Home(settings.home).state)
    click.echo(found)
    _hint(found, with_reader=True)
    if settings.postgres_url is not None:
        click.echo("to_postgres does not use it: PROCEZO_POSTGRES_URL is set", err=True)


@postgres.command()
def stop() -> None:
    """Stop the embedded server; its data stay."""
    from procezo_assets.datasets import Home  # noqa: PLC0415 - as above
    from procezo_assets.settings import load_settings  # noqa: PLC0415 - as above
    from procezo_assets.stores import embedded_postgres as embedded  # noqa: PLC0415 - as above

    stopped = embedded.stop(Home(load_settings().home).state)
    click.echo("stopped" if stopped else "the embedded PostgreSQL was not running", err=True)


def _hint(found: str, *, with_reader: bool) -> None:
    from procezo_assets.stores.embedded_account import find_binaries  # noqa: PLC0415 - as above

    click.echo(f"to look inside: {find_binaries().psql} '{found}'", err=True)
    if with_reader:
        click.echo("for Grafana: procezo postgres url --reader", err=True)
