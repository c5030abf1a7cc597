"""Response bodies: decoded piece by piece, and never larger in memory than allowed."""

import zlib
from collections.abc import AsyncIterable

from plugins.sdk.errors import Permanent

#: What the client asks for and can decode.
ACCEPT_ENCODING = "gzip, deflate"

_AUTO = zlib.MAX_WBITS | 32  # gzip or zlib, by the header
_GZIP = b"\x1f\x8b"
_RAW = -zlib.MAX_WBITS  # what some servers call deflate


def is_encoded(encoding: str) -> bool:
    """Tell whether `read_body` decodes this Content-Encoding; others are passed on as they came."""
    return encoding in {"gzip", "x-gzip", "deflate"}


async def read_body(chunks: AsyncIterable[bytes], *, encoding: str, limit: int) -> bytes:
    """Read a body to its end, at most `limit` bytes after decoding.

    httpx's own decoders expand a whole chunk at once, a thousandfold for a hostile one; here no piece outgrows `limit`.

    Raises:
        Permanent: type ``egress.tooLarge``, as soon as it shows; ``egress.invalidResponse``, the encoding is broken.
    """
    body = bytearray()
    inflater = Inflater() if is_encoded(encoding) else None
    async for chunk in chunks:
        body += chunk if inflater is None else inflater.feed(chunk, limit - len(body) + 1)
        if len(body) > limit:
            raise Permanent(f"the answer is larger than {limit:,} bytes", type="egress.tooLarge")
    if inflater is not None:
        inflater.finish()
    return bytes(body)


class Inflater:
    """Decodes gzip, zlib and raw deflate, gzip of several members included. What follows the end is ignored."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_AUTO)
        #: whether there is more to come of the present member
        self._within = False
        self._members = 0

    def feed(self, data: bytes, room: int) -> bytes:
        """Decode `data`; what comes back is cut off at `room` bytes.

        Raises:
            Permanent: type ``egress.invalidResponse``.
        """
        decoded = bytearray()
        while data and len(decoded) < room:
            if self._members and not self._within and not data.startswith(_GZIP[: len(data)]):
                break
            decoded += self._decompress(data, room - len(decoded))
            data = self._stream.unconsumed_tail
            self._within = not self._stream.eof
            if self._stream.eof:
                data = self._stream.unused_data
                self._members += 1
                self._stream = zlib.decompressobj(_AUTO)
        return bytes(decoded)

    def finish(self) -> None:
        """Say that there is no more.

        Raises:
            Permanent: type ``egress.invalidResponse``, the end is missing.
        """
        if self._within:
            raise _broken()

    def _decompress(self, data: bytes, room: int) -> bytes:
        try:
            return self._stream.decompress(data, room)
        except zlib.error:
            if self._within or self._members:
                raise _broken() from None
        try:
            self._stream = zlib.decompressobj(_RAW)
            return self._stream.decompress(data, room)
        except zlib.error:
            raise _broken() from None


def _broken() -> Permanent:
    return Permanent("the answer is not compressed as it says", type="egress.invalidResponse")
