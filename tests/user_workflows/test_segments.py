"""Segments on a real Temporal server: chains of cheap steps that share an activity."""

import asyncio

from plugins.host.ledger import idempotency_key
from tests.user_workflows.drawing import chain, node
from tests.user_workflows.lane import Lane
from user_workflows.executions.views import Execution
from user_workflows.interpreter.messages import workflow_id


async def activities(lane: Lane, execution: Execution) -> list[str]:
    """The types of the ordinary activities that an execution took."""
    handle = lane.temporal.get_workflow_handle(workflow_id(lane.tenant_id, execution.id))
    history = await handle.fetch_history()
    return [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]


async def test_ten_cheap_steps_in_a_chain_cost_seven_events(lane: Lane) -> None:
    nodes = [node(f"n{i}", "test.echo", value="{{ (input == null ? 0 : input) + 1 }}") for i in range(10)]
    execution = await lane.run(chain(*nodes))
    assert execution.output == {"n9": 10}
    assert (execution.history_events, execution.billable_actions) == (7, 2)
    steps = await lane.steps(execution)
    assert [(step.status, step.input, step.output) for step in steps.values()] == [
        ("completed", i or None, i + 1) for i in range(10)
    ]


async def test_expressions_inside_see_what_is_outside_and_what_is_before(lane: Lane) -> None:
    drawn = chain(
        node("first", values={"x": "{{ vars.base }}"}),
        node("a", "test.echo", value="{{ nodes.first.output.x + trigger.n }}"),
        node("between", values={"y": "{{ nodes.a.output * 2 }}"}),
        node("b", "test.echo", value="{{ nodes.between.output.y + nodes.a.output + nodes.first.output.x }}"),
    )
    execution = await lane.run(drawn | {"variables": {"base": 100}}, {"n": 1})
    assert execution.output == {"b": 202 + 101 + 100}


async def test_a_slow_step_goes_on_in_an_ordinary_activity_and_what_was_done_stays_done(lane: Lane) -> None:
    drawn = chain(node("quick", "test.echo", value=1), node("slow", "test.gate", name="slow segment"))
    execution = await lane.start(await lane.publish(drawn))
    async with asyncio.timeout(60):
        while (await lane.steps(execution))["slow"].status != "running":
            await asyncio.sleep(0.02)
    lane.gates.at("slow segment").set()
    execution = await lane.finish(execution)
    assert execution.output == {"slow": "slow segment"}
    assert await activities(lane, execution) == ["segment.run"]
    steps = await lane.steps(execution)
    assert [step.attempt for step in steps.values()] == [1, 1]


async def test_a_long_back_off_is_a_timer_of_the_workflow(lane: Lane) -> None:
    retry = {"maxAttempts": 3, "initialInterval": "1500ms", "backoff": 1}
    drawn = chain(node("a", "test.echo", value=1), node("b", "test.unsteady", name="long", failures=1, retry=retry))
    execution = await lane.run(drawn)
    assert execution.status == "completed"
    steps = await lane.steps(execution)
    assert (steps["b"].attempt, steps["b"].output) == (2, 2)
    assert await activities(lane, execution) == ["segment.run"]


async def test_a_short_back_off_is_waited_for_where_it_is(lane: Lane) -> None:
    retry = {"maxAttempts": 3, "initialInterval": "20ms"}
    execution = await lane.run({"nodes": [node("b", "test.unsteady", name="short", failures=2, retry=retry)]})
    steps = await lane.steps(execution)
    assert (steps["b"].attempt, steps["b"].output) == (3, 3)
    assert await activities(lane, execution) == []


async def test_a_failed_step_follows_its_on_error_and_the_rest_of_the_chain_its_edges(lane: Lane) -> None:
    drawn = chain(
        node("a", "test.echo", value=1),
        node("b", "test.unsteady", name="never", failures=99, onError="continue", retry={"maxAttempts": 1}),
        node("c", "test.echo", value="{{ nodes.b.error.type }}"),
    )
    execution = await lane.run(drawn)
    assert execution.output == {"c": "test.unsteady"}
    steps = await lane.steps(execution)
    assert [step.status for step in steps.values()] == ["completed", "failed", "completed"]


async def test_a_step_that_fails_for_good_fails_the_execution(lane: Lane) -> None:
    drawn = chain(
        node("b", "test.unsteady", name="fatal", failures=99, retry={"maxAttempts": 2, "initialInterval": "10ms"}),
        node("c", "test.echo", value=1),
    )
    execution = await lane.run(drawn)
    assert execution.status == "failed"
    assert execution.error is not None
    assert (execution.error.type, execution.error.node_id) == ("test.unsteady", "b")
    steps = await lane.steps(execution)
    assert [step.status for step in steps.values()] == ["failed", "skipped"]
    assert steps["b"].attempt == 2


async def test_an_expression_that_fails_inside_fails_its_own_step(lane: Lane) -> None:
    drawn = chain(node("a", "test.echo", value={}), node("b", "test.echo", value="{{ input.absent }}"))
    execution = await lane.run(drawn)
    assert execution.error is not None
    assert (execution.status, execution.error.node_id) == ("failed", "b")


