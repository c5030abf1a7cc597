"""Random definitions on a real Temporal server against the model, by a worker that loses every execution each time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from plugins.storage.database import Database
from tests.sqlite import new_sqlite
from tests.user_workflows.lane import Lane, open_lane
from tests.user_workflows.reference.drawings import examples
from tests.user_workflows.reference.verdict import judge


@pytest.fixture
async def forgetful_lane(temporal_address: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lane]:
    folder = tmp_path_factory.mktemp("forgetful")
    database = Database(new_sqlite(folder / "gateway.db"))
    async with open_lane(database, temporal_address, folder, forgetful=True) as opened:
        yield opened
    await database.close()


async def test_a_worker_that_forgets_everything_all_the_time_ends_every_definition_as_the_model_says(
    forgetful_lane: Lane,
) -> None:
    few = asyncio.Semaphore(4)

    async def check(definition: dict[str, Any], trigger: Any) -> None:
        async with few:
            execution = await forgetful_lane.run(definition, trigger)
        await judge(forgetful_lane, execution, definition, trigger)

    await asyncio.gather(*(check(definition, trigger) for definition, trigger in examples(25)))
