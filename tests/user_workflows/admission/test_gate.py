"""The gate on real databases and a real Temporal: never more inside than the caps allow, and nobody is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import event, func, select, update

from plugins.storage.database import Database, now
from plugins.storage.tenants import create_tenant
from tests.postgres import furnish, own_database
from tests.sqlite import new_sqlite
from tests.user_workflows.drawing import node
from tests.user_workflows.lane import Lane, open_lane
from user_workflows import worker
from user_workflows.activities import heartbeats
from user_workflows.admission.acting import Acknowledgements
from user_workflows.admission.caps import Caps
from user_workflows.admission.standing import INSIDE
from user_workflows.admission.tables import tenant_gates
from user_workflows.admission.tenant_caps import TenantCaps
from user_workflows.errors import InputTooLarge, OverCap
from user_workflows.executions.beginnings import StartRequest
from user_workflows.executions.explainer import Explainer
from user_workflows.executions.tables import executions
from user_workflows.executions.views import Execution
from user_workflows.interpreter.messages import TriggerCall, workflow_id


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def shared(
    request: pytest.FixtureRequest, temporal_address: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lane]:
    """A lane on either database, whose tenants may have two executions at a time."""
    folder = tmp_path_factory.mktemp("gate")
    if request.param == "postgresql":
        url = await furnish(await own_database(request.getfixturevalue("postgres_url"), "gate"))
    else:
        url = new_sqlite(folder / "gateway.db")
    database = Database(url)
    caps = Caps(concurrent_executions=2)
    with pytest.MonkeyPatch.context() as hurried:
        hurried.setattr(worker, "LOOK_INTERVAL", 0.5)
        for module in (worker, heartbeats):
            hurried.setattr(module, "HEARTBEAT_INTERVAL", 1.0)
        async with open_lane(database, temporal_address, folder, caps=caps, park_after=0.5) as opened:
            yield opened
    await database.close()


@pytest.fixture
async def lane(shared: Lane) -> Lane:
    """The lane of a tenant of its own, with its doors closed."""
    async with shared.database.across.transaction() as connection:
        tenant = await create_tenant(connection, "Acme")
    shared.gates.close_all()
    return structs.replace(shared, tenant_id=tenant.id)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.Event]:
    """Let steps that have stopped wait to say so until this is set."""
    may_tell, take = asyncio.Event(), Acknowledgements.take

    async def later(acknowledgements: Acknowledgements, *args: str) -> bool:
        await may_tell.wait()
        return await take(acknowledgements, *args)

    monkeypatch.setattr(Acknowledgements, "take", later)
    yield may_tell
    may_tell.set()


async def cap(lane: Lane, **caps: int) -> None:
    await TenantCaps(lane.database, lane.starts.reception.gate).put(lane.tenant_id, Caps(**caps))


async def holding(lane: Lane, name: str = "door", **definition: Any) -> str:
    """Publish a workflow whose executions stay until the door is opened."""
    return await lane.publish({"nodes": [node("hold", "test.gate", name=name)], **definition})


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.02)


async def look(lane: Lane, execution: Execution) -> Execution:
    return await lane.executions.get(lane.tenant_id, execution.id)


async def is_running(lane: Lane, execution: Execution) -> bool:
    return (await look(lane, execution)).status == "running"


async def counts(lane: Lane) -> tuple[int, int, int, int]:
    """Return who is inside and who waits, as counted in the tenant's row and as found among the executions."""
    mine = select(func.count()).where(executions.c.tenant_id == lane.tenant_id)
    inside = mine.where(executions.c.admission.in_(INSIDE)).scalar_subquery()
    waiting = mine.where(executions.c.admission == "waiting").scalar_subquery()
    # One statement sees one state.
    query = select(tenant_gates.c.inside, tenant_gates.c.waiting, inside, waiting).where(
        tenant_gates.c.tenant_id == lane.tenant_id
    )
    async with lane.database.across.read() as connection:
        row = (await connection.execute(query)).one_or_none()
    return (0, 0, 0, 0) if row is None else tuple(row)


async def admissions(lane: Lane) -> dict[str, datetime]:
    """Return when each execution was let in."""
    query = select(executions.c.id, executions.c.admitted_at).where(executions.c.tenant_id == lane.tenant_id)
    async with lane.database.across.read() as connection:
        return {row.id: row.admitted_at for row in await connection.execute(query)}


