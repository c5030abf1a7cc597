from collections.abc import AsyncIterator, Iterator

import pytest

from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.storage.database import Database
from plugins.vault.credentials import Credentials
from plugins.vault.keys import Vault
from plugins.vault.lending import Lender
from plugins.vault.oauth.grants import Grants
from plugins.vault.oauth.provider import Provider
from tests.lending import lend_to_anybody
from tests.oauth_provider import OAuthProvider, open_provider


@pytest.fixture
def provider() -> Iterator[OAuthProvider]:
    with open_provider() as opened:
        yield opened


@pytest.fixture
async def way_out(provider: OAuthProvider) -> AsyncIterator[EgressClient]:
    client = EgressClient(Guard(allow=[f"127.0.0.1:{provider.port}"]))
    yield client
    await client.close()


@pytest.fixture
def tokens(way_out: EgressClient) -> Provider:
    """The provider as the gateway sees it."""
    return Provider(way_out)


@pytest.fixture
def store(database: Database, vault: Vault) -> Credentials:
    return Credentials(database, vault)


@pytest.fixture
def lender(database: Database, vault: Vault, tokens: Provider) -> Lender:
    return lend_to_anybody(database, vault, Grants(database, vault, tokens))
