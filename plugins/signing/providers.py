"""How Stripe, GitHub, Slack and Shopify sign what they send. The secret is used as it stands, prefix and all."""

import hmac
from collections.abc import Mapping
from typing import ClassVar

from msgspec import Struct

from plugins.sdk.credential import Secret
from plugins.signing.signature import (
    Delivery,
    InvalidSignature,
    check_any,
    check_time,
    decode,
    hash_of,
    literal_key,
    lower,
    required,
    text_in,
)


class Stripe(Struct, frozen=True, tag_field="scheme", tag="stripe"):
    """``Stripe-Signature: t=…,v1=…``, several ``v1`` while secrets rotate.

    An event that is sent again is signed anew; its id, in the body, stays.
    https://docs.stripe.com/webhooks/signature
    """

    signature_header: ClassVar[str] = "Stripe-Signature"

    def verify(self, secret: Secret, headers: Mapping[str, str], body: bytes, *, now: float) -> Delivery:
        """Check a delivery; `now` in seconds since 1970.

        Raises:
            InvalidSignature: a header is missing, the time is off by more than five minutes, or no signature fits.
        """
        parts = [part.partition("=")[::2] for part in required(lower(headers), self.signature_header).split(",")]
        timestamp = next((value for key, value in parts if key == "t"), "")
        check_time(timestamp, now)
        expected = hmac.digest(literal_key(secret), timestamp.encode() + b"." + body, "sha256")
        check_any(expected, [decode(value, "hex") for key, value in parts if key == "v1"])
        return Delivery(id=text_in(body, "id") or hash_of(expected))


class GitHub(Struct, frozen=True, tag_field="scheme", tag="github"):
    """``X-Hub-Signature-256: sha256=…`` over the body.

    Nothing signed says when it was sent: ``X-GitHub-Delivery`` tells deliveries apart.
    https://docs.github.com/webhooks
    """

    signature_header: ClassVar[str] = "X-Hub-Signature-256"

    def verify(self, secret: Secret, headers: Mapping[str, str], body: bytes, *, now: float) -> Delivery:
        """Check a delivery.

        Raises:
            InvalidSignature: a header is missing or the signature is wrong.
        """
        found = lower(headers)
        given = required(found, self.signature_header)
        if not given.startswith("sha256="):
            raise InvalidSignature(f"the header {self.signature_header} does not begin with 'sha256='")
        check_any(hmac.digest(literal_key(secret), body, "sha256"), [decode(given.removeprefix("sha256="), "hex")])
        return Delivery(id=required(found, "X-GitHub-Delivery"))


class Slack(Struct, frozen=True, tag_field="scheme", tag="slack"):
    """``X-Slack-Signature: v0=…`` over ``v0:timestamp:body``.

    An event that is sent again keeps its ``event_id``; commands and actions, which are forms, are not sent again.
    https://docs.slack.dev/authentication
    """

    signature_header: ClassVar[str] = "X-Slack-Signature"

    def verify(self, secret: Secret, headers: Mapping[str, str], body: bytes, *, now: float) -> Delivery:
        """Check a delivery; `now` in seconds since 1970. A ``url_verification`` is a challenge.

        Raises:
            InvalidSignature: a header is missing, the time is off by more than five minutes, or the signature is wrong.
        """
        found = lower(headers)
        timestamp = required(found, "X-Slack-Request-Timestamp")
        given = required(found, self.signature_header)
        check_time(timestamp, now)
        if not given.startswith("v0="):
            raise InvalidSignature(f"the header {self.signature_header} does not begin with 'v0='")
        expected = hmac.digest(literal_key(secret), b"v0:" + timestamp.encode() + b":" + body, "sha256")
        check_any(expected, [decode(given.removeprefix("v0="), "hex")])
        challenge = text_in(body, "challenge") if text_in(body, "type") == "url_verification" else None
        return Delivery(id=text_in(body, "event_id") or hash_of(expected), challenge=challenge)


class Shopify(Struct, frozen=True, tag_field="scheme", tag="shopify"):
    """``X-Shopify-Hmac-SHA256``, in base64, over the body.

    Nothing signed says when it was sent: ``X-Shopify-Webhook-Id`` tells deliveries apart.
    https://shopify.dev/docs/apps/build/webhooks
    """

    signature_header: ClassVar[str] = "X-Shopify-Hmac-Sha256"

    def verify(self, secret: Secret, headers: Mapping[str, str], body: bytes, *, now: float) -> Delivery:
        """Check a delivery.

        Raises:
            InvalidSignature: a header is missing or the signature is wrong.
        """
        found = lower(headers)
        given = required(found, self.signature_header)
        check_any(hmac.digest(literal_key(secret), body, "sha256"), [decode(given, "base64")])
        return Delivery(id=required(found, "X-Shopify-Webhook-Id"))
