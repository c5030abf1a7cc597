"""Signatures of webhooks, made and checked over the raw bytes.

A scheme is a frozen Struct of its options; another sender's way of signing is another Struct with `verify`, added to
`Scheme`. Trigger configs name it by ``scheme``.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from plugins.sdk.credential import Secret

#: Seconds that a signed timestamp may differ from our clock, both ways (Standard Webhooks).
TOLERANCE = 300

_PREFIX = "whsec_"

HeaderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class InvalidSignature(Exception):
    """The request is not signed as agreed. The message says what to look at, and holds no part of a signature."""


class InvalidSecret(ValueError):
    """The signing secret does not have the form that the scheme needs."""


class Delivery(Struct, frozen=True, kw_only=True):
    """A request whose signature is valid."""

    #: equal for equal deliveries: what the sender calls it, else a hash of signature and body
    id: str


class StandardWebhooks(Struct, frozen=True, kw_only=True, tag_field="scheme", tag="standard"):
    """Standard Webhooks 1.0: HMAC-SHA256 over ``id.timestamp.body``, several signatures while keys rotate.

    The secret is ``whsec_`` and the key in base64. https://www.standardwebhooks.com
    """

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
        found = _lower(headers)
        id = _required(found, "webhook-id")
        timestamp = _required(found, "webhook-timestamp")
        signatures = _required(found, "webhook-signature").split(" ")
        _check_time(timestamp, now)
        expected = _standard(_key(secret), id, timestamp, body)
        given = (text.removeprefix("v1,") for text in signatures if text.startswith("v1,"))
        _check_any(expected, (_decode(text, "base64") for text in given))
        return Delivery(id=id)


class Hmac(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, tag_field="scheme", tag="hmac"):
    """A plain HMAC of the body in one header, as most senders have it. The secret is used as it stands."""

    header: HeaderName = "X-Signature"
    algorithm: Literal["sha256", "sha1", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    #: what stands before the signature, e.g. ``sha256=``
    prefix: Annotated[str, Meta(max_length=32)] = ""
    #: carries seconds since 1970; ``timestamp.body`` is signed then, and old requests are refused
    timestamp_header: HeaderName | None = None
    #: carries the sender's id of the delivery, equal when it is sent again
    id_header: HeaderName | None = None

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
        found = _lower(headers)
        given = _required(found, self.header)
        timestamp = ""
        if self.timestamp_header is not None:
            timestamp = _required(found, self.timestamp_header)
            _check_time(timestamp, now)
        if not given.startswith(self.prefix):
            raise InvalidSignature(f"the header {self.header} does not begin with {self.prefix!r}")
        expected = self._digest(secret, timestamp, body)
        _check_any(expected, iter([_decode(given.removeprefix(self.prefix), self.encoding)]))
        if self.id_header is not None:
            return Delivery(id=_required(found, self.id_header))
        return Delivery(id=hashlib.sha256(expected + body).hexdigest())

    def _digest(self, secret: Secret, timestamp: str, body: bytes) -> bytes:
        signed = body if self.timestamp_header is None else timestamp.encode() + b"." + body
        return hmac.digest(secret.reveal().encode(), signed, self.algorithm)


Scheme = StandardWebhooks | Hmac


def scheme_of(config: Mapping[str, Any]) -> Scheme:
    """Read the scheme from a webhook trigger's config: ``scheme`` (default ``standard``) and its options.

    Other keys of the config are left alone.

    Raises:
        msgspec.ValidationError: the scheme is unknown or an option has the wrong form.
    """
    scheme: Scheme = msgspec.convert({"scheme": "standard", **config}, Scheme)
    return scheme


def new_secret() -> Secret:
    """Make a Standard Webhooks secret: ``whsec_`` and 256 random bits in base64."""
    return Secret(_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode())


def _key(secret: Secret) -> bytes:
    text = secret.reveal().removeprefix(_PREFIX)
    key = _decode(text + "=" * (-len(text) % 4), "base64")
    if not key:
        raise InvalidSecret(f"a signing secret is {_PREFIX} and a key in base64")
    return key


def _standard(key: bytes, id: str, timestamp: str, body: bytes) -> bytes:
    return hmac.digest(key, f"{id}.{timestamp}.".encode() + body, "sha256")


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _required(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name.lower())
    if not value:
        raise InvalidSignature(f"the header {name} is missing")
    return value


def _check_time(timestamp: str, now: float) -> None:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise InvalidSignature("the signed timestamp is not a number of seconds since 1970")
    if abs(int(timestamp) - now) > TOLERANCE:
        raise InvalidSignature("the signed timestamp is more than five minutes away from now")


def _check_any(expected: bytes, given: Iterator[bytes]) -> None:
    if not any(hmac.compare_digest(expected, signature) for signature in given):
        raise InvalidSignature("no signature fits the body and the secret")


def _decode(text: str, encoding: str) -> bytes:
    """Return the bytes, none where `text` is not in this encoding: no digest is empty."""
    try:
        return bytes.fromhex(text) if encoding == "hex" else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""
