"""What every scheme checks by: errors, the clock, digests compared in constant time."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from plugins.sdk.credential import Secret

#: seconds that a signed timestamp may differ from our clock, both ways (Standard Webhooks)
TOLERANCE = 300

HeaderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}$")]

Encoding = Literal["hex", "base64"]


class InvalidSignature(Exception):
    """The request is not signed as agreed. The message says what to look at, and holds no part of a signature."""


class InvalidSecret(ValueError):
    """The signing secret does not have the form that the scheme needs."""


class Delivery(Struct, frozen=True, kw_only=True):
    """A request whose signature is valid."""

    #: equal for equal deliveries: what the sender calls it, else a hash of what was signed
    id: str
    #: the sender only asks whether somebody is here, and is to be told this; nothing has happened
    challenge: str | None = None


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def required(headers: Mapping[str, str], name: str) -> str:
    """Return a header; `headers` by names in lower case.

    Raises:
        InvalidSignature: it is missing or empty.
    """
    value = headers.get(name.lower())
    if not value:
        raise InvalidSignature(f"the header {name} is missing")
    return value


def check_time(timestamp: str, now: float) -> None:
    """See that a timestamp, in seconds since 1970, is within `TOLERANCE` of `now`.

    Raises:
        InvalidSignature: it is not a number, or too far away on either side.
    """
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise InvalidSignature("the signed timestamp is not a number of seconds since 1970")
    if abs(int(timestamp) - now) > TOLERANCE:
        raise InvalidSignature("the signed timestamp is more than five minutes away from now")


def check_any(expected: bytes, given: Iterable[bytes]) -> None:
    """See that one of several signatures is the expected one.

    Raises:
        InvalidSignature: none is.
    """
    if not any(hmac.compare_digest(expected, signature) for signature in given):
        raise InvalidSignature("no signature fits the body and the secret")


def decode(text: str, encoding: Encoding) -> bytes:
    """Return the bytes, none where `text` is not in this encoding: no digest is empty."""
    try:
        return bytes.fromhex(text) if encoding == "hex" else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""


def literal_key(secret: Secret) -> bytes:
    """Return the key of a secret that is used as it stands, prefix and all."""
    return secret.reveal().encode()


def hash_of(*signed: bytes) -> str:
    """Return an id for a delivery that its sender has not named."""
    return hashlib.sha256(b"".join(signed)).hexdigest()


def text_in(body: bytes, key: str) -> str | None:
    """Return a text of a JSON object, once its signature is known to be valid; ``None``: there is none."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) and found else None
