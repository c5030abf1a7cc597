"""Connections to mail servers, kept for a while: a login costs more than a mail."""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiosmtplib
import msgspec
from aiosmtplib import errors
from msgspec import Struct, field

from plugins import Context, Permanent
from plugins.builtin.email.failures import failures
from plugins.builtin.email.mailbox import parse_mailboxes
from plugins.builtin.email.server import SmtpServer

#: Seconds for one answer of the server; the call's own timeout bounds them all.
_ANSWER_TIMEOUT = 30.0
#: Seconds in which a connection that rested has to show that it lives, and one that ends may say so.
_LAST_MOMENT = 3.0
#: Mails after which a connection is given up: some servers count, and say so in ways of their own.
_MOST_MAILS = 100
#: Connections that rest, in all.
_MOST_RESTING = 64


class _Connection(Struct, eq=False):
    client: aiosmtplib.SMTP
    mails: int = 0
    #: ends it, when nobody has asked for it by then
    timer: asyncio.TimerHandle | None = None


class _Place(Struct, eq=False):
    """One server with one login."""

    room: asyncio.Semaphore
    users: int = 0
    resting: list[_Connection] = field(default_factory=list)


class SmtpConnections:
    """Lends connections, each to one mail at a time, and keeps those that were left in order.

    A connection is for one server, one login and one owner of it: a tenant never sends by another's. Make one per
    process; it belongs to one event loop.

    Args:
        most: connections at a time to one place; who finds none free waits.
        idle: seconds that a connection may rest; 0 keeps none.
    """

    def __init__(self, *, most: int = 8, idle: float = 30.0) -> None:
        self._most = most
        self._idle = idle
        self._places: dict[bytes, _Place] = {}
        # Names of places hold no password, nor anything by which one could be found.
        self._secret = secrets.token_bytes(32)

    @asynccontextmanager
    async def lend(self, ctx: Context, server: SmtpServer) -> AsyncIterator[aiosmtplib.SMTP]:
        """Lend a connection that is logged in. Left by an exception, it is given up.

        Raises:
            Transient: the server cannot be reached or asks to come back: nothing was sent.
            Permanent: ``smtp.authentication``, ``smtp.untrusted``, ``smtp.noTls``, or the egress guard's.
        """
        # A credential may have lost hosts since the connection was made.
        ctx.http_for("smtp").check(server.credential.host, server.credential.port)
        name = self._name(server)
        place = self._places.setdefault(name, _Place(room=asyncio.Semaphore(self._most)))
        place.users += 1
        try:
            async with place.room:
                connection = await self._rested(place) or _Connection(await _open(ctx, server))
                try:
                    yield connection.client
                except BaseException:
                    connection.client.close()
                    raise
                connection.mails += 1
                self._rest(name, place, connection)
        finally:
            place.users -= 1
            self._forget(name, place)

    async def close(self) -> None:
        """Take leave of every server."""
        resting = [connection for place in self._places.values() for connection in place.resting]
        self._places.clear()
        await asyncio.gather(*map(_quit, resting))

    async def _rested(self, place: _Place) -> _Connection | None:
        """Return a connection that rested and still lives."""
        while place.resting:
            connection = place.resting.pop()
            if connection.timer is not None:
                connection.timer.cancel()
            try:
                await connection.client.rset(timeout=_LAST_MOMENT)
            except (errors.SMTPException, OSError):
                connection.client.close()
            except BaseException:
                connection.client.close()
                raise
            else:
                return connection
        return None

    def _rest(self, name: bytes, place: _Place, connection: _Connection) -> None:
        resting = sum(len(place.resting) for place in self._places.values())
        is_over = connection.mails >= _MOST_MAILS or resting >= _MOST_RESTING or self._places.get(name) is not place
        if is_over or not self._idle or not connection.client.is_connected:
            connection.client.close()
            return

        def expire() -> None:
            place.resting.remove(connection)
            connection.client.close()
            self._forget(name, place)

        connection.timer = asyncio.get_running_loop().call_later(self._idle, expire)
        place.resting.append(connection)

    def _forget(self, name: bytes, place: _Place) -> None:
        if not place.users and not place.resting and self._places.get(name) is place:
            del self._places[name]

    def _name(self, server: SmtpServer) -> bytes:
        credential = server.credential
        password = None if credential.password is None else credential.password.reveal()
        login = [server.owner, credential.host, credential.port, credential.security, credential.username, password]
        return hmac.digest(self._secret, msgspec.json.encode(login), hashlib.sha256)


async def _open(ctx: Context, server: SmtpServer) -> aiosmtplib.SMTP:
    credential = server.credential
    http = ctx.http_for("smtp")
    opened = await http.connect(credential.host, credential.port)
    client = aiosmtplib.SMTP(
        hostname=credential.host,
        sock=opened,
        use_tls=credential.security == "tls",
        start_tls=False,
        tls_context=http.tls,
        timeout=_ANSWER_TIMEOUT,
        local_hostname=parse_mailboxes(server.default_sender, "from")[0].domain,
    )
    try:
        with failures(server.place, lost="none"):
            await client.connect()
            if credential.security == "starttls":
                await _start_tls(client, server)
            if credential.username is not None:
                await _log_in(client, server)
            else:
                # Greets, by HELO where EHLO is unknown.
                await client.rset()
    except BaseException:
        # The socket is the connection's own by now, and closes with it.
        client.close()
        raise
    return client


async def _start_tls(client: aiosmtplib.SMTP, server: SmtpServer) -> None:
    await client.ehlo()
    if not client.supports_extension("starttls"):
        # Going on without would show the password to whoever removed the offer.
        raise Permanent(f"{server.place} offers no STARTTLS", type="smtp.noTls")
    await client.starttls()


async def _log_in(client: aiosmtplib.SMTP, server: SmtpServer) -> None:
    credential = server.credential
    await client.ehlo()
    if not client.supports_extension("auth"):
        raise Permanent(f"{server.place} offers no way to log in", type="smtp.authentication")
    password = "" if credential.password is None else credential.password.reveal()
    await client.login(credential.username or "", password)


async def _quit(connection: _Connection) -> None:
    if connection.timer is not None:
        connection.timer.cancel()
    with suppress(errors.SMTPException, OSError):
        await connection.client.quit(timeout=_LAST_MOMENT)
    connection.client.close()
