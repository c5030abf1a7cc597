"""Job types for tests, and a worker process that knows them: ``python -m tests.internal_jobs.crew '{…}'``."""

import asyncio
import os
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from uvicorn.loops.auto import auto_loop_factory

from gateway.processes import keep_what_is_loaded
from gateway.telemetry.logs import configure_logs
from internal_jobs.bindings import JobBindings
from internal_jobs.cell import run_cell
from internal_jobs.worker import WorkerOptions, run_worker
from plugins import Context, Permanent, Transient, plugin
from plugins.builtin.email.connections import SmtpConnections
from plugins.builtin.email.desk import Desk
from plugins.builtin.email.plugin import email_plugins
from plugins.builtin.sync.plugin import data_sync
from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.host.holding import LEASE
from plugins.host.invoke import Host
from plugins.host.ledger import Ledger
from plugins.host.registry import Registry
from plugins.storage.database import Database
from plugins.vault.keys import MasterKey, Vault
from plugins.vault.lending import Lender


class Value(Struct):
    value: Any = None


class Target(Struct):
    url: str


class Attempts(Struct):
    succeed_on: int


class Size(Struct):
    bytes: int


@plugin("crew.echo", version="1.0.0", effect="pure")
async def echo(config: Value, ctx: Context) -> Any:
    return config.value


@plugin("crew.post", version="1.0.0", effect="idempotent")
async def post(config: Target, ctx: Context) -> Any:
    headers = {"Idempotency-Key": ctx.idempotency_key}
    return (await ctx.http.request("POST", config.url, headers=headers)).status


@plugin("crew.postcard", version="1.0.0", effect="idempotent")
async def postcard(config: Target, ctx: Context) -> Any:
    return await post(config, ctx)


@plugin("crew.flaky", version="1.0.0", effect="read")
async def flaky(config: Attempts, ctx: Context) -> int:
    if ctx.attempt < config.succeed_on:
        raise Transient("not yet", type="crew.notYet", retry_after=0.05)
    return ctx.attempt


@plugin("crew.wobbly", version="1.0.0", effect="read")
async def wobbly(config: Value, ctx: Context) -> None:
    raise Transient("not now", type="crew.notNow")


@plugin("crew.refuse", version="1.0.0", effect="read")
async def refuse(config: Value, ctx: Context) -> None:
    raise Permanent("never", type="crew.never", status=410)


@plugin("crew.picky", version="1.0.0", effect="read")
async def picky(config: Value, ctx: Context) -> Any:
    if config.value != "good":
        raise Permanent("that is not good", type="crew.notGood")
    return config.value


@plugin("crew.poison", version="1.0.0", effect="pure")
def poison(config: Value, ctx: Context) -> None:
    os._exit(1)


@plugin("crew.creep", version="1.0.0", effect="idempotent")
async def creep(config: Value, ctx: Context) -> None:
    """Comes one further in each of so many attempts, and ends every one with its process."""
    come = ctx.checkpoint or 0
    if come < config.value:
        await ctx.save_checkpoint(come + 1)
    os._exit(1)


@plugin("crew.spin", version="1.0.0", effect="read")
def spin(config: Value, ctx: Context) -> None:
    while True:
        pass


@plugin("crew.block", version="1.0.0", effect="read")
async def block(config: Value, ctx: Context) -> None:
    while True:
        pass


@plugin("crew.hog", version="1.0.0", effect="read")
def hog(config: Value, ctx: Context) -> None:
    kept = []
    while True:
        kept.append(bytearray(64 * 2**20))


@plugin("crew.object", version="1.0.0", effect="pure")
async def an_object(config: Value, ctx: Context) -> Any:
    return object()


@plugin("crew.wait", version="1.0.0", effect="read")
async def wait(config: Value, ctx: Context) -> None:
    while not ctx.cancelled:
        ctx.heartbeat({"percent": 50})
        await asyncio.sleep(0.02)
    raise Transient("stopped", type="crew.stopped")


@plugin("crew.progress", version="1.0.0", effect="read")
async def progress(config: Value, ctx: Context) -> None:
    ctx.heartbeat({"percent": 40, "message": "two of five"})
    for unfit in (object(), "x" * 100_000):
        ctx.heartbeat(unfit)
    await asyncio.sleep(config.value)


@plugin("crew.deaf", version="1.0.0", effect="read")
async def deaf(config: Value, ctx: Context) -> None:
    await asyncio.sleep(60)


@plugin("crew.stubborn", version="1.0.0", effect="read")
async def stubborn(config: Value, ctx: Context) -> str:
    await asyncio.sleep(config.value)
    return "done"


@plugin("crew.big", version="1.0.0", effect="pure")
async def big(config: Size, ctx: Context) -> str:
    return "x" * config.bytes


CREW = Registry(
    (
        *(
            echo,
            post,
            postcard,
            flaky,
            wobbly,
            refuse,
            picky,
            poison,
            creep,
            spin,
            block,
            hog,
            an_object,
            wait,
            progress,
            deaf,
            stubborn,
            big,
        ),
        data_sync,
        *email_plugins(None, SmtpConnections(), Desk()),
    )
)


class Settings(Struct):
    database_url: str
    redis_url: str
    master_key: str
    options: WorkerOptions
    #: seconds after which a call renews its lease in the effect ledger
    effect_lease: float = LEASE
    #: bytes that the worker may allocate
    memory: int | None = None
    #: job types that this worker does not know, as one of the release before would not
    unknown: tuple[str, ...] = ()


@asynccontextmanager
async def host_for(
    database: Database, vault: Vault, *, registry: Registry = CREW, lease: float = LEASE
) -> AsyncIterator[Host]:
    egress = EgressClient(Guard(allow=["127.0.0.0/8"]))
    yield Host(
        registry=registry,
        ledger=Ledger(database, vault),
        lender=Lender(database, vault, permit=JobBindings(database).refusal),
        egress=egress,
        lease=lease,
    )
    await egress.close()


def cell_command(settings: Settings) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.internal_jobs.crew", msgspec.json.encode(settings).decode())


async def main(settings: Settings, pipe: int | None) -> None:
    database = Database(settings.database_url)
    vault = Vault(database, MasterKey.load(Path(settings.master_key)))
    registry = Registry(known for known in CREW if known.id not in settings.unknown)
    async with host_for(database, vault, registry=registry, lease=settings.effect_lease) as host:
        if pipe is not None:
            await run_cell(pipe, database=database, vault=vault, host=host, registry=registry, options=settings.options)
        else:
            if settings.memory is not None:
                resource.setrlimit(resource.RLIMIT_DATA, (settings.memory, settings.memory))
            await run_worker(
                database=database,
                vault=vault,
                host=host,
                registry=registry,
                redis_url=settings.redis_url,
                cell=cell_command(settings),
                options=settings.options,
            )
    await database.close()


if __name__ == "__main__":
    # As every process of the gateway begins.
    configure_logs("json", "info", process="crew")
    keep_what_is_loaded()
    decoded = msgspec.json.decode(sys.argv[1], type=Settings)
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        runner.run(main(decoded, int(sys.argv[2]) if len(sys.argv) > 2 else None))
