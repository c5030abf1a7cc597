"""The chore that sends: one attempt of one delivery, by Standard Webhooks, and what follows from its outcome."""

import time
from datetime import datetime
from typing import Any

import structlog
from msgspec import Struct
from sqlalchemy import Row, func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.webhooks.deliveries import Deliveries, Parcel, attempt_place, find_delivery
from internal_jobs.webhooks.endpoints import find_endpoint, one_endpoint
from internal_jobs.webhooks.model import OPEN, Occurrence
from internal_jobs.webhooks.publisher import SEND, Publisher, message_id
from internal_jobs.webhooks.tables import attempts, deliveries, endpoints
from plugins.builtin.status import retry_after
from plugins.sdk.context import Context
from plugins.sdk.errors import PluginError, Transient
from plugins.sdk.plugin import Plugin, plugin
from plugins.signing import StandardWebhooks
from plugins.storage.database import Database, now
from plugins.storage.ids import new_id
from plugins.vault.cipher import Sealer
from plugins.vault.keys import Vault

_log = structlog.get_logger(__name__)

#: Seconds that a receiver has to answer, and bytes of its answer that are read, and kept.
TIMEOUT = 20.0
_READ, _KEPT = 256 * 1024, 1024

#: What no further attempt changes: the address is forbidden, or none.
_HOPELESS = frozenset({"egress.forbidden", "egress.invalidUrl"})
_GONE = 410


