"""Deliveries: read, made again, settled, forgotten."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Row, Select, and_, delete, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.client import Jobs
from internal_jobs.errors import DeliveryConflict, DeliveryNotFound
from internal_jobs.jobs import OPEN as OPEN_JOBS
from internal_jobs.table import jobs as jobs_table
from internal_jobs.webhooks.endpoints import OpenedEndpoint, find_endpoint, open_endpoint
from internal_jobs.webhooks.model import (
    OPEN,
    AttemptError,
    Delivery,
    DeliveryAttempt,
    DeliveryDetail,
    DeliveryPage,
    DeliveryStatus,
)
from internal_jobs.webhooks.publisher import Publisher, body_place, in_order, status_in_order
from internal_jobs.webhooks.tables import attempts, deliveries, messages
from plugins.storage.database import Database, now
from plugins.vault.cipher import Sealer
from plugins.vault.keys import Vault

#: Rows that one statement of a purge deletes, and deliveries that one sweep settles.
BATCH = 1_000
#: A delivery is left to its job for so long.
PATIENCE = timedelta(seconds=60)


class Parcel(Struct, frozen=True, kw_only=True):
    """What one attempt sends."""

    delivery_id: str
    message_id: str
    endpoint: OpenedEndpoint
    body: bytes


class Deliveries:
    def __init__(self, *, database: Database, vault: Vault, jobs: Jobs, publisher: Publisher) -> None:
        self._database = database
        self._vault = vault
        self._jobs = jobs
        self._publisher = publisher

    async def get(self, tenant_id: str, delivery_id: str) -> DeliveryDetail:
        """Return a delivery, with what was sent and every attempt.

        Raises:
            DeliveryNotFound
        """
        query = _with_next().where(*_one(tenant_id, delivery_id))
        tried = select(attempts).where(attempts.c.tenant_id == tenant_id, attempts.c.delivery_id == delivery_id)
        async with self._database.read(tenant_id) as connection:
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                raise DeliveryNotFound(delivery_id)
            body = (await connection.execute(_body(tenant_id, row.message_id))).scalar_one()
            rows = (await connection.execute(tried.order_by(attempts.c.number))).all()
        sealer = await self._vault.sealer(tenant_id)
        return DeliveryDetail(
            delivery=_delivery(row),
            event=msgspec.json.decode(sealer.open(body, body_place(row.message_id))),
            attempts=tuple(_attempt(each, sealer) for each in rows),
        )

    async def list(
        self,
        tenant_id: str,
        *,
        endpoint_id: str | None = None,
        status: DeliveryStatus | None = None,
        type: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> DeliveryPage:
        """Return a page of deliveries, newest first."""
        query = _with_next().where(deliveries.c.tenant_id == tenant_id)
        for column, wanted in (
            (deliveries.c.endpoint_id, endpoint_id),
            (deliveries.c.status, status),
            (deliveries.c.type, type),
        ):
            if wanted is not None:
                query = query.where(column == wanted)
        if cursor is not None:
            query = query.where(deliveries.c.id < cursor)
        async with self._database.read(tenant_id) as connection:
            rows = (await connection.execute(query.order_by(deliveries.c.id.desc()).limit(limit + 1))).all()
        items = tuple(_delivery(row) for row in rows[:limit])
        return DeliveryPage(items=items, next_cursor=items[-1].id if len(rows) > limit else None)

    async def redeliver(self, tenant_id: str, delivery_id: str) -> Delivery:
        """Deliver a closed delivery again, under the same ``webhook-id``, when those of its order are done.

        Raises:
            DeliveryNotFound
            DeliveryConflict: it is on its way, or its endpoint is disabled.
        """
        sealer = await self._vault.sealer(tenant_id)
        async with self._database.transaction(tenant_id) as connection:
            row = await find_delivery(connection, tenant_id, delivery_id)
            endpoint = await find_endpoint(connection, tenant_id, row.endpoint_id, lock=True)
            if row.status in OPEN:
                raise DeliveryConflict(f"delivery {delivery_id} is {row.status}, and on its way already")
            if not endpoint.enabled:
                raise DeliveryConflict(f"endpoint {row.endpoint_id} is disabled; enable it first")
            status: DeliveryStatus = "pending"
            if row.order_digest is not None:
                status = await status_in_order(connection, tenant_id, row.endpoint_id, row.order_digest)
            again = update(deliveries).where(*_one(tenant_id, delivery_id), deliveries.c.status.not_in(OPEN))
            anew = again.values(status=status, round=deliveries.c.round + 1, begun_at=None, closed_at=None, reason=None)
            made = (await connection.execute(anew.returning(deliveries))).one_or_none()
            if made is not None and status == "pending":
                url = open_endpoint(endpoint, sealer, at=now()).url
                await self._publisher.start(connection, tenant_id, made, url)
        self._jobs.wake()
        return (await self.get(tenant_id, delivery_id)).delivery

    async def take(self, tenant_id: str, delivery_id: str) -> Parcel | None:
        """Return what an attempt sends; ``None``: there is nothing to be sent any more."""
        sealer = await self._vault.sealer(tenant_id)
        async with self._database.read(tenant_id) as connection:
            row = (await connection.execute(select(deliveries).where(*_one(tenant_id, delivery_id)))).one_or_none()
            if row is None or row.status not in OPEN:
                return None
            endpoint = await find_endpoint(connection, tenant_id, row.endpoint_id)
            body = (await connection.execute(_body(tenant_id, row.message_id))).scalar_one()
        if not endpoint.enabled:
            await self.close(tenant_id, delivery_id, "canceled", reason="its endpoint is disabled")
            return None
        return Parcel(
            delivery_id=row.id,
            message_id=row.message_id,
            endpoint=open_endpoint(endpoint, sealer, at=now()),
            body=sealer.open(body, body_place(row.message_id)),
        )

    async def close(self, tenant_id: str, delivery_id: str, status: DeliveryStatus, *, reason: str | None) -> None:
        """Close a delivery that is open, and begin the next of its order."""
        sealer = await self._vault.sealer(tenant_id)
        async with self._database.transaction(tenant_id) as connection:
            row = await find_delivery(connection, tenant_id, delivery_id)
            await find_endpoint(connection, tenant_id, row.endpoint_id, lock=True)
            await self.close_on(connection, sealer, row, status, reason=reason)

    async def close_on(
        self, connection: AsyncConnection, sealer: Sealer, row: Row[Any], status: DeliveryStatus, *, reason: str | None
    ) -> None:
        """Do the same in a transaction of the caller's that has locked the endpoint."""
        closing = update(deliveries).where(*_one(sealer.tenant_id, row.id), deliveries.c.status.in_(OPEN))
        closed = await connection.execute(closing.values(status=status, reason=reason, closed_at=now()))
        if not closed.rowcount or row.order_digest is None:
            return
        coming = select(deliveries).where(*in_order(sealer.tenant_id, row.endpoint_id, row.order_digest))
        first = (
            await connection.execute(coming.order_by(deliveries.c.created_at, deliveries.c.id).limit(1))
        ).one_or_none()
        if first is not None and first.status == "held":
            endpoint = await find_endpoint(connection, sealer.tenant_id, row.endpoint_id)
            url = open_endpoint(endpoint, sealer, at=now()).url
            await self._publisher.start(connection, sealer.tenant_id, first, url)

    async def settle(self) -> int:
        """Close deliveries whose jobs ended without them, by a cancellation for one; return how many."""
        lost = (
            select(deliveries.c.tenant_id, deliveries.c.id, jobs_table.c.status)
            .select_from(deliveries.outerjoin(jobs_table, _JOB))
            .where(deliveries.c.status.in_(("pending", "failing")), deliveries.c.created_at < now() - PATIENCE)
            .where(or_(jobs_table.c.status.is_(None), jobs_table.c.status.not_in(OPEN_JOBS)))
            .limit(BATCH)
        )
        async with self._database.across.read() as connection:
            rows = (await connection.execute(lost)).all()
        for row in rows:
            reason = "its job is gone" if row.status is None else f"its job ended as {row.status}"
            await self.close(row.tenant_id, row.id, "failed", reason=reason)
        return len(rows)

    async def purge(self, before: datetime) -> int:
        """Delete deliveries closed before a moment, of all tenants, and messages without any; return how many."""
        old = (
            select(deliveries.c.tenant_id, deliveries.c.id)
            .where(deliveries.c.closed_at < before, deliveries.c.status.not_in(OPEN))
            .limit(BATCH)
        )
        told = (
            select(deliveries.c.id)
            .where(deliveries.c.tenant_id == messages.c.tenant_id, deliveries.c.message_id == messages.c.id)
            .exists()
        )
        orphans = select(messages.c.tenant_id, messages.c.id).where(messages.c.created_at < before, ~told).limit(BATCH)
        async with self._database.across.transaction() as connection:
            gone = delete(deliveries).where(tuple_(deliveries.c.tenant_id, deliveries.c.id).in_(old))
            count = (await connection.execute(gone)).rowcount
            empty = delete(messages).where(tuple_(messages.c.tenant_id, messages.c.id).in_(orphans))
            await connection.execute(empty)
        return count


