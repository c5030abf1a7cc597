"""Outbound webhooks, from the event to a receiver that verifies them, on real parts."""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import standardwebhooks
import svix
from sqlalchemy import func, select, update

from internal_jobs.client import Jobs
from internal_jobs.errors import (
    DeliveryConflict,
    DeliveryNotFound,
    EndpointNotFound,
    InvalidEndpoint,
    InvalidEvent,
)
from internal_jobs.webhooks.desk import (
    DeliveryDetail,
    EndpointChange,
    EndpointRequest,
    EndpointSecret,
    EventRequest,
    Webhooks,
)
from internal_jobs.webhooks.model import MAX_DATA
from internal_jobs.webhooks.publisher import PATIENCE
from internal_jobs.webhooks.tables import deliveries, endpoints, messages, spec_place
from plugins.host.retry import next_delay
from plugins.sdk.errors import Transient
from plugins.storage.database import Database, now
from plugins.vault.keys import Vault
from tests.plugins.target import Request, Target

PAID = EventRequest(type="invoice.paid", data={"amount": 12}, subject="inv_1")


async def settled(webhooks: Webhooks, tenant: str, delivery_id: str, seconds: float = 20) -> DeliveryDetail:
    """Return a delivery once it is closed."""
    return await becomes(webhooks, tenant, delivery_id, lambda d: d.delivery.closed_at is not None, seconds)


async def becomes(
    webhooks: Webhooks, tenant: str, delivery_id: str, wanted: Callable[[DeliveryDetail], bool], seconds: float = 20
) -> DeliveryDetail:
    deadline = time.monotonic() + seconds
    while True:
        detail = await webhooks.deliveries.get(tenant, delivery_id)
        if wanted(detail):
            return detail
        assert time.monotonic() < deadline, detail
        await asyncio.sleep(0.02)


async def publish(webhooks: Webhooks, tenant: str, event: EventRequest = PAID) -> str:
    (sending,) = await webhooks.publisher.publish(tenant, event)
    return sending.id


async def endpoint_at(webhooks: Webhooks, tenant: str, receiver: Target, **options: Any) -> EndpointSecret:
    return await webhooks.endpoints.create(tenant, EndpointRequest(url=f"{receiver.url}/hook", **options))


def verify(request: Request, secret: str) -> Any:
    """Return the event, as the libraries that receivers use verify it."""
    told = standardwebhooks.Webhook(secret).verify(request.body, request.headers)
    headers = {name.replace("webhook-", "svix-"): value for name, value in request.headers.items()}
    # It returns nothing, and raises where the signature does not fit.
    svix.Webhook(secret).verify(request.body, headers)
    svix.Webhook(secret).verify(request.body, request.headers)
    return told


@pytest.mark.usefixtures("delivering")
async def test_an_event_is_delivered_as_a_cloudevent_that_both_libraries_verify(
    webhooks: Webhooks, tenant: str, receiver: Target
) -> None:
    receiver.answer("/hook", 200, {"thanks": True})
    endpoint = await endpoint_at(webhooks, tenant, receiver)
    detail = await settled(webhooks, tenant, await publish(webhooks, tenant))
    (request,) = receiver.requests
    event = verify(request, endpoint.secret)
    assert event == detail.event
    assert {name: event[name] for name in ("specversion", "type", "subject", "data")} == {
        "specversion": "1.0",
        "type": "invoice.paid",
        "subject": "inv_1",
        "data": {"amount": 12},
    }
    assert event["id"] == request.headers["webhook-id"] == detail.delivery.message_id
    assert request.headers["content-type"] == "application/cloudevents+json"
    (attempt,) = detail.attempts
    assert (detail.delivery.status, attempt.number, attempt.status, attempt.error) == ("delivered", 1, 200, None)
    assert attempt.response == '{"thanks": true}'
    assert 0 < attempt.latency_ms < 10_000
    shown = await webhooks.endpoints.get(tenant, endpoint.id)
    assert (shown.last_delivered_at, shown.failures) == (attempt.at, 0)


