import asyncio
from collections.abc import AsyncIterator

import pytest

from plugins.storage.database import Database, metadata
from tests.user_workflows.codegen.lanes import Pair
from tests.user_workflows.lane import open_lane
from user_workflows.records import RecordWriter
from user_workflows.starts import Starts


@pytest.fixture(scope="session")
async def pair(temporal_address: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """A lane that runs definitions interpreted and as generated code."""
    folder = tmp_path_factory.mktemp("generated")
    database = Database(f"sqlite:///{folder}/gateway.db")
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    async with open_lane(database, temporal_address, folder) as lane:
        written: set[str] = set()
        starts = Starts(
            database=database, vault=lane.vault, workflows=lane.workflows, temporal=lane.temporal, generated=written
        )
        records = RecordWriter(database, lane.vault)
        writing = asyncio.create_task(records.run())
        yield Pair(lane, folder, starts, written, records)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    await database.close()
