"""``gateway vault …``: the master key, with the settings of the processes and not over the API."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError

from gateway.cli.environment import read_settings
from gateway.cli.errors import Failed
from gateway.cli.output import Output, with_output
from plugins.storage.database import Database
from plugins.vault.errors import VaultError
from plugins.vault.keys import MasterKey, Vault

Work = Callable[[MasterKey, Vault], Coroutine[Any, Any, None]]


@click.group()
def vault() -> None:
    """The master key, which wraps the keys of all tenants. Settings come from GATEWAY_*."""


@vault.command()
@with_output
def status(out: Output) -> None:
    """Show the versions of the master key, and how many data keys each wraps."""

    async def show(master: MasterKey, opened: Vault) -> None:
        wrapped = await opened.wrapped_by()
        found = [
            {"version": version, "current": version == master.current, "wraps": wrapped.get(version, 0)}
            for version in sorted({*master.versions, *wrapped})
        ]
        rows = [(each["version"], "current" if each["current"] else "", each["wraps"]) for each in found]
        out.table(("version", "", "data keys"), rows, raw=found, empty="There is no version.")

    _work(show)


@vault.command("rotate-master")
@click.option("--prepare", is_flag=True, help="Only add a version to the file, to be brought to every machine first.")
def rotate_master(*, prepare: bool) -> None:
    """Go over to a new version of the master key, and wrap all data keys with it.

    Processes go on meanwhile: they read the file again when they meet what a newer version wrapped. Where machines have
    a file each, run it with --prepare, bring the file to all of them, then run it again. Interrupted, it goes on where
    it was. The old version stays in the file until `forget-master`.
    """

    async def rotate(master: MasterKey, opened: Vault) -> None:
        # Before anything is changed: a file of another installation gets no version of ours.
        await opened.check()
        newest = max(master.versions)
        waiting = sum(count for version, count in (await opened.wrapped_by()).items() if version != master.current)
        if newest == master.current and (prepare or not waiting):
            newest = master.add_version()
            click.echo(f"Version {newest} of the master key is in the file. Keep a copy of it.")
        if prepare:
            return
        if newest != master.current:
            master.make_current(newest)
        total = 0
        while count := await opened.rewrap():
            total += count
            click.echo(f"{total} data keys are wrapped by version {newest}.")
        click.echo(f"Version {newest} of the master key wraps everything. Backups need the older ones still.")

    _work(rotate)


@vault.command("forget-master")
@click.argument("version", type=int)
@click.confirmation_option(prompt="Backups that it wrapped can be read by a copy of it alone. Take it out of the file?")
def forget_master(version: int) -> None:
    """Take a version that wraps nothing any more out of the master key file."""

    async def forget(master: MasterKey, opened: Vault) -> None:
        if count := (await opened.wrapped_by()).get(version):
            raise Failed(f"Version {version} wraps {count} data keys; run: gateway vault rotate-master")
        master.remove(version)
        click.echo(f"Version {version} of the master key is gone from the file.")

    _work(forget)


def _work(work: Work) -> None:
    async def run() -> None:
        async with _open() as (master, opened):
            await work(master, opened)

    try:
        asyncio.run(run())
    except VaultError as error:
        raise Failed(str(error)) from None
    except (SQLAlchemyError, OSError) as error:
        raise Failed(f"The database cannot be used: {type(error).__name__}") from None


@asynccontextmanager
async def _open() -> AsyncIterator[tuple[MasterKey, Vault]]:
    settings = read_settings()
    database = Database(settings.database_url)
    try:
        master = MasterKey.load(settings.master_key_file)
        yield master, Vault(database, master)
    finally:
        await database.close()
