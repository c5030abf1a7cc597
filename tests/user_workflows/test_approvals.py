"""Approvals: people decide by links that work once, and nothing that they decided is lost."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from plugins.storage.blobs import Blobs
from plugins.storage.database import Database
from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane, open_lane
from user_workflows.approvals.desk import Approvals, OpenedApproval
from user_workflows.client import connect
from user_workflows.errors import Conflict, InvalidData, NotFound
from user_workflows.executions.views import Execution
from user_workflows.interpreter.approvals import CloseApproval, outcome_of


@pytest.fixture
async def lane(database: Database, temporal_address: str, tmp_path: Path) -> AsyncIterator[Lane]:
    async with open_lane(database, temporal_address, tmp_path) as lane:
        yield lane


async def asked(lane: Lane, **config: Any) -> tuple[Execution, OpenedApproval]:
    """Start a workflow that asks, and return what it asks once it waits."""
    ports = ("approved", "rejected", "expired")
    definition = {
        "nodes": [
            node("ask", "approval", title="Pay {{ input }}?", **config),
            *(node(port, values={"got": "{{ input }}"}) for port in ports),
        ],
        "edges": edges(*(f"ask.{port}>{port}" for port in ports)),
    }
    execution = await lane.start(await lane.publish(definition), 5)
    async with asyncio.timeout(60):
        while (await lane.steps(execution))["ask"].status != "waiting":
            await asyncio.sleep(0.02)
    (opened,) = await lane.approvals.list(lane.tenant_id, execution.id)
    return execution, opened


async def test_an_approval_goes_on_by_the_port_of_its_decision(lane: Lane) -> None:
    execution, opened = await asked(lane)
    (link,) = opened.links
    assert (opened.title, link.decision) == ("Pay 5?", None)
    await lane.approvals.decide(link.token, "approved", comment="fine", data=None)
    steps = await lane.steps(await lane.finish(execution))
    assert [steps[port].status for port in ("approved", "rejected", "expired")] == ["completed", "skipped", "skipped"]
    (decision,) = steps["ask"].output["decisions"]
    assert (decision["decision"], decision["comment"], decision["approver"]) == ("approved", "fine", None)


async def test_a_token_works_once_and_says_what_stands(lane: Lane) -> None:
    execution, opened = await asked(lane)
    (link,) = opened.links
    first = await lane.approvals.decide(link.token, "rejected", comment=None, data=None)
    assert await lane.approvals.decide(link.token, "rejected", comment="again", data=None) == first
    with pytest.raises(Conflict, match="rejected"):
        await lane.approvals.decide(link.token, "approved", comment=None, data=None)
    steps = await lane.steps(await lane.finish(execution))
    assert steps["rejected"].status == "completed"


async def test_everybody_who_is_asked_gets_a_mail_with_a_link_of_their_own(lane: Lane) -> None:
    people = ["ann@example.com", "bob@example.com", "eve@example.com"]
    execution, opened = await asked(lane, approvers=people, required=2, deadline="1h")
    mails = (await lane.jobs.list(lane.tenant_id)).items
    assert {mail.type for mail in mails} == {"email.send"}
    for link in opened.links:
        (mail,) = [mail for mail in mails if mail.payload["to"] == link.approver]
        assert link.url in mail.payload["text"]
    ann, bob, eve = opened.links
    await lane.approvals.decide(ann.token, "approved", comment=None, data=None)
    await lane.approvals.decide(bob.token, "rejected", comment=None, data=None)
    async with asyncio.timeout(60):
        while "2 of 3 have decided" not in ((await lane.steps(execution))["ask"].reason or ""):
            await asyncio.sleep(0.02)
    assert "1 of 2 given" in ((await lane.steps(execution))["ask"].reason or "")
    await lane.approvals.decide(eve.token, "approved", comment=None, data=None)
    steps = await lane.steps(await lane.finish(execution))
    assert steps["approved"].status == "completed"
    assert {each["approver"] for each in steps["ask"].output["decisions"]} == set(people)


@pytest.mark.parametrize(
    ("config", "port"),
    [({}, "expired"), *(({"onDeadline": port}, port) for port in ("rejected", "approved"))],
)
async def test_after_the_deadline_the_node_leaves_and_the_link_is_closed(
    lane: Lane, config: dict[str, Any], port: str
) -> None:
    execution, opened = await asked(lane, deadline="2s", **config)
    steps = await lane.steps(await lane.finish(execution))
    assert steps[port].status == "completed"
    with pytest.raises(NotFound):
        await lane.approvals.decide(opened.links[0].token, "approved", comment=None, data=None)


async def test_what_ends_the_step_closes_its_links(lane: Lane) -> None:
    execution, opened = await asked(lane, required=2)
    await lane.executions.cancel(lane.tenant_id, execution.id)
    await lane.finish(execution)
    for link in opened.links:
        with pytest.raises(NotFound):
            await lane.approvals.show(link.token)
    assert await lane.approvals.list(lane.tenant_id, execution.id) == ()


async def test_data_must_fit_the_form(lane: Lane) -> None:
    form = {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "integer", "maximum": 10}}}
    execution, opened = await asked(lane, form=form)
    token = opened.links[0].token
    with pytest.raises(InvalidData) as wrong:
        await lane.approvals.decide(token, "approved", comment=None, data={"amount": 11})
    assert [path for path, _ in wrong.value.faults] == ["/data/amount"]
    with pytest.raises(InvalidData):
        await lane.approvals.decide(token, "approved", comment=None, data=None)
    await lane.approvals.decide(token, "approved", comment=None, data={"amount": 7})
    steps = await lane.steps(await lane.finish(execution))
    assert steps["ask"].output["decisions"][0]["data"] == {"amount": 7}


async def test_a_decision_that_could_not_be_told_is_told_by_the_sweep(lane: Lane, database: Database) -> None:
    execution, opened = await asked(lane)
    away = await lane_without_temporal(lane, database)
    decided = await away.decide(opened.links[0].token, "approved", comment=None, data=None)
    assert decided.decision == "approved"
    assert (await lane.executions.get(lane.tenant_id, execution.id)).status == "running"
    assert await lane.approvals.retell() == 1
    assert await lane.approvals.retell() == 0
    assert (await lane.finish(execution)).status == "completed"


async def lane_without_temporal(lane: Lane, database: Database) -> Approvals:
    nowhere = await connect(lane.vault, Blobs(database), {"TEMPORAL_ADDRESS": "127.0.0.1:1"}, lazy=True)
    return Approvals(
        database=database, vault=lane.vault, jobs=lane.jobs, temporal=nowhere, public_url="https://gateway.example.com"
    )


async def test_a_decision_before_the_deadline_wins_though_nobody_has_told_of_it(lane: Lane, database: Database) -> None:
    """The record decides, not what arrives first."""
    execution, opened = await asked(lane, deadline="2s", required=2, approvers=["ann@example.com", "bob@example.com"])
    away = await lane_without_temporal(lane, database)
    for link, comment in zip(opened.links, ("first", "second"), strict=True):
        await away.decide(link.token, "approved", comment=comment, data=None)
    steps = await lane.steps(finished := await lane.finish(execution))
    assert steps["approved"].status == "completed"
    decisions = steps["ask"].output["decisions"]
    assert [(each["approver"], each["comment"]) for each in decisions] == [
        ("ann@example.com", "first"),
        ("bob@example.com", "second"),
    ]
    assert {*decisions[0]} == {"decision", "approver", "comment", "data", "decidedAt"}
    handle = lane.temporal.get_workflow_handle(f"{lane.tenant_id}/{execution.id}")
    assert finished.history_events == (await handle.describe()).history_length


async def test_too_few_decisions_before_the_deadline_are_not_enough(lane: Lane, database: Database) -> None:
    execution, opened = await asked(lane, deadline="2s", required=2)
    away = await lane_without_temporal(lane, database)
    await away.decide(opened.links[0].token, "approved", comment=None, data=None)
    steps = await lane.steps(await lane.finish(execution))
    assert steps["expired"].status == "completed"
    assert len(steps["ask"].output["decisions"]) == 1


async def test_nobody_decides_any_more_once_the_deadline_has_asked_the_record(lane: Lane) -> None:
    """Whatever the clock of the process says that takes the decision."""
    execution, opened = await asked(lane, deadline="1h")
    closing = CloseApproval(tenant_id=lane.tenant_id, execution_id=execution.id, node_id="ask")
    for _ in range(2):
        assert await ActivityEnvironment().run(lane.approvals.close, closing) == []
    with pytest.raises(NotFound):
        await lane.approvals.decide(opened.links[0].token, "approved", comment=None, data=None)


async def test_each_round_of_a_loop_asks_by_links_of_its_own(lane: Lane) -> None:
    ask = node("ask", "approval", title="Ship {{ item }}?")
    ship, keep = node("ship", values={"of": "{{ item }}"}), node("keep", values={"of": "{{ item }}"})
    body = {"nodes": [ask, ship, keep], "edges": edges("ask.approved>ship", "ask.rejected>keep")}
    loop = node("each", "foreach", items=["a", "b"], **body)
    execution = await lane.start(await lane.publish({"nodes": [loop]}))
    async with asyncio.timeout(60):
        while len(opened := await lane.approvals.list(lane.tenant_id, execution.id)) < 2:
            await asyncio.sleep(0.02)
    by_path = {each.path: each for each in opened}
    assert {path: each.title for path, each in by_path.items()} == {(0,): "Ship a?", (1,): "Ship b?"}
    await lane.approvals.decide(by_path[1,].links[0].token, "approved", comment=None, data=None)
    await lane.approvals.decide(by_path[0,].links[0].token, "rejected", comment=None, data=None)
    finished = await lane.finish(execution)
    assert finished.output == {"each": [{"keep": {"of": "a"}}, {"ship": {"of": "b"}}]}


async def test_skipping_a_waiting_approval_closes_its_links(lane: Lane) -> None:
    execution, opened = await asked(lane)
    await lane.controls.skip(lane.tenant_id, execution.id, "ask")
    steps = await lane.steps(await lane.finish(execution))
    assert {step.status for step in steps.values()} == {"skipped"}
    with pytest.raises(NotFound):
        await lane.approvals.decide(opened.links[0].token, "approved", comment=None, data=None)


async def test_a_retry_keeps_what_was_decided_and_asks_anew_what_was_not(lane: Lane, database: Database) -> None:
    definition = {
        "nodes": [
            node("first", "approval", title="First?"),
            node("second", "approval", title="Second?"),
            node("bad", "test.unsteady", name="approvals", failures=1, retry={"maxAttempts": 1}),
        ],
        "edges": edges("first.approved>bad"),
    }
    execution = await lane.start(await lane.publish(definition))
    async with asyncio.timeout(60):
        while len(opened := await lane.approvals.list(lane.tenant_id, execution.id)) < 2:
            await asyncio.sleep(0.02)
    before = {each.node_id: each.links[0].token for each in opened}
    # Decided, and not told yet, when the execution fails.
    away = await lane_without_temporal(lane, database)
    await away.decide(before["second"], "approved", comment="of the run before", data=None)
    await lane.approvals.decide(before["first"], "approved", comment=None, data=None)
    assert (await lane.finish(execution)).status == "failed"
    await lane.controls.retry(lane.tenant_id, execution.id)
    async with asyncio.timeout(60):
        while not (opened := await lane.approvals.list(lane.tenant_id, execution.id)):
            await asyncio.sleep(0.02)
    (again,) = opened
    assert (again.node_id, again.links[0].decision) == ("second", None)
    assert again.links[0].token != before["second"]
    await lane.approvals.retell()
    await lane.approvals.decide(again.links[0].token, "rejected", comment="anew", data=None)
    steps = await lane.steps(await lane.finish(execution))
    assert (steps["first"].port, steps["second"].port) == ("approved", "rejected")
    assert [each["comment"] for each in steps["second"].output["decisions"]] == ["anew"]


async def test_a_rerun_reuses_what_was_decided_or_asks_again(lane: Lane) -> None:
    execution, opened = await asked(lane)
    await lane.approvals.decide(opened.links[0].token, "approved", comment=None, data=None)
    await lane.finish(execution)
    reused = await lane.controls.rerun(lane.tenant_id, execution.id, from_node="approved")
    assert (await lane.steps(await lane.finish(reused)))["ask"].port == "approved"
    asking = await lane.controls.rerun(lane.tenant_id, execution.id, from_node="ask")
    async with asyncio.timeout(60):
        while not (opened_again := await lane.approvals.list(lane.tenant_id, asking.id)):
            await asyncio.sleep(0.02)
    await lane.approvals.decide(opened_again[0].links[0].token, "rejected", comment=None, data=None)
    assert (await lane.steps(await lane.finish(asking)))["ask"].port == "rejected"


@pytest.mark.parametrize(
    ("decisions", "links", "required", "outcome"),
    [
        ("", 1, 1, None),
        ("a", 3, 1, "approved"),
        ("r", 3, 1, "rejected"),
        ("ar", 3, 2, None),
        ("rr", 3, 2, "rejected"),
        ("ara", 3, 2, "approved"),
        ("r", 2, 2, "rejected"),
    ],
)
def test_it_is_rejected_as_soon_as_approval_is_out_of_reach(
    decisions: str, links: int, required: int, outcome: str | None
) -> None:
    words = {"a": "approved", "r": "rejected"}
    assert outcome_of([{"decision": words[each]} for each in decisions], links, required) == outcome
