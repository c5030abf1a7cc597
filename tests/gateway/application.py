"""The application under test: asked over ASGI in the test's own event loop, so that requests can be concurrent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
from litestar import Litestar

ADMIN_KEY = "admin-key-of-the-tests-which-is-long-enough"
ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}

Headers = dict[str, str]
MakeTenant = Callable[..., Awaitable[Headers]]


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
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client
    stopping.set()
    await life
