"""Connections: a name is resolved once, every answer is checked, and the connection goes to the checked address."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import httpcore

from plugins.egress.addresses import Address, parse_address
from plugins.egress.guard import Guard
from plugins.egress.resolver import Resolve
from plugins.sdk.errors import Transient

T = TypeVar("T")

#: Seconds for resolving a name and connecting, however long the whole request may take.
CONNECT_TIMEOUT = 10.0


class Dialer(httpcore.AsyncNetworkBackend):
    """The network as httpcore's pool sees it, and the one place that opens connections."""

    def __init__(self, guard: Guard, resolve: Resolve) -> None:
        self._guard = guard
        self._resolve = resolve
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        async def connect(address: Address, seconds: float) -> httpcore.AsyncNetworkStream:
            stream = await self._network.connect_tcp(str(address), port, timeout=seconds)
            try:
                self._check_peer(host, port, address, stream.get_extra_info("socket"))
            except BaseException:
                await stream.aclose()
                raise
            return stream

        return await self._dial(host, port, CONNECT_TIMEOUT if timeout is None else timeout, connect)

    async def connect_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """Return a connected, non-blocking TCP socket; the caller closes it."""

        async def connect(address: Address, seconds: float) -> socket.socket:
            opened = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
            try:
                opened.setblocking(False)
                async with asyncio.timeout(seconds):
                    await asyncio.get_running_loop().sock_connect(opened, (str(address), port))
                self._check_peer(host, port, address, opened)
            except BaseException:
                opened.close()
                raise
            return opened

        return await self._dial(host, port, timeout, connect)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise NotImplementedError("nothing outside the machine has a path")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _dial(self, host: str, port: int, timeout: float, connect: Callable[[Address, float], Awaitable[T]]) -> T:
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        addresses = await self._addresses(host, port, timeout)
        failure: Exception | None = None
        for tried, address in enumerate(addresses):
            # A dead address, often the IPv6 one, leaves time for those after it.
            share = max(deadline - clock(), 0.0) / (len(addresses) - tried)
            try:
                return await connect(address, share)
            except (OSError, httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        if isinstance(failure, TimeoutError | httpcore.ConnectTimeout):
            raise Transient(
                f"{host}:{port} did not accept a connection within {timeout:g} s",
                type="network.connectTimeout",
                effect="none",
            )
        raise Transient(f"{host}:{port} refused the connection", type="network.refused", effect="none")

    async def _addresses(self, host: str, port: int, timeout: float) -> list[Address]:
        try:
            addresses = [parse_address(host)]
        except ValueError:
            addresses = await self._lookup(host, port, timeout)
        for address in addresses:
            self._guard.check(host, port, address)
        return addresses

    async def _lookup(self, host: str, port: int, timeout: float) -> list[Address]:
        try:
            async with asyncio.timeout(timeout):
                addresses = [parse_address(answer) for answer in await self._resolve(host, port)]
        except TimeoutError:
            raise Transient(
                f"the name {host} was not resolved within {timeout:g} s", type="network.dns", effect="none"
            ) from None
        except (OSError, ValueError):
            addresses = []
        if not addresses:
            raise Transient(f"the name {host} has no address", type="network.dns", effect="none")
        return addresses

    def _check_peer(self, host: str, port: int, expected: Address, opened: socket.socket) -> None:
        self._guard.check_peer(host, port, expected, opened.getsockname()[0], opened.getpeername()[0])