_JOB = and_(jobs_table.c.tenant_id == deliveries.c.tenant_id, jobs_table.c.id == deliveries.c.job_id)


async def find_delivery(connection: AsyncConnection, tenant_id: str, delivery_id: str) -> Row[Any]:
    """Return the row of a delivery.

    Raises:
        DeliveryNotFound
    """
    row = (await connection.execute(select(deliveries).where(*_one(tenant_id, delivery_id)))).one_or_none()
    if row is None:
        raise DeliveryNotFound(delivery_id)
    return row


def _with_next() -> Select[Any]:
    return select(deliveries, jobs_table.c.available_at).select_from(deliveries.outerjoin(jobs_table, _JOB))


def _body(tenant_id: str, message_id: str) -> Select[Any]:
    return select(messages.c.body_sealed).where(messages.c.tenant_id == tenant_id, messages.c.id == message_id)


def _one(tenant_id: str, delivery_id: str) -> tuple[Any, ...]:
    return deliveries.c.tenant_id == tenant_id, deliveries.c.id == delivery_id


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        endpoint_id=row.endpoint_id,
        message_id=row.message_id,
        type=row.type,
        status=row.status,
        attempts=row.attempts,
        last_status=row.last_status,
        next_attempt_at=row.available_at if row.status in ("pending", "failing") else None,
        reason=row.reason,
        job_id=row.job_id,
        created_at=row.created_at,
        closed_at=row.closed_at,
    )


def _attempt(row: Row[Any], sealer: Sealer) -> DeliveryAttempt:
    detail = sealer.open_json(row.detail_sealed, attempt_place(row.id))
    error = None if row.error_type is None else AttemptError(type=row.error_type, message=detail["message"])
    return DeliveryAttempt(
        number=row.number,
        at=row.at,
        latency_ms=row.latency_ms,
        status=row.status,
        response=detail["response"],
        error=error,
    )


def attempt_place(attempt_id: str) -> str:
    return f"webhook_attempt.detail:{attempt_id}"
