"""`email.send`: a mail by SMTP, sent again under the same Message-ID rather than lost."""

import base64
import binascii
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Annotated

from msgspec import Meta, Struct, field

from plugins import Context, Permanent, Plugin, Smtp, SmtpCredential, plugin
from plugins.builtin.mailbox import one_line, parse_mailboxes
from plugins.builtin.smtp import SmtpServer, Submission, submit

MAX_RECIPIENTS = 100

# All of a message in ASCII: it passes servers that know no 8BITMIME.
_POLICY = SMTP.clone(cte_type="7bit")

Mailbox = Annotated[str, Meta(min_length=1, max_length=1000, description="ann@example.com or Ann <ann@example.com>")]
Mailboxes = Mailbox | Annotated[tuple[Mailbox, ...], Meta(max_length=MAX_RECIPIENTS)]


class Attachment(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    filename: Annotated[str, Meta(min_length=1, max_length=255)]
    content: Annotated[str, Meta(description="The file in base64.")]
    content_type: Annotated[str, Meta(pattern=r"^[a-z0-9.+-]+/[A-Za-z0-9.+-]+$(?!\n)")] = "application/octet-stream"


class Email(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    to: Annotated[Mailboxes, Meta(description="One address, several separated by commas, or a list.")]
    subject: Annotated[str, Meta(max_length=900, description="One line.")]
    cc: Mailboxes = ()
    bcc: Annotated[Mailboxes, Meta(description="These recipients are not shown to anybody.")] = ()
    text: Annotated[str, Meta(description="The mail as plain text.")] | None = None
    html: Annotated[str, Meta(description="The mail as HTML; with text, both are sent.")] | None = None
    from_: Annotated[Mailbox, Meta(description="The sender, where the server's own is not meant.")] | None = field(
        name="from", default=None
    )
    reply_to: Mailboxes = ()
    attachments: Annotated[tuple[Attachment, ...], Meta(max_length=20)] = ()


class EmailSent(Struct, frozen=True, kw_only=True, rename="camel"):
    message_id: str


def email_plugin(default: SmtpServer | None) -> Plugin:
    """Make `email.send`.

    Args:
        default: sends the mails of nodes that bind no `smtp` credential; ``None`` makes the credential necessary.
    """

    @plugin("email.send", version="1.0.0", effect="idempotent", credentials=[Smtp("smtp", optional=True)])
    async def email_send(config: Email, ctx: Context) -> EmailSent:
        """Send an e-mail. Either every recipient's mail is accepted or none is sent."""
        server = _server(ctx, default)
        sender = _sender(config, server)
        recipients = [parse_mailboxes(getattr(config, name), name) for name in ("to", "cc", "bcc")]
        envelope = tuple(dict.fromkeys(mailbox.addr_spec for group in recipients for mailbox in group))
        if not recipients[0] or len(envelope) > MAX_RECIPIENTS:
            raise Permanent(
                f"a mail goes to 1 to {MAX_RECIPIENTS} recipients, this one to {len(envelope)}",
                type="email.invalidRecipients",
            )
        message = compose(config, sender, recipients[0], recipients[1], key=ctx.idempotency_key)
        await submit(ctx, server, Submission(sender=sender.addr_spec, recipients=envelope, content=message.as_bytes()))
        return EmailSent(message_id=str(message["Message-ID"]))

    return email_send


def compose(
    config: Email, sender: Address, to: tuple[Address, ...], cc: tuple[Address, ...], *, key: str
) -> EmailMessage:
    """Write the message; its Message-ID follows from the idempotency `key`, whatever the attempt.

    Raises:
        Permanent: ``email.invalidHeader``, ``email.invalidAddress``, ``email.invalidAttachment``.
    """
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["To"] = to
    if cc:
        message["Cc"] = cc
    if reply_to := parse_mailboxes(config.reply_to, "replyTo"):
        message["Reply-To"] = reply_to
    message["Subject"] = one_line(config.subject, "subject")
    message["Date"] = datetime.now(UTC)
    message["Message-ID"] = f"<{key}@{sender.domain}>"
    # RFC 3834: tells out-of-office replies to stay away.
    message["Auto-Submitted"] = "auto-generated"
    if config.html is None:
        message.set_content(config.text or "")
    elif config.text is None:
        message.set_content(config.html, subtype="html")
    else:
        message.set_content(config.text)
        message.add_alternative(config.html, subtype="html")
    for attachment in config.attachments:
        _attach(message, attachment)
    return message


def _attach(message: EmailMessage, attachment: Attachment) -> None:
    filename = one_line(attachment.filename, "attachments/filename")
    try:
        content = base64.b64decode(attachment.content, validate=True)
    except (binascii.Error, ValueError):
        raise Permanent(f"the content of {filename!r} is not base64", type="email.invalidAttachment") from None
    maintype, _, subtype = attachment.content_type.partition("/")
    message.add_attachment(content, maintype=maintype, subtype=subtype, filename=filename)


def _server(ctx: Context, default: SmtpServer | None) -> SmtpServer:
    if ctx.has_credential("smtp"):
        credential = ctx.credential("smtp")
        if not isinstance(credential, SmtpCredential):
            raise Permanent("the credential in slot 'smtp' is not of type smtp", type="credential.unsuitable")
        return SmtpServer(credential=credential)
    if default is None:
        raise Permanent(
            "this installation has no mail server of its own; bind an smtp credential", type="credential.missing"
        )
    return default


def _sender(config: Email, server: SmtpServer) -> Address:
    mailboxes = parse_mailboxes(config.from_ or server.default_sender, "from")
    if len(mailboxes) != 1:
        raise Permanent("a mail has one sender", type="email.invalidAddress")
    return mailboxes[0]
