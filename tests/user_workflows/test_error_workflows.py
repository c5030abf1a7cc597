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
