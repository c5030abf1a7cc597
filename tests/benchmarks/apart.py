"""Workers in processes of their own, whose processor time is told from that of their clients."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import psutil
import structlog
from msgspec import Struct, structs
from temporalio.client import Client
from temporalio.worker import Worker

from gateway.processes import keep_what_is_loaded
from plugins.storage.database import Database
from plugins.storage.ids import new_id
from tests.benchmarks.baseline import QUEUE, TenActivities, read
from tests.benchmarks.processes import processes
from tests.sqlite import new_sqlite
from tests.user_workflows.lane import Lane, Place, open_lane

#: calls between two looks at a worker's clock, which ticks a hundred times a second
CALLS = 24

#: what serves: the engine, and the same work written by hand
Kind = Literal["engine", "hand"]
#: of the latter; that of `baseline` has a worker already
OWN_QUEUE = f"{QUEUE}.apart"


class Orders(Struct, frozen=True):
    """What a worker needs to know."""

    kind: Kind
    database_url: str
    temporal_address: str
    redis_url: str
    folder: str
    place: Place


class Side(Struct, frozen=True):
    """One way to do ten activities, one after the other."""

    worker: psutil.Process
    run: Callable[[], Awaitable[None]]

    async def processor_time(self) -> float:
        """Seconds of the worker's CPU for one call."""
        began = self._spent()
        for _ in range(CALLS):
            await self.run()
        return (self._spent() - began) / CALLS

    def _spent(self) -> float:
        times = self.worker.cpu_times()
        return float(times.user + times.system)


@asynccontextmanager
async def open_sides(
    folder: Path, temporal_address: str, redis_url: str, definition: dict[str, Any]
) -> AsyncIterator[tuple[Side, Side]]:
    """Start a worker for `definition`, and one for the same written by hand."""
    database = Database(new_sqlite(folder / "apart.db"))
    async with open_lane(database, temporal_address, folder, redis_url=redis_url, works=False) as lane:
        orders = Orders(
            kind="engine",
            database_url=database.engine.url.render_as_string(hide_password=False),
            temporal_address=temporal_address,
            redis_url=redis_url,
            folder=str(folder),
            place=Place(lane.tenant_id, lane.temporal.namespace),
        )
        runs: dict[Kind, Callable[[], Awaitable[None]]] = {
            "engine": await _by_engine(lane, definition),
            "hand": _by_hand(await Client.connect(temporal_address)),
        }
        commands = [
            (sys.executable, "-m", __name__, msgspec.json.encode(structs.replace(orders, kind=kind)).decode())
            for kind in runs
        ]
        async with processes(commands, {}, folder / "apart.log") as started:
            ours, by_hand = [
                Side(psutil.Process(worker.pid), run) for worker, run in zip(started, runs.values(), strict=True)
            ]
            yield ours, by_hand
    await database.close()


async def _by_engine(lane: Lane, definition: dict[str, Any]) -> Callable[[], Awaitable[None]]:
    workflow = await lane.publish(definition)

    async def run() -> None:
        finished = await lane.finish(await lane.start(workflow))
        assert finished.status == "completed", finished

    return run


def _by_hand(client: Client) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        assert await client.execute_workflow(TenActivities.run, id=new_id("ex"), task_queue=OWN_QUEUE) == 10

    return run


async def serve(orders: Orders) -> None:
    """Be a worker, until killed."""
    address = orders.temporal_address
    if orders.kind == "engine":
        database, folder = Database(orders.database_url), Path(orders.folder)
        async with open_lane(database, address, folder, redis_url=orders.redis_url, like=orders.place):
            await asyncio.Event().wait()
    client = await Client.connect(address)
    async with Worker(client, task_queue=OWN_QUEUE, workflows=[TenActivities], activities=[read]):
        await asyncio.Event().wait()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    keep_what_is_loaded()
    asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=Orders)))
