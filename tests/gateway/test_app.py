"""The application as a whole: what a request costs before anything is done for it."""

import asyncio
from typing import Any

import httpx

from tests.gateway.application import Headers

PAYLOAD = {"type": "job.enqueue", "payload": {"type": "job.enqueue"}}


async def test_what_a_handler_needs_is_handed_to_it_without_tasks(client: httpx.AsyncClient, owner: Headers) -> None:
    """A refused job asks for its principal, the jobs and the registry, and does nothing with them."""
    loop, asking = asyncio.get_running_loop(), asyncio.current_task()
    started: list[str] = []

    def note(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        if asyncio.current_task() is asking:
            started.append(getattr(work, "__qualname__", repr(work)))
        return asyncio.Task(work, loop=loop, **options)

    assert (await client.get("/v1/me", headers=owner)).status_code == 200
    loop.set_task_factory(note)
    try:
        refused = await client.post("/v1/jobs", headers=owner, json=PAYLOAD | {"type": "absent"})
    finally:
        loop.set_task_factory(None)
    assert refused.status_code == 422
    assert started == []
