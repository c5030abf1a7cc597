"""The real application, asked over ASGI in the test's own event loop."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from msgspec import structs

from gateway.compose import Platform, open_platform
from gateway.settings import Settings
from plugins.storage.database import Database
from tests.gateway.application import Headers, MakeTenant, answering, new_tenant, settings_over
from tests.gateway.working import working
from tests.servers import own_namespace


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
async def engine(settings: Settings, temporal_address: str) -> AsyncIterator[Platform]:
    """A platform over a real Temporal, with a worker."""
    reached = structs.replace(settings, temporal=await own_namespace(temporal_address))
    async with open_platform(reached, lazy=False) as platform, working(platform):
        yield platform


@pytest.fixture
async def api(engine: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application whose executions really run."""
    async with answering(engine) as client:
        yield client


@pytest.fixture
def make_tenant(platform: Platform) -> MakeTenant:
    """Make a tenant with a key, and return the headers that present the key."""
    return partial(new_tenant, platform)


@pytest.fixture
async def owner(make_tenant: MakeTenant) -> Headers:
    """The headers of an owner's key."""
    return await make_tenant()
