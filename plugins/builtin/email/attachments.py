"""What goes along with a mail: given with it, or fetched from where it lies.

Nothing is attached by an id of ours: what this system stores aside (`plugins.storage.blobs`) are parts of executions,
sealed, gone with them, and named to nobody. What an earlier step gave is attached by an expression in `content` or
`text`, within what an expression may give; a larger file by the `url` of where that step has put it.
"""

import base64
import binascii
import re
from typing import Annotated

from msgspec import Meta, Struct, field

from plugins import Context, Permanent, Transient
from plugins.builtin.content_type import charset, media_type
from plugins.builtin.email.mailbox import one_line
from plugins.builtin.status import status_error

#: bytes of all attachments of a mail, before they are encoded: with that a third more, as many servers take
MAX_ATTACHED = 10 * 2**20

_CONTENT_TYPE = r"^[a-z0-9.+-]+/[A-Za-z0-9.+-]+$(?!\n)"
_CHARSET = re.compile(r"[A-Za-z0-9._:+-]{1,40}")
#: Messages within the message: they may not be encoded, as files are (RFC 2046, 5.1 and 5.2.1).
_COMPOSITE = ("multipart/", "message/")
_BYTES = "application/octet-stream"


class Attachment(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A file: one of `content`, `text` and `url` says what is in it."""

    filename: Annotated[str, Meta(min_length=1, max_length=255)]
    content: Annotated[str, Meta(description="The file in base64.")] | None = None
    text: Annotated[str, Meta(description="The file as text, in UTF-8.")] | None = None
    url: (
        Annotated[str, Meta(pattern=r"^https?://", max_length=8192, description="Where it is fetched from, by GET.")]
        | None
    ) = None
    content_type: (
        Annotated[str, Meta(pattern=_CONTENT_TYPE, description="What `url` says, or application/octet-stream.")] | None
    ) = None
    content_id: (
        Annotated[
            str, Meta(pattern=r"^[A-Za-z0-9._-]{1,100}$(?!\n)", description='Shown within the HTML, by src="cid:…".')
        ]
        | None
    ) = field(default=None)


class File(Struct, frozen=True, kw_only=True):
    """An attachment that is there."""

    filename: str
    #: without parameters
    content_type: str
    #: of a text
    charset: str | None
    content: bytes
    content_id: str | None


async def load(attachments: tuple[Attachment, ...], ctx: Context) -> tuple[File, ...]:
    """Decode and fetch attachments.

    Raises:
        Permanent: ``email.invalidAttachment``, ``email.tooLarge``, or why a URL cannot be fetched.
        Transient: a URL may be fetched later; nothing was sent.
    """
    files, room = [], MAX_ATTACHED
    for index, attachment in enumerate(attachments):
        pointer = f"/attachments/{index}"
        _check(attachment, pointer)
        found = await _content(attachment, pointer, room, ctx)
        room -= len(found.content)
        if room < 0:
            raise _too_large(pointer)
        content_type = attachment.content_type or found.content_type
        files.append(
            File(
                filename=attachment.filename,
                content_type=content_type,
                charset=found.charset if content_type.startswith("text/") else None,
                content=found.content,
                content_id=attachment.content_id,
            )
        )
    return tuple(files)


class _Found(Struct, frozen=True):
    content: bytes
    content_type: str = _BYTES
    charset: str | None = None


def _check(attachment: Attachment, pointer: str) -> None:
    given = [each for each in (attachment.content, attachment.text, attachment.url) if each is not None]
    if len(given) != 1:
        raise Permanent(f"{pointer} needs one of content, text and url", type="email.invalidAttachment")
    one_line(attachment.filename, f"{pointer}/filename")
    if attachment.content_type is not None and attachment.content_type.startswith(_COMPOSITE):
        raise Permanent(
            f"{pointer}/contentType, {attachment.content_type}, is of a message, not of a file; say {_BYTES}",
            type="email.invalidAttachment",
        )


async def _content(attachment: Attachment, pointer: str, room: int, ctx: Context) -> _Found:
    if attachment.url is not None:
        return await _fetch(attachment.url, pointer, room, ctx)
    if attachment.text is not None:
        return _Found(attachment.text.encode(), "text/plain", "utf-8")
    try:
        return _Found(base64.b64decode(attachment.content or "", validate=True))
    except (binascii.Error, ValueError):
        raise Permanent(
            f"{pointer}/content, of {attachment.filename!r}, is not base64", type="email.invalidAttachment"
        ) from None


async def _fetch(url: str, pointer: str, room: int, ctx: Context) -> _Found:
    try:
        # The mail server's login does not go there.
        response = await ctx.http_for(None).request("GET", url, max_bytes=max(room, 1))
        if not 200 <= response.status < 300:
            raise status_error(response)
    except Transient as error:
        # Fetching changes nothing, and the mail was not sent yet.
        raise Transient(
            f"{pointer}/url: {error.message}",
            type=error.type,
            effect="none",
            status=error.status,
            retry_after=error.retry_after,
        ) from None
    except Permanent as error:
        if error.type == "egress.tooLarge":
            raise _too_large(pointer) from None
        raise Permanent(f"{pointer}/url: {error.message}", type=error.type, status=error.status) from None
    header = response.headers.get("content-type", "")
    found, said = media_type(header), charset(header)
    is_known = re.fullmatch(_CONTENT_TYPE, found) and not found.startswith(_COMPOSITE)
    is_named = said is not None and _CHARSET.fullmatch(said)
    return _Found(response.content, found if is_known else _BYTES, said if is_named else None)


def _too_large(pointer: str) -> Permanent:
    return Permanent(
        f"with {pointer} the attachments are over {MAX_ATTACHED // 2**20} MiB, the most of a mail; link to it instead",
        type="email.tooLarge",
    )
