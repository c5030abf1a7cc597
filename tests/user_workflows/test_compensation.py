"""What a failed execution has completed is undone, on a real Temporal server."""

import asyncio
from collections.abc import Sequence

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from tests.user_workflows.drawing import chain, edges, node, undoable
from tests.user_workflows.lane import Lane
from user_workflows.executions.views import Execution, Step
from user_workflows.interpreter.messages import Compensation, workflow_id


def status_of(step: Step) -> str | None:
    return None if step.compensation is None else step.compensation.status


async def test_completed_nodes_are_undone_in_reverse_order_of_completion(lane: Lane) -> None:
    """The order is that of completion, not of drawing: `late` is drawn first, and completes last."""
    since = len(lane.keys)
    definition = {
        "nodes": [
            undoable(node("late", "test.gate", name="late", timeout="2m")),
            undoable(node("early", "test.gate", name="early", timeout="2m")),
            undoable(node("never", values={})),
            undoable(node("soft", "test.flaky", permanent=True, onError="continue")),
            node("bad", "test.flaky", permanent=True, join="all"),
        ],
        "edges": edges("late>bad", "early>bad", "soft>bad", "bad>never"),
    }
    execution = await lane.start(await lane.publish(definition))
    await lane.gates.arrived("early")
    lane.gates.at("early").set()
    async with asyncio.timeout(60):
        while (await lane.steps(execution))["early"].status != "completed":
            await asyncio.sleep(0.02)
    lane.gates.at("late").set()
    finished = await lane.finish(execution)
    assert (finished.status, finished.error and finished.error.message) == ("failed", "it will never work")
    assert lane.undone(since) == ["late", "early"]
    steps = await lane.steps(execution)
    assert {id: status_of(step) for id, step in steps.items()} == {
        "late": "completed", "early": "completed", "never": None, "soft": None, "bad": None,
    }  # fmt: skip
    assert steps["late"].output == "late"


async def test_an_action_sees_what_its_node_came_to_and_is_retried_under_one_key(lane: Lane) -> None:
    since = len(lane.keys)
    made = node("made", values={"failures": 2})
    wanted = undoable(made, failures="{{ nodes.made.output.failures + vars.none + size(trigger.list) }}")
    definition = chain(wanted, node("bad", "test.flaky", permanent=True)) | {"variables": {"none": 0}}
    finished = await lane.run(definition, {"list": []})
    calls = [call for call in lane.keys[since:] if call[0] == "made.compensate"]
    assert [attempt for _, attempt, _ in calls] == [1, 2, 3]
    assert len({key for *_, key in calls}) == 1
    steps = await lane.steps(finished)
    assert set(steps) == {"made", "bad"}
    assert steps["made"].compensation == Compensation(status="completed")


async def test_an_action_that_fails_is_told_and_does_not_stop_the_others(lane: Lane) -> None:
    since = len(lane.keys)
    finished = await lane.run(
        chain(
            undoable(node("first", values={})),
            undoable(node("second", values={}), permanent=True),
            undoable(node("third", values={}), failures="{{ 1 / 0 }}"),
            node("bad", "test.flaky", permanent=True),
        )
    )
    assert lane.undone(since) == ["second", "first"]
    assert finished.error is not None
    assert finished.error.message == (
        "it will never work; compensation was incomplete: third, second could not be undone"
    )
    steps = await lane.steps(finished)
    assert [status_of(steps[id]) for id in ("first", "second", "third")] == ["completed", "failed", "failed"]
    second = steps["second"].compensation
    assert second is not None
    assert second.error is not None
    assert second.error.type == "test.permanent"


async def test_a_loop_is_undone_as_a_whole(lane: Lane) -> None:
    since = len(lane.keys)
    loop = node("each", "foreach", items=[1, 2], nodes=[node("in", values={})], result="{{ item }}")
    whole = undoable(loop, failures="{{ size(nodes.each.output) - 2 }}")
    await lane.run(chain(whole, node("bad", "test.flaky", permanent=True)))
    assert lane.undone(since) == ["each"]


async def test_an_execution_out_of_time_is_undone(lane: Lane) -> None:
    since = len(lane.keys)
    nodes = chain(undoable(node("done", values={})), node("nap", "wait", duration="1h"))
    finished = await lane.run(nodes | {"timeout": "1s"})
    assert (finished.status, lane.undone(since)) == ("timedOut", ["done"])


async def _cancel_while_it_waits(lane: Lane, *, compensate: bool) -> tuple[Execution, list[str]]:
    since = len(lane.keys)
    definition = chain(undoable(node("done", values={})), node("nap", "wait", duration="1h"))
    execution = await lane.start(await lane.publish(definition))
    async with asyncio.timeout(60):
        while (await lane.steps(execution))["nap"].status != "waiting":
            await asyncio.sleep(0.02)
    await lane.executions.cancel(lane.tenant_id, execution.id, compensate=compensate)
    return await lane.finish(execution), lane.undone(since)


