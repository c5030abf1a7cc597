"""Ground truth outside the system: an HTTP server that writes each idempotency key to disk before it answers."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class Witness:
    """Holds its answer to the first request of each key for `hold` seconds."""

    def __init__(self, file: Path, hold: float) -> None:
        self._file = file
        self._hold = hold
        self._arrived = asyncio.Condition()
        self.url = ""

    @property
    def keys(self) -> list[str]:
        """Every key that was seen, in order, repeats included."""
        return self._file.read_text().split() if self._file.exists() else []

    async def sees(self, count: int, *, seconds: float = 30) -> None:
        """Wait until that many different keys were seen."""
        async with asyncio.timeout(seconds), self._arrived:
            await self._arrived.wait_for(lambda: len(set(self.keys)) >= count)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
                key = headers["idempotency-key"]
                is_first = key not in self.keys
                with self._file.open("a") as file:
                    file.write(key + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                async with self._arrived:
                    self._arrived.notify_all()
                if is_first:
                    await asyncio.sleep(self._hold)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def witness(file: Path, *, hold: float = 0.0) -> AsyncIterator[Witness]:
    seen = Witness(file, hold)
    server = await asyncio.start_server(seen.answer, "127.0.0.1", 0)
    seen.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    yield seen
    server.close()
