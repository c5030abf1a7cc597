"""A tenant is shredded: absent at once, ended, unreadable for good; others notice nothing."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from cryptography.exceptions import InvalidTag
from google.protobuf.message import Message
from msgspec import Struct
from sqlalchemy import select
from temporalio.api.common.v1 import Payload
from temporalio.client import Client

from gateway import shredding
from gateway.compose import Platform, open_platform
from gateway.installation import INSTALLATION
from gateway.settings import Settings
from gateway.shredding import SHRED, ask_for_shredding, shred, shred_plugin
from plugins.host.invoke import Call, CallFailed, Host
from plugins.host.registry import Registry
from plugins.sdk.errors import Permanent
from plugins.storage.database import metadata
from plugins.storage.tenants import tenants
from plugins.vault.cipher import Sealer
from plugins.vault.errors import KeysDestroyed, Unreadable
from plugins.vault.keys import MasterKey, tenant_keys
from tests.gateway.application import ADMIN, Headers, answering, new_tenant
from user_workflows.executions.closure import running_of

WAITS = {"nodes": [{"id": "w", "pluginId": "wait", "config": {"duration": "1h"}}]}
SETS = {"nodes": [{"id": "s", "pluginId": "set", "config": {"values": {"a": "canary"}}}]}


class House(Struct, frozen=True):
    """What a tenant has."""

    tenant_id: str
    headers: Headers
    #: path of a webhook
    hook: str
    #: ids of executions
    running: str
    finished: str
    credential: str


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes have heard of it in a moment, instead of ten seconds."""
    monkeypatch.setattr(shredding, "SETTLED", timedelta(seconds=0.2))


