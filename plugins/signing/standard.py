"""Standard Webhooks."""

import base64
import hmac
import secrets
from collections.abc import Mapping
from typing import ClassVar

from msgspec import Struct

from plugins.sdk.credential import Secret
from plugins.signing.signature import Delivery, InvalidSecret, check_any, check_time, decode, lower, required

_PREFIX = "whsec_"


class StandardWebhooks(Struct, frozen=True, kw_only=True, tag_field="scheme", tag="standard"):
    """Standard Webhooks 1.0: HMAC-SHA256 over ``id.timestamp.body``, several signatures while keys rotate.

    The secret is ``whsec_`` and the key in base64. https://www.standardwebhooks.com
    """

    signature_header: ClassVar[str] = "webhook-signature"

    def sign(self, secret: Secret, *, id: str, timestamp: int, body: bytes) -> dict[str, str]:
        """Return the three headers of a delivery.

        The `id` is the same on every attempt; the `timestamp`, in seconds since 1970, is of this attempt.

        Raises:
            InvalidSecret: the secret is not base64.
        """
        signature = base64.b64encode(_standard(_key(secret), id, str(timestamp), body)).decode()
        return {"webhook-id": id, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}

    def verify(self, secret: Secret, headers: Mapping[str, str], body: bytes, *, now: float) -> Delivery:
        """Check a delivery; `now` in seconds since 1970.

        Raises:
            InvalidSignature: a header is missing, the time is off by more than five minutes, or no signature fits.
            InvalidSecret: the secret is not base64.
        """
        found = lower(headers)
        id = required(found, "webhook-id")
        timestamp = required(found, "webhook-timestamp")
        signatures = required(found, "webhook-signature").split(" ")
        check_time(timestamp, now)
        expected = _standard(_key(secret), id, timestamp, body)
        given = (text.removeprefix("v1,") for text in signatures if text.startswith("v1,"))
        check_any(expected, (decode(text, "base64") for text in given))
        return Delivery(id=id)


def new_secret() -> Secret:
    """Make a Standard Webhooks secret: ``whsec_`` and 256 random bits in base64."""
    return Secret(_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode())


def _key(secret: Secret) -> bytes:
    text = secret.reveal().removeprefix(_PREFIX)
    key = decode(text + "=" * (-len(text) % 4), "base64")
    if not key:
        raise InvalidSecret(f"a signing secret is {_PREFIX} and a key in base64")
    return key


def _standard(key: bytes, id: str, timestamp: str, body: bytes) -> bytes:
    return hmac.digest(key, f"{id}.{timestamp}.".encode() + body, "sha256")
