"""The inbox: what webhooks and CloudEvents brought, listed, shown, and delivered again to any version or the draft."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import Row, delete, func, select, tuple_

from plugins.storage.database import Database, now
from plugins.vault.keys import Vault
from user_workflows.errors import Conflict, NotFound, UnreadableEvent
from user_workflows.executions.beginnings import StartRequest
from user_workflows.executions.executions import Executions
from user_workflows.executions.views import Execution
from user_workflows.inbox.event import RawEvent, Verdict
from user_workflows.inbox.store import (
    Place,
    event_row,
    inbound_events,
    insert_event,
    open_event,
    open_head,
)
from user_workflows.interpreter.messages import TriggerCall
from user_workflows.workflows.workflows import PublishedPlan, Workflows

#: what an event is delivered to: a version by its number, the draft as it is, or what is published
Target = int | Literal["draft", "published"]

#: a page of events is read without their bodies
_SHOWN = [column for column in inbound_events.c if column.name != "body_sealed"]


class InboundEvent(Struct, frozen=True, kw_only=True, rename="camel"):
    """An event as lists show it."""

    id: str
    workflow_id: str
    trigger_id: str
    type: Literal["webhook", "event"]
    verdict: Verdict
    #: what its sender calls it
    delivery_id: str
    method: str
    #: what it started when it came; it may be over, and deleted
    execution_id: str | None
    received_at: datetime
    #: bytes that are kept of it
    size: int


class InboundEventDetail(InboundEvent, frozen=True, kw_only=True, rename="camel"):
    """An event as it came, but for headers that carry secrets."""

    headers: dict[str, str]
    query: dict[str, Any]
    #: text, or base64 of what is none
    body: str
    body_encoding: Literal["utf-8", "base64"]


class EventPage(Struct, frozen=True, kw_only=True):
    items: tuple[InboundEvent, ...]
    #: give it back as `cursor` for what follows; ``None`` at the end
    next_cursor: str | None


class Inbox:
    """The inboxes of all tenants; every method takes the tenant of the principal that asks.

    What starts an execution is put in together with it, by `Starts`.

    Args:
        database, vault: hold the events.
        workflows: what they are delivered to.
        executions: start what they ask for.
        max_bytes: that the events of one tenant may take, until the oldest go.
    """

    def __init__(
        self,
        *,
        database: Database,
        vault: Vault,
        workflows: Workflows,
        executions: Executions,
        max_bytes: int,
    ) -> None:
        self._database = database
        self._vault = vault
        self._workflows = workflows
        self._executions = executions
        self._max_bytes = max_bytes
        self._insert = insert_event(database)

    async def keep(
        self,
        tenant_id: str,
        workflow_id: str,
        trigger_id: str,
        event: RawEvent,
        *,
        key: str,
        verdict: Literal["unreadable", "refused"],
    ) -> None:
        """Keep an event that starts nothing, so that its owner can see what came, and deliver it again.

        One that has come before is left as it is: so what a concurrent delivery of it has started stays.
        """
        place = Place(workflow_id=workflow_id, trigger_id=trigger_id, delivery_key=key, received_at=now())
        row = event_row(await self._vault.sealer(tenant_id), event, place, verdict)
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(self._insert, row)

    async def list(
        self,
        tenant_id: str,
        *,
        workflow_id: str | None = None,
        trigger_id: str | None = None,
        verdict: Verdict | None = None,
        received_after: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> EventPage:
        """Return events, newest first."""
        query = select(*_SHOWN).where(inbound_events.c.tenant_id == tenant_id)
        if workflow_id is not None:
            query = query.where(inbound_events.c.workflow_id == workflow_id)
        if trigger_id is not None:
            query = query.where(inbound_events.c.trigger_id == trigger_id)
        if verdict is not None:
            query = query.where(inbound_events.c.verdict == verdict)
        if received_after is not None:
            query = query.where(inbound_events.c.received_at > received_after)
        if cursor is not None:
            query = query.where(inbound_events.c.id < cursor)
        async with self._database.read(tenant_id) as connection:
            rows = (await connection.execute(query.order_by(inbound_events.c.id.desc()).limit(limit + 1))).all()
        sealer = await self._vault.sealer(tenant_id)
        items = tuple(InboundEvent(**_shown(row, open_head(sealer, row))) for row in rows[:limit])
        return EventPage(items=items, next_cursor=items[-1].id if len(rows) > limit else None)

    async def get(self, tenant_id: str, event_id: str) -> InboundEventDetail:
        """Return an event as it came.

        Raises:
            NotFound: no such event of this tenant.
        """
        row = await self._row(tenant_id, event_id)
        sealer = await self._vault.sealer(tenant_id)
        event, head = open_event(sealer, row), open_head(sealer, row)
        body, encoding = _text(event.body)
        return InboundEventDetail(
            **_shown(row, head), headers=head.headers, query=head.query, body=body, body_encoding=encoding
        )

    async def redeliver(
        self,
        tenant_id: str,
        event_id: str,
        *,
        to: Target = "published",
        key: str | None = None,
        traceparent: str | None = None,
    ) -> Execution:
        """Start a new execution with an event as its trigger, though its workflow may be inactive.

        One that was refused is accepted by this: its sender's next try is told of the execution, and starts nothing.

        Args:
            tenant_id: whose event it is.
            event_id: what is delivered again.
            to: what runs; a draft is made a version of its own, which is not published.
            key: an equal one answers with the first new execution.
            traceparent: W3C trace context of the caller.

        Raises:
            NotFound: no such event of this tenant, or its workflow or version is not there any more.
            Conflict: nothing is published, or the event cannot be read.
            OverCap, InputTooLarge: the gate refuses it.
            InvalidDefinition: the draft has faults.
            EngineUnavailable: Temporal cannot be reached; with a `key` the start is repeated by the sweep.
        """
        row = await self._row(tenant_id, event_id)
        event = open_event(await self._vault.sealer(tenant_id), row)
        try:
            payload = event.payload()
        except UnreadableEvent as error:
            raise Conflict(f"event {event_id} cannot be delivered: {error.message}") from None
        was_refused = row.verdict == "refused"
        request = StartRequest(
            workflow_id=row.workflow_id,
            published=await self._target(tenant_id, row.workflow_id, to),
            trigger=TriggerCall(type=event.type, id=row.trigger_id, payload=payload, traceparent=traceparent),
            key=row.delivery_key if was_refused else key,
            event=event if was_refused else None,
            is_urgent=True,
            origin_id=row.execution_id,
        )
        (execution,) = await self._executions.start_many(tenant_id, [request])
        return execution

    async def purge(self, before: datetime, *, limit: int = 1_000) -> int:
        """Delete events that came before a moment, and the oldest of tenants whose events take too much; return how
        many.
        """
        key = (inbound_events.c.tenant_id, inbound_events.c.id)
        old = select(*key).where(inbound_events.c.received_at < before).limit(limit)
        async with self._database.across.read() as connection:
            doomed: Sequence[Any] = (await connection.execute(old)).all()
            if not doomed:
                doomed = (await connection.execute(self._beyond().limit(limit))).all()
        if not doomed:
            return 0
        async with self._database.transaction(*{row.tenant_id for row in doomed}) as connection:
            keys = [(row.tenant_id, row.id) for row in doomed]
            return (await connection.execute(delete(inbound_events).where(tuple_(*key).in_(keys)))).rowcount

    def _beyond(self) -> Any:
        """Select what is beyond the bytes of its tenant, counted from its newest event."""
        size = func.sum(inbound_events.c.size)
        heavy = select(inbound_events.c.tenant_id).group_by(inbound_events.c.tenant_id).having(size > self._max_bytes)
        taken = size.over(partition_by=inbound_events.c.tenant_id, order_by=inbound_events.c.id.desc())
        counted = (
            select(inbound_events.c.tenant_id, inbound_events.c.id, taken.label("taken"))
            .where(inbound_events.c.tenant_id.in_(heavy))
            .subquery()
        )
        return select(counted.c.tenant_id, counted.c.id).where(counted.c.taken > self._max_bytes)

    async def _target(self, tenant_id: str, workflow_id: str, to: Target) -> PublishedPlan:
        match to:
            case "draft":
                return await self._workflows.keep_draft(tenant_id, workflow_id)
            case "published":
                return await self._workflows.plan(tenant_id, workflow_id)
            case version:
                return await self._workflows.plan(tenant_id, workflow_id, version)

    async def _row(self, tenant_id: str, event_id: str) -> "Row[Any]":
        query = select(inbound_events).where(inbound_events.c.tenant_id == tenant_id, inbound_events.c.id == event_id)
        async with self._database.read(tenant_id) as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NotFound("inbound event", event_id)
        return row


def _shown(row: "Row[Any]", head: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "workflow_id": row.workflow_id,
        "trigger_id": row.trigger_id,
        "type": row.type,
        "verdict": row.verdict,
        "delivery_id": head.delivery_id,
        "method": head.method,
        "execution_id": row.execution_id,
        "received_at": row.received_at,
        "size": row.size,
    }


def _text(body: bytes) -> tuple[str, Literal["utf-8", "base64"]]:
    try:
        return body.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), "base64"
