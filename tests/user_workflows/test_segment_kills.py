"""A segment whose worker is lost at any point, any number of times: what it saw when its effect began stands."""

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from sqlalchemy import update
from temporalio.testing import ActivityEnvironment

from plugins import Context, plugin
from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.host.invoke import Host
from plugins.host.ledger import Ledger, effects
from plugins.host.registry import Registry
from plugins.storage.database import Database, now
from plugins.storage.tenants import create_tenant
from plugins.vault.keys import MasterKey, Vault
from tests.lending import lend_to_anybody
from tests.sqlite import new_sqlite
from tests.user_workflows.drawing import edges, node
from user_workflows.activities import heartbeats
from user_workflows.activities.segment import SegmentActivity
from user_workflows.admission.gate import Gate
from user_workflows.definition.validate import validate
from user_workflows.interpreter.activity_calls import SegmentCall, SegmentResult
from user_workflows.plan.compile import compile_plan
from user_workflows.records.writer import RecordWriter

Effect = Literal["idempotent", "unsafe"]


class Config(Struct):
    value: Any = None


class World:
    """A world that answers each read otherwise, and in which a worker stands still for good at a chosen call."""

    def __init__(self, effect: Effect) -> None:
        self.acts: list[tuple[str, Any]] = []
        self.stopped = asyncio.Event()
        self._stop_in: int | None = None
        self._answers = itertools.count()

        @plugin("test.look", version="1.0.0", effect="read")
        async def look(config: Config, ctx: Context) -> int:
            await self._pass()
            return next(self._answers)

        @plugin("test.act", version="1.0.0", effect=effect)
        async def act(config: Config, ctx: Context) -> Any:
            await self._pass()
            self.acts.append((ctx.idempotency_key, config.value))
            await self._pass()
            return config.value

        self.registry = Registry([look, act])

    def stop_in(self, points: int | None) -> None:
        self._stop_in = points
        self.stopped.clear()

    async def _pass(self) -> None:
        if self._stop_in is None:
            return
        if self._stop_in == 0:
            self.stopped.set()
            await asyncio.Event().wait()
        self._stop_in -= 1


def draw(world: World, reads: int, tenant_id: str) -> SegmentCall:
    ids = [f"r{i}" for i in range(reads)]
    seen = ", ".join(f"nodes.{id}.output" for id in ids)
    nodes = [node(id, "test.look") for id in ids]
    nodes += [node("data", values={"seen": f"{{{{ [{seen}] }}}}"}), node("act", "test.act", value="{{ input.seen }}")]
    drawn = {
        "nodes": nodes,
        "edges": edges(*(f"{a['id']}>{b['id']}" for a, b in itertools.pairwise(nodes))),
    }
    validation = validate(drawn, plugins=world.registry)
    assert validation.definition is not None, validation.faults
    plan = compile_plan(validation.definition, plugins=world.registry)
    (chain,) = plan.segments
    return SegmentCall(
        tenant_id=tenant_id,
        execution_id="ex_1",
        workflow_id="wf_1",
        version=1,
        origin_id="ex_1",
        graph=plan.cut_out(chain),
        seen={},
        outer={},
        given=None,
    )


@asynccontextmanager
async def at_work(effect: Effect, folder: Path) -> AsyncIterator[tuple[World, SegmentActivity, Database, str]]:
    """Open a world, and a worker's activity over a database of its own; the last is a tenant's id."""
    database = Database(new_sqlite(folder / "gateway.db"))
    async with database.across.transaction() as connection:
        tenant = await create_tenant(connection, "Acme")
    vault = Vault(database, MasterKey({1: bytes(range(32))}, 1))
    egress = EgressClient(Guard())
    world = World(effect)
    host = Host(
        registry=world.registry, ledger=Ledger(database, vault), lender=lend_to_anybody(database, vault), egress=egress
    )
    try:
        records = RecordWriter(database, vault, Gate(database))
        yield world, SegmentActivity(host, records, database), database, tenant.id
    finally:
        await egress.close()
        await database.close()


async def live_through(effect: Effect, reads: int, stops: list[int], folder: Path) -> tuple[World, SegmentResult]:
    """Lose a worker at each of these points, one after the other, then let one come to the end."""
    lost = []
    async with at_work(effect, folder) as (world, segment, database, tenant_id):
        call = draw(world, reads, tenant_id)
        try:
            for point in stops:
                world.stop_in(point)
                running = asyncio.create_task(ActivityEnvironment().run(segment.run, call))
                standing = asyncio.create_task(world.stopped.wait())
                lost += [running, standing]
                await asyncio.wait([running, standing], return_when=asyncio.FIRST_COMPLETED)
                async with database.across.transaction() as connection:
                    ended = update(effects).where(effects.c.state == "begun").values(lease_until=now())
                    await connection.execute(ended)
            world.stop_in(None)
            return world, await ActivityEnvironment().run(segment.run, call)
        finally:
            for task in lost:
                task.cancel()
            await asyncio.gather(*lost, return_exceptions=True)


@settings(max_examples=25, deadline=None)
@given(
    effect=st.sampled_from(["idempotent", "unsafe"]),
    reads=st.integers(1, 3),
    stops=st.lists(st.integers(0, 4), max_size=4),
)
def test_whatever_is_lost_there_is_one_effect_and_it_fits_what_was_seen(
    effect: Effect, reads: int, stops: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world, result = asyncio.run(live_through(effect, reads, stops, Path(folder)))
    assert len({key for key, _ in world.acts}) <= 1
    assert all(value == world.acts[0][1] for _, value in world.acts), "an effect was repeated with another config"
    if effect == "unsafe":
        assert len(world.acts) <= 1
    ended = {outcome.node_id: outcome for outcome in result.outcomes}
    seen = [(ended[f"r{i}"].ports or {})["output"] for i in range(reads)]
    if world.acts:
        assert world.acts[0][1] == seen, "the execution goes on with other outputs than its effect was made of"
    error = ended["act"].error
    assert error is None or (effect, error.type) == ("unsafe", "effect.outcomeUnknown")


async def test_a_lost_attempt_is_gone_on_from_its_last_heartbeat_and_step_by_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "HEARTBEAT_INTERVAL", 0.01)
    async with at_work("idempotent", tmp_path) as (world, segment, _, tenant_id):
        call = draw(world, 3, tenant_id)
        world.stop_in(2)
        told = asyncio.Queue[Any]()
        first = ActivityEnvironment()
        first.on_heartbeat = lambda *details: told.put_nowait(details[0])
        lost = asyncio.create_task(first.run(segment.run, call))
        await world.stopped.wait()
        # As Temporal keeps it, and hands it to the next attempt: plain JSON.
        while len((kept := msgspec.to_builtins(await told.get()))["outcomes"]) < 2:
            pass
        lost.cancel()
        await asyncio.gather(lost, return_exceptions=True)
        world.stop_in(None)
        second = ActivityEnvironment()
        second.info = replace(second.info, attempt=2, heartbeat_details=[kept])
        result = await second.run(segment.run, call)
        assert [outcome.node_id for outcome in result.outcomes] == ["r0", "r1", "r2", "data"]
        assert (result.resume_in, result.is_careful, world.acts) == (0.0, True, [])
        following = msgspec.structs.replace(call, outcomes=result.outcomes, is_careful=result.is_careful)
        result = await ActivityEnvironment().run(segment.run, following)
    assert result.resume_in is None
    assert [value for _, value in world.acts] == [[0, 1, 2]]
