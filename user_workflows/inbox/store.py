"""The table of raw events, and the row of each: written in the transaction that makes what it starts."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import (
    Column,
    ForeignKeyConstraint,
    Index,
    Insert,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Row,
    String,
    Table,
)

from plugins.storage.database import Database, Instant, metadata
from plugins.storage.ids import new_id
from plugins.vault.cipher import Sealer
from user_workflows.inbox.event import RawEvent, Verdict

inbound_events = Table(
    "inbound_events",
    metadata,
    Column("tenant_id", String(40), nullable=False),
    Column("id", String(40), nullable=False),
    Column("workflow_id", String(40), nullable=False),
    Column("trigger_id", String(64), nullable=False),
    #: of the trigger
    Column("type", String(16), nullable=False),
    Column("verdict", String(16), nullable=False),
    #: unique per tenant, made of the sender's id: the start key of the execution
    Column("delivery_key", String(255), nullable=False),
    #: what it started first
    Column("execution_id", String(40)),
    Column("received_at", Instant, nullable=False),
    #: bytes that this row takes
    Column("size", Integer, nullable=False),
    #: ``{deliveryId, method, headers, query}``
    Column("head_sealed", LargeBinary, nullable=False),
    Column("body_sealed", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant_id", "id"),
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
    Index("uq_inbound_events_delivery_key", "tenant_id", "delivery_key", unique=True),
    Index("ix_inbound_events_workflow", "tenant_id", "workflow_id", "id"),
    Index("ix_inbound_events_received_at", "received_at"),
)

_IDENTITY = ["tenant_id", "delivery_key"]


class Head(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a list shows of an event without opening its body."""

    delivery_id: str
    method: str
    headers: dict[str, str]
    query: dict[str, Any]


class Place(Struct, frozen=True, kw_only=True):
    """Where an event arrived, and what came of it."""

    workflow_id: str
    trigger_id: str
    delivery_key: str
    received_at: datetime
    execution_id: str | None = None


def insert_event(database: Database) -> Insert:
    """Return the statement that keeps events that start nothing, each once."""
    return database.insert(inbound_events).on_conflict_do_nothing(index_elements=_IDENTITY)


def accept_event(database: Database) -> Insert:
    """Return the statement that keeps events with what they start, each once; built once, as all that is carried out
    for each start.

    What was refused before has started something now.
    """
    insert = database.insert(inbound_events)
    return insert.on_conflict_do_update(
        index_elements=_IDENTITY,
        set_={"verdict": insert.excluded.verdict, "execution_id": insert.excluded.execution_id},
        where=inbound_events.c.verdict == "refused",
    )


def event_row(sealer: Sealer, event: RawEvent, place: Place, verdict: Verdict = "accepted") -> dict[str, Any]:
    """Return the row of an event, sealed."""
    event_id = new_id("in")
    head = Head(delivery_id=event.delivery_id, method=event.method, headers=event.headers, query=event.query)
    head_sealed = sealer.seal_json(head, head_place(event_id))
    body_sealed = sealer.seal_json(event.body, body_place(event_id))
    return {
        "tenant_id": sealer.tenant_id,
        "id": event_id,
        "workflow_id": place.workflow_id,
        "trigger_id": place.trigger_id,
        "type": event.type,
        "verdict": verdict,
        "delivery_key": place.delivery_key,
        "execution_id": place.execution_id,
        "received_at": place.received_at,
        "size": len(head_sealed) + len(body_sealed),
        "head_sealed": head_sealed,
        "body_sealed": body_sealed,
    }


def open_event(sealer: Sealer, row: "Row[Any]") -> RawEvent:
    """Return the event of a whole row."""
    head = open_head(sealer, row)
    return RawEvent(
        type=row.type,
        delivery_id=head.delivery_id,
        method=head.method,
        headers=head.headers,
        query=head.query,
        body=msgspec.convert(sealer.open_json(row.body_sealed, body_place(row.id)), bytes),
    )


def open_head(sealer: Sealer, row: "Row[Any]") -> Head:
    return msgspec.convert(sealer.open_json(row.head_sealed, head_place(row.id)), Head)


def head_place(event_id: str) -> str:
    return f"inbound.head:{event_id}"


def body_place(event_id: str) -> str:
    return f"inbound.body:{event_id}"
