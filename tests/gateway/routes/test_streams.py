"""Live updates: nothing is missed, nothing is told twice, and where that cannot be promised a snapshot says so."""

import asyncio
from contextlib import aclosing
from typing import Any

import httpx
import msgspec
from redis.asyncio import Redis

from gateway.compose import Platform
from tests.figures import Figures
from tests.gateway.application import Headers
from tests.gateway.routes.test_executions import WAIT, publish
from user_workflows.live.feed import stream_of
from user_workflows.live.watch import Notice, Watch

CHAIN: dict[str, Any] = {
    "nodes": [*WAIT["nodes"], {"id": "last", "pluginId": "set", "config": {"values": {"a": 1}}}],
    "edges": [{"source": "hold", "target": "last"}],
}


ENDED = {"completed", "failed"}


def events(stream: str) -> list[tuple[str, str, Any]]:
    """Read a stream as a browser does: (event, id, data), comments left out."""
    found = []
    for block in stream.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append((fields["event"], fields["id"], msgspec.json.decode(fields["data"])))
    return found


async def start(api: httpx.AsyncClient, owner: Headers, definition: Any = CHAIN) -> str:
    """Start an execution, wait until its first node waits, and return its path."""
    where = await publish(api, owner, definition)
    path: str = (await api.post(f"{where}/executions", headers=owner)).headers["location"]
    async with asyncio.timeout(60):
        while (await api.get(f"{path}/why/hold", headers=owner)).json()["status"] != "waiting":
            await asyncio.sleep(0.02)
    return path


async def go(api: httpx.AsyncClient, owner: Headers, path: str) -> None:
    assert (await api.post(f"{path}/signal", headers=owner, json={"name": "go"})).status_code == 202


async def watch(api: httpx.AsyncClient, owner: Headers, path: str, engine: Platform) -> "asyncio.Task[httpx.Response]":
    """Ask for the events of an execution, and return when the answer waits for what comes."""
    async with Redis.from_url(engine.settings.redis_url) as redis, asyncio.timeout(60):
        before = (await redis.info("clients"))["blocked_clients"]
        watching = asyncio.create_task(api.get(f"{path}/events", headers=owner))
        while (await redis.info("clients"))["blocked_clients"] <= before:
            await asyncio.sleep(0.01)
    return watching


async def test_a_stream_begins_with_a_snapshot_and_ends_with_the_execution(
    api: httpx.AsyncClient, owner: Headers, engine: Platform
) -> None:
    path = await start(api, owner)
    watching = await watch(api, owner, path, engine)
    await go(api, owner, path)
    async with asyncio.timeout(60):
        stream = await watching
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["cache-control"] == "no-store"
    told = events(stream.text)
    kind, _, first = told[0]
    assert kind == "snapshot"
    assert {step["nodeId"]: step["status"] for step in first["steps"]} == {"hold": "waiting", "last": "pending"}
    ends = {data["nodeId"]: data["status"] for kind, _, data in told if kind == "step"}
    assert ends == {"hold": "completed", "last": "completed"}
    kind, last_id, data = told[-1]
    assert (kind, data["status"], data["output"]) == ("execution", "completed", {"last": {"a": 1}})
    # A browser comes back by itself; that it has seen everything tells it to stop.
    again = await api.get(f"{path}/events", headers=owner | {"Last-Event-ID": last_id})
    assert again.status_code == 204


async def test_a_watcher_that_comes_back_hears_what_it_missed_once(
    api: httpx.AsyncClient, owner: Headers, engine: Platform
) -> None:
    path = await start(api, owner)
    whole = await watch(api, owner, path, engine)
    await go(api, owner, path)
    async with asyncio.timeout(60):
        told = events((await whole).text)
    for position, (_, id, _) in enumerate(told[:-1]):
        rest = await api.get(f"{path}/events", headers=owner | {"Last-Event-ID": id})
        assert events(rest.text) == told[position + 1 :]


async def test_a_watcher_of_a_feed_that_was_lost_gets_a_snapshot(
    api: httpx.AsyncClient, owner: Headers, engine: Platform
) -> None:
    path = await start(api, owner)
    await go(api, owner, path)
    async with asyncio.timeout(60):
        told = events((await api.get(f"{path}/events", headers=owner)).text)
    tenant_id = (await api.get("/v1/me", headers=owner)).json()["tenantId"]
    async with Redis.from_url(engine.settings.redis_url) as redis:
        entries = await redis.xrange(stream_of(tenant_id))
        assert entries
        # What users' workflows carry is sealed there.
        assert b"completed" not in repr(entries).encode()
        await redis.delete(stream_of(tenant_id))
    for place in (told[-1][1], "0-0", "nonsense"):
        again = events((await api.get(f"{path}/events", headers=owner | {"Last-Event-ID": place})).text)
        assert [kind for kind, _, _ in again] == ["snapshot"]
        assert again[0][2]["execution"]["status"] == "completed"


async def test_what_ends_without_its_last_step_ends_the_stream_too(
    api: httpx.AsyncClient, owner: Headers, engine: Platform
) -> None:
    path = await start(api, owner)
    watching = await watch(api, owner, path, engine)
    await api.post(f"{path}/terminate", headers=owner)
    async with asyncio.timeout(60):
        kind, _, data = events((await watching).text)[-1]
    assert (kind, data["execution"]["status"]) == ("snapshot", "terminated")


