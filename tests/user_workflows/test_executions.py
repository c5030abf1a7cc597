"""Executions from start to end, on a real Temporal server."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import PendingActivityState

from plugins.storage.database import now
from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane
from user_workflows.errors import Conflict, NotFound
from user_workflows.interpreter.messages import workflow_id


async def test_a_chain_runs_and_its_record_shows_every_step(lane: Lane) -> None:
    definition = {
        "variables": {"factor": 3},
        "nodes": [
            node("start", values={"n": "{{ input.n * vars.factor }}"}),
            node("call", "test.echo", value="{{ nodes.start.output.n + 1 }}"),
            node("last", values={"text": "got {{ nodes.call.output }}"}),
        ],
        "edges": edges("start>call", "call>last"),
    }
    execution = await lane.run(definition, {"n": 2})
    assert (execution.status, execution.output) == ("completed", {"last": {"text": "got 7"}})
    steps = await lane.steps(execution)
    assert [step.status for step in steps.values()] == ["completed"] * 3
    assert (steps["call"].output, steps["call"].attempt, steps["call"].port) == (7, 1, "output")
    assert steps["call"].input == {"n": 6}
    started_at, closed_at = steps["call"].started_at, steps["call"].closed_at
    assert started_at is not None
    assert closed_at is not None
    assert started_at <= closed_at


async def test_a_branch_not_taken_is_skipped_with_its_reason(lane: Lane) -> None:
    definition = {
        "nodes": [
            node("check", "if", condition="{{ input.n > 1 }}"),
            node("yes", values={"x": 1}),
            node("no", values={"x": 2}),
            node("after", values={"has": "{{ has(nodes.no.output) }}"}),
        ],
        "edges": edges("check.true>yes", "check.false>no", "yes>after", "no>after"),
    }
    execution = await lane.run(definition, {"n": 5})
    assert execution.output == {"after": {"has": False}}
    steps = await lane.steps(execution)
    assert steps["no"].status == "skipped"
    assert steps["no"].reason == "edge check→no ruled out: port `true` was taken"
    assert steps["check"].port == "true"


async def test_a_step_is_tried_again_with_the_same_idempotency_key(lane: Lane) -> None:
    execution = await lane.run({"nodes": [node("flaky", "test.flaky", failures=2)]})
    assert execution.output == {"flaky": {"attempt": 3}}
    steps = await lane.steps(execution)
    assert steps["flaky"].attempt == 3
    attempts = [attempt for step, attempt, _ in lane.keys[-3:]]
    keys = {key for _, _, key in lane.keys[-3:]}
    assert (attempts, len(keys)) == ([1, 2, 3], 1)


async def test_a_permanent_failure_fails_the_execution_and_names_the_node(lane: Lane) -> None:
    definition = {
        "nodes": [node("bad", "test.flaky", permanent=True), node("after", values={})],
        "edges": edges("bad>after"),
    }
    execution = await lane.run(definition)
    assert execution.status == "failed"
    assert execution.error is not None
    assert (execution.error.type, execution.error.node_id) == ("test.permanent", "bad")
    steps = await lane.steps(execution)
    assert steps["bad"].error is not None
    assert (steps["bad"].error.status, steps["bad"].error.attempts) == (404, 1)
    assert steps["after"].status == "skipped"


async def test_on_error_continue_goes_on_with_null_and_a_readable_error(lane: Lane) -> None:
    definition = {
        "nodes": [
            node("bad", "test.flaky", permanent=True, onError="continue"),
            node("after", values={"in": "{{ input }}", "why": "{{ nodes.bad.error.type }}"}),
        ],
        "edges": edges("bad>after"),
    }
    execution = await lane.run(definition)
    assert (execution.status, execution.output) == ("completed", {"after": {"in": None, "why": "test.permanent"}})


async def test_on_error_port_leaves_by_error(lane: Lane) -> None:
    definition = {
        "nodes": [
            node("bad", "test.flaky", permanent=True, onError="port"),
            node("fine", values={"x": 1}),
            node("mend", values={"message": "{{ input.message }}"}),
        ],
        "edges": edges("bad>fine", "bad.error>mend"),
    }
    execution = await lane.run(definition)
    assert execution.output == {"mend": {"message": "it will never work"}}


async def test_a_node_retries_as_often_as_it_says(lane: Lane) -> None:
    retry = {"maxAttempts": 2, "initialInterval": "10ms"}
    execution = await lane.run({"nodes": [node("flaky", "test.flaky", failures=5, retry=retry)]})
    assert execution.status == "failed"
    steps = await lane.steps(execution)
    assert steps["flaky"].attempt == 2


async def test_an_expression_that_fails_fails_its_step(lane: Lane) -> None:
    execution = await lane.run({"nodes": [node("bad", values={"x": "{{ input.absent.deeper }}"})]}, {})
    assert execution.status == "failed"
    assert execution.error is not None
    assert execution.error.node_id == "bad"
    assert execution.error.type.startswith("expression.")


async def test_branches_run_side_by_side(lane: Lane) -> None:
    definition = {"nodes": [node("one", "test.gate", name="one"), node("two", "test.gate", name="two")]}
    execution = await lane.start(await lane.publish(definition))
    async with asyncio.timeout(60):
        await lane.gates.arrived("one")
        await lane.gates.arrived("two")
        while {step.status for step in (await lane.steps(execution)).values()} != {"running"}:
            await asyncio.sleep(0.02)
    lane.gates.at("one").set()
    lane.gates.at("two").set()
    finished = await lane.finish(execution)
    assert finished.output == {"one": "one", "two": "two"}


async def test_a_running_execution_keeps_the_version_it_started_with(lane: Lane) -> None:
    first = {
        "nodes": [node("hold", "test.gate", name="versions"), node("say", values={"version": 1})],
        "edges": edges("hold>say"),
    }
    second = {"nodes": [node("say", values={"version": 2})]}
    workflow = await lane.publish(first)
    held = await lane.start(workflow)
    await lane.gates.arrived("versions")
    await lane.workflows.put_draft(lane.tenant_id, workflow, second, None)
    await lane.workflows.publish(lane.tenant_id, workflow)
    newer = await lane.finish(await lane.start(workflow))
    lane.gates.at("versions").set()
    held = await lane.finish(held)
    assert (held.version, held.output) == (1, {"say": {"version": 1}})
    assert (newer.version, newer.output) == (2, {"say": {"version": 2}})


async def test_cancelling_stops_the_running_step_and_says_so(lane: Lane) -> None:
    definition = {
        "nodes": [node("hold", "test.gate", name="cancel"), node("after", values={})],
        "edges": edges("hold>after"),
    }
    execution = await lane.start(await lane.publish(definition))
    await lane.gates.arrived("cancel")
    await lane.executions.cancel(lane.tenant_id, execution.id)
    execution = await lane.finish(execution)
    assert execution.status == "canceled"
    steps = await lane.steps(execution)
    assert [step.status for step in steps.values()] == ["canceled", "skipped"]
    with pytest.raises(Conflict):
        await lane.executions.cancel(lane.tenant_id, execution.id)


async def test_terminating_ends_it_at_once_and_the_record_follows(lane: Lane) -> None:
    execution = await lane.start(await lane.publish({"nodes": [node("hold", "test.gate", name="terminate")]}))
    await lane.gates.arrived("terminate")
    await lane.executions.terminate(lane.tenant_id, execution.id)
    execution = await lane.executions.get(lane.tenant_id, execution.id)
    assert execution.status == "terminated"
    steps = await lane.steps(execution)
    assert steps["hold"].status == "canceled"


async def test_an_execution_ends_when_its_time_is_up(lane: Lane) -> None:
    execution = await lane.run({"nodes": [node("hold", "wait", signal="never")], "timeout": "500ms"})
    assert execution.status == "timedOut"
    assert execution.error is not None
    assert execution.error.type == "execution.timeout"


async def test_a_wait_takes_a_signal_that_came_early_or_late(lane: Lane) -> None:
    definition = {
        "nodes": [node("first", "wait", signal="go"), node("second", "wait", signal="go")],
        "edges": edges("first>second"),
    }
    execution = await lane.start(await lane.publish(definition))
    await lane.executions.signal(lane.tenant_id, execution.id, "go", {"n": 1})
    await lane.executions.signal(lane.tenant_id, execution.id, "go", {"n": 2})
    execution = await lane.finish(execution)
    assert execution.output == {"second": {"n": 2}}


async def test_a_wait_until_a_moment_ends_at_that_moment_and_not_before(lane: Lane) -> None:
    definition = {"nodes": [node("hold", "wait", until="{{ trigger }}"), node("after", values={})]}
    moment = now() + timedelta(seconds=2)
    execution = await lane.run(definition | {"edges": edges("hold>after")}, moment.isoformat())
    assert execution.status == "completed", execution.error
    step = (await lane.steps(execution))["hold"]
    assert step.closed_at is not None
    assert moment <= step.closed_at < moment + timedelta(seconds=10)


@pytest.mark.parametrize("home", [{}, {"isolate": True}], ids=["segment", "activity"])
async def test_a_step_that_takes_longer_than_its_timeout_fails_with_it(lane: Lane, home: dict[str, Any]) -> None:
    hold = node("hold", "test.gate", name="never opened", timeout="200ms", retry={"maxAttempts": 1})
    execution = await lane.run({"nodes": [hold | home]})
    assert execution.status == "failed"
    assert execution.error is not None
    assert (execution.error.type, execution.error.node_id) == ("timeout", "hold")


@pytest.mark.parametrize("before", [[], ["read"]], ids=["activity", "segment"])
async def test_who_asks_to_be_left_alone_for_a_while_is_and_no_slot_is_held(lane: Lane, before: list[str]) -> None:
    """`Retry-After`: twice as long as the first back-off would be, and nothing of it is spent in an activity."""
    nodes = [*(node(id, "test.echo") for id in before), node("act", "test.flaky", failures=1, pause=2.5)]
    definition = {"nodes": nodes, "edges": edges(*(f"{id}>act" for id in before))}
    execution = await lane.start(await lane.publish(definition))
    handle = lane.temporal.get_workflow_handle(workflow_id(lane.tenant_id, execution.id))
    async with asyncio.timeout(60):
        while "attempt 1 failed" not in ((await lane.steps(execution))["act"].reason or ""):
            await asyncio.sleep(0.02)
        while any(
            pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
            for pending in (await handle.describe()).raw_description.pending_activities
        ):
            await asyncio.sleep(0.02)
    assert not (await lane.executions.get(lane.tenant_id, execution.id)).is_closed
    finished = await lane.finish(execution)
    assert (finished.status, finished.output["act"]) == ("completed", {"attempt": 2})
    assert finished.started_at is not None
    assert finished.closed_at is not None
    assert finished.closed_at - finished.started_at >= timedelta(seconds=2.5)


async def test_a_wait_for_a_signal_leaves_by_timeout(lane: Lane) -> None:
    definition = {
        "nodes": [
            {"id": "hold", "pluginId": "wait", "config": {"signal": "never", "timeout": "50ms"}},
            node("late", values={"late": True}),
        ],
        "edges": edges("hold.timeout>late"),
    }
    execution = await lane.run(definition)
    assert execution.output == {"late": {"late": True}}


async def test_stop_ends_the_execution_and_gives_its_output(lane: Lane) -> None:
    definition = {
        "nodes": [node("end", "stop", output={"n": "{{ input.n }}"}), node("hold", "wait", signal="never")],
    }
    execution = await lane.run(definition, {"n": 4})
    assert (execution.status, execution.output) == ("completed", {"n": 4})
    steps = await lane.steps(execution)
    assert steps["hold"].status in ("canceled", "skipped")


async def test_stop_can_fail_the_execution_with_a_message(lane: Lane) -> None:
    execution = await lane.run({"nodes": [node("end", "stop", status="failed", message="no {{ input }}")]}, "good")
    assert execution.status == "failed"
    assert execution.error is not None
    assert execution.error.message == "no good"


async def test_switch_filter_merge_and_a_disabled_node(lane: Lane) -> None:
    definition = {
        "nodes": [
            node("big", "filter", items="{{ input.items }}", where="{{ item > 2 }}"),
            node(
                "size",
                "switch",
                cases=[
                    {"port": "many", "when": "{{ size(input) > 3 }}"},
                    {"port": "few", "when": "{{ size(input) > 0 }}"},
                ],
            ),
            node("few", values={"count": "{{ size(input) }}"}),
            node("many", values={}),
            node("off", "test.echo", value=1, disabled=True),
            node("all", "merge"),
        ],
        "edges": edges("big>size", "size.few>few", "size.many>many", "big>off", "few>all", "many>all", "off>all"),
    }
    execution = await lane.run(definition, {"items": [1, 2, 3, 4]})
    assert execution.output == {"all": {"few": {"count": 2}, "off": [3, 4]}}


async def test_the_same_key_starts_one_execution_however_concurrently(lane: Lane) -> None:
    workflow = await lane.publish({"nodes": [node("a", values={})]})
    started = await asyncio.gather(*(lane.start(workflow, key="api:once") for _ in range(20)))
    assert len({execution.id for execution in started}) == 1
    page = await lane.executions.list(lane.tenant_id, workflow_id=workflow)
    assert len(page.items) == 1


async def test_executions_are_listed_newest_first_by_filter_and_cursor(lane: Lane) -> None:
    workflow = await lane.publish({"nodes": [node("a", values={})]})
    started = [await lane.start(workflow, tags=["odd"] if i % 2 else []) for i in range(5)]
    for execution in started:
        await lane.finish(execution)
    page = await lane.executions.list(lane.tenant_id, workflow_id=workflow, limit=3)
    rest = await lane.executions.list(lane.tenant_id, workflow_id=workflow, limit=3, cursor=page.next_cursor)
    assert [item.id for item in (*page.items, *rest.items)] == [item.id for item in reversed(started)]
    assert rest.next_cursor is None
    tagged = await lane.executions.list(lane.tenant_id, workflow_id=workflow, tag="odd", status="completed")
    assert [item.id for item in tagged.items] == [started[3].id, started[1].id]
    assert tagged.items[0].tags == ("odd",)


async def test_a_foreign_execution_is_an_absent_one(lane: Lane) -> None:
    execution = await lane.run({"nodes": [node("a", values={})]})
    with pytest.raises(NotFound):
        await lane.executions.get("ten_other", execution.id)


@pytest.mark.parametrize(("plugin", "actions"), [("test.echo", 2), ("test.flaky", 4)])
async def test_the_figures_are_those_of_temporal(lane: Lane, plugin: str, actions: int) -> None:
    """Two pure steps share a local activity; two steps that act have activities of their own."""
    definition = {"nodes": [node("a", plugin), node("b", plugin)], "edges": edges("a>b")}
    execution = await lane.run(definition)
    handle = lane.temporal.get_workflow_handle(workflow_id(lane.tenant_id, execution.id))
    description = await handle.describe()
    assert execution.history_events == description.history_length
    assert execution.billable_actions == actions


async def test_nothing_of_a_tenant_is_readable_on_temporal(lane: Lane) -> None:
    definition = {"nodes": [node("bad", "stop", status="failed", message="{{ input.secret }}")]}
    execution = await lane.run(definition, {"secret": "hunter2-canary"})
    assert execution.error is not None
    assert execution.error.message == "hunter2-canary"
    handle = lane.temporal.get_workflow_handle(workflow_id(lane.tenant_id, execution.id))
    history = await handle.fetch_history()
    raw = b"".join(event.SerializeToString() for event in history.events)
    assert b"hunter2-canary" not in raw
    assert b"execution.stopped" in raw
