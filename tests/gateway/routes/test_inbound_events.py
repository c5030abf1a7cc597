"""The inbox: what came in is kept as it came, with the execution that it starts, and can be delivered again."""

import asyncio
import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from msgspec import structs
from sqlalchemy import event
from sqlalchemy.engine import Connection

from gateway.compose import open_platform
from gateway.settings import Settings
from plugins.storage.database import Database
from tests.gateway.application import Headers, MakeTenant, answering
from tests.gateway.routes.test_events import activate, listening, send
from tests.gateway.routes.test_events import event as cloud_event
from tests.gateway.routes.test_executions import ended_execution
from tests.gateway.routes.test_hooks import BODY, SECRET, hook, signed
from tests.servers import own_namespace

INBOX = "/v1/inbound-events"


async def inbox(api: httpx.AsyncClient, owner: Headers, **filters: str) -> list[dict[str, Any]]:
    listed = await api.get(INBOX, headers=owner, params=filters)
    assert listed.status_code == 200, listed.text
    found: list[dict[str, Any]] = listed.json()["items"]
    return found


async def show(api: httpx.AsyncClient, owner: Headers, event_id: str) -> dict[str, Any]:
    shown = await api.get(f"{INBOX}/{event_id}", headers=owner)
    assert shown.status_code == 200, shown.text
    assert shown.headers["content-type"].startswith("application/json")
    found: dict[str, Any] = shown.json()
    return found


async def redeliver(api: httpx.AsyncClient, owner: Headers, event_id: str, **body: Any) -> dict[str, Any]:
    started = await api.post(f"{INBOX}/{event_id}/redeliver", headers=owner, json=body)
    assert started.status_code == 202, started.text
    ended: dict[str, Any] = await ended_execution(api, owner, started.headers["location"])
    return ended


async def test_a_delivery_is_kept_as_it_came_once_and_without_its_secrets(
    api: httpx.AsyncClient, owner: Headers
) -> None:
    url = await hook(api, owner)
    secrets = {"Authorization": "Bearer hunter2", "Cookie": "session=hunter2", "X-Kept": "yes"}
    first, _ = [await api.post(f"{url}?a=1&b=2&b=3", headers=signed() | secrets, content=BODY) for _ in range(2)]
    (kept,) = await inbox(api, owner)
    execution = first.json()["executionId"]
    assert (kept["triggerId"], kept["type"], kept["verdict"]) == ("order", "webhook", "accepted")
    assert (kept["deliveryId"], kept["method"], kept["executionId"]) == ("msg_1", "POST", execution)
    shown = await show(api, owner, kept["id"])
    assert {name: shown[name] for name in kept} == kept
    assert (shown["body"], shown["bodyEncoding"]) == (BODY.decode(), "utf-8")
    assert (shown["query"], shown["headers"]["x-kept"]) == ({"a": "1", "b": ["2", "3"]}, "yes")
    assert "hunter2" not in str(shown)
    assert signed()["webhook-signature"] not in str(shown)
    assert SECRET not in str(shown)


async def test_a_delivery_of_bytes_is_shown_as_base64(client: httpx.AsyncClient, owner: Headers) -> None:
    url = await hook(client, owner)
    body = bytes(range(256))
    await client.post(url, headers=signed(body) | {"content-type": "application/octet-stream"}, content=body)
    (kept,) = await inbox(client, owner)
    shown = await show(client, owner, kept["id"])
    assert (base64.b64decode(shown["body"]), shown["bodyEncoding"]) == (body, "base64")


async def test_what_is_not_signed_leaves_nothing(client: httpx.AsyncClient, owner: Headers) -> None:
    url = await hook(client, owner)
    assert (await client.post(url, headers=signed(b"another"), content=BODY)).status_code == 401
    assert await inbox(client, owner) == []


async def test_a_signed_delivery_that_cannot_be_read_is_kept_and_starts_nothing(
    client: httpx.AsyncClient, owner: Headers
) -> None:
    url = await hook(client, owner)
    broken = b"{broken"
    for _ in range(2):
        refused = await client.post(url, headers=signed(broken), content=broken)
        assert (refused.status_code, refused.json()["type"]) == (400, "/problems/bad-request")
    (kept,) = await inbox(client, owner)
    assert (kept["verdict"], kept["executionId"]) == ("unreadable", None)
    assert (await show(client, owner, kept["id"]))["body"] == "{broken"
    again = await client.post(f"{INBOX}/{kept['id']}/redeliver", headers=owner)
    assert (again.status_code, again.json()["type"]) == (409, "/problems/conflict")