async def furnish(engine: Platform, api: httpx.AsyncClient) -> House:
    headers = await new_tenant(engine)

    async def make(path: str, body: Any, **more: str) -> Any:
        answer = await api.post(path, headers=headers | more, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    async def publish(definition: Any) -> str:
        workflow_id = (await make("/v1/workflows", {"name": "w", "definition": definition}))["id"]
        await make(f"/v1/workflows/{workflow_id}/versions", {})
        return str(workflow_id)

    tenant_id = (await api.get("/v1/me", headers=headers)).json()["tenantId"]
    secret = {"type": "signing", "name": "hook", "data": {"secret": "whsec_" + "QUJD" * 8}}
    credential = (await make("/v1/credentials", secret))["id"]
    triggers = [
        {"id": "hook", "type": "webhook", "config": {"secret": credential, "scheme": "standard"}},
        {"id": "daily", "type": "cron", "config": {"cron": "0 9 * * *"}},
    ]
    shown = await make(f"/v1/workflows/{await publish(SETS | {'triggers': triggers})}/activate", {})
    hook = next(trigger["url"] for trigger in shown["triggers"] if trigger["id"] == "hook")
    running = await make(f"/v1/workflows/{await publish(WAITS)}/executions", {"input": "canary"})
    path = f"/v1/workflows/{await publish(SETS)}/executions"
    finished = await make(path, {"input": "canary"}, Prefer="wait=30")
    assert finished["status"] == "completed"
    await make("/v1/jobs", {"type": "http.request", "payload": {"url": "https://example.com"}, "delay": "1h"})
    await make("/v1/endpoints", {"url": "https://example.com/hook"})
    return House(tenant_id, headers, httpx.URL(hook).path, running["id"], finished["id"], credential)


async def sealed_rows(platform: Platform, tenant_id: str) -> list[bytes]:
    """Everything sealed that the database has of a tenant."""
    found: list[bytes] = []
    async with platform.database.read(tenant_id) as connection:
        for table in metadata.sorted_tables:
            for column in (column for column in table.c if column.name.endswith("_sealed")):
                query = select(column).where(table.c.tenant_id == tenant_id, column.is_not(None))
                found += (await connection.execute(query)).scalars()
    return found


async def sealed_history(temporal: Client, house: House) -> list[bytes]:
    """Everything sealed that Temporal has of a tenant's executions."""
    found: list[bytes] = []
    for execution in (house.running, house.finished):
        handle = temporal.get_workflow_handle(f"{house.tenant_id}/{execution}")
        async for event in handle.fetch_history_events():
            found += [each.data for each in payloads_in(event) if each.metadata["encoding"].startswith(b"binary/gate")]
    return found


def payloads_in(message: Message) -> Iterator[Payload]:
    if isinstance(message, Payload):
        yield message
        return
    for _, value in message.ListFields():
        parts = list(value.values()) if hasattr(value, "values") else value if hasattr(value, "append") else [value]
        for part in parts:
            if isinstance(part, Message):
                yield from payloads_in(part)


async def keys_left(platform: Platform) -> list[bytes]:
    """Every data key that can still be had, of whichever tenant, and the master keys themselves."""
    master = MasterKey.load(platform.settings.master_key_file)
    async with platform.database.across.read() as connection:
        rows = (await connection.execute(select(tenant_keys))).all()
    opened = [
        master.unwrap(row.wrapped_key, row.master_version, f"tenant_key:{row.tenant_id}:{row.version}")
        for row in rows
        if row.wrapped_key
    ]
    return opened + list(master._keys.values())


def opens(sealed: bytes, key: bytes, tenant_id: str, places: list[str]) -> bool:
    version = int.from_bytes(sealed[1:5])
    for place in places:
        try:
            Sealer(tenant_id, {version: key}, version).open(sealed, place)
        except (Unreadable, InvalidTag):
            continue
        return True
    return False


async def test_nothing_of_a_shredded_tenant_can_be_read_and_another_one_notices_nothing(
    engine: Platform, api: httpx.AsyncClient
) -> None:
    gone, stays = await furnish(engine, api), await furnish(engine, api)
    rows, history = await sealed_rows(engine, gone.tenant_id), await sealed_history(engine.temporal, gone)
    assert (len(rows) > 20, len(history) > 3) == (True, True)
    (known,) = [key for key in await keys_left(engine) if opens(history[0], key, gone.tenant_id, ["temporal"])]

    asked = {"executionId": gone.running}
    ticket = (await api.post("/v1/stream-tickets", headers=gone.headers, json=asked)).json()["ticket"]
    service = await engine.service_tokens.mint(gone.tenant_id, "executions.start", name="test")

    closed = await api.delete(f"/v1/tenants/{gone.tenant_id}", headers=ADMIN)
    assert (closed.status_code, closed.json()["shreddedAt"]) == (202, None)
    unknown = await api.get("/v1/me", headers={"Authorization": "Bearer gw_0_unknown"})
    refused = await api.get("/v1/me", headers=gone.headers)
    assert (refused.status_code, refused.content) == (unknown.status_code, unknown.content)
    assert (await api.post(gone.hook)).status_code == 404
    stream = await api.get(f"/v1/executions/{gone.running}/events", params={"ticket": ticket})
    started = await api.post("/v1/workflows/wf_0/executions", headers={"Authorization": f"Bearer {service}"})
    assert (stream.status_code, started.status_code) == (401, 401)

    await shred(engine, gone.tenant_id)
    shown = (await api.get(f"/v1/tenants/{gone.tenant_id}", headers=ADMIN)).json()
    assert (shown["name"], shown["shreddedAt"] is not None) == ("(shredded)", True)
    assert await sealed_rows(engine, gone.tenant_id) == []
    with pytest.raises(KeysDestroyed):
        await engine.vault.sealer(gone.tenant_id)
    assert await sealed_history(engine.temporal, gone), "Temporal keeps it for its retention, sealed"
    left = await keys_left(engine)
    assert (known in left, len(left) > 1) == (False, True)
    places = ["temporal", *(f"credential.{part}:{gone.credential}" for part in ("data", "details"))]
    assert not any(opens(sealed, key, gone.tenant_id, places) for sealed in (*rows, *history) for key in left)

    async with asyncio.timeout(60):
        while [found async for found in engine.temporal.list_workflows(running_of(gone.tenant_id))]:
            await asyncio.sleep(0.05)
        while {each.id.split("/")[0] async for each in await engine.temporal.list_schedules()} != {stays.tenant_id}:
            await asyncio.sleep(0.05)

    credential = await api.get(f"/v1/credentials/{stays.credential}", headers=stays.headers)
    assert credential.json()["name"] == "hook"
    running = (await api.get(f"/v1/executions/{stays.running}", headers=stays.headers)).json()
    assert (running["status"], running["input"]) == ("running", "canary")
    finished = (await api.get(f"/v1/executions/{stays.finished}", headers=stays.headers)).json()
    assert finished["output"] == {"s": {"a": "canary"}}
    assert (await api.post(stays.hook)).status_code == 401, "its webhook is there, and wants a signature"
    assert len(await sealed_rows(engine, stays.tenant_id)) > 20

    trail = (await api.get("/v1/audit", headers=ADMIN)).json()["items"]
    assert [record["outcome"]["status"] for record in trail if record.get("objectId") == gone.tenant_id] == [202]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("dies_at", ["end", "destroy", "erase", "note"])
async def test_it_goes_on_where_a_process_died(
    engine: Platform, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    house = await furnish(engine, api)
    assert (await api.delete(f"/v1/tenants/{house.tenant_id}", headers=ADMIN)).status_code == 202

    async def die(*_: Any, **__: Any) -> None:
        raise asyncio.CancelledError

    where: dict[str, tuple[Any, str]] = {
        "end": (engine.closure, "_terminate_all"),
        "destroy": (engine.vault, "destroy"),
        "erase": (shredding, "_erase"),
        "note": (shredding, "note_shredded"),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*where[dies_at], die)
        with pytest.raises(asyncio.CancelledError):
            await shred(engine, house.tenant_id)
    assert (await api.get("/v1/me", headers=house.headers)).status_code == 401
    await ask_for_shredding(engine, 1)
    asked = await engine.jobs.list(INSTALLATION, type=SHRED)
    assert [job.payload for job in asked.items] == [{"tenantId": house.tenant_id}] * 2

    await shred(engine, house.tenant_id)
    assert await sealed_rows(engine, house.tenant_id) == []
    with pytest.raises(KeysDestroyed):
        await engine.vault.sealer(house.tenant_id)
    await ask_for_shredding(engine, 2)
    assert len((await engine.jobs.list(INSTALLATION, type=SHRED)).items) == 2, "nothing is left to be done"


async def test_a_process_that_still_knows_its_key_refuses_once_its_data_keys_are_gone(
    settings: Settings, platform: Platform, client: httpx.AsyncClient, owner: Headers
) -> None:
    async with open_platform(settings) as second, answering(second) as other:
        tenant_id = (await other.get("/v1/me", headers=owner)).json()["tenantId"]
        assert (await client.delete(f"/v1/tenants/{tenant_id}", headers=ADMIN)).status_code == 202
        await platform.vault.destroy(tenant_id)
        secret = {"type": "bearer", "name": "x", "data": {"token": "t"}}
        assert (await other.post("/v1/credentials", headers=owner, json=secret)).status_code == 401
        assert (await client.get("/v1/me", headers=owner)).status_code == 401


@pytest.mark.usefixtures("owner")
async def test_a_tenant_that_had_no_key_gets_none_once_it_was_shredded(platform: Platform) -> None:
    async with platform.database.across.read() as connection:
        tenant_id = (await connection.execute(select(tenants.c.id))).scalars().one()
    await platform.vault.destroy(tenant_id)
    with pytest.raises(KeysDestroyed):
        await platform.vault.sealer(tenant_id)


async def test_only_the_administrator_shreds_and_never_the_installation(
    client: httpx.AsyncClient, platform: Platform, owner: Headers
) -> None:
    mine = (await client.get("/v1/me", headers=owner)).json()["tenantId"]
    assert (await client.delete(f"/v1/tenants/{mine}", headers=owner)).status_code == 403
    for absent in ("ten_0", INSTALLATION, "*"):
        assert (await client.delete(f"/v1/tenants/{absent}", headers=ADMIN)).status_code == 404
    with pytest.raises(Permanent, match="closed"):
        await shred(platform, mine)
    registry = Registry([shred_plugin(platform)])
    host = Host(registry=registry, ledger=platform.ledger, lender=platform.lender, egress=platform.egress)
    call = Call(plugin=SHRED, config={"tenantId": mine}, tenant_id=mine, origin="job_1", step=SHRED, job_id="job_1")
    with pytest.raises(CallFailed) as failed:
        await host.invoke(call, heartbeat=lambda _: None, is_cancelled=lambda: False)
    assert failed.value.failure.type == "chore.forbidden"


@pytest.mark.parametrize("id", ["ten_a' OR WorkflowId != '", "ten_a/", "", "*", "ten_%"])
def test_no_query_of_visibility_is_made_of_what_is_no_id(id: str) -> None:
    with pytest.raises(ValueError, match="not the id"):
        running_of(id)
