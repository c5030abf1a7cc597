"""How answers leave: what belongs together goes together, and nothing is held back for longer than a turn."""

import asyncio
from typing import Any

import pytest

from gateway.wire import joining

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Wire(asyncio.Transport):
    """Keeps what is written, by the call; that it was closed is kept, too."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.written.append(b"closed")

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return "loopback" if name == "peername" else default


class Server(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
async def transport(wire: Wire) -> asyncio.Transport:
    """What the server writes to."""
    server = joining(Server)()
    server.connection_made(wire)
    transport: asyncio.Transport = server.transport
    return transport


async def test_a_head_and_its_body_are_one_write(wire: Wire, transport: asyncio.Transport) -> None:
    transport.write(HEAD)
    assert wire.written == []
    transport.write(b"{}")
    assert wire.written == [HEAD + b"{}"]
    await asyncio.sleep(0)
    assert wire.written == [HEAD + b"{}"]


async def test_a_head_whose_body_is_not_there_yet_leaves_at_the_next_turn(
    wire: Wire, transport: asyncio.Transport
) -> None:
    transport.write(HEAD)
    await asyncio.sleep(0)
    assert wire.written == [HEAD]
    transport.write(b"{")
    transport.write(b"}")
    assert wire.written == [HEAD, b"{", b"}"]


async def test_answers_to_pipelined_requests_keep_their_order(wire: Wire, transport: asyncio.Transport) -> None:
    for body in (b"", b"1", b"2"):
        transport.write(HEAD)
        transport.write(body)
    await asyncio.sleep(0)
    assert b"".join(wire.written) == HEAD + HEAD + b"1" + HEAD + b"2"


async def test_what_is_held_leaves_before_the_connection_is_closed(wire: Wire, transport: asyncio.Transport) -> None:
    transport.write(HEAD)
    transport.close()
    assert wire.written == [HEAD, b"closed"]
    await asyncio.sleep(0)
    assert wire.written == [HEAD, b"closed"]


async def test_everything_else_is_the_transports(transport: asyncio.Transport) -> None:
    assert transport.get_extra_info("peername") == "loopback"
