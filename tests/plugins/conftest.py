import ssl
from collections.abc import AsyncIterator

import httpx
import pytest

from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant
from plugins.vault.keys import MasterKey, Vault
from tests.plugins.target import Target, open_target


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    """A real HTTP server on 127.0.0.1."""
    async with open_target() as opened:
        yield opened


@pytest.fixture(scope="session")
def authorities() -> ssl.SSLContext:
    """The authorities that a client trusts by default, read once."""
    return httpx.create_ssl_context(trust_env=False)


@pytest.fixture
async def egress(target: Target, authorities: ssl.SSLContext) -> AsyncIterator[EgressClient]:
    """A client that may reach the target, and otherwise only the public internet."""
    client = EgressClient(Guard(allow=[f"127.0.0.1:{target.port}"]), timeout=5, tls=lambda: authorities)
    yield client
    await client.close()


@pytest.fixture
async def tenant_id(database: Database) -> str:
    async with database.across.transaction() as connection:
        return (await create_tenant(connection, "Acme")).id


@pytest.fixture
def master() -> MasterKey:
    return MasterKey({1: bytes(range(32))}, 1)


@pytest.fixture
def vault(database: Database, master: MasterKey) -> Vault:
    return Vault(database, master)
