"""What is larger than one payload may be ends its execution with an error that says so, and is not tried for ever.

The limit is lowered here: at its true height every test would take gigabytes.
"""

from typing import Any

import pytest

from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane
from user_workflows import codec
from user_workflows.executions.views import Execution
from user_workflows.interpreter.messages import workflow_id

LIMIT = 700_000


@pytest.fixture(autouse=True)
def lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_PAYLOAD", LIMIT)


def bulk(id: str, size: int = 400_000, **more: Any) -> dict[str, Any]:
    return node(id, "test.bulk", size=size) | {"isolate": True} | more


async def failed(lane: Lane, definition: dict[str, Any]) -> Execution:
    """Run what must fail, in Temporal and in its record alike, and never by a workflow task that fails."""
    execution = await lane.run(definition)
    assert execution.status == "failed"
    assert execution.error is not None
    assert execution.error.type == "payload.tooLarge"
    assert f"at most {LIMIT:,} are" in execution.error.message
    handle = lane.temporal.get_workflow_handle(workflow_id(lane.tenant_id, execution.id))
    kinds = [event.WhichOneof("attributes") for event in (await handle.fetch_history()).events]
    assert kinds[-1] == "workflow_execution_failed_event_attributes"
    assert "workflow_task_failed_event_attributes" not in kinds
    return execution


async def test_an_output_of_the_execution(lane: Lane) -> None:
    execution = await failed(lane, {"nodes": [bulk("one"), bulk("two")]})
    assert execution.error is not None
    assert execution.error.message.startswith("the output of the execution: ")
    steps = await lane.steps(execution)
    assert {id: len(step.output["text"]) for id, step in steps.items()} == {"one": 400_000, "two": 400_000}


async def test_the_result_of_an_activity(lane: Lane) -> None:
    execution = await failed(lane, {"nodes": [bulk("one", size=LIMIT)]})
    assert execution.error is not None
    assert execution.error.node_id == "one"


async def test_the_result_of_a_segment(lane: Lane) -> None:
    chain = [node("one", "test.bulk", size=400_000), node("two", "test.bulk", size=400_000)]
    execution = await failed(lane, {"nodes": chain, "edges": edges("one>two")})
    assert execution.error is not None
    assert execution.error.node_id == "one"


async def test_what_a_step_is_called_with(lane: Lane) -> None:
    given = {"one": "{{ nodes.one.output.text }}", "two": "{{ nodes.two.output.text }}"}
    echo = node("echo", "test.echo", value=given) | {"isolate": True}
    definition = {"nodes": [bulk("one"), bulk("two"), echo], "edges": edges("one>echo", "two>echo")}
    execution = await failed(lane, definition)
    assert execution.error is not None
    assert execution.error.node_id == "echo"


async def test_what_a_batch_is_called_with(lane: Lane) -> None:
    body = [node("row", "test.echo", value="{{ size(nodes.one.output.text) + size(nodes.two.output.text) }}")]
    loop = node("each", "foreach", items="{{ [1, 2] }}", nodes=body)
    definition = {"nodes": [bulk("one"), bulk("two"), loop], "edges": edges("one>each", "two>each")}
    execution = await failed(lane, definition)
    assert execution.error is not None
    assert execution.error.node_id == "each"


async def test_a_step_that_says_how_to_go_on_goes_on(lane: Lane) -> None:
    definition = {
        "nodes": [bulk("one", size=LIMIT, onError="port"), node("after", values={"type": "{{ input.type }}"})],
        "edges": [{"source": "one", "sourceHandle": "error", "target": "after"}],
    }
    execution = await lane.run(definition)
    assert execution.status == "completed", execution.error
    assert execution.output == {"after": {"type": "payload.tooLarge"}}


async def test_steps_whose_values_are_too_large_together_are_recorded_before_the_end(lane: Lane) -> None:
    """An execution may hold more than one payload does."""
    nodes = [bulk("one"), bulk("two"), node("last", values={"done": True})]
    execution = await lane.run({"nodes": nodes, "edges": edges("one>last", "two>last")})
    assert execution.status == "completed", execution.error
    steps = await lane.steps(execution)
    assert {len(steps[id].output["text"]) for id in ("one", "two")} == {400_000}
    assert steps["last"].status == "completed"
