"""Migrating: from any folder, as often as anybody likes."""

from pathlib import Path

import pytest
from sqlalchemy import inspect

from deploy.tables import metadata
from gateway.migrate import migrate
from plugins.storage.database import Database


async def test_a_new_database_is_made_and_an_old_one_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/new folder/50%/gateway.db"
    for _ in range(2):
        await migrate(url)
    database = Database(url)
    async with database.read() as connection:
        tables = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
    await database.close()
    assert tables == {*metadata.tables, "alembic_version"}
