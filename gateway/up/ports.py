"""Ports for the embedded servers: chosen once, remembered in the data folder, found again by the next `up`."""

import asyncio
from pathlib import Path

import msgspec

from gateway.up.files import write_private

LOOPBACK = "127.0.0.1"


async def is_free(host: str, port: int) -> bool:
    try:
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), host, port)
    except OSError:
        return False
    server.close()
    await server.wait_closed()
    return True


async def free_port(host: str = LOOPBACK) -> int:
    """Return a port that the system has just found to be free."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), host, 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


class Ports:
    """The port of each name, kept in one JSON file so that a restart of anything finds everything where it was."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, int] = {}
        if file.exists():
            self._known = msgspec.json.decode(file.read_bytes(), type=dict[str, int])

    async def of(self, name: str) -> int:
        """Return the remembered port of `name` where it is still free, else a new one, remembered from now on."""
        known = self._known.get(name)
        if known is not None and await is_free(LOOPBACK, known):
            return known
        port = await free_port()
        while port in self._known.values():
            port = await free_port()
        self._known[name] = port
        write_private(self._file, msgspec.json.format(msgspec.json.encode(self._known)))
        return port
