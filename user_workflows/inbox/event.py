"""What came in from the world, as it came: from it what expressions see is made, as often as it is delivered."""

import zlib
from typing import Any, Literal

import msgspec
from msgspec import Struct

from user_workflows.errors import UnreadableEvent

#: bytes that a packed body may unpack to: as many as one that is not packed may have
MAX_UNPACKED = 2**20

#: accepted    it started an execution
#: unreadable  its signature is good, its body is not what it says to be; it started nothing
#: refused     a cap kept it outside, and its sender was told so; it is accepted when it comes, or is delivered, again
Verdict = Literal["accepted", "unreadable", "refused"]


class RawEvent(Struct, frozen=True, kw_only=True):
    """One delivery to a webhook, or one CloudEvent as its JSON format has it. Its signature was checked before."""

    type: Literal["webhook", "event"]
    #: what its sender calls it: equal when it is sent again
    delivery_id: str
    method: str
    #: without those that carry secrets
    headers: dict[str, str]
    #: a list where a name comes more than once
    query: dict[str, Any]
    body: bytes

    def payload(self) -> Any:
        """Return what expressions see as ``trigger``.

        Raises:
            UnreadableEvent: the body is not the JSON that its type promises, or does not unpack to a moderate size.
        """
        if self.type == "event":
            return _decode(self.body)
        packed = self.headers.get("content-encoding", "").strip().lower() == "gzip"
        body = _parse(self.headers.get("content-type", ""), _unpack(self.body) if packed else self.body)
        return {"method": self.method, "headers": self.headers, "query": self.query, "body": body}


def _unpack(body: bytes) -> bytes:
    """Return what was packed: the signature, which was checked before, is of the packed bytes."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacker.decompress(body, MAX_UNPACKED)
    except zlib.error:
        raise UnreadableEvent("the body is not what its Content-Encoding, gzip, promises") from None
    if not unpacker.eof:
        raise UnreadableEvent(f"the body unpacks to more than {MAX_UNPACKED:,} bytes, or is cut off")
    return unpacked


def _parse(content_type: str, body: bytes) -> Any:
    if not body:
        return None
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        return body.decode(errors="replace")
    return _decode(body)


def _decode(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableEvent(f"the body is not valid JSON: {error}") from None