class SendConfig(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    delivery_id: str
    #: where it went when it was made
    url: str = ""


class Sent(Struct, frozen=True, kw_only=True):
    delivered: bool
    status: int | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """How an attempt went."""

    at: datetime
    latency_ms: float
    status: int | None = None
    response: str | None = None
    error: PluginError | None = None
    #: seconds that the receiver asks to be left alone
    pause: float | None = None


class Sender:
    """Sends, and keeps the books.

    Args:
        database: holds the rows.
        vault: seals what is in them.
        deliveries: are sent, and closed.
        publisher: tells of endpoints that are disabled.
    """

    def __init__(self, *, database: Database, vault: Vault, deliveries: Deliveries, publisher: Publisher) -> None:
        self._database = database
        self._vault = vault
        self._deliveries = deliveries
        self._publisher = publisher

    async def send(self, delivery_id: str, ctx: Context) -> Sent:
        """Make one attempt.

        Raises:
            Transient: it failed, and another attempt is to follow.
        """
        parcel = await self._deliveries.take(ctx.tenant_id, delivery_id)
        if parcel is None:
            return Sent(delivered=False)
        outcome = await _post(parcel, ctx)
        is_last = ctx.attempt >= self._publisher.retry.max_attempts
        if await self._note(ctx.tenant_id, parcel, outcome, is_last=is_last) or outcome.error is None:
            return Sent(delivered=outcome.error is None, status=outcome.status)
        raise Transient(
            outcome.error.message, type=outcome.error.type, status=outcome.status, retry_after=outcome.pause
        )

    async def _note(self, tenant_id: str, parcel: Parcel, outcome: Outcome, *, is_last: bool) -> bool:
        """Record an attempt, and return whether the delivery is closed by it."""
        sealer = await self._vault.sealer(tenant_id)
        async with self._database.transaction(tenant_id) as connection:
            endpoint = await find_endpoint(connection, tenant_id, parcel.endpoint.id, lock=True)
            row = await find_delivery(connection, tenant_id, parcel.delivery_id)
            await self._record(connection, sealer, row, outcome)
            if row.status not in OPEN:
                # Another attempt has closed it, whose worker took this one's for dead.
                return True
            if outcome.error is None:
                await self._succeeded(connection, endpoint, outcome)
                await self._deliveries.close_on(connection, sealer, row, "delivered", reason=None)
                return True
            await self._failed(connection, endpoint, outcome)
            reason = _why_closed(row, outcome, is_last=is_last)
            if reason is None:
                return False
            await self._deliveries.close_on(connection, sealer, row, "failed", reason=reason)
            since = endpoint.failing_since or outcome.at
            if outcome.status == _GONE:
                await self._disable(connection, sealer, endpoint, "its receiver answered 410 Gone")
            elif is_last and since <= (row.begun_at or outcome.at):
                why = f"every attempt has failed since {since:%Y-%m-%d %H:%M} UTC ({endpoint.failures + 1} in a row)"
                await self._disable(connection, sealer, endpoint, why)
        return True

    async def _record(self, connection: AsyncConnection, sealer: Sealer, row: Row[Any], outcome: Outcome) -> None:
        id = new_id("att")
        message = None if outcome.error is None else outcome.error.message
        detail = {"response": outcome.response, "message": message}
        attempt = {
            "tenant_id": sealer.tenant_id,
            "id": id,
            "delivery_id": row.id,
            "number": row.attempts + 1,
            "at": outcome.at,
            "latency_ms": outcome.latency_ms,
            "status": outcome.status,
            "error_type": None if outcome.error is None else outcome.error.type,
            "detail_sealed": sealer.seal_json(detail, attempt_place(id)),
        }
        await connection.execute(attempts.insert().values(attempt))
        await connection.execute(
            update(deliveries)
            .where(deliveries.c.tenant_id == sealer.tenant_id, deliveries.c.id == row.id)
            .values(
                attempts=deliveries.c.attempts + 1,
                last_status=outcome.status,
                status="failing" if row.status in OPEN else row.status,
                begun_at=func.coalesce(deliveries.c.begun_at, outcome.at),
            )
        )

    async def _succeeded(self, connection: AsyncConnection, endpoint: Row[Any], outcome: Outcome) -> None:
        well = {"failing_since": None, "failures": 0, "last_delivered_at": outcome.at}
        await connection.execute(update(endpoints).where(*one_endpoint(endpoint.tenant_id, endpoint.id)).values(well))

    async def _failed(self, connection: AsyncConnection, endpoint: Row[Any], outcome: Outcome) -> None:
        await connection.execute(
            update(endpoints)
            .where(*one_endpoint(endpoint.tenant_id, endpoint.id))
            .values(
                failures=endpoints.c.failures + 1,
                failing_since=func.coalesce(endpoints.c.failing_since, outcome.at),
            )
        )

    async def _disable(self, connection: AsyncConnection, sealer: Sealer, endpoint: Row[Any], reason: str) -> None:
        """Send nothing more to an endpoint, and say so: in its record, in the log, and to the tenant's others."""
        off = (
            update(endpoints)
            .where(*one_endpoint(endpoint.tenant_id, endpoint.id), endpoints.c.enabled)
            .values(enabled=False, disabled_reason=reason, disabled_at=now())
        )
        if not (await connection.execute(off)).rowcount:
            return
        _log.warning("endpoint.disabled", tenant_id=endpoint.tenant_id, endpoint_id=endpoint.id, reason=reason)
        at = now()
        disabled = Occurrence(
            id=message_id("endpoint.disabled", endpoint.id, at.isoformat()),
            type="endpoint.disabled",
            source="/v1/endpoints",
            subject=endpoint.id,
            time=at,
            data={"endpointId": endpoint.id, "reason": reason},
        )
        await self._publisher.publish_on(connection, sealer, [disabled])


def send_plugin(sender: Sender) -> Plugin:
    """Make the chore; it is the installation's own, and no tenant can ask for it."""

    @plugin(SEND, version="1.0.0", effect="idempotent")
    async def webhook_send(config: SendConfig, ctx: Context) -> Sent:
        """Make one attempt of a delivery."""
        return await sender.send(config.delivery_id, ctx)

    return webhook_send


def _why_closed(row: Row[Any], outcome: Outcome, *, is_last: bool) -> str | None:
    if outcome.status == _GONE:
        return "its receiver answered 410 Gone"
    if outcome.error is not None and outcome.error.type in _HOPELESS:
        return outcome.error.message[:300]
    return f"{row.attempts + 1} attempts failed" if is_last else None


async def _post(parcel: Parcel, ctx: Context) -> Outcome:
    at, began = now(), time.perf_counter()
    try:
        response = await ctx.http.request(
            "POST",
            parcel.endpoint.url,
            headers={
                "content-type": "application/cloudevents+json",
                **sign(parcel, timestamp=int(at.timestamp())),
            },
            content=parcel.body,
            timeout=TIMEOUT,
            # A receiver that moved says so in its settings: following would sign for whom it was not meant.
            follow_redirects=False,
            max_bytes=_READ,
        )
    except PluginError as error:
        return Outcome(at=at, latency_ms=_since(began), error=error)
    taken = 200 <= response.status < 300
    return Outcome(
        at=at,
        latency_ms=_since(began),
        status=response.status,
        response=response.content[:_KEPT].decode("utf-8", "replace"),
        # Whatever it answers may be mended within days, a 404 as well as a 500.
        error=None if taken else Transient(f"the receiver answered {response.status}", type=f"http.{response.status}"),
        pause=None if taken else retry_after(response, at),
    )


def sign(parcel: Parcel, *, timestamp: int) -> dict[str, str]:
    """Return the headers of Standard Webhooks, with a signature by each secret that is valid."""
    signed = [
        StandardWebhooks().sign(secret, id=parcel.message_id, timestamp=timestamp, body=parcel.body)
        for secret in parcel.endpoint.secrets
    ]
    return signed[0] | {"webhook-signature": " ".join(headers["webhook-signature"] for headers in signed)}


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 1)
