"""A call that takes long heartbeats with what it has come to, and one that has ended does not any more."""

import asyncio
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from user_workflows.activities import heartbeats as module
from user_workflows.activities.heartbeats import heartbeats


async def test_a_long_call_heartbeats_with_its_checkpoint_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_INTERVAL", 0.01)
    beats: list[Any] = []
    environment = ActivityEnvironment()
    environment.on_heartbeat = beats.append

    async def work() -> int:
        numbers = iter(range(1_000))
        with heartbeats(lambda: next(numbers)):
            async with asyncio.timeout(60):
                while len(beats) < 3:
                    await asyncio.sleep(0.001)
        return len(beats)

    told = await environment.run(work)
    await asyncio.sleep(0.05)
    assert beats == [*range(told)]
