"""The application under test: asked over ASGI in the test's own event loop, so that requests can be concurrent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
from litestar import Litestar

from gateway.app import create_app, install
from gateway.auth.keys import create_key
from gateway.auth.permissions import TenantRole
from gateway.compose import Platform
from gateway.settings import Settings
from plugins.storage.tenants import create_tenant
from plugins.vault.keys import MasterKey

ADMIN_KEY = "admin-key-of-the-tests-which-is-long-enough"
ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}

Headers = dict[str, str]
MakeTenant = Callable[..., Awaitable[Headers]]


def settings_over(database_url: str, redis_url: str, folder: Path) -> Settings:
    """Settings of an installation whose master key is in `folder`, and whose Temporal is down."""
    MasterKey.create(folder / "master.key")
    return Settings(
        database_url=database_url,
        redis_url=redis_url,
        master_key_file=folder / "master.key",
        admin_key=ADMIN_KEY,
        public_url="https://gateway.example.com",
        temporal={"TEMPORAL_ADDRESS": "127.0.0.1:1"},
    )


@asynccontextmanager
async def asking(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application that is started and, at the end, stopped."""
    started, stopping = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        # The framework's lifespan must end in the task it began in, which a fixture's two halves are not.
        async with app.lifespan():
            started.set()
            await stopping.wait()

    life = asyncio.create_task(live())
    beginning = asyncio.create_task(started.wait())
    await asyncio.wait({life, beginning}, return_when=asyncio.FIRST_COMPLETED)
    if life.done():
        beginning.cancel()
        await life
    transport = asgi_transport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client
    stopping.set()
    await life


#: made already, and answering for nobody
_idle: list[Litestar] = []


@contextmanager
def application(platform: Platform) -> Iterator[Litestar]:
    """The application over a platform that its owner keeps open; it is not to be started, nor stopped.

    Applications are used again: to make one takes longer than most of what is asked of it.
    """
    app = _idle.pop() if _idle else create_app(platform)
    install(app, platform)
    yield app
    _idle.append(app)


def asgi_transport(app: Litestar) -> httpx.ASGITransport:
    """Return the way to an application in this process; httpx has types of its own for ASGI."""
    served: Any = app
    return httpx.ASGITransport(served)


@asynccontextmanager
async def answering(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that application."""
    with application(platform) as app:
        async with httpx.AsyncClient(transport=asgi_transport(app), base_url="http://gateway") as client:
            yield client


async def new_tenant(platform: Platform, role: TenantRole = "owner", **options: Any) -> Headers:
    """Make a tenant with a key, and return the headers that present the key."""
    async with platform.database.across.transaction() as connection:
        tenant = await create_tenant(connection, "Acme")
        made = await create_key(connection, tenant.id, name="test", role=role, **options)
    return {"Authorization": f"Bearer {made.key}"}
