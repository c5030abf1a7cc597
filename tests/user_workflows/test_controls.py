"""Run controls, on a real Temporal server."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane
from user_workflows.activities import pause
from user_workflows.errors import Conflict, InvalidInput, NotFound, TooMuchKept
from user_workflows.executions.views import Execution, Step

#: a timeout this long gives a step an activity of its own
ALONE = "2m"


async def until(lane: Lane, execution: Execution, holds: Callable[[dict[str, Step]], bool]) -> dict[str, Step]:
    """Wait until the steps of an execution are as `holds` says."""
    async with asyncio.timeout(60):
        while not holds(steps := await lane.steps(execution)):
            await asyncio.sleep(0.02)
    return steps


async def until_status(lane: Lane, execution: Execution, status: str) -> None:
    async with asyncio.timeout(60):
        while (await lane.executions.get(lane.tenant_id, execution.id)).status != status:
            await asyncio.sleep(0.02)


async def test_while_paused_nothing_begins_and_what_runs_finishes(lane: Lane) -> None:
    definition = {
        "nodes": [
            node("hold", "test.gate", name="pause", timeout=ALONE),
            node("nap", "wait", signal="go"),
            node("after", values={"x": 1}),
            node("called", "test.echo", value=2),
        ],
        "edges": edges("hold>after", "nap>called"),
    }
    execution = await lane.start(await lane.publish(definition))
    await lane.gates.arrived("pause")
    await lane.controls.pause(lane.tenant_id, execution.id)
    await lane.controls.pause(lane.tenant_id, execution.id)
    assert (await lane.executions.get(lane.tenant_id, execution.id)).status == "paused"
    lane.gates.at("pause").set()
    await lane.executions.signal(lane.tenant_id, execution.id, "go")
    steps = await until(lane, execution, lambda steps: steps["hold"].status == steps["nap"].status == "completed")
    assert (steps["after"].status, steps["called"].status) == ("pending", "pending")
    assert (await lane.executions.get(lane.tenant_id, execution.id)).status == "paused"
    await lane.controls.resume(lane.tenant_id, execution.id)
    await lane.controls.resume(lane.tenant_id, execution.id)
    finished = await lane.finish(execution)
    assert (finished.status, finished.output) == ("completed", {"after": {"x": 1}, "called": 2})


async def test_a_pause_holds_the_next_round_of_a_loop(lane: Lane) -> None:
    body = [node("step", "test.gate", name="round-{{ index }}", timeout=ALONE)]
    definition = {"nodes": [node("each", "foreach", items=[0, 1], concurrency=1, nodes=body)]}
    execution = await lane.start(await lane.publish(definition))
    await lane.gates.arrived("round-0")
    await lane.controls.pause(lane.tenant_id, execution.id)
    await until_status(lane, execution, "paused")
    lane.gates.at("round-0").set()
    lane.gates.at("round-1").set()
    waited = await lane.executions.wait(lane.tenant_id, execution.id, 0.5)
    assert waited.status == "paused"
    assert not lane.gates.arrival("round-1").is_set()
    await lane.controls.resume(lane.tenant_id, execution.id)
    assert (await lane.finish(execution)).status == "completed"


async def test_a_pause_holds_what_comes_next_in_a_chain_that_shares_an_activity(lane: Lane) -> None:
    """Above all the step that acts."""
    definition = {
        "nodes": [
            node("hold", "test.gate", name="chain"),
            node("data", values={"from": "{{ input }}"}),
            node("act", "test.flaky", value="{{ input.from }}"),
        ],
        "edges": edges("hold>data", "data>act"),
    }
    since = len(lane.keys)
    execution = await lane.start(await lane.publish(definition))
    await lane.gates.arrived("chain")
    await until_status(lane, execution, "running")
    await lane.controls.pause(lane.tenant_id, execution.id)
    lane.gates.at("chain").set()
    steps = await until(lane, execution, lambda steps: steps["hold"].status == "completed")
    assert [steps[id].status for id in ("data", "act")] == ["pending", "pending"]
    assert (await lane.executions.wait(lane.tenant_id, execution.id, 0.5)).status == "paused"
    assert lane.keys[since:] == []
    await lane.controls.resume(lane.tenant_id, execution.id)
    assert (await lane.finish(execution)).output == {"act": {"attempt": 1, "value": "chain"}}
    assert len(lane.keys[since:]) == 1


@pytest.mark.parametrize("size", [1, 25], ids=["between batches", "within a batch"])
async def test_a_pause_holds_the_next_item_of_a_loop_in_batches(
    lane: Lane, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pause, "PATIENCE", 0.0)
    body = [node("step", "test.gate", name=f"batch-{size}-{{{{ index }}}}")]
    loop = node("each", "foreach", items=[0, 1, 2], concurrency=1, batchSize=size, nodes=body)
    execution = await lane.start(await lane.publish({"nodes": [loop]}))
    await lane.gates.arrived(f"batch-{size}-0")
    await until_status(lane, execution, "running")
    await lane.controls.pause(lane.tenant_id, execution.id)
    await until_status(lane, execution, "paused")
    for index in range(3):
        lane.gates.at(f"batch-{size}-{index}").set()
    assert (await lane.executions.wait(lane.tenant_id, execution.id, 0.5)).status == "paused"
    assert not lane.gates.arrival(f"batch-{size}-1").is_set()
    await lane.controls.resume(lane.tenant_id, execution.id)
    finished = await lane.finish(execution)
    assert [item["step"] for item in finished.output["each"]] == [f"batch-{size}-{index}" for index in range(3)]


async def test_a_paused_execution_can_be_canceled(lane: Lane) -> None:
    definition = {
        "nodes": [node("hold", "wait", signal="never"), node("after", values={})],
        "edges": edges("hold>after"),
    }
    execution = await lane.start(await lane.publish(definition))
    await lane.controls.pause(lane.tenant_id, execution.id)
    await lane.executions.cancel(lane.tenant_id, execution.id)
    assert (await lane.finish(execution)).status == "canceled"


@pytest.mark.parametrize("control", ["pause", "resume"])
async def test_a_closed_execution_is_not_controlled_any_more(lane: Lane, control: str) -> None:
    execution = await lane.run({"nodes": [node("a", values={})]})
    act: Callable[[str, str], Awaitable[None]] = getattr(lane.controls, control)
    with pytest.raises(Conflict, match="is closed"):
        await act(lane.tenant_id, execution.id)
    with pytest.raises(NotFound):
        await act("ten_other", execution.id)


async def test_a_waiting_node_is_skipped_and_the_skip_travels_on(lane: Lane) -> None:
    definition = {
        "nodes": [
            node("hold", "wait", signal="never"),
            node("dead", values={}),
            node("alive", values={"x": 1}),
            node("join", values={"has": "{{ has(nodes.hold.output) }}"}),
        ],
        "edges": edges("hold>dead", "hold>join", "alive>join"),
    }
    execution = await lane.start(await lane.publish(definition))
    await until(lane, execution, lambda steps: steps["hold"].status == "waiting")
    await lane.controls.skip(lane.tenant_id, execution.id, "hold")
    finished = await lane.finish(execution)
    assert (finished.status, finished.output) == ("completed", {"join": {"has": False}})
    steps = await lane.steps(execution)
    assert (steps["hold"].status, steps["hold"].reason) == ("skipped", "skipped by request")
    assert (steps["dead"].status, steps["dead"].reason) == ("skipped", "edge hold→dead ruled out: hold was skipped")


@pytest.mark.parametrize("timeout", ["30s", ALONE], ids=["in a segment", "alone"])
async def test_a_running_step_is_stopped_and_skipped(lane: Lane, timeout: str) -> None:
    gate = f"skip-{timeout}"
    definition = {"nodes": [node("hold", "test.gate", name=gate, timeout=timeout), node("free", values={"x": 1})]}
    execution = await lane.start(await lane.publish(definition))
    await lane.gates.arrived(gate)
    await lane.controls.skip(lane.tenant_id, execution.id, "hold")
    finished = await lane.finish(execution)
    assert finished.output == {"free": {"x": 1}}
    assert (await lane.steps(execution))["hold"].status == "skipped"


@pytest.mark.parametrize("skipped", ["second", "first"])
async def test_of_a_chain_that_shares_an_activity_one_node_can_be_skipped(lane: Lane, skipped: str) -> None:
    gate = f"chain-{skipped}"
    definition = {
        "nodes": [
            node("hold", "wait", signal="go"),
            node("first", "test.gate", name=gate),
            node("second", "test.echo", value=1),
            node("third", "test.echo", value=2),
        ],
        "edges": edges("hold>first", "first>second", "second>third"),
    }
    execution = await lane.start(await lane.publish(definition))
    await lane.executions.signal(lane.tenant_id, execution.id, "go")
    await lane.gates.arrived(gate)
    await lane.controls.skip(lane.tenant_id, execution.id, skipped)
    if skipped == "second":
        await until(lane, execution, lambda steps: steps["second"].status == "skipped")
        lane.gates.at(gate).set()
    assert (await lane.finish(execution)).status == "completed"
    statuses = [step.status for step in (await lane.steps(execution)).values()]
    first = "completed" if skipped == "second" else "skipped"
    assert statuses == ["completed", first, "skipped", "skipped"]


async def test_a_loop_is_skipped_as_a_whole(lane: Lane) -> None:
    definition = {
        "nodes": [
            node("each", "foreach", items=[1, 2], nodes=[node("inner", "wait", signal="never")]),
            node("free", values={"x": 1}),
        ]
    }
    execution = await lane.start(await lane.publish(definition))
    await until(lane, execution, lambda steps: steps["each"].status == "running")
    with pytest.raises(InvalidInput, match="inside the loop 'each'"):
        await lane.controls.skip(lane.tenant_id, execution.id, "inner")
    with pytest.raises(InvalidInput, match="no node 'nowhere'"):
        await lane.controls.skip(lane.tenant_id, execution.id, "nowhere")
    await lane.controls.skip(lane.tenant_id, execution.id, "each")
    assert (await lane.finish(execution)).output == {"free": {"x": 1}}


async def test_a_node_that_has_not_begun_is_skipped_and_one_that_has_settled_is_not(lane: Lane) -> None:
    definition = {
        "nodes": [node("done", values={}), node("hold", "wait", signal="go"), node("later", values={})],
        "edges": edges("hold>later"),
    }
    execution = await lane.start(await lane.publish(definition))
    await until(lane, execution, lambda steps: steps["hold"].status == "waiting")
    await lane.controls.skip(lane.tenant_id, execution.id, "later")
    with pytest.raises(Conflict, match="completed"):
        await lane.controls.skip(lane.tenant_id, execution.id, "done")
    await lane.executions.signal(lane.tenant_id, execution.id, "go")
    assert (await lane.finish(execution)).status == "completed"
    assert (await lane.steps(execution))["later"].reason == "skipped by request"
    with pytest.raises(Conflict, match="closed"):
        await lane.controls.skip(lane.tenant_id, execution.id, "later")


async def test_a_failed_node_is_skipped_and_the_execution_goes_on_without_it(lane: Lane) -> None:
    """As the same execution: what completed is kept, what had not begun runs, other failed nodes are tried again."""
    definition = {
        "nodes": [
            node("first", "test.flaky"),
            node("bad", "test.flaky", permanent=True),
            node("dead", values={}),
            node("join", values={"has": "{{ has(nodes.bad.output) }}", "in": "{{ input }}"}),
        ],
        "edges": edges("first>bad", "bad>dead", "bad>join", "first>join"),
    }
    since = len(lane.keys)
    execution = await lane.run(definition)
    assert execution.status == "failed"
    with pytest.raises(Conflict, match="first cannot be skipped any more: it is completed"):
        await lane.controls.skip(lane.tenant_id, execution.id, "first")
    await lane.controls.skip(lane.tenant_id, execution.id, "bad")
    finished = await lane.finish(execution)
    assert (finished.status, finished.error) == ("completed", None)
    assert finished.output == {"join": {"has": False, "in": {"first": {"attempt": 1}}}}
    steps = await lane.steps(execution)
    assert (steps["bad"].status, steps["bad"].reason, steps["bad"].error) == ("skipped", "skipped by request", None)
    assert (steps["dead"].status, steps["dead"].reason) == ("skipped", "edge bad→dead ruled out: bad was skipped")
    assert [step for step, *_ in lane.keys[since:]] == ["first", "bad"]
    with pytest.raises(Conflict, match="closed"):
        await lane.controls.skip(lane.tenant_id, execution.id, "bad")


#: fails once in each execution
UNSTEADY = {"failures": 1, "retry": {"maxAttempts": 1}}


@pytest.mark.parametrize("timeout", ["30s", ALONE], ids=["in a segment", "alone"])
async def test_a_retry_goes_on_from_the_failed_node_as_the_same_execution(lane: Lane, timeout: str) -> None:
    definition = {
        "nodes": [
            node("first", "test.echo", value="{{ input.n }}"),
            node("which", "if", condition="{{ input > 1 }}"),
            node("no", values={}),
            node("bad", "test.unsteady", name=f"retry {timeout}", timeout=timeout, **UNSTEADY),
            node("last", values={"sum": "{{ nodes.first.output + nodes.bad.output }}"}),
        ],
        "edges": edges("first>which", "which.false>no", "which.true>bad", "bad>last"),
    }
    execution = await lane.run(definition, {"n": 5})
    assert execution.status == "failed"
    before = await lane.steps(execution)
    foreseen = await lane.controls.plan_retry(lane.tenant_id, execution.id)
    assert (foreseen.reused, foreseen.runs, foreseen.repeats) == (("first", "which"), ("bad", "last"), ())
    await lane.controls.retry(lane.tenant_id, execution.id)
    shown = await lane.executions.get(lane.tenant_id, execution.id)
    assert (shown.error, shown.closed_at, shown.started_at) == (None, None, execution.started_at)
    finished = await lane.finish(execution)
    assert (finished.status, finished.output) == ("completed", {"last": {"sum": 7}})
    assert (finished.id, finished.started_at) == (execution.id, execution.started_at)
    assert execution.history_events is not None
    assert finished.history_events is not None
    assert finished.history_events > execution.history_events
    after = await lane.steps(execution)
    assert after["first"] == before["first"]
    assert (after["bad"].status, after["bad"].attempt, after["no"].status) == ("completed", 1, "skipped")


async def test_what_a_retry_makes_again_acts_under_a_new_key_and_is_foreseen(lane: Lane) -> None:
    definition = {
        "nodes": [node("bad", "test.flaky", permanent=True), node("after", values={})],
        "edges": edges("bad>after"),
    }
    execution = await lane.run(definition)
    foreseen = await lane.controls.plan_retry(lane.tenant_id, execution.id)
    assert [(repeat.node_id, repeat.effect) for repeat in foreseen.repeats] == [("bad", "idempotent")]
    for _ in range(2):
        await lane.controls.retry(lane.tenant_id, execution.id)
        assert (await lane.finish(execution)).status == "failed"
    assert len({key for _, _, key in lane.keys[-3:]}) == 3


async def test_a_retry_keeps_errors_that_the_execution_went_on_from_and_all_ports(lane: Lane) -> None:
    every = [{"port": "a", "when": "{{ true }}"}, {"port": "b", "when": "{{ true }}"}]
    definition = {
        "nodes": [
            node("soft", "test.flaky", permanent=True, onError="continue"),
            node("both", "switch", mode="all", cases=every),
            node("a", values={"why": "{{ nodes.soft.error.type }}"}),
            node("b", "test.unsteady", name="ports", **UNSTEADY),
        ],
        "edges": edges("soft>both", "both.a>a", "both.b>b"),
    }
    execution = await lane.run(definition)
    assert execution.status == "failed"
    await lane.controls.retry(lane.tenant_id, execution.id)
    finished = await lane.finish(execution)
    assert finished.output == {"a": {"why": "test.permanent"}, "b": 2}
    steps = await lane.steps(execution)
    assert (steps["soft"].status, steps["both"].status) == ("failed", "completed")


async def test_a_retry_walks_a_failed_loop_anew_and_keeps_a_completed_one(lane: Lane) -> None:
    definition = {
        "nodes": [
            node("fine", "foreach", items=[1, 2], nodes=[node("inner", values={"n": "{{ item }}"})]),
            node("loop", "foreach", items=[1], nodes=[node("bad", "test.unsteady", name="loop", **UNSTEADY)]),
        ],
        "edges": edges("fine>loop"),
    }
    execution = await lane.run(definition)
    assert execution.status == "failed"
    inner = await lane.executions.steps(lane.tenant_id, execution.id, within="fine", path=(1,))
    await lane.controls.retry(lane.tenant_id, execution.id)
    finished = await lane.finish(execution)
    assert finished.output == {"loop": [{"bad": 2}]}
    assert await lane.executions.steps(lane.tenant_id, execution.id, within="fine", path=(1,)) == inner


async def test_one_that_ran_out_of_time_can_be_retried_and_a_running_or_completed_one_cannot(lane: Lane) -> None:
    definition = {"nodes": [node("hold", "wait", signal="go")], "timeout": "500ms"}
    execution = await lane.run(definition)
    assert execution.status == "timedOut"
    await lane.controls.retry(lane.tenant_id, execution.id)
    with pytest.raises(Conflict, match="only one that is failed or timedOut"):
        await lane.controls.retry(lane.tenant_id, execution.id)
    await lane.executions.signal(lane.tenant_id, execution.id, "go")
    assert (await lane.finish(execution)).status == "completed"
    with pytest.raises(Conflict, match="is completed"):
        await lane.controls.retry(lane.tenant_id, execution.id)


async def test_concurrent_retries_start_one_run(lane: Lane) -> None:
    execution = await lane.run({"nodes": [node("bad", "test.unsteady", name="race", **UNSTEADY)]})
    asked = [lane.controls.retry(lane.tenant_id, execution.id) for _ in range(5)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == [*["Conflict"] * 4, "NoneType"]
    assert (await lane.finish(execution)).output == {"bad": 2}


async def test_a_rerun_is_a_new_execution_that_reuses_what_is_not_downstream(lane: Lane) -> None:
    definition = {
        "nodes": [
            node("start", values={"n": "{{ input.n }}"}),
            node("send", "test.flaky"),
            node("beside", "test.flaky"),
            node("call", "test.echo", value="{{ input }}"),
            node("last", values={"in": "{{ nodes.call.output }}", "n": "{{ trigger.n }}"}),
        ],
        "edges": edges("start>send", "start>beside", "send>call", "call>last"),
    }
    workflow = await lane.publish(definition)
    first = await lane.finish(await lane.start(workflow, {"n": 3}, tags=["kept"]))
    foreseen = await lane.controls.plan_rerun(lane.tenant_id, first.id, from_node="send")
    assert (foreseen.reused, foreseen.runs) == (("start", "beside"), ("send", "call", "last"))
    assert [repeat.node_id for repeat in foreseen.repeats] == ["send"]
    again = await lane.controls.rerun(lane.tenant_id, first.id, from_node="send", input={"edited": True}, key="once")
    assert (again.origin_id, again.version, again.input, again.tags) == (first.id, 1, {"n": 3}, ("kept",))
    assert (await lane.controls.rerun(lane.tenant_id, first.id, from_node="send", key="once")).id == again.id
    finished = await lane.finish(again)
    assert finished.output == {"beside": {"attempt": 1}, "last": {"in": {"attempt": 1}, "n": 3}}
    steps = await lane.steps(again)
    assert (steps["send"].input, steps["start"].reason) == ({"edited": True}, f"reused from execution {first.id}")
    sent = [key for step, _, key in lane.keys[-3:] if step == "send"]
    assert len(set(sent)) == 2, "what runs again acts again"
    assert [step for step, _, _ in lane.keys[-3:]].count("beside") == 1


async def test_a_rerun_in_the_middle_of_a_chain_gives_the_node_the_edited_input(lane: Lane) -> None:
    definition = {
        "nodes": [node(id, "test.echo", value="{{ input }}") for id in ("a", "b", "c")],
        "edges": edges("a>b", "b>c"),
    }
    first = await lane.run(definition, 1)
    again = await lane.controls.rerun(lane.tenant_id, first.id, from_node="b", input=[2])
    assert (await lane.finish(again)).output == {"c": [2]}
    plain = await lane.controls.rerun(lane.tenant_id, again.id, from_node="c")
    assert (plain.origin_id, (await lane.finish(plain)).output) == (again.id, {"c": [2]})


async def test_what_is_too_large_to_be_handed_on_is_refused_before_anything_starts(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("user_workflows.executions.controls.MAX_PAYLOAD", 100_000)
    definition = {
        "nodes": [
            node("first", values={"text": "{{ 'x'.repeat(60000) }}"}),
            node("second", values={"text": "{{ 'y'.repeat(60000) }}"}),
            node("bad", "test.flaky", permanent=True),
        ],
        "edges": edges("first>second", "second>bad"),
    }
    execution = await lane.run(definition)
    with pytest.raises(TooMuchKept, match="at most 75,000 can be handed on; rerun from an earlier node"):
        await lane.controls.rerun(lane.tenant_id, execution.id, from_node="bad")
    with pytest.raises(TooMuchKept):
        await lane.controls.retry(lane.tenant_id, execution.id)
    assert (await lane.executions.get(lane.tenant_id, execution.id)).status == "failed"
    assert len((await lane.executions.list(lane.tenant_id, workflow_id=execution.workflow_id)).items) == 1
    again = await lane.finish(await lane.controls.rerun(lane.tenant_id, execution.id, from_node="second"))
    assert again.status == "failed"


async def test_a_rerun_from_a_path_that_was_not_taken_is_refused(lane: Lane) -> None:
    definition = {
        "nodes": [node("which", "if", condition="{{ true }}"), node("no", values={}), node("yes", values={})],
        "edges": edges("which.true>yes", "which.false>no"),
    }
    execution = await lane.run(definition)
    with pytest.raises(Conflict, match="not taken"):
        await lane.controls.rerun(lane.tenant_id, execution.id, from_node="no")
    with pytest.raises(InvalidInput, match="no node 'nowhere'"):
        await lane.controls.rerun(lane.tenant_id, execution.id, from_node="nowhere")


async def test_a_replay_runs_everything_again_in_the_same_version_or_another(lane: Lane) -> None:
    workflow = await lane.publish({"nodes": [node("send", "test.flaky"), node("say", values={"version": 1})]})
    first = await lane.finish(await lane.start(workflow, {"n": 1}))
    await lane.workflows.put_draft(
        lane.tenant_id, workflow, {"nodes": [node("say", values={"n": "{{ input.n }}"})]}, None
    )
    await lane.workflows.publish(lane.tenant_id, workflow)
    foreseen = await lane.controls.plan_replay(lane.tenant_id, first.id)
    assert (foreseen.reused, foreseen.runs) == ((), ("send", "say"))
    assert [(repeat.node_id, repeat.effect) for repeat in foreseen.repeats] == [("send", "idempotent")]
    same = await lane.finish(await lane.controls.replay(lane.tenant_id, first.id))
    assert (same.origin_id, same.output) == (first.id, first.output)
    other = await lane.finish(await lane.controls.replay(lane.tenant_id, first.id, version=2))
    assert (other.version, other.output) == (2, {"say": {"n": 1}})
    with pytest.raises(NotFound):
        await lane.controls.replay(lane.tenant_id, first.id, version=3)


async def test_a_delayed_execution_that_is_paused_or_signaled_begins_no_earlier(lane: Lane) -> None:
    workflow = await lane.publish({"nodes": [node("hold", "wait", signal="go"), node("a", values={})]})
    execution = await lane.start(workflow, delay=1.5)
    await lane.controls.pause(lane.tenant_id, execution.id)
    await lane.executions.signal(lane.tenant_id, execution.id, "go")
    await lane.controls.resume(lane.tenant_id, execution.id)
    assert (await lane.executions.get(lane.tenant_id, execution.id)).status == "queued"
    finished = await lane.finish(execution)
    assert finished.status == "completed"
    step = (await lane.steps(execution))["a"]
    assert step.started_at is not None
    assert step.started_at >= execution.created_at + timedelta(seconds=1.5)
