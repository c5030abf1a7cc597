from collections.abc import AsyncIterator

import pytest

from plugins.storage.database import Database, metadata
from tests.user_workflows.lane import Lane, open_lane


@pytest.fixture(scope="session")
async def lane(temporal_address: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lane]:
    """One lane on SQLite for all tests that need no database of their own."""
    folder = tmp_path_factory.mktemp("lane")
    database = Database(f"sqlite:///{folder}/gateway.db")
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    async with open_lane(database, temporal_address, folder) as opened:
        yield opened
    await database.close()
