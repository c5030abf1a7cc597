"""A caller that costs hardly anything, so that what is measured is the API."""

import asyncio
import time


class Caller:
    """Posts to an API on this machine, over connections that are kept."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def __call__(self, path: str, body: bytes) -> None:
        """Post a body, and check that it was accepted."""
        answer = await self._ask("POST", path, body)
        assert answer.startswith(b"HTTP/1.1 202"), answer

    async def ready(self, path: str, *, seconds: float = 60) -> None:
        """Wait until the API answers."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                assert (await self._ask("GET", path, b"")).startswith(b"HTTP/1.1 200")
                return
            except OSError:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()

    async def _ask(self, method: str, path: str, body: bytes) -> bytes:
        # What was not used for five seconds the server has closed.
        self._idle = [(reader, writer) for reader, writer in self._idle if not reader.at_eof()]
        connection = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = connection
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        self._idle.append(connection)
        return answer
