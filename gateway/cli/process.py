"""``gateway serve``, ``worker``, ``migrate`` and ``master-key``: what production runs, one process each."""

import asyncio
import os
from pathlib import Path

import click

from gateway.cli.errors import Failed
from gateway.errors import SettingsError
from gateway.migrate import migrate as migrate_database
from gateway.processes import run_internal_jobs_worker, run_user_workflows_worker
from gateway.processes import serve as serve_api
from gateway.settings import Settings, load
from plugins.vault.errors import MasterKeyError
from plugins.vault.keys import MasterKey


@click.command()
def serve() -> None:
    """Serve the API. Settings come from GATEWAY_* and TEMPORAL_*."""
    asyncio.run(serve_api(settings()))


@click.group()
def worker() -> None:
    """Run one of the workers. Settings come from GATEWAY_* and TEMPORAL_*."""


@worker.command("user-workflows")
def user_workflows() -> None:
    """Run user workflows, on Temporal."""
    asyncio.run(run_user_workflows_worker(settings()))


@worker.command("internal-jobs")
def internal_jobs() -> None:
    """Run internal jobs, on Dramatiq."""
    asyncio.run(run_internal_jobs_worker(settings()))


@click.command()
def migrate() -> None:
    """Bring the database of GATEWAY_DATABASE_URL to this release."""
    asyncio.run(migrate_database(settings().database_url))
    click.echo("The database is up to date.")


@click.command("master-key")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), envvar="GATEWAY_MASTER_KEY_FILE")
def master_key(file: Path) -> None:
    """Make the master key file of a new installation; one that exists is never overwritten.

    FILE is GATEWAY_MASTER_KEY_FILE when it is not given. Keep a copy: without it no secret can be read again.
    """
    try:
        MasterKey.create(file)
    except MasterKeyError as error:
        raise Failed(str(error)) from None
    click.echo(f"Made {file}. Keep a copy in a safe place: without it no secret can be read again.")


def settings() -> Settings:
    try:
        return load(os.environ)
    except SettingsError as error:
        raise Failed(f"The settings are not complete: {error}") from None
