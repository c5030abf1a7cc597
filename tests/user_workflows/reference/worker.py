"""A worker to be killed: ``python -m tests.user_workflows.reference.worker`` serves the lane that its input names.

Every call of a plugin reaches the world outside, over HTTP, and comes to what that answers.
"""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from plugins import Context, Effect, Transient
from plugins.builtin.sync.plugin import data_sync
from plugins.storage.database import Database
from tests.user_workflows.lane import Place, open_lane
from tests.user_workflows.reference.plugins import Call, make_plugins
from user_workflows.interpreter import steps


class Orders(Struct, frozen=True, kw_only=True):
    """What a worker needs to know."""

    database_url: str
    temporal_address: str
    folder: str
    place: Place
    #: where the world is
    world_url: str
    #: what else may be reached
    allow: tuple[str, ...] = ()
    #: seconds after which it is missed, once it is lost, instead of the usual ones
    heartbeat_timeout: float | None = None


async def main(orders: Orders) -> None:
    async def world(config: Call, ctx: Context, effect: Effect) -> Any:
        told = {"effect": effect, "execution": ctx.execution_id, "step": ctx.step, "value": config.value}
        headers = {"Idempotency-Key": ctx.idempotency_key}
        answer = await ctx.http.request("POST", orders.world_url, content=msgspec.json.encode(told), headers=headers)
        told = msgspec.json.decode(answer.content)
        if "again" in told:
            raise Transient("the world is busy", type="ref.busy", effect="none", retry_after=told["again"])
        return told["answer"]

    if orders.heartbeat_timeout is not None:
        steps.HEARTBEAT_TIMEOUT = timedelta(seconds=orders.heartbeat_timeout)
    database = Database(orders.database_url)
    async with open_lane(
        database,
        orders.temporal_address,
        Path(orders.folder),
        like=orders.place,
        plugins=[*make_plugins(world), data_sync],
        allow=[urlsplit(orders.world_url).netloc, *orders.allow],
    ):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)))