@pytest.mark.usefixtures("delivering")
async def test_while_secrets_rotate_both_verify(webhooks: Webhooks, tenant: str, receiver: Target) -> None:
    receiver.answer("/hook")
    old = await endpoint_at(webhooks, tenant, receiver)
    new = await webhooks.endpoints.rotate(tenant, old.id, overlap="1h")
    assert new.secret != old.secret
    assert new.previous_secret_until is not None
    await settled(webhooks, tenant, await publish(webhooks, tenant))
    (request,) = receiver.requests
    assert verify(request, old.secret) == verify(request, new.secret)
    await webhooks.endpoints.rotate(tenant, old.id, overlap="0s")
    await settled(webhooks, tenant, await publish(webhooks, tenant))
    for secret in (old.secret, new.secret):
        for library in (standardwebhooks, svix):
            with pytest.raises(library.webhooks.WebhookVerificationError):
                library.Webhook(secret).verify(receiver.requests[1].body, receiver.requests[1].headers)


@pytest.mark.usefixtures("delivering")
async def test_a_failure_is_tried_again_under_the_same_id(webhooks: Webhooks, tenant: str, receiver: Target) -> None:
    for status in (500, 404, 204):
        receiver.answer("/hook", status, b"not yet" if status != 204 else b"")
    endpoint = await endpoint_at(webhooks, tenant, receiver)
    detail = await settled(webhooks, tenant, await publish(webhooks, tenant))
    assert detail.delivery.status == "delivered"
    assert [(each.number, each.status, each.response) for each in detail.attempts] == [
        (1, 500, "not yet"),
        (2, 404, "not yet"),
        (3, 204, ""),
    ]
    assert [each.error.type if each.error else None for each in detail.attempts] == ["http.500", "http.404", None]
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    for request in receiver.requests:
        verify(request, endpoint.secret)
    assert (await webhooks.endpoints.get(tenant, endpoint.id)).failing_since is None


def test_attempts_are_spread_over_days_with_jitter() -> None:
    def waits() -> list[float]:
        found = [next_delay(PATIENCE, "idempotent", n, Transient("x")) for n in range(1, PATIENCE.max_attempts + 1)]
        assert found.pop() is None
        return [wait for wait in found if wait is not None]

    assert 2 * 86_400 < sum(waits()) < 4 * 86_400
    assert all(earlier <= 1.4 * later for earlier, later in pairwise(waits()))
    assert waits() != waits()


@pytest.mark.usefixtures("delivering")
async def test_a_receiver_that_is_gone_is_not_asked_again_and_others_hear_of_it(
    webhooks: Webhooks, tenant: str, receiver: Target
) -> None:
    receiver.answer("/hook", 410)
    receiver.answer("/watch")
    endpoint = await endpoint_at(webhooks, tenant, receiver, events=("invoice.*",))
    watching = await webhooks.endpoints.create(
        tenant, EndpointRequest(url=f"{receiver.url}/watch", events=("endpoint.disabled",))
    )
    detail = await settled(webhooks, tenant, await publish(webhooks, tenant))
    assert (detail.delivery.status, len(detail.attempts)) == ("failed", 1)
    shown = await webhooks.endpoints.get(tenant, endpoint.id)
    assert not shown.enabled
    assert shown.disabled is not None
    assert "410 Gone" in shown.disabled.reason
    assert await webhooks.publisher.publish(tenant, PAID) == []
    (told,) = (await webhooks.deliveries.list(tenant, endpoint_id=watching.id)).items
    await settled(webhooks, tenant, told.id)
    (request,) = (request for request in receiver.requests if request.path == "/watch")
    assert verify(request, watching.secret)["data"]["endpointId"] == endpoint.id


