"""How every execution starts, whoever asks: the row first, then Temporal (design §9, §12).

The workflow id follows from the execution id and an equal key finds the first row, so a start may be repeated at any
point and still starts one execution.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Row, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.client import Client

from plugins.storage.database import Database
from plugins.vault.keys import Vault
from user_workflows.admission.caps import Rate
from user_workflows.admission.letters import open_letters
from user_workflows.admission.reception import Reception, place_of
from user_workflows.executions.beginnings import (
    StartRequest,
    as_entrant,
    first_event,
    first_row,
    generation_of,
    input_place,
    open_begin,
    origin_of,
)
from user_workflows.executions.callers import restore_trigger
from user_workflows.executions.submission import Submissions
from user_workflows.executions.tables import OPEN_STATUSES, execution_tags, executions
from user_workflows.inbox.store import accept_event
from user_workflows.interpreter.messages import (
    HISTORY_LIMIT,
    PARK_AFTER,
    StartExecution,
    TriggerCall,
)
from user_workflows.workflows.versions import PublishedPlan
from user_workflows.workflows.workflows import Workflows

#: executions of one batch that are handed to Temporal at a time
MAX_CONCURRENT = 32


class Started(Struct, frozen=True, kw_only=True):
    """The execution that a request stands for."""

    id: str
    #: as it was inserted; ``None`` where an earlier request with the same key has started it
    row: Mapping[str, Any] | None
    #: whether it has a slot; else it waits at the gate, or has been turned away there
    is_inside: bool = True
    #: after it, where starts per minute are capped
    rate: Rate | None = None


class Starts:
    """The one way to start an execution; what goes on with one that has failed is `Retries`.

    Args:
        database, vault: hold the rows.
        workflows: what is started.
        temporal: carries it.
        reception: of the gate.
        history_limit: events after which a run of an execution hands over to the next.
        park_after: seconds that everything has to wait at least, for an execution to be parked.
        generated: types of versions whose executions run on generated code.
    """

    def __init__(
        self,
        *,
        database: Database,
        vault: Vault,
        workflows: Workflows,
        temporal: Client,
        reception: Reception,
        history_limit: int = HISTORY_LIMIT,
        park_after: float = PARK_AFTER,
        generated: Collection[str] = (),
    ) -> None:
        self._history_limit = history_limit
        self._park_after = park_after
        self._database = database
        self._vault = vault
        self._workflows = workflows
        #: of the gate that they pass
        self.reception = reception
        # Built once, as all that is carried out for each start.
        insert = database.insert(executions).on_conflict_do_nothing(index_elements=["tenant_id", "start_key"])
        self._insert_new = insert.returning(executions.c.id)
        self._keep_events = accept_event(database)
        self._submissions = Submissions(database=database, temporal=temporal, generated=generated)

    async def start(
        self,
        tenant_id: str,
        workflow_id: str,
        *,
        trigger: TriggerCall,
        version: int | None = None,
        tags: Sequence[str] = (),
        delay: float | None = None,
        key: str | None = None,
        is_urgent: bool = False,
    ) -> str:
        """Start an execution of a published version and return its id; an equal `key` returns the first one's.

        Raises:
            NotFound: no such workflow or version of this tenant.
            Conflict: nothing is published.
            OverCap: the workflow refuses starts over a cap, and whoever asks can be told so.
            InputTooLarge: the input is larger than a cap allows.
            EngineUnavailable: Temporal cannot be reached; with a `key` the start is repeated by the sweep.
        """
        request = StartRequest(
            workflow_id=workflow_id,
            trigger=trigger,
            version=version,
            tags=tuple(tags),
            delay=delay,
            key=key,
            is_urgent=is_urgent,
        )
        (started,) = await self.start_many(tenant_id, [request])
        return started.id

    async def start_many(self, tenant_id: str, requests: Sequence[StartRequest]) -> list[Started]:
        """Start executions, all of them or none, and return them in order.

        Raises:
            NotFound: one names no workflow or version of this tenant; nothing was started.
            Conflict: of one nothing is published; nothing was started.
            OverCap, InputTooLarge: one is refused by the gate; nothing was started.
            EngineUnavailable: Temporal cannot be reached; those with a `key` are started by the sweep.
        """
        wanted = dict.fromkeys(
            (request.workflow_id, request.version) for request in requests if request.published is None
        )
        plans = {key: await self._workflows.plan(tenant_id, *key) for key in wanted}
        versions = [request.published or plans[request.workflow_id, request.version] for request in requests]
        made, replaced = await self._insert(tenant_id, requests, [published.version for published in versions])
        room = asyncio.Semaphore(MAX_CONCURRENT)

        async def hand_over(request: StartRequest, published: PublishedPlan, started: Started) -> None:
            async with room:
                if started.row is None:
                    await self.repeat(tenant_id, started.id)
                elif started.is_inside:
                    start = self._first(tenant_id, started.id, request, published)
                    await self._submissions.submit(start, is_urgent=request.is_urgent)

        try:
            async with asyncio.TaskGroup() as group:
                for request, published, started in zip(requests, versions, made, strict=True):
                    group.create_task(hand_over(request, published, started))
        except BaseExceptionGroup as failed:
            # The first is as good as all: what was not tried any more has its row.
            raise failed.exceptions[0] from None
        from_queue = [one.id for one in made if one.row and one.is_inside and one.row["admission"] == "waiting"]
        await self.reception.confirm(tenant_id, from_queue)
        await self.make_room(tenant_id, replaced)
        return made

    async def make_room(self, tenant_id: str, replaced: Sequence[str]) -> None:
        """Let executions end that make room for others; see `Submissions.make_room`."""
        for execution_id in replaced:
            await self._submissions.make_room(tenant_id, execution_id)

    def _first(
        self, tenant_id: str, execution_id: str, request: StartRequest, published: PublishedPlan
    ) -> StartExecution:
        return StartExecution(
            tenant_id=tenant_id,
            execution_id=execution_id,
            workflow_id=published.workflow_id,
            version=published.version,
            trigger=request.trigger,
            plan=published.plan,
            origin_id=origin_of(execution_id, request.acts_for),
            generation=generation_of(1, request.acts_for),
            seed=request.seed,
            history_limit=self._history_limit,
            park_after=self._park_after,
        )

    async def repeat(self, tenant_id: str, execution_id: str) -> None:
        """Hand a queued execution to Temporal, which has it already or not.

        Raises:
            EngineUnavailable: Temporal cannot be reached.
        """
        row = await self._queued(tenant_id, execution_id)
        if row is None:
            return
        published = await self._workflows.recorded_plan(tenant_id, row.workflow_id, row.version)
        sealer = await self._vault.sealer(tenant_id)
        payload = sealer.open_json(row.input_sealed, input_place(execution_id))
        begin = open_begin(sealer, row)
        start = StartExecution(
            tenant_id=tenant_id,
            execution_id=execution_id,
            workflow_id=row.workflow_id,
            version=row.version,
            trigger=restore_trigger(row.trigger, payload),
            plan=published.plan,
            origin_id=origin_of(execution_id, begin.acts_for),
            generation=generation_of(row.generation, begin.acts_for),
            seed=begin.seed,
            earlier=begin.earlier,
            received=open_letters(sealer, row),
            history_limit=self._history_limit,
            park_after=self._park_after,
        )
        if row.generation == 1:
            await self._submissions.submit(start)
        else:
            await self._submissions.submit_again(start, row.ended_run_id)

    async def is_scheduled(self, tenant_id: str, workflow_id: str, trigger_id: str) -> bool:
        """Return whether a cron trigger is on: of the published version of an active workflow."""
        return await self._workflows.triggers.find_cron(tenant_id, workflow_id, trigger_id) is not None

    async def is_open(self, tenant_id: str, key_prefix: str) -> bool:
        """Return whether an execution whose key begins with `key_prefix` is still open."""
        query = (
            select(executions.c.id)
            .where(executions.c.tenant_id == tenant_id)
            .where(executions.c.start_key.startswith(key_prefix, autoescape=True))
            .where(executions.c.status.in_(OPEN_STATUSES))
            .limit(1)
        )
        async with self._database.read(tenant_id) as connection:
            return (await connection.execute(query)).first() is not None

    async def _insert(
        self, tenant_id: str, requests: Sequence[StartRequest], versions: Sequence[int]
    ) -> tuple[list[Started], Sequence[str]]:
        """Insert a row for each, in one transaction; tell which row stands for each, and who makes room for them."""
        sealer = await self._vault.sealer(tenant_id)
        rows = [first_row(sealer, request, version) for request, version in zip(requests, versions, strict=True)]
        # What is awaited shares the slot of who awaits it.
        entrants = {
            row["id"]: as_entrant(request, row)
            for request, row in zip(requests, rows, strict=True)
            if row["awaited_by"] is None
        }
        async with self._database.transaction(tenant_id) as connection:
            ticket = await self.reception.enter(connection, tenant_id, [*entrants.values()])
            for row in rows:
                if row["id"] in entrants:
                    row.update(place_of(ticket, row["due_at"]))
            made = set((await connection.execute(self._insert_new, rows)).scalars())
            tags = [
                {"tenant_id": tenant_id, "execution_id": row["id"], "tag": tag}
                for request, row in zip(requests, rows, strict=True)
                if row["id"] in made
                for tag in dict.fromkeys(request.tags)
            ]
            if tags:
                await connection.execute(execution_tags.insert(), tags)
            events = [
                first_event(sealer, request.event, row)
                for request, row in zip(requests, rows, strict=True)
                if request.event is not None and row["id"] in made
            ]
            if events:
                await connection.execute(self._keep_events, events)
            known = [row["start_key"] for row in rows if row["id"] not in made]
            holders = await _holders(connection, tenant_id, known) if known else {}
            received = await self.reception.receive(
                connection, ticket, [each for id, each in entrants.items() if id in made]
            )
            started = [
                Started(
                    id=row["id"],
                    row=row,
                    is_inside=row["id"] not in entrants or row["id"] in received.inside,
                    rate=received.rate,
                )
                if row["id"] in made
                else Started(id=holders[row["start_key"]], row=None, rate=received.rate)
                for row in rows
            ]
            for request, one in zip(requests, started, strict=True):
                if request.joining is not None:
                    await request.joining(connection, one.id)
        self.reception.gate.stir(received.is_stirred)
        return started, received.replaced

    async def _queued(self, tenant_id: str, execution_id: str) -> "Row[Any] | None":
        query = select(executions).where(
            executions.c.tenant_id == tenant_id,
            executions.c.id == execution_id,
            # Paused before it began, if at all.
            executions.c.status.in_(("queued", "paused")),
            or_(executions.c.admission.is_(None), executions.c.admission.not_in(("waiting", "delayed"))),
        )
        async with self._database.read(tenant_id) as connection:
            return (await connection.execute(query)).one_or_none()


async def _holders(connection: AsyncConnection, tenant_id: str, start_keys: Sequence[str]) -> dict[str, str]:
    """Return the executions that hold some keys, by key."""
    query = select(executions.c.start_key, executions.c.id).where(
        executions.c.tenant_id == tenant_id, executions.c.start_key.in_(start_keys)
    )
    return {row.start_key: row.id for row in await connection.execute(query)}
