"""A worker that calls a plugin and is killed in the middle: ``python -m tests.plugins.host.crashing …``."""

import asyncio
import os
import signal
import sys

from msgspec import Struct

from plugins import Context, plugin
from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.host.invoke import Call, Host
from plugins.host.ledger import Ledger
from plugins.host.registry import Registry
from plugins.storage.database import Database
from plugins.vault.keys import MasterKey, Vault
from tests.lending import lend_to_anybody


class Config(Struct):
    pass


@plugin("test.act", version="1.0.0", effect="unsafe")
async def die(config: Config, ctx: Context) -> None:
    print(ctx.idempotency_key, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


async def main(url: str, tenant_id: str, timeout: str) -> None:
    database = Database(url)
    vault = Vault(database, MasterKey({1: bytes(range(32))}, 1))
    host = Host(
        registry=Registry([die]),
        ledger=Ledger(database, vault),
        lender=lend_to_anybody(database, vault),
        egress=EgressClient(Guard()),
    )
    call = Call(
        plugin="test.act",
        config={},
        tenant_id=tenant_id,
        origin="ex_1",
        execution_id="ex_1",
        step="node",
        timeout=float(timeout),
    )
    await host.invoke(call, heartbeat=lambda progress: None, is_cancelled=lambda: False)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