class Counted(asyncio.Event):
    """Counts how often it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def set(self) -> None:
        self.times += 1
        super().set()


async def test_who_walks_straight_in_gives_the_usher_nothing_to_do(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow, stirred = await holding(lane), Counted()
    monkeypatch.setattr(lane.starts.reception.gate, "stirred", stirred)
    for _ in range(2):
        await lane.start(workflow)
    assert stirred.times == 0
    await lane.start(workflow)
    assert stirred.times == 1


async def test_who_finds_no_slot_waits_in_line_and_is_let_in_when_one_is_free(lane: Lane) -> None:
    workflow = await holding(lane)
    started = [await lane.start(workflow) for _ in range(4)]
    await until(lambda: is_running(lane, started[1]))

    third, fourth = [await look(lane, each) for each in started[2:]]
    assert (third.status, fourth.status) == ("queued", "queued")
    assert third.queue is not None
    assert fourth.queue is not None
    assert (third.queue.position, fourth.queue.position) == (1, 2)
    assert third.queue.reason == "the tenant has its 2 executions under way"
    assert await counts(lane) == (2, 2, 2, 2)
    explainer = Explainer(
        database=lane.database,
        vault=lane.vault,
        workflows=lane.workflows,
        executions=lane.executions,
        temporal=lane.temporal,
    )
    why = await explainer.why(lane.tenant_id, fourth.id, "hold")
    assert why.status == "queued"
    assert why.reason == (
        "the execution waits for a slot, as number 2 in line: the tenant has its 2 executions under way"
    )

    lane.gates.at("door").set()
    finished = [await lane.finish(each) for each in started]
    assert [each.status for each in finished] == ["completed"] * 4
    let_in = await admissions(lane)
    assert let_in[third.id] <= let_in[fourth.id]
    assert await counts(lane) == (0, 0, 0, 0)


async def test_many_at_once_are_never_more_than_the_cap(lane: Lane) -> None:
    workflow = await lane.publish({"nodes": [node("a", "test.unsteady", name="x")]})
    requests = [StartRequest(workflow_id=workflow, trigger=TriggerCall(type="manual"))] * 4
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            counted, _, found, _ = await counts(lane)
            assert counted == found
            most = max(most, found)
            await asyncio.sleep(0.005)

    watching = asyncio.create_task(watch())
    batches = await asyncio.gather(*(lane.executions.start_many(lane.tenant_id, requests) for _ in range(5)))
    finished = [await lane.finish(each) for batch in batches for each in batch]
    assert not watching.done(), watching.exception()
    watching.cancel()
    assert {each.status for each in finished} == {"completed"}
    assert most == 2
    assert await counts(lane) == (0, 0, 0, 0)


async def test_who_is_ended_by_force_stays_inside_while_a_step_may_still_act(lane: Lane, told: asyncio.Event) -> None:
    await cap(lane, concurrent_executions=1)
    alone = {"id": "hold", "pluginId": "test.gate", "config": {"name": "door"}, "isolate": True}
    acting = await lane.start(await lane.publish({"nodes": [alone]}))
    await lane.gates.arrived("door")
    await lane.executions.terminate(lane.tenant_id, acting.id)
    assert (await look(lane, acting)).status == "terminated"
    following = await lane.start(await lane.publish({"nodes": [node("a", values={})]}))
    assert await counts(lane) == (1, 1, 1, 1)
    async with lane.database.across.transaction() as connection:
        until = (
            await connection.execute(select(executions.c.due_at).where(executions.c.admission == "ending"))
        ).scalar_one()
        assert now() < until < now() + timedelta(seconds=11), "as long as a heartbeat may be missing"
        await connection.execute(update(executions).where(executions.c.admission == "ending").values(due_at=now()))
    assert (await lane.finish(following)).status == "completed"
    assert await counts(lane) == (0, 0, 0, 0)
    lane.gates.at("door").set()


async def test_who_is_ended_by_force_gives_its_slot_back_when_its_last_step_has_stopped(
    lane: Lane, told: asyncio.Event
) -> None:
    """Steps hear of it by their next heartbeat: nobody waits for them to time out."""
    await cap(lane, concurrent_executions=1)
    alone = [{"id": name, "pluginId": "test.gate", "config": {"name": name}, "isolate": True} for name in ("a", "b")]
    acting = await lane.start(await lane.publish({"nodes": alone}))
    async with asyncio.timeout(60):
        for name in ("a", "b"):
            await lane.gates.arrived(name)
    await lane.executions.terminate(lane.tenant_id, acting.id)
    following = await lane.start(await lane.publish({"nodes": [node("x", values={})]}))
    async with lane.database.across.read() as connection:
        query = select(executions.c.acting, executions.c.due_at).where(executions.c.admission == "ending")
        steps, timed_out_at = (await connection.execute(query)).one()
    assert len(steps) == 2
    assert await counts(lane) == (1, 1, 1, 1)
    told.set()
    assert (await lane.finish(following)).status == "completed"
    assert now() < timed_out_at
    assert await counts(lane) == (0, 0, 0, 0)


async def test_who_is_ended_by_force_keeps_its_slot_for_what_it_awaited(lane: Lane, told: asyncio.Event) -> None:
    await cap(lane, concurrent_executions=1)
    alone = {"id": "hold", "pluginId": "test.gate", "config": {"name": "called"}, "isolate": True}
    called = await lane.publish({"nodes": [alone]})
    caller = await lane.start(await lane.publish({"nodes": [node("call", "workflow.call", workflowId=called)]}))
    await lane.gates.arrived("called")
    await lane.executions.terminate(lane.tenant_id, caller.id)
    following = await lane.start(await lane.publish({"nodes": [node("x", values={})]}))
    assert (await look(lane, caller)).status == "terminated"
    assert await counts(lane) == (1, 1, 1, 1)
    async with lane.database.across.read() as connection:
        query = select(executions.c.due_at).where(executions.c.admission == "ending")
        timed_out_at = (await connection.execute(query)).scalar_one()
    told.set()
    assert (await lane.finish(following)).status == "completed"
    assert now() < timed_out_at
    assert await counts(lane) == (0, 0, 0, 0)


async def test_who_is_ended_past_the_api_gives_its_slot_back_within_seconds(lane: Lane) -> None:
    await cap(lane, concurrent_executions=1)
    waiting = await lane.start(await lane.publish({"nodes": [node("hear", "wait", signal="go")]}))
    following = await lane.start(await lane.publish({"nodes": [node("x", values={})]}))
    await until(lambda: is_running(lane, waiting))
    handle = lane.temporal.get_workflow_handle(workflow_id(lane.tenant_id, waiting.id))
    await handle.terminate("by hand")
    # Nobody asks for it: who waits goes on all the same.
    assert (await lane.finish(following)).status == "completed"
    assert (await look(lane, waiting)).status == "terminated"
    assert await counts(lane) == (0, 0, 0, 0)


async def test_a_cap_of_one_workflow_lets_others_pass(lane: Lane) -> None:
    narrow = await holding(lane, concurrency={"limit": 1})
    first, second = await lane.start(narrow), await lane.start(narrow)
    other = await lane.start(await holding(lane, "other"))
    await until(lambda: is_running(lane, other))
    waiting = await look(lane, second)
    assert waiting.queue is not None
    assert waiting.queue.reason == "the workflow has its 1 executions under way"
    lane.gates.at("door").set()
    assert (await lane.finish(first)).status == (await lane.finish(second)).status == "completed"
    lane.gates.at("other").set()
    await lane.finish(other)


async def test_a_workflow_that_rejects_refuses_what_is_over_a_cap(lane: Lane) -> None:
    workflow = await holding(lane, concurrency={"limit": 1, "policy": "reject"})
    held = await lane.start(workflow, key="first")
    with pytest.raises(OverCap) as refused:
        await lane.start(workflow)
    assert refused.value.retry_after == 60, "nothing of this workflow has ended yet"
    assert refused.value.rate is None
    assert (await lane.start(workflow, key="first")).id == held.id, "what has been let in is no new start"
    assert await counts(lane) == (1, 0, 1, 0), "nothing of a refused start stays"
    fired = await lane.executions.start(lane.tenant_id, workflow, trigger=TriggerCall(type="cron", id="daily"))
    assert (fired.status, fired.error and fired.error.type) == ("canceled", "admission.rejected")
    await lane.executions.terminate(lane.tenant_id, held.id)


async def test_who_finds_no_slot_is_told_how_long_until_one_is_likely_free(lane: Lane) -> None:
    """As long as executions have lasted lately, shared among the slots, for each that is ahead; from 1 to 60 s."""
    workflow = await holding(lane, concurrency={"policy": "reject"})
    lane.gates.at("door").set()
    ended = await lane.finish(await lane.start(workflow))
    lane.gates.close_all()
    patient = await holding(lane)
    begun = [await lane.start(patient) for _ in range(2)]

    async def wait_after_one_that_lasted(seconds: float) -> float:
        past = now() - timedelta(seconds=1000)
        lasted = update(executions).where(executions.c.id == ended.id)
        lasted = lasted.values(admitted_at=past, closed_at=past + timedelta(seconds=seconds))
        async with lane.database.across.transaction() as connection:
            await connection.execute(lasted)
        with pytest.raises(OverCap) as refused:
            await lane.start(workflow)
        return refused.value.retry_after

    # Those that are inside now have spent their moments, too.
    assert await wait_after_one_that_lasted(30) == pytest.approx(15, abs=3)
    assert await wait_after_one_that_lasted(600) == 60
    begun += [await lane.start(patient) for _ in range(2)]
    assert await wait_after_one_that_lasted(30) == pytest.approx(45, abs=9)
    lane.gates.at("door").set()
    for each in begun:
        await lane.finish(each)
    assert await counts(lane) == (0, 0, 0, 0)


async def test_a_workflow_that_skips_records_what_it_skips(lane: Lane) -> None:
    workflow = await holding(lane, concurrency={"limit": 1, "policy": "skip"})
    held, skipped = await lane.start(workflow), await lane.start(workflow)
    assert (skipped.status, skipped.error and skipped.error.type) == ("canceled", "admission.skipped")
    assert (await lane.executions.wait(lane.tenant_id, skipped.id, 5)).status == "canceled"
    lane.gates.at("door").set()
    await lane.finish(held)
    assert (await lane.finish(await lane.start(workflow))).status == "completed"


async def test_a_workflow_that_replaces_keeps_the_newest(lane: Lane) -> None:
    workflow = await holding(lane, concurrency={"limit": 1, "policy": "replaceOldest"})
    first = await lane.start(workflow)
    await lane.gates.arrived("door")
    second = await lane.start(workflow)
    third = await lane.start(workflow)
    assert (await lane.finish(first)).status == "canceled"
    replaced = await lane.finish(second)
    assert (replaced.status, replaced.error and replaced.error.type) in (
        ("canceled", "admission.replaced"),
        ("canceled", "execution.canceled"),
    )
    lane.gates.at("door").set()
    assert (await lane.finish(third)).status == "completed"
    assert await counts(lane) == (0, 0, 0, 0)


async def test_caps_change_live(lane: Lane) -> None:
    workflow = await holding(lane)
    started = [await lane.start(workflow) for _ in range(4)]
    await cap(lane, concurrent_executions=3)
    await until(lambda: is_running(lane, started[2]))
    assert (await look(lane, started[3])).queue is not None
    await cap(lane, concurrent_executions=1)
    lane.gates.at("door").set()
    assert {(await lane.finish(each)).status for each in started} == {"completed"}


async def test_starts_per_minute_wait_for_the_clock_and_no_longer(lane: Lane) -> None:
    workflow = await lane.publish({"nodes": [node("a", values={})], "concurrency": {"policy": "reject"}})
    queueing = await lane.publish({"nodes": [node("a", values={})]})
    await cap(lane, concurrent_executions=10, starts_per_minute=2)
    before = now()
    for _ in range(2):
        await lane.finish(await lane.start(workflow))
    with pytest.raises(OverCap) as refused:
        await lane.start(workflow)
    assert refused.value.retry_after is not None
    assert 60 - (now() - before).total_seconds() <= refused.value.retry_after <= 60
    waiting = await lane.start(queueing)
    place = (await look(lane, waiting)).queue
    assert place is not None
    assert place.until is not None
    assert place.reason == "the tenant has had its 2 starts within a minute"
    # A minute goes by for those that were let in.
    async with lane.database.across.transaction() as connection:
        await connection.execute(
            update(executions)
            .where(executions.c.tenant_id == lane.tenant_id, executions.c.admitted_at.is_not(None))
            .values(admitted_at=now() - timedelta(seconds=60))
        )
    assert (await lane.finish(waiting)).status == "completed"


async def test_a_retry_takes_no_start_of_the_last_minute_back(lane: Lane) -> None:
    await cap(lane, concurrent_executions=10, starts_per_minute=3)
    failing = {"nodes": [node("bad", "test.unsteady", name="often", failures=9, retry={"maxAttempts": 1})]}
    failed = await lane.run(failing)
    for _ in range(2):
        await lane.controls.retry(lane.tenant_id, failed.id)
        assert (await lane.finish(failed)).status == "failed"
    await lane.controls.retry(lane.tenant_id, failed.id)
    place = (await look(lane, failed)).queue
    assert place is not None
    assert place.reason == "the tenant has had its 3 starts within a minute"
    assert place.until is not None
    assert now() < place.until < now() + timedelta(seconds=60)
    await lane.executions.terminate(lane.tenant_id, failed.id)


async def test_a_month_has_its_executions(lane: Lane) -> None:
    workflow = await lane.publish({"nodes": [node("a", values={})], "concurrency": {"policy": "reject"}})
    await cap(lane, monthly_executions=1)
    await lane.finish(await lane.start(workflow))
    with pytest.raises(OverCap) as refused:
        await lane.start(workflow)
    present = now()
    assert refused.value.retry_after is not None
    assert (present + timedelta(seconds=refused.value.retry_after + 1)).day == 1
    async with lane.database.across.transaction() as connection:
        await connection.execute(
            update(tenant_gates).where(tenant_gates.c.tenant_id == lane.tenant_id).values(month="2020-01")
        )
    assert (await lane.finish(await lane.start(workflow))).status == "completed"


async def test_an_input_has_a_size(lane: Lane) -> None:
    workflow = await lane.publish({"nodes": [node("a", values={})], "concurrency": {"payloadBytes": 20}})
    with pytest.raises(InputTooLarge, match="takes 22 bytes as JSON, and the workflow takes 20 at most"):
        await lane.start(workflow, input="x" * 20)
    await cap(lane, payload_bytes=10)
    with pytest.raises(InputTooLarge, match="the tenant takes 10 at most"):
        await lane.start(workflow, input="x" * 15)
    assert (await lane.finish(await lane.start(workflow, input="x"))).status == "completed"


async def test_who_waits_can_be_told_canceled_and_terminated(lane: Lane) -> None:
    workflow = await holding(lane)
    inside = [await lane.start(workflow) for _ in range(2)]
    told = await lane.start(await lane.publish({"nodes": [node("hear", "wait", signal="go")]}))
    canceled, terminated = await lane.start(workflow), await lane.start(workflow)
    await lane.executions.signal(lane.tenant_id, told.id, "go", {"n": 1})
    await lane.executions.cancel(lane.tenant_id, canceled.id)
    await lane.executions.terminate(lane.tenant_id, terminated.id)
    assert (await look(lane, canceled)).status == "canceled"
    assert (await look(lane, terminated)).status == "terminated"
    assert await counts(lane) == (2, 1, 2, 1)
    lane.gates.at("door").set()
    assert (await lane.finish(told)).output == {"hear": {"n": 1}}
    for each in inside:
        await lane.finish(each)
    assert await counts(lane) == (0, 0, 0, 0)


async def test_what_another_awaits_shares_its_slot(lane: Lane) -> None:
    await cap(lane, concurrent_executions=1)
    leaf = await lane.publish({"nodes": [node("a", values={"n": 1})], "concurrency": {"limit": 1}})
    middle = await lane.publish({"nodes": [node("call", "workflow.call", workflowId=leaf)]})
    outer = await lane.publish({"nodes": [node("call", "workflow.call", workflowId=middle)]})
    finished = [await lane.finish(each) for each in [await lane.start(outer) for _ in range(3)]]
    assert [each.output for each in finished] == [{"call": {"call": {"a": {"n": 1}}}}] * 3
    assert await counts(lane) == (0, 0, 0, 0)


async def test_what_nobody_awaits_needs_a_slot_of_its_own(lane: Lane) -> None:
    await cap(lane, concurrent_executions=1)
    leaf = await lane.publish({"nodes": [node("a", values={"n": 1})]})
    nodes = [node("call", "workflow.call", workflowId=leaf, mode="detach"), node("hold", "test.gate", name="door")]
    parent = await lane.start(await lane.publish({"nodes": nodes, "edges": [{"source": "call", "target": "hold"}]}))
    await lane.gates.arrived("door")
    assert await counts(lane) == (1, 1, 1, 1)
    lane.gates.at("door").set()
    await lane.finish(parent)
    child = (await lane.steps(parent))["call"].output
    assert (await lane.finish(await lane.executions.get(lane.tenant_id, child))).status == "completed"


async def test_a_call_that_brings_too_much_fails_at_once(lane: Lane) -> None:
    leaf = await lane.publish({"nodes": [node("a", values={})], "concurrency": {"payloadBytes": 10}})
    call = node("call", "workflow.call", workflowId=leaf, mode="detach", input="x" * 20)
    failed = await lane.run({"nodes": [call]})
    assert failed.error is not None
    assert (failed.status, failed.error.type) == ("failed", "workflow.call.inputTooLarge")


async def test_a_retry_and_a_rerun_queue_like_everybody(lane: Lane) -> None:
    failing = {"nodes": [node("bad", "test.unsteady", name="again", failures=1, retry={"maxAttempts": 1})]}
    failed = await lane.run(failing)
    assert failed.status == "failed"
    inside = [await lane.start(await holding(lane)) for _ in range(2)]
    await lane.controls.retry(lane.tenant_id, failed.id)
    again = await look(lane, failed)
    assert (again.status, again.queue and again.queue.position) == ("queued", 1)
    rerun = await lane.controls.rerun(lane.tenant_id, failed.id, from_node="bad")
    assert (await look(lane, rerun)).queue is not None
    assert await counts(lane) == (2, 2, 2, 2)
    lane.gates.at("door").set()
    for each in inside:
        await lane.finish(each)
    assert (await lane.finish(failed)).status == "completed"
    await lane.finish(rerun)
    assert await counts(lane) == (0, 0, 0, 0)


async def test_what_is_put_off_takes_its_slot_when_it_is_due(lane: Lane) -> None:
    inside = [await lane.start(await holding(lane)) for _ in range(2)]
    delayed = await lane.start(await lane.publish({"nodes": [node("a", values={})]}), delay=0.3)
    place = (await look(lane, delayed)).queue
    assert place is not None
    assert place.reason.startswith("it was put off until")

    async def waits_for_a_slot() -> bool:
        place = (await look(lane, delayed)).queue
        return place is not None and place.reason == "the tenant has its 2 executions under way"

    await until(waits_for_a_slot)
    lane.gates.at("door").set()
    for each in inside:
        await lane.finish(each)
    assert (await lane.finish(delayed)).status == "completed"


async def test_a_start_costs_one_statement_more_than_its_row(lane: Lane) -> None:
    workflow = await lane.publish({"nodes": [node("a", values={})]})
    await lane.finish(await lane.start(workflow))
    statements: list[str] = []

    @event.listens_for(lane.database.engine.sync_engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(("INSERT INTO executions", "UPDATE tenant_gates")):
            statements.append(" ".join(statement.split()[:3]))

    started = await lane.start(workflow)
    event.remove(lane.database.engine.sync_engine, "before_cursor_execute", note)
    assert statements[:2] == ["UPDATE tenant_gates SET", "INSERT INTO executions"]
    await lane.finish(started)


async def test_tenants_do_not_wait_for_each_other(lane: Lane) -> None:
    async with lane.database.across.transaction() as connection:
        other = await create_tenant(connection, "Other")
    inside = [await lane.start(await holding(lane)) for _ in range(3)]
    workflow = await lane.workflows.create(other.id, name="x", definition={"nodes": [node("a", values={})]})
    await lane.workflows.publish(other.id, workflow.id)
    started = await lane.executions.start(other.id, workflow.id, trigger=TriggerCall(type="manual"))
    assert (await lane.executions.wait(other.id, started.id, 30)).status == "completed"
    lane.gates.at("door").set()
    for each in inside:
        await lane.finish(each)


async def test_what_is_parked_has_no_slot_and_takes_one_again_to_go_on(lane: Lane) -> None:
    await cap(lane, concurrent_executions=1)
    waiting = await lane.start(await lane.publish({"nodes": [node("hear", "wait", signal="go")]}))
    held = await lane.start(await holding(lane))
    assert (await look(lane, held)).queue is not None
    await park(lane, waiting)
    await until(lambda: is_running(lane, held))
    assert await counts(lane) == (1, 0, 1, 0)

    await lane.executions.signal(lane.tenant_id, waiting.id, "go", 1)

    async def wants_a_slot() -> bool:
        return (await look(lane, waiting)).queue is not None

    await until(wants_a_slot)
    assert (await look(lane, waiting)).status == "running"
    assert await counts(lane) == (1, 1, 1, 1)
    lane.gates.at("door").set()
    assert (await lane.finish(held)).status == "completed"
    finished = await lane.finish(waiting)
    assert (finished.status, finished.output) == ("completed", {"hear": 1})
    assert await counts(lane) == (0, 0, 0, 0)


async def test_what_is_parked_needs_no_slot_to_be_canceled(lane: Lane) -> None:
    await cap(lane, concurrent_executions=1)
    waiting = await lane.start(await lane.publish({"nodes": [node("hear", "wait", signal="go")]}))
    await park(lane, waiting)
    held = await lane.start(await holding(lane))
    await until(lambda: is_running(lane, held))
    await lane.executions.cancel(lane.tenant_id, waiting.id)
    assert (await lane.finish(waiting)).status == "canceled"
    assert await counts(lane) == (1, 0, 1, 0)
    lane.gates.at("door").set()
    await lane.finish(held)


@pytest.mark.parametrize("last", ["caller", "called"])
async def test_who_share_a_slot_give_it_back_when_all_of_them_are_parked(lane: Lane, last: str) -> None:
    """A month-long approval in a called workflow holds no slot, and who wakes takes one for all of them."""
    await cap(lane, concurrent_executions=1)
    leaf = await lane.publish({"nodes": [node("hear", "wait", signal="go"), node("hold", "test.gate", name="leaf")]})
    called_too = await lane.publish({"nodes": [node("hear", "workflow.call", workflowId=leaf)]})
    caller = await lane.start(await lane.publish({"nodes": [node("hear", "workflow.call", workflowId=called_too)]}))
    await lane.gates.arrived("leaf")
    middle = await called_by(lane, caller)
    called = await called_by(lane, middle)
    await park(lane, middle)
    following = await lane.start(await holding(lane))
    if last == "called":
        await park(lane, caller)
    lane.gates.at("leaf").set()
    if last == "caller":
        await park(lane, called)
    assert await counts(lane) == (1, 1, 1, 1), "one of them may still act"
    await park(lane, called if last == "called" else caller)
    await until(lambda: is_running(lane, following))
    assert await counts(lane) == (1, 0, 1, 0)

    await lane.executions.signal(lane.tenant_id, called.id, "go", 1)

    async def wants_a_slot() -> bool:
        return (await look(lane, called)).queue is not None

    await until(wants_a_slot)
    assert await counts(lane) == (1, 1, 1, 1)
    assert (await lane.steps(called))["hear"].status == "waiting"
    lane.gates.at("door").set()
    assert (await lane.finish(following)).status == "completed"
    finished = await lane.finish(caller)
    assert (finished.status, (finished.output or {})["hear"]["hear"]["hear"]) == ("completed", 1)
    assert await counts(lane) == (0, 0, 0, 0)


async def called_by(lane: Lane, caller: Execution) -> Execution:
    """Return the execution that another one awaits."""
    query = select(executions.c.id).where(executions.c.awaited_by == caller.id)
    async with lane.database.across.read() as connection:
        return await lane.executions.get(lane.tenant_id, (await connection.execute(query)).scalar_one())


async def park(lane: Lane, execution: Execution) -> None:
    """Let an execution that waits be parked, and give its slot back."""
    handle = lane.temporal.get_workflow_handle(workflow_id(lane.tenant_id, execution.id))
    rests = select(executions.c.rests).where(executions.c.id == execution.id)

    async def is_waiting() -> bool:
        steps = (await lane.steps(execution)).values()
        return {step.status for step in steps} <= {"waiting", "completed"}

    async def is_parked() -> bool:
        async with lane.database.across.read() as connection:
            return bool((await connection.execute(rests)).scalar_one())

    await until(is_waiting)
    # Once: asked again, it would wake.
    await handle.signal("park")
    await until(is_parked)
