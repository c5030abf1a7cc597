"""Executions tell the endpoints that subscribed to them how they end, and what they wait for."""

import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from internal_jobs.client import Jobs
from internal_jobs.wake import Waker
from internal_jobs.webhooks.desk import EndpointRequest, Webhooks
from plugins.storage.database import Database
from plugins.vault.keys import MasterKey, Vault
from tests.user_workflows.drawing import node
from tests.user_workflows.lane import Lane
from tests.user_workflows.test_records import AT, record, step, writing
from user_workflows.executions.tables import executions
from user_workflows.interpreter.messages import ExecutionError
from user_workflows.records.announcements import Announcements, Ending
from user_workflows.records.writer import RecordWriter

ECHO = {"nodes": [node("echo", "test.echo", value="x")]}
WAITING = {"nodes": [node("ask", "approval", title="May we?")]}
FAILED = record(
    9,
    step("a", 1, status="failed"),
    status="failed",
    closed_at=AT,
    error=ExecutionError(type="x", message="y" * 5_000, node_id="a"),
)


class Subscribed(NamedTuple):
    """A writer of records, and what hears of them."""

    vault: Vault
    webhooks: Webhooks
    announcements: Announcements
    writer: RecordWriter


@pytest.fixture
async def endpoint(lane: Lane) -> AsyncIterator[str]:
    """An endpoint of the lane's tenant that hears of executions."""
    made = await lane.webhooks.endpoints.create(
        lane.tenant_id, EndpointRequest(url="https://example.com/hook", events=("execution.*",))
    )
    yield made.id
    await lane.webhooks.endpoints.delete(lane.tenant_id, made.id)


async def told(lane: Lane, endpoint_id: str, execution_id: str) -> list[dict[str, Any]]:
    """The events about an execution, oldest first."""
    page = await lane.webhooks.deliveries.list(lane.tenant_id, endpoint_id=endpoint_id)
    events = [(await lane.webhooks.deliveries.get(lane.tenant_id, item.id)).event for item in page.items]
    return [event for event in reversed(events) if event["subject"] == execution_id]


async def test_one_that_completes_is_told_of_as_a_cloudevent(lane: Lane, endpoint: str) -> None:
    execution = await lane.run(ECHO)
    (event,) = await told(lane, endpoint, execution.id)
    assert event["specversion"] == "1.0"
    assert event["type"] == "execution.completed"
    assert event["source"] == f"/v1/workflows/{execution.workflow_id}"
    data = event["data"]
    assert (data["executionId"], data["version"], data["status"], data["error"]) == (
        execution.id,
        1,
        "completed",
        None,
    )
    assert datetime.fromisoformat(data["closedAt"]) == execution.closed_at


async def test_one_that_fails_says_where_and_why(lane: Lane, endpoint: str) -> None:
    execution = await lane.run({"nodes": [node("flaky", "test.flaky", permanent=True)]})
    (event,) = await told(lane, endpoint, execution.id)
    assert event["type"] == "execution.failed"
    assert event["data"]["error"] == {
        "type": "test.permanent",
        "message": "it will never work",
        "nodeId": "flaky",
    }


async def test_one_that_waits_for_an_approval_says_so_before_it_ends(lane: Lane, endpoint: str) -> None:
    execution = await lane.start(await lane.publish(WAITING))
    deadline = time.monotonic() + 20
    while not (opened := await lane.approvals.list(lane.tenant_id, execution.id)):
        assert time.monotonic() < deadline
    (event,) = await told(lane, endpoint, execution.id)
    assert event["type"] == "execution.waitingForApproval"
    assert (event["data"]["nodeId"], event["data"]["title"]) == ("ask", "May we?")
    assert opened[0].links[0].token not in str(event)
    await lane.approvals.decide(opened[0].links[0].token, "approved", comment=None, data=None)
    await lane.finish(execution)
    types = [event["type"] for event in await told(lane, endpoint, execution.id)]
    assert types == ["execution.waitingForApproval", "execution.completed"]


async def test_one_that_is_terminated_could_not_tell_itself_and_is_told_of_all_the_same(
    lane: Lane, endpoint: str
) -> None:
    execution = await lane.start(await lane.publish(WAITING))
    await lane.executions.terminate(lane.tenant_id, execution.id)
    await lane.finish(execution)
    assert "execution.terminated" in [event["type"] for event in await told(lane, endpoint, execution.id)]


@pytest.fixture
async def subscribed(database: Database, tmp_path: Path) -> AsyncIterator[Subscribed]:
    """On both databases, a tenant that is told of failures alone."""
    vault = Vault(database, MasterKey.load_or_create(tmp_path / "master.json"))
    jobs = Jobs(database=database, vault=vault, waker=Waker("redis://127.0.0.1:1"))
    webhooks = Webhooks(database=database, vault=vault, jobs=jobs)
    announcements = Announcements(webhooks)
    async with writing(database, tmp_path, announcements=announcements) as writer:
        for events in (("execution.failed",), ("execution.completed",), ("invoice.*",)):
            await webhooks.endpoints.create("ten_a", EndpointRequest(url="https://example.com", events=events))
        yield Subscribed(vault, webhooks, announcements, writer)
    await jobs.close()


async def test_an_end_that_is_written_twice_is_told_once(database: Database, subscribed: Subscribed) -> None:
    deliveries = subscribed.webhooks.deliveries
    for _ in range(2):
        await subscribed.writer.write(FAILED)
    (delivery,) = (await deliveries.list("ten_a")).items
    event = (await deliveries.get("ten_a", delivery.id)).event
    assert (event["type"], len(event["data"]["error"]["message"])) == ("execution.failed", 2_000)
    sealer = await subscribed.vault.sealer("ten_a")
    again = Ending(tenant_id="ten_a", execution_id="ex_1", status="failed", closed_at=AT, error=FAILED.error)
    async with database.across.transaction() as connection:
        await subscribed.announcements.tell_ends(connection, {"ten_a": sealer}, [again])
    assert len((await deliveries.list("ten_a")).items) == 1


async def test_the_end_of_an_earlier_attempt_is_not_told(database: Database, subscribed: Subscribed) -> None:
    async with database.across.transaction() as connection:
        await connection.execute(executions.update().values(seq=9_000))
    await subscribed.writer.write(FAILED)
    assert not (await subscribed.webhooks.deliveries.list("ten_a")).items
