"""The real application, asked over ASGI in the test's own event loop."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from gateway.compose import Platform, open_platform
from gateway.settings import Settings
from plugins.storage.database import Database
from tests.gateway.application import Headers, MakeTenant, answering, new_tenant, settings_over


@pytest.fixture
def settings(database: Database, valkey_url: str, tmp_path: Path) -> Settings:
    """Settings over the test's database, and Valkey."""
    return settings_over(database.engine.url.render_as_string(hide_password=False), valkey_url, tmp_path)


@pytest.fixture
async def platform(settings: Settings) -> AsyncIterator[Platform]:
    async with open_platform(settings) as platform:
        yield platform


@pytest.fixture
async def client(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, without a key."""
    async with answering(platform) as client:
        yield client


@pytest.fixture
def make_tenant(platform: Platform) -> MakeTenant:
    """Make a tenant with a key, and return the headers that present the key."""
    return partial(new_tenant, platform)


@pytest.fixture
async def owner(make_tenant: MakeTenant) -> Headers:
    """The headers of an owner's key."""
    return await make_tenant()
