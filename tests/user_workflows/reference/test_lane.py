"""Random definitions on a real Temporal server against the model, by a worker that loses every execution each time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from plugins.storage.database import Database, metadata
from tests.user_workflows.lane import Lane, open_lane
from tests.user_workflows.reference.comparison import Ended, expected, plain
from tests.user_workflows.reference.drawings import definitions, triggers
from tests.user_workflows.reference.model import Execution as Model
from user_workflows.execution_views import Step

_Drawn = tuple[dict[str, Any], Any]


def drawn() -> list[_Drawn]:
    """Return definitions whose outcome is the same in every order of events, and what starts them."""
    found: list[_Drawn] = []

    @settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(definition=definitions(racing=False), trigger=triggers)
    def draw(definition: dict[str, Any], trigger: Any) -> None:
        found.append((definition, trigger))

    draw()
    return found


@pytest.fixture
async def forgetful_lane(temporal_address: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lane]:
    folder = tmp_path_factory.mktemp("forgetful")
    database = Database(f"sqlite:///{folder}/gateway.db")
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
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
        model = Model(definition, trigger, [0])
        steps = [*(await forgetful_lane.steps(execution)).values()]
        for loop in _loops(definition):
            steps += await forgetful_lane.inside(execution, loop)
        assert {(step.node_id, tuple(step.path)): _ended(step) for step in steps} == expected(model), definition
        assert all(step.reason for step in steps if step.status == "skipped")
        assert (execution.status, plain(execution.output)) == (model.status, model.output), definition

    await asyncio.gather(*(check(definition, trigger) for definition, trigger in drawn()))


def _ended(step: Step) -> Ended:
    return step.status, plain(step.input), step.port, plain(step.output)


def _loops(graph: dict[str, Any]) -> list[str]:
    """Return every loop that is walked, those within loops too."""
    loops: list[str] = []
    for node in graph["nodes"]:
        if node["pluginId"] in ("foreach", "while") and not node.get("disabled"):
            loops += [node["id"], *_loops(node["config"])]
    return loops
