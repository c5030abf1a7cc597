"""`email.send` and `email.sendTemplate`: mails by SMTP, sent again under the same Message-ID rather than lost."""

from email.headerregistry import Address
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field, structs

from plugins import Context, Permanent, Plugin, Smtp, SmtpCredential, Transient, plugin
from plugins.builtin.email.attachments import Attachment, load
from plugins.builtin.email.connections import SmtpConnections
from plugins.builtin.email.desk import Desk
from plugins.builtin.email.mailbox import is_ascii, one_line, parse_mailboxes
from plugins.builtin.email.message import Letter, compose
from plugins.builtin.email.senders import check_sender
from plugins.builtin.email.server import SmtpServer
from plugins.builtin.email.submission import Refusal, Submission, submit
from plugins.builtin.email.template import Filled, TemplateName, fill_in

MAX_RECIPIENTS = 100

Mailbox = Annotated[str, Meta(min_length=1, max_length=1000, description="ann@example.com or Ann <ann@example.com>")]
Mailboxes = Mailbox | Annotated[tuple[Mailbox, ...], Meta(max_length=MAX_RECIPIENTS)]


class Envelope(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    to: Annotated[Mailboxes, Meta(description="One address, several separated by commas, or a list.")]
    cc: Mailboxes = ()
    bcc: Annotated[Mailboxes, Meta(description="These recipients are not shown to anybody.")] = ()
    from_: Annotated[Mailbox, Meta(description="The sender, where the usual one is not meant.")] | None = field(
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


class Email(Envelope, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    subject: Annotated[str, Meta(max_length=900, description="One line.")]
    text: Annotated[str, Meta(description="The mail as plain text.")] | None = None
    html: Annotated[str, Meta(description="The mail as HTML; with text, both are sent.")] | None = None


class TemplatedEmail(Envelope, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    template: TemplateName
    data: Annotated[dict[str, Any], Meta(description="What the template is filled in with, by name.")] = {}


class EmailSent(Struct, frozen=True, kw_only=True, rename="camel"):
    message_id: str
    #: recipients that the server refused for good; all others have it
    refused: tuple[Refusal, ...] = ()


class Progress(Struct, frozen=True, kw_only=True):
    """Who needs no further attempt: what a checkpoint holds."""

    delivered: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()


def email_plugins(default: SmtpServer | None, connections: SmtpConnections, desk: Desk) -> tuple[Plugin, ...]:
    """Make `email.send` and `email.sendTemplate`.

    Args:
        default: sends the mails of nodes that bind no `smtp` credential; ``None`` makes the credential necessary.
        connections: to all servers.
        desk: knows the tenants' senders and templates.
    """
    post = Post(default, connections, desk)

    @plugin("email.send", version="1.1.0", effect="idempotent", credentials=[Smtp("smtp", optional=True)])
    async def email_send(config: Email, ctx: Context) -> EmailSent:
        """Send an e-mail to every recipient that the server takes it for.

        Those that are refused for now are tried again alone; those that are refused for good are told with the result,
        and it fails when nobody is left.
        """
        return await post.send(config, Filled(subject=config.subject, text=config.text, html=config.html), ctx)

    @plugin("email.sendTemplate", version="1.0.0", effect="idempotent", credentials=[Smtp("smtp", optional=True)])
    async def email_send_template(config: TemplatedEmail, ctx: Context) -> EmailSent:
        """Send an e-mail that one of the tenant's templates says, filled in with `data`; otherwise as `email.send`."""
        template = await desk.template(ctx.tenant_id, config.template)
        if template is None:
            raise Permanent(f"there is no template {config.template!r}", type="email.templateMissing")
        return await post.send(config, fill_in(template, config.data), ctx)

    return email_send, email_send_template


class Post:
    """Sends mails, whatever they say."""

    def __init__(self, default: SmtpServer | None, connections: SmtpConnections, desk: Desk) -> None:
        self._default = default
        self._connections = connections
        self._desk = desk

    async def send(self, config: Envelope, content: Filled, ctx: Context) -> EmailSent:
        server = _server(ctx, self._default)
        letter, envelope, bounces = await self._written(config, content, server, ctx)
        utf8 = not is_ascii((letter.sender, *letter.to, *letter.cc, *letter.reply_to, *envelope, bounces))
        message = compose(letter, key=ctx.idempotency_key, utf8=utf8)
        before = msgspec.convert(ctx.checkpoint or {}, Progress)
        settled = {*before.delivered, *(refusal.address for refusal in before.refused)}
        recipients = tuple(each.addr_spec for each in envelope if each.addr_spec not in settled)
        refusals: tuple[Refusal, ...] = ()
        if recipients:
            submission = Submission(
                sender=bounces.addr_spec, recipients=recipients, content=message.as_bytes(), utf8=utf8
            )
            refusals = await submit(ctx, self._connections, server, submission)
        after = _after(before, recipients, refusals)
        waiting = tuple(refusal for refusal in refusals if refusal.may_pass)
        if after != before and waiting:
            await ctx.save_checkpoint(msgspec.to_builtins(after))
        if waiting or not after.delivered:
            raise _failure(server, waiting or after.refused, after)
        return EmailSent(message_id=str(message["Message-ID"]), refused=after.refused)

    async def _written(
        self, config: Envelope, content: Filled, server: SmtpServer, ctx: Context
    ) -> tuple[Letter, tuple[Address, ...], Address]:
        """Return what is sent, to whom, and where bounces go."""
        to, cc, bcc = (parse_mailboxes(getattr(config, name), f"/{name}") for name in ("to", "cc", "bcc"))
        envelope = tuple({mailbox.addr_spec: mailbox for mailbox in (*to, *cc, *bcc)}.values())
        if not to or len(envelope) > MAX_RECIPIENTS:
            raise Permanent(
                f"a mail goes to 1 to {MAX_RECIPIENTS} recipients, this one to {len(envelope)}",
                type="email.invalidRecipients",
            )
        identity = await self._desk.identity(ctx.tenant_id)
        sender = _one(config.from_ or identity.sender or server.default_sender, "/from")
        check_sender(sender, "/from", server, identity.granted)
        bounces = sender
        if config.return_path is not None:
            bounces = _one(config.return_path, "/returnPath")
            check_sender(bounces, "/returnPath", server, identity.granted)
        letter = Letter(
            sender=sender,
            to=to,
            cc=cc,
            reply_to=parse_mailboxes(config.reply_to or identity.reply_to or (), "/replyTo"),
            subject=one_line(content.subject, "/subject"),
            text=content.text,
            html=content.html,
            unsubscribe_url=config.unsubscribe_url,
        )
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
        return SmtpServer(credential=credential, owner=ctx.tenant_id, any_sender=True)
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
