"""What the senders of the world send: each signs as its documentation says, with nothing of ours."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

Headers = dict[str, str]

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

#: every one of these senders names an event that it sends again in a place of its own
BODY = b'{"id":"evt_1","event_id":"Ev1","amount":"12 \xe2\x82\xac","note":"a"}'


class Sender(NamedTuple):
    """One scheme, as its sender has it."""

    config: Mapping[str, str]
    sign: Callable[[bytes, int], Headers]
    #: the header that the signature is in
    signature: str
    #: whether the time is signed
    timed: bool
    #: what an equal delivery is known by: what the sender calls it; ``None``: by a hash
    id: str | None

    def other(self, headers: Headers) -> Headers:
        """Return the headers without the one that carries the signature."""
        return {name: value for name, value in headers.items() if name != self.signature}


def digest(signed: bytes, algorithm: str = "sha256", key: bytes = SECRET.encode()) -> bytes:
    return hmac.new(key, signed, getattr(hashlib, algorithm)).digest()


def _standard(body: bytes, at: int) -> Headers:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signature = base64.b64encode(digest(b"msg_1.%d." % at + body, key=key)).decode()
    return {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": f"v1,{signature}"}


def _stripe(body: bytes, at: int) -> Headers:
    return {"Stripe-Signature": f"t={at},v1={digest(b'%d.' % at + body).hex()},v0=00"}


def _github(body: bytes, at: int) -> Headers:
    return {"X-Hub-Signature-256": "sha256=" + digest(body).hex(), "X-GitHub-Delivery": "72d3162e"}


def _slack(body: bytes, at: int) -> Headers:
    signature = digest(b"v0:%d:" % at + body).hex()
    return {"X-Slack-Request-Timestamp": str(at), "X-Slack-Signature": f"v0={signature}"}


def _shopify(body: bytes, at: int) -> Headers:
    return {"X-Shopify-Hmac-Sha256": base64.b64encode(digest(body)).decode(), "X-Shopify-Webhook-Id": "b54557e4"}


def _plain(body: bytes, at: int) -> Headers:
    return {"X-Signature": digest(b"%d." % at + body).hex(), "X-Time": str(at)}


SENDERS: Mapping[str, Sender] = {
    "standard": Sender({}, _standard, "webhook-signature", timed=True, id="msg_1"),
    "stripe": Sender({}, _stripe, "Stripe-Signature", timed=True, id="evt_1"),
    "github": Sender({}, _github, "X-Hub-Signature-256", timed=False, id="72d3162e"),
    "slack": Sender({}, _slack, "X-Slack-Signature", timed=True, id="Ev1"),
    "shopify": Sender({}, _shopify, "X-Shopify-Hmac-Sha256", timed=False, id="b54557e4"),
    "hmac": Sender({"timestampHeader": "X-Time"}, _plain, "X-Signature", timed=True, id=None),
}


def reordered(body: bytes) -> bytes:
    """Return a JSON object with its keys in another order: the same to a reader, other bytes."""
    return msgspec.json.encode(dict(reversed(msgspec.json.decode(body).items())))
