"""A `foreach` over as many items as the format allows, on a real Temporal server: no run's history becomes long."""

import time
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from plugins.storage.database import Database
from tests.sqlite import new_sqlite
from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane, open_lane
from user_workflows.executions.views import Execution
from user_workflows.interpreter.loops import MAX_ITEMS
from user_workflows.interpreter.messages import HISTORY_LIMIT, workflow_id


class Scale(Struct, frozen=True, kw_only=True):
    items: int
    #: how many of them one activity walks
    batch: int
    history_limit: int
    #: events that no run may have
    most: int
    #: and how many runs there have to be
    runs: int
    #: seconds that it may take
    patience: float


#: a twentieth of the long one, in everything that counts
SHORT = Scale(items=1_000, batch=5, history_limit=200, most=500, runs=4, patience=120)
LONG = Scale(items=MAX_ITEMS, batch=25, history_limit=HISTORY_LIMIT, most=10_000, runs=4, patience=3_000)


async def lengths(lane: Lane, execution: Execution) -> list[int]:
    """Return the number of events of every run, the first run's first."""
    id = workflow_id(lane.tenant_id, execution.id)
    description = await lane.temporal.get_workflow_handle(id).describe()
    found, run_id = [], description.raw_description.workflow_execution_info.first_run_id
    while run_id:
        handle = lane.temporal.get_workflow_handle(id, run_id=run_id)
        last: Any = None
        async for event in handle.fetch_history_events():
            last = event
        found.append(last.event_id)
        run_id = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return found


@pytest.mark.parametrize(
    "scale",
    [
        pytest.param(SHORT, id="short"),
        pytest.param(LONG, id="long", marks=[pytest.mark.slow, pytest.mark.timeout(3_600)]),
    ],
)
async def test_no_run_of_a_loop_over_very_many_items_becomes_long(
    scale: Scale, temporal_address: str, tmp_path: Path
) -> None:
    database = Database(new_sqlite(tmp_path / "gateway.db"))
    definition = {
        "nodes": [
            node(
                "each",
                "foreach",
                items="{{ trigger }}",
                nodes=[node("call", "test.echo", value="{{ item * 2 }}")],
                edges=[],
                result="{{ nodes.call.output }}",
                batchSize=scale.batch,
            ),
            node("count", values={"n": "{{ size(input) }}", "last": "{{ input[size(input) - 1] }}"}),
        ],
        "edges": edges("each>count"),
    }
    async with open_lane(database, temporal_address, tmp_path, history_limit=scale.history_limit) as lane:
        execution = await lane.start(await lane.publish(definition), list(range(scale.items)))
        until = time.monotonic() + scale.patience
        while not (await lane.executions.wait(lane.tenant_id, execution.id, 30)).is_closed:
            assert time.monotonic() < until
        finished = await lane.executions.get(lane.tenant_id, execution.id)
        assert finished.error is None
        assert finished.output == {"count": {"n": scale.items, "last": 2 * (scale.items - 1)}}
        runs = await lengths(lane, execution)
        print(f"{scale.items:,} items in {len(runs)} runs of {', '.join(f'{length:,}' for length in runs)} events")
        assert len(runs) >= scale.runs
        assert max(runs) < scale.most
        assert finished.history_events is not None
        assert abs(finished.history_events - sum(runs)) <= len(runs)
        (last,) = await lane.inside(finished, "each", scale.items - 1)
        assert (last.status, last.output) == ("completed", 2 * (scale.items - 1))
    await database.close()
