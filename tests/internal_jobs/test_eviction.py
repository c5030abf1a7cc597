import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.up.valkey import ValkeyServer
from internal_jobs.errors import UnsafeRedis
from internal_jobs.eviction import refuse_eviction
from plugins.vault.keys import MasterKey
from tests.servers import running, valkey_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    with running(server := valkey_server(tmp_path / "valkey")):
        yield server


async def set_policy(server: ValkeyServer, policy: str) -> None:
    async with Redis.from_url(server.url) as client:
        await client.config_set("maxmemory-policy", policy)


async def test_a_redis_that_drops_messages_is_refused_unless_that_is_accepted(server: ValkeyServer) -> None:
    await refuse_eviction(server.url)
    for policy in ("allkeys-lru", "volatile-ttl"):
        await set_policy(server, policy)
        with pytest.raises(UnsafeRedis, match=policy):
            await refuse_eviction(server.url)
        await refuse_eviction(server.url, anyway=True)


async def test_a_redis_that_is_away_is_no_reason_not_to_start() -> None:
    await refuse_eviction("redis://127.0.0.1:1")


async def test_one_that_does_not_show_its_configuration_is_trusted(server: ValkeyServer) -> None:
    async with Redis.from_url(server.url) as client:
        await client.acl_setuser(
            "managed",
            enabled=True,
            passwords=["+secret"],
            keys=["*"],
            channels=["*"],
            categories=["+@all"],
            commands=["-config"],
        )
    await set_policy(server, "allkeys-lru")
    await refuse_eviction(f"redis://managed:secret@127.0.0.1:{server.port}")


async def test_a_jobs_worker_says_in_a_line_why_it_does_not_start(server: ValkeyServer, tmp_path: Path) -> None:
    MasterKey.create(tmp_path / "master.key")
    await set_policy(server, "allkeys-lru")
    environment = {
        "GATEWAY_DATABASE_URL": f"sqlite:///{tmp_path}/gateway.db",
        "GATEWAY_REDIS_URL": server.url,
        "GATEWAY_MASTER_KEY_FILE": str(tmp_path / "master.key"),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "gateway", "worker", "internal-jobs"),
        env=os.environ | environment,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert "GATEWAY_REDIS_MAY_EVICT" in said.decode()
    assert "Traceback" not in said.decode()
