from collections.abc import AsyncIterator

import pytest

from plugins.storage.database import Database
from tests.sqlite import new_sqlite
from tests.user_workflows.lane import Lane, open_lane


@pytest.fixture(scope="session")
async def lane(temporal_address: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lane]:
    """One lane on SQLite for all tests that need no database of their own."""
    folder = tmp_path_factory.mktemp("lane")
    database = Database(new_sqlite(folder / "gateway.db"))
    async with open_lane(database, temporal_address, folder) as opened:
        yield opened
    await database.close()