async def test_an_event_is_delivered_again_to_any_version_and_to_the_draft(
    api: httpx.AsyncClient, owner: Headers
) -> None:
    url = await hook(api, owner)
    first = await api.post(url, headers=signed(), content=BODY)
    (kept,) = await inbox(api, owner)
    workflow = f"/v1/workflows/{kept['workflowId']}"
    drawn = (await api.get(workflow, headers=owner)).json()["draft"]

    async def draw(value: str) -> None:
        node = {"id": "seen", "pluginId": "set", "config": {"values": {"all": value}}}
        assert (await api.put(f"{workflow}/draft", headers=owner, json=drawn | {"nodes": [node]})).status_code == 200

    await draw("{{ trigger.body.order + 1 }}")
    assert (await api.post(f"{workflow}/versions", headers=owner)).json()["version"] == 2
    await draw("{{ trigger.body.order + 2 }}")
    outputs = {}
    for version in ("published", 1, 2, "draft", "draft"):
        ended = await redeliver(api, owner, kept["id"], version=version)
        assert ended["trigger"] == {"type": "webhook", "id": "order"}
        assert ended["originId"] == first.json()["executionId"]
        outputs[version] = (ended["version"], ended["output"]["seen"]["all"])
    assert outputs[1][1] == (await api.get(first.headers["location"], headers=owner)).json()["input"]
    assert (outputs["published"], outputs[2], outputs["draft"]) == ((2, 4712), (2, 4712), (3, 4713))
    # The draft became one version, which nobody has published.
    assert (await api.get(workflow, headers=owner)).json()["publishedVersion"] == 2
    versions = (await api.get(f"{workflow}/versions", headers=owner)).json()["items"]
    assert [(each["version"], each["publishedAt"] is None) for each in versions] == [(3, True), (2, False), (1, False)]
    assert (await api.post(f"{workflow}/versions/3/publish", headers=owner)).json()["publishedAt"] is not None
    # Without a body it is what is published, though the workflow listens no more.
    await api.post(f"{workflow}/deactivate", headers=owner)
    assert (await redeliver(api, owner, kept["id"]))["version"] == 3


async def test_a_draft_with_faults_is_not_delivered_to(client: httpx.AsyncClient, owner: Headers) -> None:
    url = await hook(client, owner)
    await client.post(url, headers=signed(), content=BODY)
    (kept,) = await inbox(client, owner)
    workflow = f"/v1/workflows/{kept['workflowId']}"
    await client.put(f"{workflow}/draft", headers=owner, json={"nodes": [{"id": "a", "pluginId": "unknown"}]})
    where = f"{INBOX}/{kept['id']}/redeliver"
    faulty = await client.post(where, headers=owner, json={"version": "draft"})
    assert (faulty.status_code, faulty.json()["type"]) == (422, "/problems/invalid-definition")
    for body in ({"version": 0}, {"version": "newest"}, {"version": 1, "more": 1}):
        assert (await client.post(where, headers=owner, json=body)).status_code == 422
    assert (await client.post(where, headers=owner, json={"version": 9})).status_code == 404


async def test_a_redelivery_with_a_key_starts_one_execution(
    api: httpx.AsyncClient, owner: Headers, make_tenant: MakeTenant
) -> None:
    url = await hook(api, owner)
    await api.post(url, headers=signed(), content=BODY)
    (kept,) = await inbox(api, owner)
    where = f"{INBOX}/{kept['id']}/redeliver"
    answers = await asyncio.gather(
        *(api.post(where, headers=owner | {"Idempotency-Key": "again"}) for _ in range(5)),
    )
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len((await api.get("/v1/executions", headers=owner)).json()["items"]) == 2
    stranger = await make_tenant()
    assert await inbox(api, stranger) == []
    for absent in (await api.get(f"{INBOX}/{kept['id']}", headers=stranger), await api.post(where, headers=stranger)):
        assert (absent.status_code, absent.json()["type"]) == (404, "/problems/not-found")


async def test_the_list_is_narrowed_and_paged(client: httpx.AsyncClient, owner: Headers) -> None:
    urls = [await hook(client, owner) for _ in range(2)]
    for url in urls:
        for id in ("msg_1", "msg_2"):
            await client.post(url, headers=signed(id=id), content=BODY)
    kept = await inbox(client, owner)
    assert [event["receivedAt"] for event in kept] == sorted((event["receivedAt"] for event in kept), reverse=True)
    assert len(kept) == 4
    mine = await inbox(client, owner, workflowId=kept[0]["workflowId"], triggerId="order")
    assert mine == kept[:2]
    assert await inbox(client, owner, triggerId="other") == []
    assert await inbox(client, owner, receivedAfter=kept[1]["receivedAt"]) == kept[:1]
    first = (await client.get(INBOX, headers=owner, params={"limit": "3"})).json()
    rest = (await client.get(INBOX, headers=owner, params={"limit": "3", "cursor": first["nextCursor"]})).json()
    assert (first["items"] + rest["items"], rest["nextCursor"]) == (kept, None)
    assert (await client.get(INBOX, headers=owner, params={"receivedAfter": "2030-01-01T00:00:00"})).status_code == 400


