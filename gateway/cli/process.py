"""``gateway serve`` and ``migrate``: one process each, as production runs them."""

import asyncio
import os

import click

from gateway.cli.errors import Failed
from gateway.errors import SettingsError
from gateway.migrate import migrate as migrate_database
from gateway.processes import serve as serve_api
from gateway.settings import Settings, load


@click.command()
def serve() -> None:
    """Serve the API. Settings come from GATEWAY_* and TEMPORAL_*."""
    asyncio.run(serve_api(settings()))


@click.command()
def migrate() -> None:
    """Bring the database of GATEWAY_DATABASE_URL to this release."""
    asyncio.run(migrate_database(settings().database_url))
    click.echo("The database is up to date.")


def settings() -> Settings:
    try:
        return load(os.environ)
    except SettingsError as error:
        raise Failed(f"The settings are not complete: {error}") from None
