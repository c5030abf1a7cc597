"""How answers leave: the head of one and its body by one system call, in one packet."""

import asyncio
from typing import Any


class _Joining:
    """A transport that holds the head of an answer back until its body comes, for one turn of the loop at most."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._write = transport.write
        self._loop = asyncio.get_running_loop()
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._write(head + data)
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self._let_go)
        else:
            self._write(data)

    def close(self) -> None:
        self._let_go()
        self._transport.close()

    def _let_go(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._write(head)


def joining(protocol: type[Any]) -> type[Any]:
    """Return a protocol of uvicorn's that writes so; by itself it writes twice, and wakes its caller twice."""

    class Joined(protocol):  # type: ignore[misc]  # which one it is depends on what is installed
        def connection_made(self, transport: Any) -> None:
            super().connection_made(_Joining(transport))

    return Joined
