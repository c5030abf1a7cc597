"""Signatures agree with the reference library, and nothing else passes."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from plugins.sdk.credential import Secret
from plugins.signing import (
    Delivery,
    Hmac,
    InvalidSecret,
    InvalidSignature,
    StandardWebhooks,
    new_secret,
    scheme_of,
)

STANDARD = StandardWebhooks()
BODY = '{"type":"invoice.paid","amount":"12 €"}'.encode()
NOW = 1_700_000_000


def test_the_reference_library_accepts_what_we_sign() -> None:
    secret = new_secret()
    now = int(datetime.now(UTC).timestamp())
    headers = STANDARD.sign(secret, id="msg_1", timestamp=now, body=BODY)
    assert Webhook(secret.reveal()).verify(BODY, headers) == msgspec.json.decode(BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret().reveal()).verify(BODY, headers)


def test_we_accept_what_the_reference_library_signs() -> None:
    secret = new_secret()
    signature = Webhook(secret.reveal()).sign("msg_2", datetime.fromtimestamp(NOW, UTC), BODY.decode())
    headers = {"Webhook-Id": "msg_2", "Webhook-Timestamp": str(NOW), "Webhook-Signature": signature}
    assert STANDARD.verify(secret, headers, BODY, now=NOW + 1) == Delivery(id="msg_2")


@pytest.mark.parametrize("secret", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
def test_the_specs_own_example_holds_with_and_without_the_prefix(secret: str) -> None:
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    STANDARD.verify(Secret(secret), headers, b'{"test": 2432232314}', now=1614265330)


def test_one_fitting_signature_among_several_is_enough() -> None:
    old, new = new_secret(), new_secret()
    headers = STANDARD.sign(old, id="m", timestamp=NOW, body=BODY)
    other = STANDARD.sign(new, id="m", timestamp=NOW, body=BODY)["webhook-signature"]
    headers["webhook-signature"] += f" v1a,unknown {other} v2,xx"
    for secret in (old, new):
        STANDARD.verify(secret, headers, BODY, now=NOW)


@pytest.mark.parametrize("skew", [-301, 301, 10**6, -(10**6)])
def test_a_timestamp_more_than_five_minutes_away_is_refused_both_ways(skew: int) -> None:
    secret = new_secret()
    headers = STANDARD.sign(secret, id="m", timestamp=NOW + skew, body=BODY)
    with pytest.raises(InvalidSignature, match="five minutes"):
        STANDARD.verify(secret, headers, BODY, now=NOW)
    near = STANDARD.sign(secret, id="m", timestamp=NOW + (299 if skew > 0 else -299), body=BODY)
    STANDARD.verify(secret, near, BODY, now=NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "other"},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-timestamp": "now"},
        {"webhook-timestamp": "1_700_000_000"},
        {"webhook-timestamp": "١٧٠٠٠٠٠٠٠٠"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,@@@"},
        {"webhook-signature": "v1,é"},
        {"webhook-signature": ""},
        {"webhook-id": ""},
    ],
)
def test_a_changed_header_is_refused(change: dict[str, str]) -> None:
    secret = new_secret()
    headers = STANDARD.sign(secret, id="m", timestamp=NOW, body=BODY)
    with pytest.raises(InvalidSignature):
        STANDARD.verify(secret, headers | change, BODY, now=NOW)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(missing: str) -> None:
    secret = new_secret()
    headers = STANDARD.sign(secret, id="m", timestamp=NOW, body=BODY)
    del headers[missing]
    with pytest.raises(InvalidSignature, match=missing):
        STANDARD.verify(secret, headers, BODY, now=NOW)


def test_a_changed_body_is_refused_whatever_its_bytes() -> None:
    secret = new_secret()
    for body in (b"", b"\xff\x00", BODY):
        headers = STANDARD.sign(secret, id="m", timestamp=NOW, body=body)
        STANDARD.verify(secret, headers, body, now=NOW)
        with pytest.raises(InvalidSignature):
            STANDARD.verify(secret, headers, body + b" ", now=NOW)


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_***", "plain words"])
def test_a_secret_that_is_not_base64_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidSecret, match="whsec_"):
        STANDARD.sign(Secret(text), id="m", timestamp=NOW, body=BODY)


@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("timestamp_header", [None, "X-Time"])
def test_a_plain_hmac_is_verified_in_every_form(algorithm: Any, encoding: Any, timestamp_header: str | None) -> None:
    scheme = Hmac(
        header="X-Sig", algorithm=algorithm, encoding=encoding, prefix="v=", timestamp_header=timestamp_header
    )
    secret = Secret("whsec_taken literally é")
    headers = scheme.sign(secret, timestamp=NOW, body=BODY)
    assert scheme.verify(secret, {k.upper(): v for k, v in headers.items()}, BODY, now=NOW).id
    for broken in (
        headers | {"X-Sig": "v=" + "0" * 64},
        headers | {"X-Sig": headers["X-Sig"].removeprefix("v=")},
        headers | {"X-Sig": "v="},
        headers | {"X-Sig": headers["X-Sig"] + "=="},
        {},
    ):
        with pytest.raises(InvalidSignature):
            scheme.verify(secret, broken, BODY, now=NOW)
    with pytest.raises(InvalidSignature):
        scheme.verify(secret, headers, BODY + b"!", now=NOW)
    with pytest.raises(InvalidSignature):
        scheme.verify(Secret("other"), headers, BODY, now=NOW)


def test_github_and_shopify_are_plain_hmacs() -> None:
    secret = Secret("It's a Secret to Everybody")
    github = Hmac(header="X-Hub-Signature-256", prefix="sha256=", id_header="X-GitHub-Delivery")
    # the example of GitHub's documentation
    headers = {
        "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        "x-github-delivery": "72d3162e",
    }
    assert github.verify(secret, headers, b"Hello, World!", now=NOW) == Delivery(id="72d3162e")
    shopify = Hmac(header="X-Shopify-Hmac-Sha256", encoding="base64")
    digest = hmac.digest(secret.reveal().encode(), BODY, hashlib.sha256)
    shopify.verify(secret, {"X-Shopify-Hmac-Sha256": base64.b64encode(digest).decode()}, BODY, now=NOW)


def test_a_signed_timestamp_makes_an_old_request_useless() -> None:
    scheme = Hmac(timestamp_header="X-Time")
    secret = Secret("s")
    headers = scheme.sign(secret, timestamp=NOW, body=BODY)
    with pytest.raises(InvalidSignature, match="five minutes"):
        scheme.verify(secret, headers, BODY, now=NOW + 301)
    with pytest.raises(InvalidSignature, match="fits"):
        scheme.verify(secret, headers | {"X-Time": str(NOW + 200)}, BODY, now=NOW + 301)


def test_equal_deliveries_have_equal_ids() -> None:
    scheme, secret = Hmac(), Secret("s")
    ids = [
        scheme.verify(secret, scheme.sign(secret, timestamp=NOW, body=body), body, now=NOW).id
        for body in (b"a", b"a", b"b")
    ]
    assert ids[0] == ids[1] != ids[2]


def test_a_trigger_config_names_its_scheme() -> None:
    assert scheme_of({"secret": "cred_1"}) == StandardWebhooks()
    assert scheme_of({"secret": "cred_1", "scheme": "standard"}) == StandardWebhooks()
    config = {"secret": "cred_1", "scheme": "hmac", "header": "X-S", "timestampHeader": "X-T", "methods": ["POST"]}
    assert scheme_of(config) == Hmac(header="X-S", timestamp_header="X-T")
    for wrong in ({"scheme": "morse"}, {"scheme": "hmac", "algorithm": "md5"}, {"scheme": "hmac", "header": "a b"}):
        with pytest.raises(msgspec.ValidationError):
            scheme_of(wrong)


def test_an_error_shows_no_signature() -> None:
    secret = new_secret()
    headers = STANDARD.sign(secret, id="m", timestamp=NOW, body=BODY)
    with pytest.raises(InvalidSignature) as caught:
        STANDARD.verify(secret, headers, b"other", now=NOW)
    assert headers["webhook-signature"][3:] not in str(caught.value)
