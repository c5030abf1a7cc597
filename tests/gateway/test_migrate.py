"""Migrating: from any folder, as often as anybody likes."""

from pathlib import Path

import pytest
from sqlalchemy import inspect
from sqlalchemy.engine import make_url

from deploy.tables import metadata
from gateway.migrate import migrate
from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant, find_tenant


async def test_a_new_database_is_made_and_an_old_one_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/new folder/50%/gateway.db"
    for _ in range(2):
        await migrate(url)
    database = Database(url)
    async with database.across.read() as connection:
        tables = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
    await database.close()
    assert tables == {*metadata.tables, "alembic_version"}


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_the_owner_migrates_and_lets_the_processes_in(database: Database, owned: Database) -> None:
    async with owned.engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
    url, owner_url = (each.engine.url.render_as_string(hide_password=False) for each in (database, owned))
    for _ in range(2):
        await migrate(url, owner_url=owner_url)
    assert make_url(url).username != make_url(owner_url).username
    async with database.transaction("ten_a") as connection:
        await create_tenant(connection, "Acme", id="ten_a")
    assert await find_tenant(database, "ten_a") is not None
