"""Tells of what happened: a message, and for each endpoint that subscribed to it a delivery and its job."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Row, exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.client import JobRequest, Jobs
from internal_jobs.errors import InvalidEvent
from internal_jobs.webhooks.endpoints import OpenedEndpoint, find_endpoint, one_endpoint, open_endpoint
from internal_jobs.webhooks.model import MAX_DATA, OPEN, DeliveryStatus, EventRequest, Occurrence
from internal_jobs.webhooks.tables import deliveries, endpoints, messages
from plugins.host.retry import Retry
from plugins.storage.database import Database, now
from plugins.storage.ids import new_id
from plugins.vault.cipher import Sealer
from plugins.vault.keys import Vault

SEND = "webhook.send"

#: A dozen attempts within about three days, each up to a quarter earlier than the last figure says.
PATIENCE = Retry(max_attempts=12, initial_interval="5s", backoff=5.0, max_interval="12h")


class Sending(Struct, frozen=True, kw_only=True, rename="camel"):
    """A delivery that was begun."""

    id: str
    endpoint_id: str


class Publisher:
    """Publishes.

    Args:
        database: holds the rows.
        vault: seals what is in them.
        jobs: make the deliveries.
        retry: of one delivery.
    """

    def __init__(self, *, database: Database, vault: Vault, jobs: Jobs, retry: Retry = PATIENCE) -> None:
        self._database = database
        self._vault = vault
        self._jobs = jobs
        self.retry = retry

    async def publish(
        self, tenant_id: str, event: EventRequest, *, endpoint_id: str | None = None
    ) -> Sequence[Sending]:
        """Tell of an event of the tenant's own, and return the deliveries; only to one endpoint, if it is named.

        Raises:
            EndpointNotFound
            InvalidEvent: its data are too large.
        """
        sealer = await self._vault.sealer(tenant_id)
        occurrence = Occurrence(
            id=new_id("msg"),
            type=event.type,
            source=f"/tenants/{tenant_id}",
            time=now(),
            data=event.data,
            subject=event.subject,
            ordering_key=event.ordering_key,
        )
        async with self._database.transaction(tenant_id) as connection:
            if endpoint_id is not None:
                await find_endpoint(connection, tenant_id, endpoint_id)
            begun = await self.publish_on(connection, sealer, [occurrence], endpoint_id=endpoint_id)
        self._jobs.wake()
        return begun

    async def publish_on(
        self,
        connection: AsyncConnection,
        sealer: Sealer,
        occurrences: Sequence[Occurrence],
        *,
        endpoint_id: str | None = None,
    ) -> Sequence[Sending]:
        """Tell of what happened to one tenant in the caller's transaction; what was told already is not told again.

        Deliveries begin within a second of the commit, at once if the caller then calls `Jobs.wake`.

        Raises:
            InvalidEvent: the data of one are too large.
        """
        enabled = select(endpoints).where(endpoints.c.tenant_id == sealer.tenant_id, endpoints.c.enabled)
        if endpoint_id is not None:
            # Asked for by name, it is told whatever it subscribed to.
            enabled = enabled.where(endpoints.c.id == endpoint_id)
        rows = (await connection.execute(enabled.order_by(endpoints.c.id))).all()
        opened = [open_endpoint(row, sealer, at=now()) for row in rows]
        begun = []
        for occurrence in occurrences:
            targets = [each for each in opened if endpoint_id is not None or each.wants(occurrence.type)]
            if targets and await self._keep(connection, sealer, occurrence):
                for target in targets:
                    begun.append(await self._begin(connection, sealer, occurrence, target))
        return begun

    async def start(self, connection: AsyncConnection, tenant_id: str, delivery: Row[Any], url: str) -> str:
        """Make the job of a delivery, in the caller's transaction, and return its id."""
        request = JobRequest(
            type=SEND,
            # The address is for limits by host; where it goes is read when it goes.
            payload={"deliveryId": delivery.id, "url": url},
            retry=self.retry,
            tags=(f"endpoint:{delivery.endpoint_id}",),
        )
        key = f"delivery:{delivery.id}:{delivery.round}"
        job = await self._jobs.enqueue(tenant_id, request, key=key, connection=connection)
        await connection.execute(
            update(deliveries)
            .where(deliveries.c.tenant_id == tenant_id, deliveries.c.id == delivery.id)
            .values(job_id=job.id, status="pending")
        )
        return job.id

    async def _keep(self, connection: AsyncConnection, sealer: Sealer, occurrence: Occurrence) -> bool:
        """Store the message; return whether it is new."""
        size = len(msgspec.json.encode(occurrence.data))
        if size > MAX_DATA:
            raise InvalidEvent("/data", f"is {size:,} bytes of JSON; at most {MAX_DATA:,} are sent")
        row = {
            "tenant_id": sealer.tenant_id,
            "id": occurrence.id,
            "body_sealed": sealer.seal(msgspec.json.encode(cloud_event(occurrence)), body_place(occurrence.id)),
            "created_at": now(),
        }
        insert = self._database.insert(messages).values(row).on_conflict_do_nothing()
        return (await connection.execute(insert.returning(messages.c.id))).first() is not None

    async def _begin(
        self, connection: AsyncConnection, sealer: Sealer, occurrence: Occurrence, target: OpenedEndpoint
    ) -> Sending:
        digest = None
        status: DeliveryStatus = "pending"
        if occurrence.ordering_key is not None:
            digest = sha256(f"{sealer.tenant_id}\0{occurrence.ordering_key}".encode()).hexdigest()
            # Whoever begins another in this order waits here, and then sees this one.
            lock = select(endpoints.c.id).where(*one_endpoint(sealer.tenant_id, target.id)).with_for_update()
            await connection.execute(lock)
            status = await status_in_order(connection, sealer.tenant_id, target.id, digest)
        row = {
            "tenant_id": sealer.tenant_id,
            "id": new_id("dlv"),
            "endpoint_id": target.id,
            "message_id": occurrence.id,
            "type": occurrence.type,
            "status": status,
            "order_digest": digest,
            "round": 1,
            "attempts": 0,
            "created_at": now(),
        }
        made = (await connection.execute(deliveries.insert().values(row).returning(deliveries))).one()
        if status == "pending":
            await self.start(connection, sealer.tenant_id, made, target.url)
        return Sending(id=made.id, endpoint_id=target.id)


