"""A whole user-workflows lane on a real Temporal server, with plugins made for tests."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from msgspec import UNSET, Struct
from redis.asyncio import Redis
from temporalio.client import Client

from internal_jobs.client import Jobs
from internal_jobs.wake import Waker
from internal_jobs.webhooks.desk import Webhooks
from plugins import Context, Effect, Permanent, Plugin, Transient, plugin
from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.host.invoke import Host
from plugins.host.ledger import Ledger
from plugins.host.registry import Registry
from plugins.storage.blobs import Blobs
from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant
from plugins.vault.keys import MasterKey, Vault
from plugins.vault.lending import Lender
from tests.servers import own_namespace
from tests.user_workflows.reference.plugins import PLUGINS
from user_workflows.admission.caps import Caps
from user_workflows.admission.gate import Gate
from user_workflows.admission.reception import Reception
from user_workflows.approvals.desk import Approvals
from user_workflows.builds import Builds
from user_workflows.client import connect
from user_workflows.executions.bindings import ExecutionBindings
from user_workflows.executions.controls import Controls
from user_workflows.executions.executions import Executions
from user_workflows.executions.starts import Starts
from user_workflows.executions.views import Execution, Step
from user_workflows.interpreter.messages import HISTORY_LIMIT, PARK_AFTER, TriggerCall
from user_workflows.interpreter.queues import EXECUTION_QUEUE
from user_workflows.live.feed import FeedWriter
from user_workflows.live.wakeups import Wakeups
from user_workflows.records.announcements import Announcements
from user_workflows.triggers.schedules import Schedules
from user_workflows.worker import run_worker
from user_workflows.workflows.workflows import Workflows


class Echo(Struct, forbid_unknown_fields=True):
    value: Any = None


class Flaky(Struct, forbid_unknown_fields=True):
    #: how many attempts fail before one succeeds
    failures: int = 0
    permanent: bool = False
    #: seconds between two attempts
    pause: float = 0.05
    #: what comes back with the outcome
    value: Any = UNSET


class Unsteady(Struct, forbid_unknown_fields=True):
    name: str
    #: how many calls fail before one succeeds
    failures: int = 0


class Bulk(Struct, forbid_unknown_fields=True):
    #: how large the output is, in bytes
    size: int
    #: what stands at its end
    mark: str = "end"
    #: whether it packs to almost nothing
    packs: bool = False


class Door(Struct, forbid_unknown_fields=True):
    name: str


class Act(Struct, forbid_unknown_fields=True):
    name: str
    effect: Effect = "idempotent"


class Gates:
    """Doors at which a step waits until the test opens them, and a count of who came."""

    def __init__(self) -> None:
        self._open: dict[str, asyncio.Event] = {}
        self.entered: dict[str, asyncio.Event] = {}

    def at(self, name: str) -> asyncio.Event:
        return self._open.setdefault(name, asyncio.Event())

    def arrival(self, name: str) -> asyncio.Event:
        return self.entered.setdefault(name, asyncio.Event())

    async def arrived(self, name: str) -> None:
        """Wait until a step has come to a door."""
        async with asyncio.timeout(60):
            await self.arrival(name).wait()

    def close_all(self) -> None:
        """Let the next execution find every door closed, and none entered."""
        self._open.clear()
        self.entered.clear()


def make_plugins(gates: Gates, keys: list[tuple[str, int, str]]) -> list[Plugin]:
    @plugin("test.echo", version="1.0.0", effect="pure")
    async def echo(config: Echo, ctx: Context) -> Any:
        return config.value

    @plugin("test.flaky", version="1.0.0", effect="idempotent")
    async def flaky(config: Flaky, ctx: Context) -> dict[str, Any]:
        keys.append((ctx.step, ctx.attempt, ctx.idempotency_key))
        if config.permanent:
            raise Permanent("it will never work", type="test.permanent", status=404)
        if ctx.attempt <= config.failures:
            raise Transient("not yet", type="test.transient", effect="none", retry_after=config.pause)
        return {"attempt": ctx.attempt} | ({} if config.value is UNSET else {"value": config.value})

    @plugin("test.gate", version="1.0.0", effect="read")
    async def gate(config: Door, ctx: Context) -> str:
        gates.arrival(config.name).set()
        await gates.at(config.name).wait()
        return config.name

    @plugin("test.stubborn", version="1.0.0", effect="read")
    async def stubborn(config: Door, ctx: Context) -> None:
        gates.arrival(config.name).set()
        try:
            await asyncio.Event().wait()
        finally:
            gates.arrival(f"{config.name} stopping").set()
            await gates.at(f"{config.name} stopping").wait()

    @plugin("test.act", version="1.0.0", effect=lambda config: config.effect)
    async def act(config: Act, ctx: Context) -> str:
        keys.append((ctx.step, ctx.attempt, ctx.idempotency_key))
        gates.arrival(config.name).set()
        await gates.at(config.name).wait()
        return config.name

    @plugin("test.bulk", version="1.0.0", effect="pure")
    async def bulk(config: Bulk, ctx: Context) -> dict[str, str]:
        text = "x" * config.size if config.packs else random.Random(config.size).randbytes(config.size // 2).hex()
        return {"text": text, "mark": config.mark}

    calls: Counter[tuple[str | None, str]] = Counter()

    @plugin("test.unsteady", version="1.0.0", effect="read")
    async def unsteady(config: Unsteady, ctx: Context) -> int:
        calls[ctx.execution_id, config.name] += 1
        if calls[ctx.execution_id, config.name] <= config.failures:
            raise Transient("not steady yet", type="test.unsteady")
        return calls[ctx.execution_id, config.name]

    return [echo, flaky, gate, stubborn, act, bulk, unsteady]


class Lane(Struct, frozen=True, kw_only=True, eq=False):
    """What a test talks to: one tenant's workflows and executions."""

    tenant_id: str
    database: Database
    vault: Vault
    workflows: Workflows
    executions: Executions
    controls: Controls
    approvals: Approvals
    webhooks: Webhooks
    jobs: Jobs
    starts: Starts
    temporal: Client
    gates: Gates
    #: (step, attempt, idempotency key) of each call of `test.flaky`
    keys: list[tuple[str, int, str]]

    async def publish(self, definition: dict[str, Any]) -> str:
        workflow = await self.workflows.create(self.tenant_id, name="test", definition=definition)
        await self.workflows.publish(self.tenant_id, workflow.id)
        return workflow.id

    async def start(self, workflow_id: str, input: Any = None, **options: Any) -> Execution:
        trigger = TriggerCall(type="manual", payload=input)
        return await self.executions.start(self.tenant_id, workflow_id, trigger=trigger, **options)

    async def run(self, definition: dict[str, Any], input: Any = None) -> Execution:
        """Publish, start and wait for the end."""
        execution = await self.start(await self.publish(definition), input)
        return await self.finish(execution)

    async def finish(self, execution: Execution) -> Execution:
        finished = await self.executions.wait(self.tenant_id, execution.id, 60)
        assert finished.is_closed, finished
        return finished

    async def steps(self, execution: Execution) -> dict[str, Step]:
        page = await self.executions.steps(self.tenant_id, execution.id)
        return {step.node_id: step for step in page.items}

    def undone(self, since: int) -> list[str]:
        """Return the nodes whose compensations acted since there were so many `keys`, in order."""
        return [step.removesuffix(".compensate") for step, *_ in self.keys[since:] if step.endswith(".compensate")]

    async def inside(self, execution: Execution, loop: str, *path: int) -> list[Step]:
        """Return the steps in the body of a loop."""
        page = await self.executions.steps(self.tenant_id, execution.id, within=loop, path=path, limit=1_000)
        assert page.next_cursor is None
        return list(page.items)


