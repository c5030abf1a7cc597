"""Every scheme accepts what its sender signs, as the senders' own libraries do, and no forgery."""

import base64
import time
from collections.abc import Iterator

import pytest
import stripe
from gidgethub import ValidationFailure
from gidgethub.sansio import validate_event
from slack_sdk.signature import Clock, SignatureVerifier

from plugins.sdk.credential import Secret
from plugins.signing import InvalidSignature, Scheme, scheme_of
from tests.figures import Figures
from tests.plugins.signing.senders import BODY, SECRET, SENDERS, Headers, Sender, digest, reordered

NOW = 1_700_000_000


def scheme_named(name: str) -> Scheme:
    return scheme_of({"scheme": name, **SENDERS[name].config})


def forgeries(sender: Sender, at: int) -> Iterator[tuple[str, Headers, bytes]]:
    """Yield deliveries that nobody who has the secret has made: what was done, headers, body."""
    good = sender.sign(BODY, at)
    signature = good[sender.signature]
    for bit in range(len(BODY) * 8):
        changed = bytearray(BODY)
        changed[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit} of the body", good, bytes(changed)
    # What Stripe says by an older scheme means nothing.
    for place in range(len(signature.removesuffix(",v0=00"))):
        changed_text = signature[:place] + ("1" if signature[place] != "1" else "2") + signature[place + 1 :]
        yield f"character {place} of the signature", good | {sender.signature: changed_text}, BODY
    for name in good:
        yield f"{name} missing", {key: value for key, value in good.items() if key != name}, BODY
        yield f"{name} empty", good | {name: ""}, BODY
    yield "keys reordered", good, reordered(BODY)
    yield "body doubled", good, BODY + BODY
    yield "body empty", good, b""
    yield "no prefix", good | {sender.signature: signature.rpartition("=")[2] if "=" in signature[:8] else "v9,x"}, BODY
    for algorithm in ("md5", "sha1", "sha512"):
        for text in (digest(BODY, algorithm).hex(), base64.b64encode(digest(BODY, algorithm)).decode()):
            for prefix in ("", "sha256=", f"{algorithm}=", "v0=", "v1,", f"t={at},v1="):
                yield f"{algorithm} as {prefix}", good | {sender.signature: prefix + text}, BODY
    yield "another secret", good | {sender.signature: sender.sign(BODY + b" ", at)[sender.signature]}, BODY


def accepts(scheme: Scheme, headers: Headers, body: bytes) -> bool:
    try:
        scheme.verify(Secret(SECRET), headers, body, now=NOW)
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize("name", SENDERS)
def test_what_the_sender_signs_is_accepted_and_known_by_its_id(name: str, figures: Figures) -> None:
    sender, scheme = SENDERS[name], scheme_named(name)
    for skew in (-299, 0, 299):
        headers = sender.sign(BODY, NOW + skew)
        seen = [
            scheme.verify(Secret(SECRET), {case(key): value for key, value in headers.items()}, BODY, now=NOW)
            for case in (str, str.lower, str.upper)
        ]
        figures("T24", valid=len(seen), refused=0)
        assert len({delivery.id for delivery in seen}) == 1
        assert sender.id in (None, seen[0].id)
        assert seen[0].challenge is None


@pytest.mark.parametrize("name", SENDERS)
def test_no_forgery_is_accepted(name: str, figures: Figures) -> None:
    sender, scheme = SENDERS[name], scheme_named(name)
    tried = list(forgeries(sender, NOW))
    assert len(tried) > 500
    accepted = [what for what, headers, body in tried if accepts(scheme, headers, body)]
    figures("T24", schemes=1, forgeries=len(tried), accepted=len(accepted))
    assert accepted == []
    with pytest.raises(InvalidSignature):
        scheme.verify(Secret("whsec_" + base64.b64encode(b"other").decode()), sender.sign(BODY, NOW), BODY, now=NOW)


@pytest.mark.parametrize("skew", [-301, 301, 10**6, -(10**6), 10**9])
@pytest.mark.parametrize("name", [name for name, sender in SENDERS.items() if sender.timed])
def test_a_signed_time_too_far_away_is_refused_both_ways(name: str, skew: int) -> None:
    with pytest.raises(InvalidSignature, match="five minutes"):
        scheme_named(name).verify(Secret(SECRET), SENDERS[name].sign(BODY, NOW + skew), BODY, now=NOW)


def test_stripes_library_agrees() -> None:
    headers = SENDERS["stripe"].sign(BODY, int(time.time()))
    event = stripe.Webhook.construct_event(BODY, headers["Stripe-Signature"], SECRET)
    assert event.id == scheme_named("stripe").verify(Secret(SECRET), headers, BODY, now=time.time()).id
    # While a secret is rotated, Stripe signs by the old and by the new one.
    rotated = {"Stripe-Signature": headers["Stripe-Signature"].replace(",v1=", f",v1={'0' * 64},v1=")}
    stripe.Webhook.construct_event(BODY, rotated["Stripe-Signature"], SECRET)
    scheme_named("stripe").verify(Secret(SECRET), rotated, BODY, now=time.time())
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(BODY + b" ", headers["Stripe-Signature"], SECRET)


def test_githubs_example_holds_and_gidgethub_agrees() -> None:
    example = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {"X-Hub-Signature-256": example, "X-GitHub-Delivery": "1"}
    secret = "It's a Secret to Everybody"
    assert scheme_named("github").verify(Secret(secret), headers, b"Hello, World!", now=NOW).id == "1"
    validate_event(b"Hello, World!", signature=example, secret=secret)
    validate_event(BODY, signature=SENDERS["github"].sign(BODY, NOW)["X-Hub-Signature-256"], secret=SECRET)
    with pytest.raises(ValidationFailure):
        validate_event(BODY, signature=example, secret=SECRET)


def test_slacks_example_holds_and_its_library_agrees() -> None:
    secret = "8f742231b10e8888abcd99yyyzzz85a5"
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name="
        b"foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2F"
        b"hooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015"
        b".47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    at = "1531420618"
    signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    headers = {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": signature}
    assert scheme_named("slack").verify(Secret(secret), headers, body, now=float(at)).challenge is None

    class Then(Clock):
        def now(self) -> float:
            return NOW

    verifier = SignatureVerifier(SECRET, clock=Then())
    assert verifier.is_valid_request(BODY, SENDERS["slack"].sign(BODY, NOW))
    assert not verifier.is_valid_request(BODY + b" ", SENDERS["slack"].sign(BODY, NOW))


def test_a_challenge_of_slack_counts_only_when_it_is_signed() -> None:
    body = b'{"token":"x","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}'
    delivery = scheme_named("slack").verify(Secret(SECRET), SENDERS["slack"].sign(body, NOW), body, now=NOW)
    assert delivery.challenge == "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"
    with pytest.raises(InvalidSignature):
        scheme_named("slack").verify(Secret(SECRET), SENDERS["slack"].sign(BODY, NOW), body, now=NOW)


@pytest.mark.parametrize("name", SENDERS)
def test_a_body_that_is_no_json_has_an_id_too(name: str) -> None:
    for body in (b"", b"\xff\xfe", b"[]", b'{"id": 5, "event_id": {}}', b"a=1&b=2"):
        delivery = scheme_named(name).verify(Secret(SECRET), SENDERS[name].sign(body, NOW), body, now=NOW)
        again = scheme_named(name).verify(Secret(SECRET), SENDERS[name].sign(body, NOW), body, now=NOW)
        assert delivery.id == again.id != ""
