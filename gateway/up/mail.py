"""The mail catcher: a mailbox on disk that takes every message and shows it, and the SMTP side that fills it."""

import asyncio
import email
import os
import time
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from pathlib import Path
from typing import Any

import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session
from msgspec import Struct

from gateway.up.files import private_folder, write_private

log = structlog.get_logger()


class Mail(
    Struct, frozen=True, kw_only=True, rename={"sender": "from", "message_id": "messageId", "received_at": "receivedAt"}
):
    """A message as people read it: headers decoded, ``to`` as its header says, `recipients` as its envelope says."""

    sender: str
    to: str
    recipients: tuple[str, ...]
    subject: str
    text: str | None
    html: str | None
    message_id: str
    received_at: datetime


class Mailbox:
    """Every message received, newest first; one file each in `folder`, so that a restart loses none."""

    def __init__(self, folder: Path) -> None:
        self._folder = private_folder(folder)
        self._mails = [_read(file.read_bytes()) for file in sorted(folder.glob("*.eml"))]

    def newest_first(self) -> list[Mail]:
        return self._mails[::-1]

    async def keep(self, sender: str, recipients: list[str], content: bytes) -> None:
        """Store a message; it is on the disk when this returns."""
        received = datetime.now(UTC)
        # The envelope goes first, so that a header of the same name inside the message cannot stand in for it.
        envelope = (
            f"X-Envelope-From: {_one_line(sender)}\r\n"
            f"X-Envelope-To: {_one_line(', '.join(recipients))}\r\n"
            f"X-Received-At: {received.isoformat()}\r\n"
        )
        raw = envelope.encode() + content
        mail = _read(raw)
        await asyncio.to_thread(write_private, self._folder / f"{time.time_ns():020d}-{os.urandom(4).hex()}.eml", raw)
        self._mails.append(mail)

    def empty(self) -> None:
        for file in self._folder.glob("*.eml"):
            file.unlink(missing_ok=True)
        self._mails.clear()


class Catcher:
    """The SMTP side: takes mail from anyone for anyone, answering 250 only once it is on the disk."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def protocol(self) -> SMTP:
        """Make the protocol of one connection, for ``loop.create_server``."""
        return SMTP(self, hostname="localhost", ident="mail catcher", enable_SMTPUTF8=True)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        content: Any = envelope.content
        try:
            await self._mailbox.keep(envelope.mail_from or "", envelope.rcpt_tos, content)
        except OSError as error:
            log.warning("mail.notKept", error=str(error))
            return "451 The message could not be stored"
        return "250 Kept"


def _read(raw: bytes) -> Mail:
    message = email.message_from_bytes(raw, policy=SMTP_POLICY)
    return Mail(
        sender=_header(message, "From"),
        to=_header(message, "To"),
        recipients=tuple(part for part in _header(message, "X-Envelope-To").split(", ") if part),
        subject=_header(message, "Subject"),
        text=_body(message, "plain"),
        html=_body(message, "html"),
        message_id=_header(message, "Message-ID"),
        received_at=datetime.fromisoformat(_header(message, "X-Received-At")),
    )


def _header(message: EmailMessage, name: str) -> str:
    return str(message.get(name, "")).strip()


def _body(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body((kind,))
    if part is None:
        return None
    try:
        content = part.get_content()
    except LookupError:  # a charset that Python does not know
        payload = part.get_payload(decode=True)
        content = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
    return str(content).replace("\r\n", "\n").rstrip("\n")


def _one_line(value: str) -> str:
    return " ".join(value.split())