class Place(Struct, frozen=True):
    """Where a lane is: two in one place, over one database, are one."""

    tenant_id: str
    namespace: str


async def _own_place(database: Database, temporal_address: str) -> Place:
    async with database.across.transaction() as connection:
        tenant = await create_tenant(connection, "Acme")
    return Place(tenant.id, (await own_namespace(temporal_address))["TEMPORAL_NAMESPACE"])


async def _nothing() -> None:
    """Leave the work to another process."""


@asynccontextmanager
async def open_lane(
    database: Database,
    temporal_address: str,
    folder: Path,
    *,
    readable: bool = False,
    forgetful: bool = False,
    history_limit: int = HISTORY_LIMIT,
    park_after: float = PARK_AFTER,
    caps: Caps | None = None,
    build: str = "test",
    queue: str = EXECUTION_QUEUE,
    works: bool = True,
    like: Place | None = None,
    plugins: Sequence[Plugin] = PLUGINS,
    allow: Sequence[str] = (),
    redis_url: str | None = None,
) -> AsyncIterator[Lane]:
    """Open a lane with a worker and a namespace of its own.

    Args:
        database: migrated.
        temporal_address: of a real server.
        folder: for the master key.
        readable: leave histories in plain JSON, to be recorded.
        forgetful: replay each execution whenever it goes on, as after the loss of a worker.
        history_limit: events after which a run of an execution hands over to the next.
        park_after: seconds that everything has to wait at least, for an execution to be parked.
        caps: of its tenant.
        build: of its worker.
        queue: that it serves.
        works: with a worker; without, another process must open one.
        like: instead of a place of its own, that of another process's lane.
        plugins: beside those that every lane has.
        allow: where plugins may reach on this machine.
        redis_url: tells those who wait of what is committed; without, Temporal tells them of the end.
    """
    vault = Vault(database, MasterKey.load_or_create(folder / "master.json"))
    place = like or await _own_place(database, temporal_address)
    environment = {"TEMPORAL_ADDRESS": temporal_address, "TEMPORAL_NAMESPACE": place.namespace}
    temporal = await connect(vault, Blobs(database), environment)
    if readable:
        plain = replace(temporal.data_converter, payload_codec=None)
        temporal = Client(temporal.service_client, namespace=temporal.namespace, data_converter=plain)
    gates, keys = Gates(), list[tuple[str, int, str]]()
    registry = Registry([*make_plugins(gates, keys), *plugins])
    egress = EgressClient(Guard(allow=allow))
    workflows = Workflows(database=database, vault=vault, registry=registry, schedules=Schedules(temporal))
    bindings = ExecutionBindings(database=database, workflows=workflows)
    host = Host(
        registry=registry,
        ledger=Ledger(database, vault),
        lender=Lender(database, vault, permit=bindings.refusal),
        egress=egress,
    )
    # Without Redis: what is enqueued is a row, and is looked at as one.
    jobs = Jobs(database=database, vault=vault, waker=Waker("redis://127.0.0.1:1"))
    webhooks = Webhooks(database=database, vault=vault, jobs=jobs)
    announcements = Announcements(webhooks)
    starts = Starts(
        database=database,
        vault=vault,
        workflows=workflows,
        temporal=temporal,
        reception=Reception(database, vault, Gate(database, caps), announcements),
        history_limit=history_limit,
        park_after=park_after,
    )
    wakeups = Wakeups(redis_url)
    redis = None if redis_url is None else Redis.from_url(redis_url)
    executions = Executions(
        database=database,
        vault=vault,
        workflows=workflows,
        temporal=temporal,
        starts=starts,
        wakeups=wakeups,
        announcements=announcements,
    )
    approvals = Approvals(
        database=database,
        vault=vault,
        jobs=jobs,
        temporal=temporal,
        public_url="https://gateway.example.com",
        announcements=announcements,
    )
    stop = asyncio.Event()
    worker = asyncio.create_task(
        run_worker(
            temporal=temporal,
            database=database,
            vault=vault,
            registry=registry,
            host=host,
            starts=starts,
            approvals=approvals,
            builds=Builds(temporal, build, queue=queue, is_alone=True),
            feed=None if redis is None else FeedWriter(redis, vault),
            announcements=announcements,
            stop=stop,
            max_cached_executions=0 if forgetful else 1_000,
        )
        if works
        else _nothing()
    )
    lane = Lane(
        tenant_id=place.tenant_id,
        database=database,
        vault=vault,
        workflows=workflows,
        executions=executions,
        controls=Controls(
            database=database,
            vault=vault,
            registry=registry,
            workflows=workflows,
            starts=starts,
            executions=executions,
        ),
        approvals=approvals,
        webhooks=webhooks,
        jobs=jobs,
        starts=starts,
        temporal=temporal,
        gates=gates,
        keys=keys,
    )
    try:
        yield lane
    finally:
        stop.set()
        await worker
        await jobs.close()
        await egress.close()
        await wakeups.close()
        if redis is not None:
            await redis.aclose()
