"""The only way out of the machine."""

import asyncio
import copy
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from socket import socket

import httpcore
import httpx
from msgspec import Struct

from plugins.egress.body import ACCEPT_ENCODING, is_encoded, read_body
from plugins.egress.dialer import CONNECT_TIMEOUT, Dialer
from plugins.egress.exchange import Exchange
from plugins.egress.guard import Guard
from plugins.egress.headers import checked_headers
from plugins.egress.resolver import Resolve, SystemResolver
from plugins.egress.url import host_of, parse_authority, parse_url, port_of
from plugins.sdk.errors import Permanent

USER_AGENT = "orchestration-gateway"
MAX_REDIRECTS = 3

#: Given the headers of a request that was answered 401, returns those to send it with once more; ``None``: leave it.
Reauthorize = Callable[[Mapping[str, str]], Awaitable[Mapping[str, str] | None]]

_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

_MAX_CONNECTIONS = 200
_MAX_IDLE = 50
# Under the 5 s after which common servers close an idle connection: a request that meets the closing is lost in
# between, and for a POST nobody could say whether it was acted on.
_IDLE_SECONDS = 4.0


class Response(Struct, frozen=True):
    """What a server answered, whatever the status."""

    status: int
    #: names in lower case; repeated ones joined by a comma
    headers: dict[str, str]
    #: decoded
    content: bytes
    #: after redirects; its query may hold what the caller put there
    url: str


def trusted_tls() -> ssl.SSLContext:
    """Trust what certifi trusts, whatever the environment says."""
    return httpx.create_ssl_context(trust_env=False)