@pytest.mark.usefixtures("delivering")
async def test_an_endpoint_that_fails_throughout_is_disabled_and_says_so(
    webhooks: Webhooks, tenant: str, receiver: Target
) -> None:
    receiver.answer("/hook", 503)
    endpoint = await endpoint_at(webhooks, tenant, receiver)
    delivery_id = await publish(webhooks, tenant)
    detail = await settled(webhooks, tenant, delivery_id)
    assert (detail.delivery.status, detail.delivery.reason) == ("failed", "3 attempts failed")
    shown = await webhooks.endpoints.get(tenant, endpoint.id)
    assert shown.disabled is not None
    assert "3 in a row" in shown.disabled.reason
    with pytest.raises(DeliveryConflict, match="disabled"):
        await webhooks.deliveries.redeliver(tenant, delivery_id)
    enabled = await webhooks.endpoints.change(tenant, endpoint.id, EndpointChange(enabled=True))
    assert (enabled.enabled, enabled.disabled, enabled.failures) == (True, None, 0)
    receiver.scripts.clear()
    receiver.answer("/hook")
    again = await webhooks.deliveries.redeliver(tenant, delivery_id)
    assert again.status == "pending"
    detail = await settled(webhooks, tenant, delivery_id)
    assert (detail.delivery.status, detail.delivery.attempts) == ("delivered", 4)
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


@pytest.mark.usefixtures("delivering")
async def test_one_event_that_always_fails_does_not_disable_an_endpoint_that_takes_others(
    webhooks: Webhooks, tenant: str, receiver: Target
) -> None:
    async def picky(request: Request, writer: asyncio.StreamWriter) -> None:
        status = 500 if b"cursed" in request.body else 200
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n".encode())

    receiver.script("/hook", picky)
    endpoint = await endpoint_at(webhooks, tenant, receiver)
    cursed = await publish(webhooks, tenant, EventRequest(type="invoice.cursed"))
    await becomes(webhooks, tenant, cursed, lambda detail: detail.delivery.attempts > 0)
    await settled(webhooks, tenant, await publish(webhooks, tenant))
    assert (await settled(webhooks, tenant, cursed)).delivery.status == "failed"
    assert (await webhooks.endpoints.get(tenant, endpoint.id)).enabled


@pytest.mark.usefixtures("delivering")
async def test_what_has_one_ordering_key_arrives_in_order_whatever_fails(
    webhooks: Webhooks, tenant: str, receiver: Target
) -> None:
    tries: dict[int, int] = {}

    async def stumbling(request: Request, writer: asyncio.StreamWriter) -> None:
        number = json.loads(request.body)["data"]
        tries[number] = tries.get(number, 0) + 1
        status = 500 if number % 2 == 0 and tries[number] == 1 else 200
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n".encode())

    receiver.script("/hook", stumbling)
    await endpoint_at(webhooks, tenant, receiver)
    ids = [
        await publish(webhooks, tenant, EventRequest(type="stock.moved", data=number, ordering_key="shelf 7"))
        for number in range(6)
    ]
    other = await publish(webhooks, tenant, EventRequest(type="stock.moved", data=99, ordering_key="shelf 8"))
    for id in (*ids, other):
        assert (await settled(webhooks, tenant, id)).delivery.status == "delivered"
    arrived = [number for request in receiver.requests if (number := request.json["data"]) != 99]
    assert arrived == [0, 0, 1, 2, 2, 3, 4, 4, 5]