async def test_a_cloud_event_is_kept_for_each_trigger_that_listens(api: httpx.AsyncClient, owner: Headers) -> None:
    workflows = {await activate(api, owner, listening()) for _ in range(2)}
    for _ in range(2):
        await send(api, owner, cloud_event("1"))
    kept = await inbox(api, owner)
    assert {event["workflowId"] for event in kept} == workflows
    assert {(event["type"], event["deliveryId"]) for event in kept} == {("event", "1")}
    ended = await redeliver(api, owner, kept[0]["id"])
    assert (ended["output"], ended["trigger"]) == ({"seen": {"total": 5}}, {"type": "event", "id": "paid"})


async def test_a_delivery_costs_two_reads_and_one_transaction_of_three_statements(
    settings: Settings, temporal_address: str, owner: Headers
) -> None:
    # Without a worker, whose own statements would be counted too.
    reached = structs.replace(settings, temporal=await own_namespace(temporal_address))
    async with open_platform(reached) as platform, answering(platform) as api:
        url = await hook(api, owner)
        await api.post(url, headers=signed(id="warm"), content=BODY)
        with statements(platform.database) as seen:
            taken = await api.post(url, headers=signed(), content=BODY)
        assert taken.status_code == 202
        await api.post(f"{taken.headers['location']}/terminate", headers=owner)
    assert [
        re.sub(r"^SELECT .* FROM (\w+).*", r"SELECT FROM \1", each.partition("(")[0].partition(" SET ")[0].strip())
        for each in seen
    ] == [
        "SELECT FROM workflow_triggers",
        "SELECT FROM credentials",
        # the gate of all starts; SQLite's transaction begins with it
        "UPDATE tenant_gates",
        "INSERT INTO executions",
        "INSERT INTO inbound_events",
    ]


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Note what a database is asked inside the block."""
    seen: list[str] = []

    def note(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        seen.append(" ".join(statement.split()))

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database.engine.sync_engine, "before_cursor_execute", note)


async def test_what_a_cap_refuses_is_kept_and_delivered_once_by_whoever_comes_first(
    api: httpx.AsyncClient, owner: Headers
) -> None:
    drawn = {
        "nodes": [{"id": "wait", "pluginId": "wait", "config": {"signal": "go"}}],
        "concurrency": {"limit": 1, "policy": "reject", "payloadBytes": 5_000},
    }
    url = await hook(api, owner, definition=drawn)
    first = await api.post(url, headers=signed(), content=BODY)
    for _ in range(2):
        over = await api.post(url, headers=signed(id="msg_2"), content=BODY)
        assert (over.status_code, over.json()["type"]) == (429, "/problems/over-cap")
    long = b'"%s"' % (b"x" * 5_000)
    assert (await api.post(url, headers=signed(long, id="msg_3"), content=long)).status_code == 413
    large, refused = await inbox(api, owner, verdict="refused")
    assert [event["deliveryId"] for event in (large, refused)] == ["msg_3", "msg_2"]
    assert (refused["executionId"], await inbox(api, owner, verdict="unreadable")) == (None, [])
    assert (await show(api, owner, refused["id"]))["body"] == BODY.decode()

    where = f"{INBOX}/{refused['id']}/redeliver"
    still = await api.post(where, headers=owner)
    assert (still.status_code, still.json()["type"]) == (429, "/problems/over-cap")
    await api.post(f"{first.headers['location']}/terminate", headers=owner)
    delivered = await api.post(where, headers=owner)
    assert delivered.status_code == 202, delivered.text
    # The sender tries once more, and finds what was started for it.
    again = await api.post(url, headers=signed(id="msg_2"), content=BODY)
    assert (again.status_code, again.json()["executionId"]) == (202, delivered.json()["id"])
    now = (await api.get(f"{INBOX}/{refused['id']}", headers=owner)).json()
    assert (now["verdict"], now["executionId"]) == ("accepted", delivered.json()["id"])
    assert [event["deliveryId"] for event in await inbox(api, owner, verdict="refused")] == ["msg_3"]
    await api.post(f"{delivered.headers['location']}/terminate", headers=owner)
