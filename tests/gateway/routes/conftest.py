"""Routes are the same over every database; what they call is tested on both, floor by floor."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from plugins.storage.database import Database, metadata


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty SQLite database."""
    opened = Database(f"sqlite:///{tmp_path}/gateway.db")
    async with opened.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield opened
    await opened.close()
