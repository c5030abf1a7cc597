"""A plain HMAC, as most senders have it."""

import base64
import hmac
from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

from plugins.sdk.credential import Secret
from plugins.signing.signature import (
    Delivery,
    Encoding,
    HeaderName,
    InvalidSignature,
    check_any,
    check_time,
    decode,
    hash_of,
    literal_key,
    lower,
    required,
)


class Hmac(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, tag_field="scheme", tag="hmac"):
    """A plain HMAC of the body in one header, as most senders have it. The secret is used as it stands."""

    header: HeaderName = "X-Signature"
    algorithm: Literal["sha256", "sha1", "sha512"] = "sha256"
    encoding: Encoding = "hex"
    #: what stands before the signature, e.g. ``sha256=``
    prefix: Annotated[str, Meta(max_length=32)] = ""
    #: carries seconds since 1970; ``timestamp.body`` is signed then, and old requests are refused
    timestamp_header: HeaderName | None = None
    #: carries the sender's id of the delivery, equal when it is sent again
    id_header: HeaderName | None = None

    @property
    def signature_header(self) -> str:
        return self.header

    def sign(self, secret: Secret, *, timestamp: int, body: bytes) -> dict[str, str]:
        """Return the headers of a delivery; `timestamp`, in seconds since 1970, is used where the scheme has one."""
        headers = {} if self.timestamp_header is None else {self.timestamp_header: str(timestamp)}
        digest = self._digest(secret, str(timestamp), body)
        text = digest.hex() if self.encoding == "hex" else base64.b64encode(digest).decode()
        return headers | {self.header: self.prefix + text}

    def verify(self, secret: Secret, headers: Mapping[str, str], body: bytes, *, now: float) -> Delivery:
        """Check a delivery; `now` in seconds since 1970.

        Raises:
            InvalidSignature: a header is missing, the time is off by more than five minutes, or the signature is wrong.
        """
        found = lower(headers)
        given = required(found, self.header)
        timestamp = ""
        if self.timestamp_header is not None:
            timestamp = required(found, self.timestamp_header)
            check_time(timestamp, now)
        if not given.startswith(self.prefix):
            raise InvalidSignature(f"the header {self.header} does not begin with {self.prefix!r}")
        expected = self._digest(secret, timestamp, body)
        check_any(expected, [decode(given.removeprefix(self.prefix), self.encoding)])
        if self.id_header is not None:
            return Delivery(id=required(found, self.id_header))
        return Delivery(id=hash_of(expected, body))

    def _digest(self, secret: Secret, timestamp: str, body: bytes) -> bytes:
        signed = body if self.timestamp_header is None else timestamp.encode() + b"." + body
        return hmac.digest(literal_key(secret), signed, self.algorithm)