async def status_in_order(
    connection: AsyncConnection, tenant_id: str, endpoint_id: str, digest: str
) -> Literal["held", "pending"]:
    """Return how a delivery begins that follows others of its order; the caller has locked the endpoint."""
    before = select(deliveries.c.id).where(*in_order(tenant_id, endpoint_id, digest)).limit(1)
    return "pending" if (await connection.execute(before)).first() is None else "held"


def in_order(tenant_id: str, endpoint_id: str, digest: str) -> tuple[Any, ...]:
    """The open deliveries to an endpoint that follow one another."""
    return (
        deliveries.c.tenant_id == tenant_id,
        deliveries.c.endpoint_id == endpoint_id,
        deliveries.c.order_digest == digest,
        deliveries.c.status.in_(OPEN),
    )


def cloud_event(occurrence: Occurrence) -> Mapping[str, Any]:
    """Return the CloudEvent 1.0 that is sent, in its JSON format."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": occurrence.id,
        "source": occurrence.source,
        "type": occurrence.type,
        "time": _rfc3339(occurrence.time),
        "datacontenttype": "application/json",
    }
    if occurrence.subject is not None:
        event["subject"] = occurrence.subject
    return event | {"data": occurrence.data}


def is_listening(tenant_id: str | ColumnElement[str]) -> ColumnElement[bool]:
    """Return whether a tenant has an endpoint that is told of anything, as a part of a statement."""
    return exists().where(endpoints.c.tenant_id == tenant_id, endpoints.c.enabled)


def message_id(*about: str) -> str:
    """Return the id of the message about something that happens once."""
    digest = sha256("\0".join(about).encode()).hexdigest()
    return f"msg_{digest[:32]}"


def body_place(message_id: str) -> str:
    return f"webhook_message.body:{message_id}"


def _rfc3339(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
