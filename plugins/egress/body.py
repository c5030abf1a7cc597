"""Response bodies: decoded piece by piece, and never larger in memory than allowed."""

import zlib
from collections.abc import AsyncIterable

from plugins.sdk.errors import Permanent

#: What the client asks for and can decode.
ACCEPT_ENCODING = "gzip, deflate"

_AUTO = zlib.MAX_WBITS | 32  # gzip or zlib, by the header
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
            raise too_large(limit)
    return bytes(body)


class Inflater:
    """Decodes gzip, zlib and raw deflate, gzip of several members included."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_AUTO)
        self._begun = False

    def feed(self, data: bytes, room: int) -> bytes:
        """Decode `data`; what comes back is cut off at `room` bytes or one more.

        Raises:
            Permanent: type ``egress.invalidResponse``.
        """
        decoded = bytearray()
        while data and len(decoded) < room:
            try:
                decoded += self._stream.decompress(data, room - len(decoded))
            except zlib.error:
                if self._begun:
                    raise Permanent("the answer is not compressed as it says", type="egress.invalidResponse") from None
                self._stream = zlib.decompressobj(_RAW)
                self._begun = True
                continue
            self._begun = True
            data = self._stream.unconsumed_tail
            if self._stream.eof:
                data = self._stream.unused_data
                self._stream = zlib.decompressobj(_AUTO)
        return bytes(decoded)


def too_large(limit: int) -> Permanent:
    return Permanent(f"the answer is larger than {limit:,} bytes", type="egress.tooLarge")
