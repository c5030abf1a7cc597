"""`email.send`: a mail by SMTP, sent again under the same Message-ID rather than lost."""

from email.headerregistry import Address
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, field, structs

from plugins import Context, Permanent, Plugin, Smtp, SmtpCredential, Transient, plugin
from plugins.builtin.email.attachments import Attachment, load
from plugins.builtin.email.connections import SmtpConnections
from plugins.builtin.email.mailbox import is_ascii, one_line, parse_mailboxes
from plugins.builtin.email.message import Letter, compose
from plugins.builtin.email.server import SmtpServer
from plugins.builtin.email.submission import Refusal, Submission, submit

MAX_RECIPIENTS = 100

Mailbox = Annotated[str, Meta(min_length=1, max_length=1000, description="ann@example.com or Ann <ann@example.com>")]
Mailboxes = Mailbox | Annotated[tuple[Mailbox, ...], Meta(max_length=MAX_RECIPIENTS)]


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
    return_path: Annotated[Mailbox, Meta(description="Where bounces go, if not to the sender.")] | None = None
    unsubscribe_url: (
        Annotated[
            str, Meta(pattern=r"^https://[!-;=?-~]+$(?!\n)", max_length=2000, description="For List-Unsubscribe.")
        ]
        | None
    ) = None
    attachments: Annotated[tuple[Attachment, ...], Meta(max_length=20)] = ()


class EmailSent(Struct, frozen=True, kw_only=True, rename="camel"):
    message_id: str
    #: recipients that the server refused for good; all others have it
    refused: tuple[Refusal, ...] = ()


class Progress(Struct, frozen=True, kw_only=True):
    """Who needs no further attempt: what a checkpoint holds."""

    delivered: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()


def email_plugin(default: SmtpServer | None, connections: SmtpConnections) -> Plugin:
    """Make `email.send`.

    Args:
        default: sends the mails of nodes that bind no `smtp` credential; ``None`` makes the credential necessary.
        connections: to all servers.
    """

    @plugin("email.send", version="1.1.0", effect="idempotent", credentials=[Smtp("smtp", optional=True)])
    async def email_send(config: Email, ctx: Context) -> EmailSent:
        """Send an e-mail to every recipient that the server takes it for.

        Those that are refused for now are tried again alone; those that are refused for good are told with the result,
        and it fails when nobody is left.
        """
        server = _server(ctx, default)
        letter, envelope, sender = await _written(config, server, ctx)
        utf8 = not is_ascii((letter.sender, *letter.to, *letter.cc, *letter.reply_to, *envelope, sender))
        message = compose(letter, key=ctx.idempotency_key, utf8=utf8)
        before = msgspec.convert(ctx.checkpoint or {}, Progress)
        settled = {*before.delivered, *(refusal.address for refusal in before.refused)}
        recipients = tuple(each.addr_spec for each in envelope if each.addr_spec not in settled)
        refusals: tuple[Refusal, ...] = ()
        if recipients:
            content = message.as_bytes()
            submission = Submission(sender=sender.addr_spec, recipients=recipients, content=content, utf8=utf8)
            refusals = await submit(ctx, connections, server, submission)
        after = _after(before, recipients, refusals)
        waiting = tuple(refusal for refusal in refusals if refusal.may_pass)
        if after != before and waiting:
            await ctx.save_checkpoint(msgspec.to_builtins(after))
        if waiting or not after.delivered:
            raise _failure(server, waiting or after.refused, after)
        return EmailSent(message_id=str(message["Message-ID"]), refused=after.refused)

    return email_send


async def _written(config: Email, server: SmtpServer, ctx: Context) -> tuple[Letter, tuple[Address, ...], Address]:
    """Return what is sent, to whom, and where bounces go."""
    to, cc, bcc = (parse_mailboxes(getattr(config, name), f"/{name}") for name in ("to", "cc", "bcc"))
    envelope = tuple({mailbox.addr_spec: mailbox for mailbox in (*to, *cc, *bcc)}.values())
    if not to or len(envelope) > MAX_RECIPIENTS:
        raise Permanent(
            f"a mail goes to 1 to {MAX_RECIPIENTS} recipients, this one to {len(envelope)}",
            type="email.invalidRecipients",
        )
    sender = _one(config.from_ or server.default_sender, "/from")
    letter = Letter(
        sender=sender,
        to=to,
        cc=cc,
        reply_to=parse_mailboxes(config.reply_to, "/replyTo"),
        subject=one_line(config.subject, "/subject"),
        text=config.text,
        html=config.html,
        unsubscribe_url=config.unsubscribe_url,
    )
    bounces = sender if config.return_path is None else _one(config.return_path, "/returnPath")
    return structs.replace(letter, files=await load(config.attachments, ctx)), envelope, bounces


def _after(before: Progress, recipients: tuple[str, ...], refusals: tuple[Refusal, ...]) -> Progress:
    refused = {refusal.address for refusal in refusals}
    return Progress(
        delivered=(*before.delivered, *(each for each in recipients if each not in refused)),
        refused=(*before.refused, *(refusal for refusal in refusals if not refusal.may_pass)),
    )


def _failure(server: SmtpServer, refusals: tuple[Refusal, ...], progress: Progress) -> Permanent | Transient:
    """Say for whom the mail was not taken; whether anything was sent decides how it may be repeated."""
    first = refusals[0]
    others = f", and {len(refusals) - 1} more" if len(refusals) > 1 else ""
    message = f"{server.place} answered {first.status} for {first.address}{others}: {first.message}"
    if progress.delivered:
        message += f"; {len(progress.delivered)} others have it, and get it no second time"
    type = f"smtp.{first.status}"
    if first.may_pass:
        return Transient(message, type=type, status=first.status, effect="unknown" if progress.delivered else "none")
    return Permanent(message, type=type, status=first.status)


def _server(ctx: Context, default: SmtpServer | None) -> SmtpServer:
    if ctx.has_credential("smtp"):
        credential = ctx.credential("smtp")
        if not isinstance(credential, SmtpCredential):
            raise Permanent("the credential in slot 'smtp' is not of type smtp", type="credential.unsuitable")
        return SmtpServer(credential=credential, owner=ctx.tenant_id)
    if default is None:
        raise Permanent(
            "this installation has no mail server of its own; bind an smtp credential", type="credential.missing"
        )
    return default


def _one(text: str, pointer: str) -> Address:
    mailboxes = parse_mailboxes(text, pointer)
    if len(mailboxes) != 1:
        raise Permanent(f"{pointer} names {len(mailboxes)} senders; a mail has one", type="email.invalidAddress")
    return mailboxes[0]