class EgressClient:
    """HTTP and plain sockets to the public internet and to what the operator allows.

    Every connection is checked when it is made: the name is resolved once, each of its addresses must pass the guard,
    and the connection goes to the checked address. Nothing is taken from the environment: no proxies, no netrc. No
    cookies are kept. A client belongs to one event loop.

    Args:
        guard: decides on addresses.
        max_bytes: of one response, after decoding.
        timeout: seconds for one whole request: redirects, body and all.
        resolve: asks for the addresses of a name; the operating system by default.
        tls: makes the settings for TLS; those of httpx with the authorities of certifi by default.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        max_bytes: int = 10 * 2**20,
        timeout: float = 30.0,
        resolve: Resolve | None = None,
        tls: Callable[[], ssl.SSLContext] = trusted_tls,
    ) -> None:
        self._resolver = SystemResolver()
        self._dialer = Dialer(guard, resolve or self._resolver)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls(),
            max_connections=_MAX_CONNECTIONS,
            max_keepalive_connections=_MAX_IDLE,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=self._dialer,
        )
        self._make_tls = cache(tls)
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._restrictions: tuple[frozenset[tuple[str, int | None]], ...] = ()
        self._reauthorizations: tuple[Reauthorize, ...] = ()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        timeout: float | None = None,
        follow_redirects: bool = True,
        max_bytes: int | None = None,
    ) -> Response:
        """Send a request and read its answer. A status is never an error here.

        A redirect is followed at most three times, and checked like the first address. One to another origin carries
        none of the caller's headers but a few plain ones: no Authorization, no cookies, no API key.

        Raises:
            Permanent: ``egress.forbidden``, ``egress.invalidUrl``, ``egress.invalidRequest``, ``egress.tooLarge``,
                ``egress.tooManyRedirects``, ``egress.invalidResponse``, ``egress.untrusted`` (the certificate),
                ``credential.hostNotAllowed``.
            Transient: ``network.dns``, ``network.refused``, ``network.tls``, ``network.connectTimeout``: nothing
                was sent. ``network.timeout``, ``network.reset``: the request may have been acted on.
        """
        if method.upper() not in _METHODS:
            raise Permanent(f"{method!r} is not a method that can be sent", type="egress.invalidRequest")
        target = parse_url(url)
        if params:
            target = target.copy_merge_params(params)
        sending = {"accept": "*/*", "user-agent": USER_AGENT} | checked_headers(headers or {})
        seconds = self._timeout if timeout is None else timeout

        async def send(more: Mapping[str, str]) -> tuple[Exchange, Response]:
            exchange = Exchange(
                method=method.upper(),
                url=target,
                headers=sending | checked_headers(more) | {"accept-encoding": ACCEPT_ENCODING},
                content=content,
                limit=self._max_bytes if max_bytes is None else max_bytes,
            )
            with exchange.failures(seconds):
                async with asyncio.timeout(seconds):
                    return exchange, await self._follow(exchange, MAX_REDIRECTS if follow_redirects else None)

        exchange, response = await send({})
        for reauthorize in self._reauthorizations if response.status == 401 else ():
            # Who answers so has not acted.
            if (more := await reauthorize(exchange.headers)) is not None:
                return (await send(more))[1]
        return response

    async def connect(self, host: str, port: int, *, timeout: float = CONNECT_TIMEOUT) -> socket:
        """Return a connected, checked, non-blocking TCP socket, which the caller closes.

        Raises:
            Permanent: ``egress.forbidden``, ``egress.invalidUrl``, ``credential.hostNotAllowed``.
            Transient: ``network.dns``, ``network.refused``, ``network.connectTimeout``.
        """
        name = self.check(host, port)
        return await self._dialer.connect_socket(name, port, timeout)

    def check(self, host: str, port: int) -> str:
        """Return `host` as it is reached, if a connection made earlier may be used for this call.

        Raises:
            Permanent: ``egress.invalidUrl``, ``credential.hostNotAllowed``.
        """
        name, _ = parse_authority(f"[{host}]" if ":" in host else host)
        self._check_restrictions(name, port)
        return name

    @property
    def tls(self) -> ssl.SSLContext:
        """What to trust on a socket of `connect`. HTTP has its own: a protocol's name is part of it (ALPN)."""
        return self._make_tls()

    def restricted(self, hosts: Sequence[str]) -> "EgressClient":
        """Return a client over the same connections that reaches nothing but `hosts`, redirects included.

        Args:
            hosts: ``host`` (any port) or ``host:port``. None at all reach nothing. Restricting twice leaves what both
                allow.

        Raises:
            Permanent: type ``egress.invalidUrl``, an entry is not of this form.
        """
        client = copy.copy(self)
        client._restrictions = (*self._restrictions, frozenset(parse_authority(host) for host in hosts))
        return client

    def reauthorized(self, reauthorize: Reauthorize) -> "EgressClient":
        """Return a client over the same connections that sends a request once more, authorized anew, after a 401."""
        client = copy.copy(self)
        client._reauthorizations = (*self._reauthorizations, reauthorize)
        return client

    async def close(self) -> None:
        """Close all connections, those of restricted clients included."""
        await self._pool.aclose()
        self._resolver.close()

    def _check_restrictions(self, host: str, port: int) -> None:
        for hosts in self._restrictions:
            if (host, port) not in hosts and (host, None) not in hosts:
                raise Permanent(
                    f"the credential may not be used with {host}:{port}; add the host to its allowed hosts",
                    type="credential.hostNotAllowed",
                )

    async def _follow(self, exchange: Exchange, redirects: int | None) -> Response:
        while True:
            self._check_restrictions(host_of(exchange.url), port_of(exchange.url))
            async with self._send(exchange) as response:
                headers = _joined(response.headers)
                location = headers.get("location") if response.status in _REDIRECTS else None
                if redirects is None or location is None:
                    return await _answer(exchange, response, headers)
            if redirects == 0:
                raise Permanent(
                    f"{exchange.place} redirected more than {MAX_REDIRECTS} times", type="egress.tooManyRedirects"
                )
            redirects -= 1
            exchange.redirect(response.status, location)

    @asynccontextmanager
    async def _send(self, exchange: Exchange) -> AsyncIterator[httpcore.Response]:
        response = await self._pool.handle_async_request(exchange.message())
        try:
            yield response
        finally:
            await response.aclose()


async def _answer(exchange: Exchange, response: httpcore.Response, headers: dict[str, str]) -> Response:
    encoding = headers.get("content-encoding", "").strip().lower()
    content = await read_body(response.aiter_stream(), encoding=encoding, limit=exchange.limit)
    if is_encoded(encoding):
        headers = {name: headers[name] for name in headers if name not in ("content-encoding", "content-length")}
    return Response(response.status, headers, content, str(exchange.url))


def _joined(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined
