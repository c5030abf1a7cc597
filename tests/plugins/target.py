"""A real HTTP server on loopback that answers as a test tells it to."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

from msgspec import Struct, field

Script = Callable[["Request", asyncio.StreamWriter], Awaitable[None]]


class Request(Struct, kw_only=True):
    method: str
    path: str
    query: dict[str, list[str]]
    #: names in lower case
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Target(Struct, kw_only=True):
    port: int
    requests: list[Request] = field(default_factory=list)
    #: connections accepted, kept-alive ones once
    connections: int = 0
    #: connections open now, and the most there were at once
    now_open: int = 0
    most_open: int = 0
    scripts: dict[str, list[Script]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, path: str, status: int = 200, body: Any = b"", **headers: str) -> None:
        """Give this answer at `path`; answers given in turn are used in turn, the last one for good.

        Headers are written as ``content_type="text/plain"``; a body other than bytes is sent as JSON.
        """
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if not isinstance(body, bytes):
            fields.setdefault("content-type", "application/json")
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())

        async def script(request: Request, writer: asyncio.StreamWriter) -> None:
            writer.write(f"HTTP/1.1 {status} X\r\n{head}content-length: {len(content)}\r\n\r\n".encode())
            writer.write(b"" if request.method == "HEAD" else content)

        self.script(path, script)

    def script(self, path: str, script: Script) -> None:
        """Let `script` write the answer at `path`."""
        self.scripts.setdefault(path, []).append(script)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.now_open += 1
        self.most_open = max(self.most_open, self.now_open)
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                scripts = self.scripts.get(request.path)
                if scripts is None:
                    writer.write(b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n")
                else:
                    await (scripts.pop(0) if len(scripts) > 1 else scripts[0])(request, writer)
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.now_open -= 1
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        return None
    line, *lines = head.rstrip().split("\r\n")
    method, target, _ = line.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
    path, _, query = target.partition("?")
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method=method, path=path, query=parse_qs(query), headers=headers, body=body)


@asynccontextmanager
async def open_target(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[Target]:
    target = Target(port=0)
    serving: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(target.serve(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    server = await asyncio.start_server(accept, host, 0, ssl=tls)
    target.port = server.sockets[0].getsockname()[1]
    yield target
    server.close()
    for task in list(serving):
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    await server.wait_closed()