async def test_isolated_and_acting_steps_have_activities_of_their_own(lane: Lane) -> None:
    drawn = chain(
        node("a", "test.echo", value=1),
        {**node("b", "test.echo", value=2), "isolate": True},
        node("c", "test.flaky"),
        node("d", "test.echo", value=3),
    )
    execution = await lane.run(drawn)
    assert execution.output == {"d": 3}
    assert await activities(lane, execution) == ["test.echo", "test.flaky"]


async def test_cancelling_reaches_into_a_segment(lane: Lane) -> None:
    drawn = chain(node("a", "test.echo", value=1), node("b", "test.gate", name="cancel segment"))
    execution = await lane.start(await lane.publish(drawn))
    await lane.gates.arrived("cancel segment")
    await lane.executions.cancel(lane.tenant_id, execution.id)
    execution = await lane.finish(execution)
    assert execution.status == "canceled"


async def test_reads_and_the_effect_after_them_are_one_activity(lane: Lane) -> None:
    drawn = chain(
        node("a", "test.echo", value=1),
        node("data", values={"x": "{{ input + 1 }}"}),
        node("b", "test.echo", value="{{ input.x }}"),
        node("act", "test.flaky"),
        node("c", "test.echo", value="{{ nodes.b.output }}"),
    )
    execution = await lane.run(drawn)
    assert execution.output == {"c": 2}
    assert await activities(lane, execution) == ["segment.run"]
    steps = await lane.steps(execution)
    assert [(step.status, step.attempt) for step in steps.values()] == [("completed", 1)] * 5
    key = idempotency_key(lane.tenant_id, execution.id, "act", 1)
    assert [call for call in lane.keys if call[2] == key] == [("act", 1, key)]


async def test_the_back_off_of_an_effect_is_a_timer_and_what_was_committed_before_it_stays(lane: Lane) -> None:
    drawn = chain(
        node("count", "test.unsteady", name="committed"),
        node("act", "test.flaky", failures=1, pause=1.2, value="{{ input }}"),
        node("after", values={"counted": "{{ nodes.count.output }}"}),
    )
    execution = await lane.run(drawn)
    assert execution.output == {"after": {"counted": 1}}
    assert await activities(lane, execution) == ["segment.run", "segment.run"]
    key = idempotency_key(lane.tenant_id, execution.id, "act", 1)
    assert [attempt for _, attempt, used in lane.keys if used == key] == [1, 2]
    assert (await lane.steps(execution))["act"].output == {"attempt": 2, "value": 1}


async def _skip_behind_an_effect(lane: Lane, effect: str) -> tuple[Execution, list[str]]:
    """Skip the step before an effect that is at work, and return the keys under which it acted."""
    gate, since = f"skip behind {effect}", len(lane.keys)
    drawn = chain(
        node("read", "test.echo", value=1),
        node("act", "test.act", name=gate, effect=effect),
        node("after", values={"read": "{{ nodes.read.output }}"}),
    )
    execution = await lane.start(await lane.publish(drawn))
    async with asyncio.timeout(60):
        await lane.gates.arrived(gate)
        lane.gates.arrival(gate).clear()
        await lane.controls.skip(lane.tenant_id, execution.id, "read")
        if effect == "idempotent":
            await lane.gates.arrived(gate)
            lane.gates.at(gate).set()
    return await lane.finish(execution), [key for *_, key in lane.keys[since:]]


async def test_what_was_read_stands_once_its_effect_is_at_work_though_it_is_to_be_skipped(lane: Lane) -> None:
    execution, keys = await _skip_behind_an_effect(lane, "idempotent")
    steps = await lane.steps(execution)
    assert [step.status for step in steps.values()] == ["completed"] * 3
    assert execution.output == {"after": {"read": 1}}
    assert (len(keys), len(set(keys))) == (2, 1)


async def test_an_unsafe_effect_that_a_skip_breaks_off_is_of_unknown_outcome_and_not_repeated(lane: Lane) -> None:
    execution, keys = await _skip_behind_an_effect(lane, "unsafe")
    steps = await lane.steps(execution)
    assert [step.status for step in steps.values()] == ["completed", "failed", "skipped"]
    assert execution.error is not None
    assert (execution.error.type, execution.error.node_id) == ("effect.outcomeUnknown", "act")
    assert len(keys) == 1


async def test_cancelled_between_two_attempts_of_an_effect_what_was_read_is_kept_and_nothing_acts_again(
    lane: Lane,
) -> None:
    since = len(lane.keys)
    drawn = chain(node("read", "test.echo", value=1), node("act", "test.flaky", failures=9, pause=60))
    execution = await lane.start(await lane.publish(drawn))
    async with asyncio.timeout(60):
        while "another follows" not in ((await lane.steps(execution))["act"].reason or ""):
            await asyncio.sleep(0.02)
    await lane.executions.cancel(lane.tenant_id, execution.id)
    execution = await lane.finish(execution)
    steps = await lane.steps(execution)
    assert (execution.status, [step.status for step in steps.values()]) == ("canceled", ["completed", "canceled"])
    assert len(lane.keys[since:]) == 1
