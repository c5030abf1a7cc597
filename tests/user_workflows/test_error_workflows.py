"""The error workflow of an execution that fails, on a real Temporal server."""

from typing import Any

from tests.user_workflows.drawing import node
from tests.user_workflows.lane import Lane
from tests.user_workflows.test_calls import children

BAD = node("bad", "test.flaky", permanent=True)


async def test_a_failed_execution_starts_its_error_workflow_once_with_the_error(lane: Lane) -> None:
    handler = await lane.publish({"nodes": [node("got", values={"type": "{{ trigger.error.type }}"})]})
    failed = await lane.run({"nodes": [BAD], "errorWorkflow": handler})
    assert failed.error is not None
    assert (failed.status, failed.error.note) == ("failed", None)
    (started,) = await children(lane, failed)
    assert started.trigger == {"type": "error", "executionId": failed.id}
    assert started.input == {
        "executionId": failed.id,
        "workflowId": failed.workflow_id,
        "version": 1,
        "error": {"type": "test.permanent", "message": "it will never work", "nodeId": "bad"},
    }
    assert (await lane.finish(started)).output == {"got": {"type": "test.permanent"}}


async def test_what_completes_or_has_no_error_workflow_starts_none(lane: Lane) -> None:
    handler = await lane.publish({"nodes": [node("got", values={})]})
    for definition in ({"nodes": [node("fine", values={})], "errorWorkflow": handler}, {"nodes": [BAD]}):
        assert await children(lane, await lane.run(definition)) == []


async def test_an_error_workflow_that_fails_starts_no_other(lane: Lane) -> None:
    last = await lane.publish({"nodes": [node("got", values={})]})
    handler = await lane.publish({"nodes": [BAD], "errorWorkflow": last})
    (started,) = await children(lane, await lane.run({"nodes": [BAD], "errorWorkflow": handler}))
    finished = await lane.finish(started)
    assert finished.status == "failed"
    assert await children(lane, finished) == []


async def test_an_error_workflow_that_cannot_be_started_is_noted_and_the_failure_stands(lane: Lane) -> None:
    definition: dict[str, Any] = {"nodes": [BAD], "errorWorkflow": "wf_nobody"}
    failed = await lane.run(definition)
    assert failed.error is not None
    assert (failed.status, failed.error.type) == ("failed", "test.permanent")
    assert failed.error.note == "its error workflow was not started: no workflow 'wf_nobody' exists"


async def test_an_execution_that_ran_out_of_time_starts_its_error_workflow(lane: Lane) -> None:
    handler = await lane.publish({"nodes": [node("got", values={"type": "{{ trigger.error.type }}"})]})
    hold = node("hold", "wait", signal="never")
    late = await lane.run({"nodes": [hold], "timeout": "100ms", "errorWorkflow": handler})
    assert late.status == "timedOut"
    (started,) = await children(lane, late)
    assert (await lane.finish(started)).output == {"got": {"type": "execution.timeout"}}


async def test_what_somebody_has_stopped_has_not_failed_and_starts_none(lane: Lane) -> None:
    handler = await lane.publish({"nodes": [node("got", values={})]})
    workflow = await lane.publish({"nodes": [node("hold", "wait", signal="never")], "errorWorkflow": handler})
    for stop in (lane.executions.cancel, lane.executions.terminate):
        execution = await lane.start(workflow)
        await stop(lane.tenant_id, execution.id)
        stopped = await lane.finish(execution)
        assert stopped.status in ("canceled", "terminated")
        assert await children(lane, stopped) == []


async def test_a_retry_that_fails_once_more_starts_it_once_more(lane: Lane) -> None:
    handler = await lane.publish({"nodes": [node("got", values={})]})
    failed = await lane.run({"nodes": [BAD], "errorWorkflow": handler})
    await lane.controls.retry(lane.tenant_id, failed.id)
    assert (await lane.finish(failed)).status == "failed"
    assert len(await children(lane, failed)) == 2


async def test_a_child_that_fails_and_its_caller_each_start_their_own(lane: Lane) -> None:
    handlers = [await lane.publish({"nodes": [node("got", values={"of": of})]}) for of in ("caller", "child")]
    called = await lane.publish({"nodes": [BAD], "errorWorkflow": handlers[1]})
    call = node("call", "workflow.call", workflowId=called)
    failed = await lane.run({"nodes": [call], "errorWorkflow": handlers[0]})
    by_type = {each.trigger["type"]: each for each in await children(lane, failed)}
    assert by_type["error"].workflow_id == handlers[0]
    assert by_type["error"].input["error"]["nodeId"] == "call"
    (of_child,) = await children(lane, by_type["call"])
    assert (of_child.workflow_id, of_child.input["error"]["nodeId"]) == (handlers[1], "bad")
