import ssl
from collections.abc import AsyncIterator

import httpx
import pytest

from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
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
    client = EgressClient(Guard(allow=[f"127.0.0.1:{target.port}"]), timeout=5, tls=authorities)
    yield client
    await client.close()
