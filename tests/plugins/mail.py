"""A real SMTP server on loopback that answers as a test tells it to."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from msgspec import Struct, field


class Mail(Struct, kw_only=True):
    sender: str
    recipients: list[str]
    content: bytes
    #: the user who logged in
    user: str | None
    encrypted: bool

    @property
    def message(self) -> EmailMessage:
        message = message_from_bytes(self.content, policy=default)
        assert isinstance(message, EmailMessage)
        return message


def _drop(connection: SMTP) -> None:
    if isinstance(connection.transport, asyncio.WriteTransport):
        connection.transport.abort()


class MailServer(Struct, kw_only=True):
    port: int
    mails: list[Mail] = field(default_factory=list)
    #: recipient → the answer to it, where it is not accepted
    refusals: dict[str, str] = field(default_factory=dict)
    #: what answers to the next contents, in turn; ``None`` hangs up
    answers: list[str | None] = field(default_factory=list)
    users: dict[str, str] = field(default_factory=dict)
    #: connections and logins so far
    connections: int = 0
    logins: int = 0
    open: list[SMTP] = field(default_factory=list)

    async def receives(self, count: int) -> None:
        """Wait until so many mails are there."""
        async with asyncio.timeout(60):
            while len(self.mails) < count:
                await asyncio.sleep(0.01)

    def hang_up(self) -> None:
        """Drop every connection, as a server does that is started anew."""
        for connection in self.open:
            _drop(connection)
        self.open.clear()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert server.transport is not None
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer is None:
            _drop(server)
            return "250 never heard"
        if answer.startswith("2"):
            user = session.auth_data.login.decode() if session.auth_data else None
            self.mails.append(
                Mail(
                    sender=envelope.mail_from or "",
                    recipients=list(envelope.rcpt_tos),
                    content=envelope.content if isinstance(envelope.content, bytes) else b"",
                    user=user,
                    encrypted=server.transport is not None
                    and server.transport.get_extra_info("sslcontext") is not None,
                )
            )
        return answer

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins += 1
        known = self.users.get(data.login.decode()) == data.password.decode()
        return AuthResult(success=known, handled=False, auth_data=data)


@asynccontextmanager
async def open_mail_server(
    *,
    tls: ssl.SSLContext | None = None,
    starttls: ssl.SSLContext | None = None,
    utf8: bool = True,
    most_bytes: int = 33_554_432,
    mechanisms: tuple[str, ...] = ("LOGIN", "PLAIN"),
) -> AsyncIterator[MailServer]:
    """Serve SMTP: in the clear, from the first byte in TLS (`tls`), or with STARTTLS and logins (`starttls`)."""
    mails = MailServer(port=0)

    def protocol() -> SMTP:
        connection = SMTP(
            mails,
            hostname="mail.test",
            tls_context=starttls,
            authenticator=mails.authenticate,
            auth_require_tls=True,
            auth_exclude_mechanism=[each for each in ("LOGIN", "PLAIN") if each not in mechanisms],
            enable_SMTPUTF8=utf8,
            data_size_limit=most_bytes,
            loop=asyncio.get_running_loop(),
        )
        mails.connections += 1
        mails.open.append(connection)
        return connection

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=tls)
    mails.port = server.sockets[0].getsockname()[1]
    yield mails
    server.close()
    mails.hang_up()
    await server.wait_closed()
