"""Why a node is in the state it is in: for every state that a node can be in."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata

from plugins.storage.database import Database
from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane, open_lane
from user_workflows.admission.queue import Place
from user_workflows.errors import InvalidInput, NotFound
from user_workflows.executions.explainer import Explainer
from user_workflows.executions.views import Execution
from user_workflows.executions.why import PendingCall, Recorded, Surroundings, Why, explain
from user_workflows.interpreter.messages import Compensation, StepError, StepStatus, workflow_id
from user_workflows.plan.model import PlanEdge, PlanGraph, PlanNode

AT = datetime(2026, 1, 1, tzinfo=UTC)

#: a and b lead to c, c to d
GRAPH = PlanGraph(
    nodes=(
        PlanNode(id="a", plugin="test", home="activity", outgoing=(0,)),
        PlanNode(id="b", plugin="test", home="activity", outgoing=(1,), timeout=5),
        PlanNode(id="c", plugin="test", home="activity", incoming=(0, 1), outgoing=(2,), join="all"),
        PlanNode(id="d", plugin="test", home="activity", incoming=(2,), on_error="continue"),
    ),
    edges=(
        PlanEdge(source="a", target="c", key="a", port="true"),
        PlanEdge(source="b", target="c", key="b"),
        PlanEdge(source="c", target="d", key="c"),
    ),
)


def execution(status: Any = "running", queue: Place | None = None) -> Execution:
    return Execution(
        id="ex_1",
        workflow_id="wf_1",
        version=1,
        origin_id=None,
        status=status,
        input=None,
        output=None,
        error=None,
        trigger={},
        tags=(),
        created_at=AT,
        started_at=AT,
        closed_at=None,
        history_events=None,
        billable_actions=None,
        queue=queue,
    )


def why(node_id: str, status: Any = "running", **given: Any) -> Why:
    """Explain a node of `GRAPH`; `given` are the states of nodes by id, and the rest of the surroundings."""
    steps = {each.id: given.pop(each.id, Recorded(node_id=each.id)) for each in GRAPH.nodes}
    queue = given.pop("queue", None)
    around = Surroundings(execution=execution(status, queue), graph=GRAPH, steps=steps, **given)
    return explain(next(each for each in GRAPH.nodes if each.id == node_id), around)


def recorded(node_id: str, status: Any, **values: Any) -> Recorded:
    return Recorded(node_id=node_id, status=status, **values)


def test_a_limit_says_when_it_stops_what_waits_or_loops() -> None:
    graph = PlanGraph(
        nodes=(
            PlanNode(id="call", plugin="workflow.call", home="child", limit=90),
            PlanNode(id="loop", plugin="while", home="inline", limit=90, body=PlanGraph(nodes=(), edges=())),
        ),
        edges=(),
    )
    waiting = recorded("call", "waiting", reason="waiting for execution ex_2", started_at=AT)
    steps = {"call": waiting, "loop": recorded("loop", "running", started_at=AT)}
    around = Surroundings(execution=execution(), graph=graph, steps=steps)
    assert [explain(each, around).reason for each in graph.nodes] == [
        "waiting for execution ex_2; its timeout is at 2026-01-01T00:01:30Z",
        "its body is being walked; its timeout is at 2026-01-01T00:01:30Z",
    ]


def test_a_pending_node_names_its_open_edges_and_what_they_wait_for() -> None:
    answer = why("c", a=recorded("a", "completed"), b=recorded("b", "waiting", reason="waiting for signal 'go'"))
    assert (answer.status, answer.reason) == ("pending", "it begins when all incoming edges have fired; open: 1 of 2")
    (obstacle,) = answer.waiting_for
    assert (obstacle.node_id, obstacle.status, obstacle.reason) == ("b", "waiting", "waiting for signal 'go'")
    behind = why("d", a=recorded("a", "running"), b=recorded("b", "waiting", reason="waiting for 1h")).waiting_for
    assert [each.reason for each in behind] == ["it has not begun: it is behind a (it is running), b (waiting for 1h)"]
    assert why("d").waiting_for[0].reason == "it has not begun"


def test_a_pending_node_that_nothing_holds_up_says_so() -> None:
    settled = {"a": recorded("a", "completed"), "b": recorded("b", "completed")}
    assert why("c", **settled).reason == "nothing holds it up: it begins within moments"
    assert "paused" in why("c", "paused", **settled).reason


def test_before_the_execution_begins_everything_is_queued() -> None:
    answer = why("d", "queued")
    assert (answer.status, answer.since) == ("queued", AT)
    assert "no worker has taken it up yet" in answer.reason
    later = AT + timedelta(hours=1)
    put_off = why("d", "queued", queue=Place(position=1, reason="it was put off", since=AT, until=later), due_at=later)
    assert put_off.reason == "the execution was put off until 2026-01-01T01:00:00Z"
    waits = why("d", "queued", queue=Place(position=3, since=AT, reason="10 of 10 executions of the tenant are open"))
    assert waits.reason == (
        "the execution waits for a slot, as number 3 in line: 10 of 10 executions of the tenant are open"
    )


@pytest.mark.parametrize(
    ("call", "status", "reason"),
    [
        (None, "running", "attempt 1 failed (http.503: busy); another follows"),
        (PendingCall(state="running", attempt=2, at=AT), "running", "attempt 2 is under way; an attempt may take 5 s"),
        (
            PendingCall(state="queued", attempt=1, at=AT),
            "queued",
            "attempt 1 is due, and no worker has taken it up yet",
        ),
        (
            PendingCall(state="backingOff", attempt=2, at=AT),
            "running",
            "attempt 1 failed (http.503: busy); attempt 2 follows at 2026-01-01T00:00:00Z",
        ),
        (
            PendingCall(state="stopping", attempt=1, at=None),
            "running",
            "attempt 1 was asked to stop, and has not acknowledged yet",
        ),
    ],
)
def test_a_running_node_says_how_its_call_is_doing(call: PendingCall | None, status: str, reason: str) -> None:
    step = recorded("b", "running", started_at=AT, error=StepError(type="http.503", message="busy"))
    answer = why("b", b=step, call=call)
    assert (answer.status, answer.reason, answer.since) == (status, reason, AT)


def test_a_step_that_shares_its_activity_is_under_way_until_it_tells_of_a_failure() -> None:
    answer = why("b", b=recorded("b", "running", started_at=AT))
    assert (answer.status, answer.reason) == ("running", "attempt 1 is under way; an attempt may take 5 s")


@pytest.mark.parametrize(
    ("undo", "reason"),
    [
        (Compensation(status="running"), "; it is being undone"),
        (Compensation(status="completed"), "; it was undone, for the execution did not complete"),
        (
            Compensation(status="failed", error=StepError(type="http.404", message="gone")),
            "; it could not be undone: http.404: gone",
        ),
    ],
)
def test_a_completed_node_says_how_it_goes_to_undo_it(undo: Compensation, reason: str) -> None:
    done = recorded("a", "completed", attempt=1, port="true", compensation=undo)
    assert why("a", "failed", a=done).reason == f"it completed, and left by port `true`{reason}"


def test_a_step_that_another_execution_made_says_so() -> None:
    reused = recorded("a", "completed", attempt=1, port="true", reason="reused from execution ex_1")
    assert why("a", a=reused).reason == "it was reused from execution ex_1, and left by port `true`"


def test_every_state_of_a_step_has_an_explanation() -> None:
    for status in get_args(StepStatus):
        assert why("a", a=recorded("a", status)).reason


def test_a_settled_node_says_how_it_settled() -> None:
    done = why("a", a=recorded("a", "completed", attempt=3, port="true", closed_at=AT))
    assert (done.reason, done.since) == ("it completed on attempt 3, and left by port `true`", AT)
    failed = recorded("d", "failed", error=StepError(type="http.404", message="gone", attempts=2), closed_at=AT)
    assert why("d", d=failed).reason == "http.404: gone after 2 attempts; the execution went on by its port `output`"
    skipped = recorded("c", "skipped", reason="edge a→c ruled out: port `false` was taken")
    assert why("c", c=skipped).reason == "edge a→c ruled out: port `false` was taken"
    assert why("c", "terminated", c=recorded("c", "canceled")).reason == "the execution was terminated"


class Asked:
    """A lane, and what explains its executions."""

    def __init__(self, lane: Lane, database: Database) -> None:
        self.lane = lane
        self.explainer = Explainer(
            database=database,
            vault=lane.vault,
            workflows=lane.workflows,
            executions=lane.executions,
            temporal=lane.temporal,
        )

    async def why(self, execution: Execution, node_id: str, *path: int) -> Why:
        return await self.explainer.why(self.lane.tenant_id, execution.id, node_id, path)

    async def until(self, execution: Execution, node_id: str, status: str, *path: int) -> Why:
        async with asyncio.timeout(60):
            while (answer := await self.why(execution, node_id, *path)).status != status:
                await asyncio.sleep(0.02)
        return answer


@pytest.fixture
async def asked(database: Database, temporal_address: str, tmp_path: Path) -> AsyncIterator[Asked]:
    async with open_lane(database, temporal_address, tmp_path) as lane:
        yield Asked(lane, database)


async def test_every_node_of_a_live_execution_is_explained(asked: Asked) -> None:
    definition = {
        "nodes": [
            node("gate", "test.gate", name="why") | {"isolate": True},
            node("choose", "if", condition="{{ true }}"),
            node("never", values={}),
            node("hold", "wait", signal="go"),
            node("after", values={}),
        ],
        "edges": edges("gate>choose", "choose.false>never", "choose.true>hold", "hold>after"),
    }
    execution = await asked.lane.start(await asked.lane.publish(definition))
    await asked.lane.gates.arrived("why")
    running = await asked.until(execution, "gate", "running")
    assert "is under way" in running.reason
    behind = await asked.why(execution, "after")
    assert (behind.status, behind.waiting_for[0].node_id) == ("pending", "hold")
    assert "behind gate" in behind.waiting_for[0].reason
    asked.lane.gates.at("why").set()
    assert (await asked.until(execution, "hold", "waiting")).reason == "waiting for signal 'go'"
    handle = asked.lane.temporal.get_workflow_handle(workflow_id(asked.lane.tenant_id, execution.id))
    seen_in_temporal = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    assert seen_in_temporal.current_details == "3 of 5 nodes settled\n- `hold`: waiting for signal 'go'"
    assert "port `true` was taken" in (await asked.why(execution, "never")).reason
    assert "left by port `true`" in (await asked.why(execution, "choose")).reason
    await asked.lane.executions.terminate(asked.lane.tenant_id, execution.id)
    assert (await asked.why(execution, "hold")).status == "canceled"
    assert "terminated" in (await asked.why(execution, "after")).reason


async def test_a_node_inside_a_loop_is_asked_for_by_its_round(asked: Asked) -> None:
    body = {"nodes": [node("hold", "wait", signal="go")], "edges": []}
    definition = {"nodes": [node("each", "foreach", items="{{ input }}", **body)]}
    execution = await asked.lane.start(await asked.lane.publish(definition), input=[1, 2])
    assert (await asked.until(execution, "hold", "waiting", 1)).reason == "waiting for signal 'go'"
    loop = await asked.until(execution, "each", "running")
    assert {(each.node_id, each.path, each.status) for each in loop.waiting_for} == {
        ("hold", (0,), "waiting"),
        ("hold", (1,), "waiting"),
    }
    with pytest.raises(InvalidInput, match="lies inside each"):
        await asked.why(execution, "hold")
    with pytest.raises(InvalidInput, match="lies in no loop"):
        await asked.why(execution, "each", 0)
    with pytest.raises(NotFound):
        await asked.why(execution, "absent")
    await asked.lane.executions.terminate(asked.lane.tenant_id, execution.id)


async def test_what_is_undone_made_elsewhere_or_made_again_says_so(asked: Asked) -> None:
    lane = asked.lane
    definition = {
        "nodes": [
            node("first", values={}) | {"compensate": {"pluginId": "test.gate", "config": {"name": "undo"}}},
            node("read", "test.unsteady", name="why", failures=1, retry={"maxAttempts": 2, "initialInterval": "3s"}),
            node("bad", "test.flaky", permanent=True),
            node("aside", values={}),
        ],
        "edges": edges("first>read", "read>bad"),
    }
    execution = await lane.start(await lane.publish(definition))
    async with asyncio.timeout(60):
        while "another follows" not in (backing_off := (await asked.why(execution, "read"))).reason:
            await asyncio.sleep(0.02)
    assert (backing_off.status, backing_off.reason) == (
        "running",
        "attempt 1 failed (test.unsteady: not steady yet); another follows",
    )
    await lane.gates.arrived("undo")
    async with asyncio.timeout(60):
        while "undone" not in (undoing := await asked.why(execution, "first")).reason:
            await asyncio.sleep(0.02)
    assert undoing.reason.endswith("; it is being undone")
    lane.gates.at("undo").set()
    finished = await lane.finish(execution)
    assert "; it was undone" in (await asked.why(finished, "first")).reason
    again = await lane.controls.rerun(lane.tenant_id, execution.id, from_node="bad")
    await lane.finish(again)
    assert f"it was reused from execution {execution.id}" in (await asked.why(again, "aside")).reason


async def test_the_history_reads_like_the_graph_that_was_drawn(asked: Asked) -> None:
    """Activities, local activities and timers carry the names of nodes; only the tenant's key opens them."""
    lane = asked.lane
    definition = {
        "nodes": [
            node("a", "test.echo", value=1, label="Look up"),
            node("b", "test.echo", value=2),
            node("nap", "wait", duration="50ms", label="Wait a little"),
            node("charge", "test.flaky", label="Charge the card", timeout="2m"),
            node("each", "foreach", items=[1, 2], nodes=[node("in", "test.echo", value="{{ item }}")]),
        ],
        "edges": edges("a>b", "b>nap", "nap>charge", "charge>each"),
    }
    execution = await lane.run(definition)
    handle = lane.temporal.get_workflow_handle(workflow_id(lane.tenant_id, execution.id))
    converter = lane.temporal.data_converter
    summaries = [
        await converter.decode([event.user_metadata.summary], [str])
        for event in (await handle.fetch_history()).events
        if event.HasField("user_metadata") and event.user_metadata.HasField("summary")
    ]
    told = [summary for (summary,) in summaries]
    assert told == ["Look up → b", "Wait a little", "Charge the card", "each: items 0 to 1", "the last record"]
