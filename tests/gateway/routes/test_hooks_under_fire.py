"""Webhooks while things break: what was answered with a 2xx is one execution, and nothing is lost or doubled."""

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
from msgspec import structs

from gateway.compose import open_platform
from gateway.settings import Settings
from tests import servers
from tests.gateway.application import Headers, answering, new_tenant
from tests.gateway.routes.test_hooks import BODY, hook, signed
from tests.gateway.working import working
from user_workflows import worker
from user_workflows.records import reconcile

#: seconds that no sender may wait
LONGEST = 5.0


@pytest.mark.parametrize(
    "replays", [pytest.param(100, id="short"), pytest.param(1_000, id="long", marks=[pytest.mark.slow])]
)
async def test_a_delivery_that_comes_at_once_and_again_and_again_is_one_execution(
    api: httpx.AsyncClient, owner: Headers, replays: int
) -> None:
    url = await hook(api, owner)
    seed = random.Random(13)
    together = await asyncio.gather(*(api.post(url, headers=signed(), content=BODY) for _ in range(50)))
    # Sent again it is signed anew, by clocks that are off as far as may be; or it is somebody's copy of the first.
    copy = signed()
    again: list[httpx.Response] = []
    for _ in range(0, replays, 20):
        sent = [signed(at=time.time() + seed.uniform(-200, 200)) if seed.random() < 0.5 else copy for _ in range(20)]
        again += await asyncio.gather(*(api.post(url, headers=each, content=BODY) for each in sent))
    answers = [*together, *again]
    assert Counter(answer.status_code for answer in answers) == {202: 50 + replays}
    assert len({answer.json()["executionId"] for answer in answers}) == 1
    assert len((await api.get("/v1/executions", headers=owner)).json()["items"]) == 1
    assert len((await api.get("/v1/inbound-events", headers=owner)).json()["items"]) == 1
    print(f"\n50 at once and {replays} again: 1 execution")


@pytest.mark.parametrize(
    ("deliveries", "outage"),
    [
        pytest.param(60, 3.0, id="short"),
        pytest.param(500, 60.0, id="long", marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
async def test_what_comes_while_temporal_is_down_is_taken_and_starts_when_it_is_back(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deliveries: int, outage: float
) -> None:
    if outage < 60:
        # What takes the sweep a minute and more otherwise.
        monkeypatch.setattr(reconcile, "START_GRACE", reconcile.START_GRACE / 60)
        monkeypatch.setattr(reconcile, "SWEEP_AGE", reconcile.SWEEP_AGE / 60)
        monkeypatch.setattr(worker, "SWEEP_INTERVAL", worker.SWEEP_INTERVAL / 60)
    server = servers.temporal_server(tmp_path / "temporal")
    process = await asyncio.to_thread(servers.start, server)
    try:
        reached = structs.replace(settings, temporal={"TEMPORAL_ADDRESS": server.address})
        async with (
            open_platform(reached, lazy=False) as platform,
            answering(platform) as api,
            working(platform),
        ):
            owner = await new_tenant(platform)
            url = await hook(api, owner)
            took: list[float] = []
            answers: dict[str, httpx.Response] = {}

            async def deliver(number: int) -> None:
                # Spread over twice the outage, which so begins and ends among them.
                await asyncio.sleep(2 * outage * number / deliveries)
                id, began = f"msg_{number}", time.perf_counter()
                answers[id] = await api.post(url, headers=signed(id=id), content=BODY)
                took.append(time.perf_counter() - began)

            sending = asyncio.gather(*(deliver(number) for number in range(deliveries)))
            await asyncio.sleep(outage / 2)
            process.kill()
            await asyncio.to_thread(process.wait)
            await asyncio.sleep(outage)
            process = await asyncio.to_thread(servers.start, server)
            back = time.perf_counter()
            await sending
            statuses = Counter(answer.status_code for answer in answers.values())
            refused = [answer for answer in answers.values() if answer.status_code != 202]
            assert {answer.status_code for answer in refused} <= {503}
            assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
            assert max(took) < LONGEST
            for id in [id for id, answer in answers.items() if answer.status_code == 503]:
                answers[id] = await api.post(url, headers=signed(id=id), content=BODY)
            ids = {answer.json()["executionId"] for answer in answers.values()}
            assert len(ids) == deliveries
            async with asyncio.timeout(60 + 2 * outage):
                while (await closed(api, owner)) < ids:
                    await asyncio.sleep(0.5)
            assert await closed(api, owner) == ids
            print(
                f"\n{deliveries} deliveries over {2 * outage:.0f} s, Temporal killed for {outage:.0f} s: answered "
                f"{dict(statuses)}, the slowest in {max(took):.1f} s; all {deliveries} executed once, "
                f"{time.perf_counter() - back:.0f} s after it was back"
            )
    finally:
        await asyncio.to_thread(servers.stop, process)


async def closed(api: httpx.AsyncClient, owner: Headers) -> set[str]:
    """Return the ids of all executions that have completed."""
    found: set[str] = set()
    cursor: dict[str, str] = {}
    while True:
        parameters = {"status": "completed", "limit": "200", **cursor}
        page = (await api.get("/v1/executions", headers=owner, params=parameters)).json()
        found |= {each["id"] for each in page["items"]}
        if page["nextCursor"] is None:
            return found
        cursor = {"cursor": page["nextCursor"]}
