"""The message of a mail, as it is written for the wire."""

from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage, MIMEPart
from email.policy import SMTP, SMTPUTF8
from typing import Any

from msgspec import Struct

from plugins.builtin.email.attachments import File

# All of a message in ASCII: it passes servers that know no 8BITMIME.
_POLICY = SMTP.clone(cte_type="7bit")


class Letter(Struct, frozen=True, kw_only=True):
    """Everything that a recipient sees, checked."""

    sender: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    subject: str
    text: str | None = None
    html: str | None = None
    files: tuple[File, ...] = ()
    unsubscribe_url: str | None = None


def compose(letter: Letter, *, key: str, utf8: bool = False) -> EmailMessage:
    """Write the message; its Message-ID follows from the idempotency `key`, whatever the attempt.

    Args:
        letter: what it says.
        key: of the call.
        utf8: with headers beyond ASCII (RFC 6532), for addresses that need them.
    """
    message = EmailMessage(policy=SMTPUTF8 if utf8 else _POLICY)
    message["From"] = letter.sender
    message["To"] = letter.to
    if letter.cc:
        message["Cc"] = letter.cc
    if letter.reply_to:
        message["Reply-To"] = letter.reply_to
    message["Subject"] = letter.subject
    message["Date"] = datetime.now(UTC)
    # 128 bits of the key: on a longer line the header would be folded, which some readers do not undo.
    message["Message-ID"] = f"<{key[:32]}@{letter.sender.domain}>"
    # RFC 3834: tells out-of-office replies to stay away.
    message["Auto-Submitted"] = "auto-generated"
    if letter.unsubscribe_url is not None:
        message["List-Unsubscribe"] = f"<{letter.unsubscribe_url}>"
        # RFC 8058: one click, without a page in between.
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    _write_body(message, letter)
    return message


def _write_body(message: EmailMessage, letter: Letter) -> None:
    if letter.html is None:
        message.set_content(letter.text or "")
    elif letter.text is None:
        message.set_content(letter.html, subtype="html")
    else:
        message.set_content(letter.text)
        message.add_alternative(letter.html, subtype="html")
    page = message.get_body(("html",))
    for file in letter.files:
        _attach(message, page if file.content_id is not None and page is not None else None, file)


def _attach(message: EmailMessage, page: MIMEPart | None, file: File) -> None:
    maintype, _, subtype = file.content_type.partition("/")
    params = None if file.charset is None else {"charset": file.charset}
    written: dict[str, Any] = {"maintype": maintype, "subtype": subtype, "filename": file.filename, "params": params}
    if page is None:
        message.add_attachment(file.content, **written)
    else:
        page.add_related(file.content, **written, disposition="inline", cid=f"<{file.content_id}>")