@pytest.mark.usefixtures("delivering")
async def test_a_redelivery_takes_its_turn_among_those_of_its_ordering_key(
    webhooks: Webhooks, tenant: str, receiver: Target
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    busy: list[int] = []

    async def one_at_a_time(request: Request, writer: asyncio.StreamWriter) -> None:
        number = json.loads(request.body)["data"]
        busy.append(number)
        overlaps.append(tuple(busy))
        if number == 2:
            begun.set()
            await go_on.wait()
        writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n")
        busy.remove(number)

    overlaps: list[tuple[int, ...]] = []
    receiver.script("/hook", one_at_a_time)
    await endpoint_at(webhooks, tenant, receiver)

    async def move(number: int) -> str:
        return await publish(webhooks, tenant, EventRequest(type="stock.moved", data=number, ordering_key="shelf 7"))

    first = await move(1)
    await settled(webhooks, tenant, first)
    second = await move(2)
    await asyncio.wait_for(begun.wait(), 20)
    assert (await webhooks.deliveries.redeliver(tenant, first)).status == "held"
    third = await move(3)
    go_on.set()
    for id in (second, first, third):
        assert (await settled(webhooks, tenant, id)).delivery.status == "delivered"
    assert overlaps == [(1,), (2,), (1,), (3,)]


@pytest.mark.usefixtures("delivering")
async def test_a_late_attempt_changes_nothing_about_a_delivery_that_is_closed(
    webhooks: Webhooks, tenant: str, receiver: Target
) -> None:
    """One whose worker was thought to be gone, and whose delivery another has made meanwhile."""

    async def meanwhile_delivered(request: Request, writer: asyncio.StreamWriter) -> None:
        (delivery,) = (await webhooks.deliveries.list(tenant)).items
        await webhooks.deliveries.close(tenant, delivery.id, "delivered", reason=None)
        writer.write(b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n")

    receiver.script("/hook", meanwhile_delivered)
    endpoint = await endpoint_at(webhooks, tenant, receiver)
    id = await publish(webhooks, tenant)
    told = await becomes(webhooks, tenant, id, lambda detail: detail.delivery.attempts > 0)
    assert (told.delivery.status, told.attempts[0].status) == ("delivered", 500)
    assert (await webhooks.endpoints.get(tenant, endpoint.id)).failures == 0


@pytest.mark.usefixtures("delivering")
async def test_an_endpoint_that_a_newer_release_wrote_is_told_and_changed_by_this_one(
    database: Database, vault: Vault, webhooks: Webhooks, tenant: str, receiver: Target
) -> None:
    """While one release follows another both run."""
    receiver.answer("/hook")
    endpoint = await endpoint_at(webhooks, tenant, receiver)
    sealer, one = await vault.sealer(tenant), endpoints.c.id == endpoint.id

    async def written() -> Any:
        async with database.across.read() as connection:
            sealed = (await connection.execute(select(endpoints.c.spec_sealed).where(one))).scalar_one()
        return sealer.open_json(sealed, spec_place(endpoint.id))

    newer = await written() | {"ofTomorrow": True}
    async with database.across.transaction() as connection:
        sealed = sealer.seal_json(newer, spec_place(endpoint.id))
        await connection.execute(update(endpoints).where(one).values(spec_sealed=sealed))
    await webhooks.endpoints.change(tenant, endpoint.id, EndpointChange(description="changed"))
    assert await written() == newer | {"description": "changed"}
    assert (await settled(webhooks, tenant, await publish(webhooks, tenant))).delivery.status == "delivered"


@pytest.mark.usefixtures("delivering")
async def test_a_megabyte_is_delivered_and_more_is_refused(webhooks: Webhooks, tenant: str, receiver: Target) -> None:
    receiver.answer("/hook")
    endpoint = await endpoint_at(webhooks, tenant, receiver)
    data = "x" * (MAX_DATA - 2)
    detail = await settled(webhooks, tenant, await publish(webhooks, tenant, EventRequest(type="bulk", data=data)))
    assert detail.delivery.status == "delivered"
    assert verify(receiver.requests[0], endpoint.secret)["data"] == data
    with pytest.raises(InvalidEvent):
        await publish(webhooks, tenant, EventRequest(type="bulk", data=data + "x"))


@pytest.mark.usefixtures("delivering")
async def test_an_address_inside_is_refused_at_once(webhooks: Webhooks, tenant: str) -> None:
    await webhooks.endpoints.create(tenant, EndpointRequest(url="http://127.0.0.1:1/hook"))
    detail = await settled(webhooks, tenant, await publish(webhooks, tenant))
    (attempt,) = detail.attempts
    assert attempt.error is not None
    assert (detail.delivery.status, attempt.status, attempt.error.type) == ("failed", None, "egress.forbidden")


async def test_endpoints_hear_of_what_they_subscribed_to(webhooks: Webhooks, tenant: str, receiver: Target) -> None:
    subscribed = {
        name: (await endpoint_at(webhooks, tenant, receiver, events=events)).id
        for name, events in {
            "all": ("*",),
            "invoices": ("invoice.*",),
            "paid": ("order.paid", "invoice.paid"),
            "orders": ("order.*",),
        }.items()
    }
    off = await endpoint_at(webhooks, tenant, receiver)
    await webhooks.endpoints.change(tenant, off.id, EndpointChange(enabled=False))
    told = {sending.endpoint_id for sending in await webhooks.publisher.publish(tenant, PAID)}
    assert told == {subscribed[name] for name in ("all", "invoices", "paid")}
    named = await webhooks.publisher.publish(tenant, PAID, endpoint_id=subscribed["orders"])
    assert [sending.endpoint_id for sending in named] == [subscribed["orders"]]


async def test_what_nobody_subscribed_to_is_not_kept(database: Database, webhooks: Webhooks, tenant: str) -> None:
    assert await webhooks.publisher.publish(tenant, PAID) == []
    async with database.across.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(messages))).scalar_one() == 0