async def test_all_executions_of_a_tenant_are_watched_together_and_nobody_elses(
    api: httpx.AsyncClient, owner: Headers, make_tenant: Any, engine: Platform
) -> None:
    tenant_id = (await api.get("/v1/me", headers=owner)).json()["tenantId"]
    place, is_complete = await engine.watch.place(tenant_id, None)
    notices = engine.watch.tenant(tenant_id, place, is_complete=is_complete)
    assert (await anext(notices)).type == "snapshot"
    other = await make_tenant()
    await go(api, other, await start(api, other))
    mine = [await start(api, owner), await start(api, owner)]
    for path in mine:
        await go(api, owner, path)
    closed: set[str] = set()
    async with asyncio.timeout(60):
        async for notice in notices:
            if notice.type == "execution" and notice.data["status"] == "completed":
                closed.add(f"/v1/executions/{notice.data['id']}")
            if len(closed) == 2:
                break
    assert closed == set(mine)


async def test_two_hundred_disconnects_neither_lose_nor_repeat_anything(
    api: httpx.AsyncClient, owner: Headers, engine: Platform, figures: Figures
) -> None:
    """While executions run one watcher stays; another hangs up after each notice and comes back with its id (T27)."""
    tenant_id = (await api.get("/v1/me", headers=owner)).json()["tenantId"]
    wide = {"nodes": [{"id": f"n{n}", "pluginId": "set", "config": {"values": {"n": n}}} for n in range(40)]}
    where, last = await publish(api, owner, wide), await start(api, owner)
    begun, _ = await engine.watch.place(tenant_id, None)

    async def listen(most: int) -> tuple[list[Notice], int]:
        """Hang up after this many notices; return all of them, up to the end of the last execution, and how often."""
        heard: list[Notice] = []
        place, hung_up = begun, 0
        while True:
            place, is_complete = await engine.watch.place(tenant_id, place)
            async with aclosing(engine.watch.tenant(tenant_id, place, is_complete=is_complete)) as notices:
                told = 0
                async for notice in notices:
                    place = notice.id
                    if notice.type == "idle":
                        continue
                    heard.append(notice)
                    told += 1
                    if (
                        notice.type == "execution"
                        and last.endswith(notice.data["id"])
                        and notice.data["status"] in ENDED
                    ):
                        return heard, hung_up
                    if told == most:
                        break
            hung_up += 1

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        steady, torn = (group.create_task(listen(most)) for most in (10**6, 1))
        for _ in range(6):
            await api.post(f"{where}/executions", headers=owner | {"Prefer": "wait=20"})
        await go(api, owner, last)
    (heard, never), (again, often) = steady.result(), torn.result()
    assert (never, often >= 200) == (0, True), often
    assert again == heard
    assert {notice.type for notice in heard} == {"execution", "step"}
    figures("T27b", disconnects=often, notices=len(heard), lost=0, repeated=0)


async def test_a_ticket_opens_one_stream_and_nothing_else(
    api: httpx.AsyncClient, owner: Headers, make_tenant: Any
) -> None:
    path = await start(api, owner)
    once = owner | {"Idempotency-Key": "ticket-1"}
    issued, again = [
        await api.post("/v1/stream-tickets", headers=once, json={"executionId": path.rpartition("/")[2]})
        for _ in range(2)
    ]
    assert (issued.status_code, again.content) == (201, issued.content)
    ticket = {"ticket": issued.json()["ticket"]}
    assert issued.json()["path"] == f"{path}/events"
    await go(api, owner, path)
    async with asyncio.timeout(60):
        told = events((await api.get(f"{path}/events", params=ticket)).text)
    assert told[-1][2]["status" if told[-1][0] == "execution" else "execution"]
    second = await start(api, owner)
    for elsewhere in (path, f"{second}/events", "/v1/events/stream", f"{path}/steps"):
        refused = await api.get(elsewhere, params=ticket)
        assert (refused.status_code, refused.json()["type"]) == (401, "/problems/unauthenticated")
    for forged in ("x", "ten_x.AAAA", ticket["ticket"][:-2], f"{ticket['ticket']}é"):
        assert (await api.get(f"{path}/events", params={"ticket": forged})).status_code == 401
    foreign = await api.post(
        "/v1/stream-tickets", headers=await make_tenant(), json={"executionId": path.rpartition("/")[2]}
    )
    assert foreign.status_code == 404


async def test_a_watcher_who_lacks_events_is_told_everything_anew(engine: Platform, owner: Headers, api: Any) -> None:
    tenant_id = (await api.get("/v1/me", headers=owner)).json()["tenantId"]
    place, is_complete = await engine.watch.place(tenant_id, None)
    notices = engine.watch.tenant(tenant_id, place, is_complete=is_complete)
    assert (await anext(notices)).type == "snapshot"
    async with Redis.from_url(engine.settings.redis_url) as redis:
        await redis.xadd(stream_of(tenant_id), {"gap": b""})
    async with asyncio.timeout(60):
        assert (await first_but_idle(notices)).type == "snapshot"
    assert isinstance(engine.watch, Watch)


async def first_but_idle(notices: Any) -> Notice:
    async for notice in notices:
        if notice.type != "idle":
            assert isinstance(notice, Notice)
            return notice
    raise AssertionError("the stream ended")
