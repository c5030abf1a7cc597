"""Bodies that nobody read: taken in before the refusal is sent, so that the caller comes to hear it."""

import asyncio
from contextlib import suppress
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

#: the most that is taken in of a body that was refused, in bytes and in seconds
MOST = 16 * 2**20
PATIENCE = 3.0


class Unread:
    """An ASGI application that lets a caller finish sending before it closes the connection on a refusal.

    A client that writes into a closed connection sees a broken pipe and, most of them, never the answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        more = True

        async def receive_noting() -> Any:
            nonlocal more
            message: Any = await receive()
            more = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def take_in() -> None:
            taken = 0
            while more and taken < MOST:
                taken += len((await receive_noting()).get("body", b""))

        async def send_heard(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400 and more and _sends_body(scope):
                with suppress(TimeoutError):
                    await asyncio.wait_for(take_in(), PATIENCE)
            await send(message)

        await self._app(scope, receive_noting, send_heard)


def _sends_body(scope: Scope) -> bool:
    names = {name for name, _ in scope["headers"]}
    # Whoever expects 100-continue waits for our word, and has sent nothing yet.
    return b"expect" not in names and not names.isdisjoint({b"content-length", b"transfer-encoding"})