async def test_endpoints_and_deliveries_are_the_tenants_own(
    webhooks: Webhooks, tenant: str, other_tenant: str, receiver: Target
) -> None:
    endpoint = await endpoint_at(webhooks, tenant, receiver)
    delivery_id = await publish(webhooks, tenant)
    assert await webhooks.publisher.publish(other_tenant, PAID) == []
    with pytest.raises(EndpointNotFound):
        await webhooks.endpoints.get(other_tenant, endpoint.id)
    with pytest.raises(EndpointNotFound):
        await webhooks.endpoints.rotate(other_tenant, endpoint.id)
    with pytest.raises(DeliveryNotFound):
        await webhooks.deliveries.get(other_tenant, delivery_id)
    with pytest.raises(DeliveryNotFound):
        await webhooks.deliveries.redeliver(other_tenant, delivery_id)
    assert (await webhooks.deliveries.list(other_tenant)).items == ()
    with pytest.raises(DeliveryConflict, match="pending"):
        await webhooks.deliveries.redeliver(tenant, delivery_id)
    with pytest.raises(InvalidEndpoint):
        await webhooks.endpoints.rotate(tenant, endpoint.id, overlap="8d")


async def test_what_is_told_and_to_whom_is_sealed(
    database: Database, webhooks: Webhooks, tenant: str, receiver: Target
) -> None:
    endpoint = await endpoint_at(webhooks, tenant, receiver, description="canary-2718")
    await publish(webhooks, tenant, EventRequest(type="x", data="canary-2718"))
    async with database.across.read() as connection:
        row = (await connection.execute(select(endpoints))).one()
        message = (await connection.execute(select(messages))).one()
    assert b"canary" not in row.spec_sealed
    assert b"canary" not in message.body_sealed
    assert endpoint.secret.removeprefix("whsec_").encode() not in row.secrets_sealed


async def test_a_delivery_whose_job_was_cancelled_is_closed_and_purged_in_time(
    database: Database, webhooks: Webhooks, jobs: Jobs, tenant: str, receiver: Target
) -> None:
    await endpoint_at(webhooks, tenant, receiver)
    delivery_id = await publish(webhooks, tenant)
    job_id = (await webhooks.deliveries.get(tenant, delivery_id)).delivery.job_id
    assert job_id is not None
    await jobs.cancel(tenant, job_id)
    assert await webhooks.deliveries.settle() == 0, "its job may have ended a moment ago"
    async with database.across.transaction() as connection:
        await connection.execute(update(deliveries).values(created_at=now() - timedelta(minutes=5)))
    assert await webhooks.deliveries.settle() == 1
    closed = (await webhooks.deliveries.get(tenant, delivery_id)).delivery
    assert (closed.status, closed.reason) == ("failed", "its job ended as canceled")
    assert await webhooks.deliveries.purge(now() - timedelta(hours=1)) == 0
    assert await webhooks.deliveries.purge(now() + timedelta(hours=1)) == 1
    async with database.across.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(messages))).scalar_one() == 0