async def test_a_canceled_execution_is_undone_where_that_is_asked_for(lane: Lane) -> None:
    kept, nothing = await _cancel_while_it_waits(lane, compensate=False)
    assert (kept.status, nothing) == ("canceled", [])
    gone, undone = await _cancel_while_it_waits(lane, compensate=True)
    assert (gone.status, undone) == ("canceled", ["done"])


async def test_canceling_while_it_undoes_loses_nothing(lane: Lane) -> None:
    since = len(lane.keys)
    definition = chain(
        undoable(node("first", values={})),
        undoable(node("second", values={}), "test.gate", name="undoing"),
        node("bad", "test.flaky", permanent=True),
    )
    execution = await lane.start(await lane.publish(definition))
    await lane.gates.arrived("undoing")
    async with asyncio.timeout(60):
        while status_of((await lane.steps(execution))["second"]) != "running":
            await asyncio.sleep(0.02)
    await lane.executions.cancel(lane.tenant_id, execution.id)
    lane.gates.at("undoing").set()
    finished = await lane.finish(execution)
    assert (finished.status, lane.undone(since)) == ("failed", ["first"])


async def test_a_retry_makes_again_what_was_undone_and_what_came_of_it(lane: Lane) -> None:
    """What was not undone, and came of nothing that was, is kept."""
    since = len(lane.keys)
    definition = chain(
        node("kept", "test.flaky"),
        undoable(node("made", "test.flaky")),
        node("came", values={"x": "{{ nodes.made.output.attempt }}"}),
        node("bad", "test.flaky", permanent=True),
    )
    execution = await lane.finish(await lane.start(await lane.publish(definition)))
    await lane.controls.retry(lane.tenant_id, execution.id)
    await lane.finish(execution)
    order = [step for step, *_ in lane.keys[since:]]
    assert order == ["kept", "made", "bad", "made.compensate", "made", "bad", "made.compensate"]
    keys = {key for step, _, key in lane.keys[since:] if step == "made.compensate"}
    assert len(keys) == 2
    assert status_of((await lane.steps(execution))["made"]) == "completed"


async def test_a_rerun_undoes_what_it_made_and_leaves_what_it_reused(lane: Lane) -> None:
    definition = chain(
        undoable(node("reused", "test.flaky", value={"fails": False})),
        undoable(node("made", "test.flaky", value="{{ input.value }}")),
        node("last", "test.flaky", permanent="{{ input.value.fails }}"),
    )
    execution = await lane.run(definition)
    assert execution.status == "completed"
    since = len(lane.keys)
    rerun = await lane.controls.rerun(lane.tenant_id, execution.id, from_node="made", input={"value": {"fails": True}})
    assert (await lane.finish(rerun)).status == "failed"
    assert [step for step, *_ in lane.keys[since:]] == ["made", "last", "made.compensate"]
    steps = await lane.steps(rerun)
    assert {id: status_of(step) for id, step in steps.items()} == {"reused": None, "made": "completed", "last": None}
    assert {status_of(step) for step in (await lane.steps(execution)).values()} == {None}


async def test_canceling_while_it_stops_what_still_runs_loses_neither_record_nor_compensation(lane: Lane) -> None:
    since = len(lane.keys)
    definition = {
        "nodes": [
            undoable(node("made", values={})),
            {**node("slow", "test.stubborn", name="slow"), "isolate": True},
            node("gate", "test.gate", name="before it fails"),
            node("bad", "test.flaky", permanent=True),
        ],
        "edges": edges("gate>bad"),
    }
    execution = await lane.start(await lane.publish(definition))
    await lane.gates.arrived("slow")
    lane.gates.at("before it fails").set()
    await lane.gates.arrived("slow stopping")
    await lane.executions.cancel(lane.tenant_id, execution.id)
    handle = lane.temporal.get_workflow_handle(workflow_id(lane.tenant_id, execution.id))
    async with asyncio.timeout(60):
        while not _has_seen_the_cancel((await handle.fetch_history()).events):
            await asyncio.sleep(0.05)
    lane.gates.at("slow stopping").set()
    finished = await lane.finish(execution)
    assert (finished.status, finished.error and finished.error.node_id) == ("failed", "bad")
    assert lane.undone(since) == ["made"]
    assert (await lane.steps(execution))["slow"].status == "canceled"


def _has_seen_the_cancel(events: Sequence[HistoryEvent]) -> bool:
    kinds = [event.event_type for event in events]
    asked = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
    return asked in kinds and EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED in kinds[kinds.index(asked) :]
