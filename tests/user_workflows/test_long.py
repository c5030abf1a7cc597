"""Executions whose history becomes long go on in further runs, on a real Temporal server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus

from plugins.storage.database import Database
from tests.replay.recording import runs
from tests.sqlite import new_sqlite
from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane, open_lane
from user_workflows.executions.views import Execution, Step
from user_workflows.interpreter.messages import workflow_id

#: events after which a run hands over here
LIMIT = 60

#: a timeout this long gives a step an activity of its own
ALONE = "2m"


@pytest.fixture(scope="module")
async def lane(temporal_address: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lane]:
    folder = tmp_path_factory.mktemp("long")
    database = Database(new_sqlite(folder / "gateway.db"))
    async with open_lane(database, temporal_address, folder, history_limit=LIMIT) as opened:
        yield opened
    await database.close()


async def chain(lane: Lane, execution: Execution) -> list[int]:
    """Return the length of every run's history, the first run's first; the last may still run."""
    return [len(history.events) for history in await runs(lane, execution)]


async def until(lane: Lane, execution: Execution, holds: Callable[[dict[str, Step]], bool]) -> dict[str, Step]:
    async with asyncio.timeout(60):
        while not holds(steps := await lane.steps(execution)):
            await asyncio.sleep(0.02)
    return steps


def calls(items: int, **config: Any) -> dict[str, Any]:
    """Draw a loop whose every item costs an activity of its own."""
    call = node("call", "test.echo", value="{{ item * 2 }}", timeout=ALONE)
    result = "{{ nodes.call.output }}"
    return node("each", "foreach", items=list(range(items)), nodes=[call], edges=[], result=result, **config)


async def lengthen(lane: Lane, execution: Execution) -> None:
    """Send signals that nobody awaits until the execution goes on in a further run."""
    runs = len(await chain(lane, execution))
    async with asyncio.timeout(60):
        while len(await chain(lane, execution)) == runs:
            await lane.executions.signal(lane.tenant_id, execution.id, "noise")


async def test_a_long_foreach_goes_on_in_further_runs_and_loses_nothing(lane: Lane) -> None:
    definition = {
        "nodes": [node("first", values={"a": 1}), calls(120), node("last", values={"n": "{{ size(input) }}"})],
        "edges": edges("first>each", "each>last"),
    }
    finished = await lane.run(definition)
    assert (finished.status, finished.output) == ("completed", {"last": {"n": 120}})
    lengths = await chain(lane, finished)
    assert len(lengths) > 3
    # Ten under way cost at most six events each, with a workflow task for each; and the run its end.
    assert max(lengths) < LIMIT + 10 * 6 + 6, lengths
    steps = await lane.steps(finished)
    assert steps["each"].output == [2 * item for item in range(120)]
    for item in (0, 61, 119):
        (inside,) = await lane.inside(finished, "each", item)
        assert (inside.status, inside.output) == ("completed", 2 * item)
    assert finished.history_events is not None
    assert abs(finished.history_events - sum(lengths)) <= len(lengths)
    assert finished.billable_actions == 120 + 2 * len(lengths)


async def test_loops_inside_loops_go_on_where_they_were(lane: Lane) -> None:
    call = node("call", "test.echo", value="{{ item + index }}", timeout=ALONE)
    inner = node("inner", "foreach", items=[10, 20, 30, 40, 50, 60], nodes=[call], edges=[], concurrency=2)
    total = node("total", values={"size": "{{ size(nodes.inner.output) }}"})
    outer = node(
        "outer",
        "while",
        condition="{{ index < 10 }}",
        nodes=[inner, total],
        edges=edges("inner>total"),
        result="{{ [index, nodes.inner.output[5].call] }}",
    )
    finished = await lane.run({"nodes": [outer]})
    assert (finished.status, finished.output) == ("completed", {"outer": [9, 65]})
    assert len(await chain(lane, finished)) > 2
    for number in range(10):
        inside = {step.node_id: step for step in await lane.inside(finished, "outer", number)}
        assert (inside["inner"].status, inside["total"].output) == ("completed", {"size": 6})


async def test_signals_waits_skips_and_a_pause_outlive_the_run_that_they_came_in(lane: Lane) -> None:
    definition = {
        "nodes": [
            node("seen", values={"text": "kept"}),
            node("hold", "wait", signal="go"),
            node("later", "wait", signal="early"),
            node("skipped", "wait", duration="1h"),
            node("after", values={"early": "{{ input }}", "text": "{{ nodes.seen.output.text }}"}),
            node("dead", values={}),
        ],
        "edges": edges("seen>hold", "hold>later", "later>after", "skipped>dead"),
    }
    execution = await lane.start(await lane.publish(definition))
    await lane.executions.signal(lane.tenant_id, execution.id, "early", {"n": 7})
    await until(lane, execution, lambda steps: steps["hold"].status == steps["skipped"].status == "waiting")
    await lengthen(lane, execution)
    await lane.controls.skip(lane.tenant_id, execution.id, "skipped")
    await until(lane, execution, lambda steps: steps["dead"].status == "skipped")
    await lane.controls.pause(lane.tenant_id, execution.id)
    await lengthen(lane, execution)
    await lane.executions.signal(lane.tenant_id, execution.id, "go")
    steps = await until(lane, execution, lambda steps: steps["hold"].status == "completed")
    assert steps["later"].status == "pending"
    assert (await lane.executions.get(lane.tenant_id, execution.id)).status == "paused"
    await lane.controls.resume(lane.tenant_id, execution.id)
    finished = await lane.finish(execution)
    assert (finished.status, finished.output) == ("completed", {"after": {"early": {"n": 7}, "text": "kept"}})
    assert len(await chain(lane, finished)) >= 3


async def test_a_deadline_stays_where_it_was(lane: Lane) -> None:
    hold = node("hold", "wait", signal="never")
    hold["config"]["timeout"] = "4s"
    execution = await lane.start(await lane.publish({"nodes": [hold]}))
    await until(lane, execution, lambda steps: steps["hold"].status == "waiting")
    await lengthen(lane, execution)
    finished = await lane.finish(execution)
    step = (await lane.steps(finished))["hold"]
    assert step.port == "timeout"
    assert step.started_at is not None
    assert step.closed_at is not None
    assert 4 <= (step.closed_at - step.started_at).total_seconds() < 7


async def test_the_timeout_of_an_execution_counts_all_its_runs(lane: Lane) -> None:
    definition = {"timeout": "4s", "nodes": [node("hold", "wait", signal="never")]}
    execution = await lane.start(await lane.publish(definition))
    await until(lane, execution, lambda steps: steps["hold"].status == "waiting")
    await lengthen(lane, execution)
    finished = await lane.finish(execution)
    assert finished.status == "timedOut"
    assert finished.started_at is not None
    assert finished.closed_at is not None
    assert (finished.closed_at - finished.started_at).total_seconds() < 7


async def test_a_cancel_closes_a_later_run_and_what_an_earlier_one_began(lane: Lane) -> None:
    definition = {"nodes": [node("hold", "wait", signal="never"), calls(20)]}
    execution = await lane.start(await lane.publish(definition))
    await until(lane, execution, lambda steps: steps["each"].status == "completed")
    await lengthen(lane, execution)
    await lane.executions.cancel(lane.tenant_id, execution.id)
    finished = await lane.finish(execution)
    steps = await lane.steps(finished)
    assert (finished.status, steps["hold"].status, steps["each"].status) == ("canceled", "canceled", "completed")


#: nodes whose undoing takes several runs
UNDOABLE = 30


def undoable(*last: dict[str, Any]) -> dict[str, Any]:
    """Draw a chain of nodes that cost nothing to make; each is undone by an activity that sees what it came to."""
    nodes: list[dict[str, Any]] = []
    for number in range(UNDOABLE):
        config = {"failures": f"{{{{ nodes.n{number}.output.n - {number} + trigger }}}}", "permanent": number == 3}
        drawn = node(f"n{number}", values={"n": number})
        nodes.append(drawn | {"compensate": {"pluginId": "test.flaky", "config": config}})
    ids = [each["id"] for each in (*nodes, *last)]
    drawn_edges = edges(*(f"{a}>{b}" for a, b in pairwise(ids)))
    return {"nodes": [*nodes, *last], "edges": drawn_edges}


ALL_BACKWARDS = [f"n{number}" for number in reversed(range(UNDOABLE))]


async def check_undone(lane: Lane, finished: Execution, since: int) -> None:
    """Each was undone once, in reverse order, over several runs of which none became long."""
    assert lane.undone(since) == ALL_BACKWARDS
    lengths = await chain(lane, finished)
    assert len(lengths) > 2
    assert max(lengths) < LIMIT + 30, lengths
    assert finished.history_events is not None
    assert abs(finished.history_events - sum(lengths)) <= len(lengths) + 5
    steps = await lane.steps(finished)
    assert {id for id, step in steps.items() if step.compensation and step.compensation.status == "failed"} == {"n3"}
    assert sum(step.compensation is not None for step in steps.values()) == UNDOABLE
    assert steps["n7"].output == {"n": 7}


async def test_what_is_being_undone_is_undone_in_further_runs(lane: Lane) -> None:
    since = len(lane.keys)
    definition = undoable(node("bad", "test.flaky", permanent=True), node("never", values={}))
    finished = await lane.run(definition, 0)
    assert finished.status == "failed"
    assert finished.error is not None
    assert (finished.error.node_id, finished.error.type) == ("bad", "test.permanent")
    assert finished.error.message == "it will never work; compensation was incomplete: n3 could not be undone"
    await check_undone(lane, finished, since)
    steps = await lane.steps(finished)
    assert (steps["bad"].status, steps["never"].status) == ("failed", "skipped")


async def test_a_canceled_execution_is_undone_in_further_runs_and_ends_as_canceled(lane: Lane) -> None:
    since = len(lane.keys)
    execution = await lane.start(await lane.publish(undoable(node("hold", "wait", signal="never"))), 0)
    await until(lane, execution, lambda steps: steps["hold"].status == "waiting")
    await lane.executions.cancel(lane.tenant_id, execution.id, compensate=True)
    finished = await lane.finish(execution)
    assert finished.status == "canceled"
    await check_undone(lane, finished, since)
    handle = lane.temporal.get_workflow_handle(workflow_id(lane.tenant_id, execution.id))
    async with asyncio.timeout(60):
        while (status := (await handle.describe()).status) == WorkflowExecutionStatus.RUNNING:
            await asyncio.sleep(0.02)
    assert status == WorkflowExecutionStatus.CANCELED


async def test_a_loop_in_batches_goes_on_in_further_runs(lane: Lane) -> None:
    body = [node("call", "test.echo", value="{{ item }}")]
    batched = node("each", "foreach", items=list(range(60)), nodes=body, edges=[], batchSize=2)
    finished = await lane.run({"nodes": [batched]})
    assert finished.status == "completed"
    assert [result["call"] for result in finished.output["each"]] == list(range(60))
    assert len(await chain(lane, finished)) > 2
