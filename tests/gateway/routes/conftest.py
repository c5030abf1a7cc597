"""One installation for all routes: tenants keep out of each other's way, here as in production.

Routes are the same over every database; what they call is tested on both, floor by floor.
"""

from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.compose import Platform, open_platform
from gateway.settings import Settings
from tests.gateway.application import answering, settings_over
from tests.sqlite import new_sqlite


@pytest.fixture(scope="session")
def installation(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings over an empty, migrated SQLite database."""
    folder = tmp_path_factory.mktemp("installation")
    return settings_over(new_sqlite(folder / "gateway.db"), valkey_url, folder)


@pytest.fixture(scope="session")
async def serving(installation: Settings) -> AsyncIterator[tuple[Platform, httpx.AsyncClient]]:
    async with open_platform(installation) as platform, answering(platform) as client:
        yield platform, client


@pytest.fixture
def settings(installation: Settings) -> Settings:
    return installation


@pytest.fixture
def platform(serving: tuple[Platform, httpx.AsyncClient]) -> Platform:
    return serving[0]


@pytest.fixture
def client(serving: tuple[Platform, httpx.AsyncClient]) -> httpx.AsyncClient:
    return serving[1]
