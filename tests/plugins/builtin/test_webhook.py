from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook

from plugins import Permanent, Secret, SigningCredential, Transient
from plugins.builtin.webhook import WebhookDelivery, webhook_deliver
from plugins.sdk.conform import Nonconforming, conform
from plugins.signing import new_secret
from tests.plugins.builtin.conftest import KEY, Run
from tests.plugins.target import Target

EVENT = {"event": "invoice.paid", "data": {"amount": 12.5, "for": "Zoë"}}


async def test_a_receiver_verifies_it_with_the_reference_library(run: Run, target: Target) -> None:
    target.answer("/hook", 204)
    secret = new_secret()
    output = await run(
        webhook_deliver,
        {"url": f"{target.url}/hook", **EVENT},
        credentials={"signing": SigningCredential(secret=secret)},
    )
    assert output == {"status": 204}
    [request] = target.requests
    assert request.method == "POST"
    assert request.headers["content-type"] == "application/json"
    payload = Webhook(secret.reveal()).verify(request.body, request.headers)
    moment = datetime.fromisoformat(payload.pop("timestamp"))
    assert payload == {"type": "invoice.paid", "data": EVENT["data"]}
    assert int(moment.timestamp()) == int(request.headers["webhook-timestamp"])
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 60


async def test_every_attempt_has_the_same_id(run: Run, target: Target) -> None:
    target.answer("/hook", 500)
    target.answer("/hook", 200)
    config = {"url": f"{target.url}/hook", **EVENT}
    credentials = {"signing": SigningCredential(secret=new_secret())}
    with pytest.raises(Transient):
        await run(webhook_deliver, config, credentials=credentials)
    await run(webhook_deliver, config, credentials=credentials, attempt=2)
    assert {request.headers["webhook-id"] for request in target.requests} == {f"msg_{KEY}"}


async def test_without_a_credential_it_is_not_signed(run: Run, target: Target) -> None:
    target.answer("/hook")
    await run(webhook_deliver, {"url": f"{target.url}/hook", **EVENT})
    [request] = target.requests
    assert request.headers["webhook-id"] == f"msg_{KEY}"
    assert "webhook-signature" not in request.headers


async def test_a_secret_that_cannot_sign_sends_nothing(run: Run, target: Target) -> None:
    credentials = {"signing": SigningCredential(secret=Secret("not base64!"))}
    with pytest.raises(Permanent) as caught:
        await run(webhook_deliver, {"url": target.url, **EVENT}, credentials=credentials)
    assert caught.value.type == "credential.unsuitable"
    assert "not base64!" not in str(caught.value)
    assert target.requests == []


async def test_a_redirect_is_not_followed(run: Run, target: Target) -> None:
    target.answer("/hook", 307, location="/other")
    with pytest.raises(Permanent) as caught:
        await run(webhook_deliver, {"url": f"{target.url}/hook", **EVENT})
    assert caught.value.type == "http.307"
    assert [request.path for request in target.requests] == ["/hook"]


async def test_a_receiver_that_is_gone_or_busy_is_told_apart(run: Run, target: Target) -> None:
    target.answer("/gone", 410)
    target.answer("/busy", 503, retry_after="9")
    with pytest.raises(Permanent) as gone:
        await run(webhook_deliver, {"url": f"{target.url}/gone", **EVENT})
    assert gone.value.type == "http.410"
    with pytest.raises(Transient) as busy:
        await run(webhook_deliver, {"url": f"{target.url}/busy", **EVENT})
    assert (busy.value.retry_after, busy.value.effect) == (9.0, "none")


@pytest.mark.parametrize("change", [{"event": "a b"}, {"event": ""}, {"event": "a\n"}, {"url": "x"}, {"more": 1}])
def test_a_wrong_config_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Nonconforming):
        conform(WebhookDelivery, {"url": "https://example.com", **EVENT, **change})
