"""``gateway migrate`` and ``master-key``: what an installation needs before its first process, and at each release."""

import asyncio
from pathlib import Path

import click

from gateway.cli.environment import read_settings
from gateway.cli.errors import Failed
from gateway.migrate import migrate as migrate_database
from plugins.vault.errors import MasterKeyError
from plugins.vault.keys import MasterKey


@click.command()
def migrate() -> None:
    """Bring the database to this release.

    The one of GATEWAY_DATABASE_URL; made first, where it is a file. With GATEWAY_DATABASE_OWNER_URL the tables are that
    role's, and the role of GATEWAY_DATABASE_URL may do with them what the processes do.
    """
    settings = read_settings()
    asyncio.run(migrate_database(settings.database_url, owner_url=settings.database_owner_url))
    click.echo("The database is up to date.")


@click.command("master-key")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), envvar="GATEWAY_MASTER_KEY_FILE")
def master_key(file: Path) -> None:
    """Make the master key file of an installation.

    FILE is GATEWAY_MASTER_KEY_FILE when it is not given; one that exists is never overwritten. Keep a copy: without it
    no secret can be read again.
    """
    try:
        MasterKey.create(file)
    except MasterKeyError as error:
        raise Failed(str(error)) from None
    click.echo(f"Made {file}. Keep a copy in a safe place: without it no secret can be read again.")
