"""One mail handed to a mail server, and who of its recipients it was accepted for."""

import aiosmtplib
from aiosmtplib import errors
from msgspec import Struct

from plugins import Context, Permanent
from plugins.builtin.email.connections import SmtpConnections
from plugins.builtin.email.failures import failures, said
from plugins.builtin.email.server import SmtpServer

#: the server closes the connection: said of the conversation, not of a recipient
_CLOSING = 421


class Submission(Struct, frozen=True, kw_only=True):
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    #: an address or header is beyond ASCII (RFC 6531)
    utf8: bool = False


class Refusal(Struct, frozen=True, kw_only=True):
    """A recipient that the server does not take a mail for."""

    address: str
    status: int
    message: str

    @property
    def may_pass(self) -> bool:
        return self.status < 500


async def submit(
    ctx: Context, connections: SmtpConnections, server: SmtpServer, submission: Submission
) -> tuple[Refusal, ...]:
    """Hand over one mail for all recipients that the server takes; return those that it refuses.

    When it refuses all of them, nothing was sent.

    Raises:
        Transient: the server cannot be reached or asks to come back: nothing was sent. Lost after the message went
            out: unknown.
        Permanent: ``smtp.<code>``, the server refuses; ``smtp.authentication``, ``smtp.untrusted``, ``smtp.noTls``,
            ``smtp.noUtf8``, ``smtp.failed``.
    """
    async with connections.lend(ctx, server) as client:
        with failures(server.place, lost="none"):
            encoding = "utf-8" if submission.utf8 else "ascii"
            await client.mail(submission.sender, options=_options(client, server, submission), encoding=encoding)
            refusals = [
                refusal
                for recipient in submission.recipients
                if (refusal := await _recipient(client, recipient, encoding)) is not None
            ]
        if len(refusals) < len(submission.recipients):
            with failures(server.place, lost="unknown"):
                await client.data(submission.content)
        return tuple(refusals)


async def _recipient(client: aiosmtplib.SMTP, recipient: str, encoding: str) -> Refusal | None:
    try:
        await client.rcpt(recipient, encoding=encoding)
    except errors.SMTPRecipientRefused as error:
        if error.code == _CLOSING:
            raise
        return Refusal(address=recipient, status=error.code, message=said(error.message))
    return None


def _options(client: aiosmtplib.SMTP, server: SmtpServer, submission: Submission) -> list[str]:
    options = []
    if client.supports_extension("size"):
        # Refused before it is sent, where it is too large.
        options.append(f"SIZE={len(submission.content)}")
    if submission.utf8:
        if not client.supports_extension("smtputf8"):
            raise Permanent(
                f"{server.place} takes no addresses beyond ASCII (it offers no SMTPUTF8); use others",
                type="smtp.noUtf8",
            )
        options += ["SMTPUTF8", "BODY=8BITMIME"]
    return options
