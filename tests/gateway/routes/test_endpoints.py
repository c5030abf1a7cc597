"""Outbound webhooks through the API: endpoints and their secrets, what is published, and the deliveries."""

import httpx

from tests.gateway.application import Headers

HOOK = {"url": "https://example.com/hook", "events": ["invoice.*"], "description": "books"}


async def test_an_endpoint_is_kept_and_its_secret_is_shown_once(client: httpx.AsyncClient, owner: Headers) -> None:
    made = await client.post("/v1/endpoints", headers=owner, json=HOOK)
    assert made.status_code == 201
    assert made.json()["secret"].startswith("whsec_")
    where = made.headers["location"]
    shown = (await client.get(where, headers=owner)).json()
    assert {name: shown[name] for name in HOOK} == HOOK
    assert (shown["enabled"], shown["disabled"], shown["failingSince"]) == (True, None, None)
    assert "secret" not in shown
    rotated = (await client.post(f"{where}/rotate", headers=owner, json={"overlap": "1h"})).json()
    assert rotated["secret"] != made.json()["secret"]
    assert rotated["previousSecretUntil"] is not None
    changed = (await client.patch(where, headers=owner, json={"enabled": False})).json()
    assert (changed["enabled"], changed["disabled"]["reason"], changed["url"]) == (
        False,
        "disabled by its owner",
        HOOK["url"],
    )
    (listed,) = (await client.get("/v1/endpoints", headers=owner)).json()["items"]
    assert listed == changed
    assert (await client.delete(where, headers=owner)).status_code == 204
    assert (await client.get(where, headers=owner)).status_code == 404


async def test_an_event_becomes_deliveries_that_are_listed_and_shown(client: httpx.AsyncClient, owner: Headers) -> None:
    endpoint = (await client.post("/v1/endpoints", headers=owner, json=HOOK)).json()
    event = {"type": "invoice.paid", "data": {"amount": 12}, "subject": "inv_1", "orderingKey": "inv_1"}
    sent = await client.post("/v1/deliveries", headers=owner, json=event)
    assert sent.status_code == 202
    (sending,) = sent.json()["items"]
    assert sending["endpointId"] == endpoint["id"]
    ignored = await client.post("/v1/deliveries", headers=owner, json=event | {"type": "order.paid"})
    assert ignored.json() == {"items": []}
    shown = (await client.get(f"/v1/deliveries/{sending['id']}", headers=owner)).json()
    assert (shown["delivery"]["status"], shown["attempts"]) == ("pending", [])
    assert shown["event"]["data"] == {"amount": 12}
    for query, count in ((f"endpointId={endpoint['id']}", 1), ("status=delivered", 0), ("type=invoice.paid", 1)):
        found = (await client.get(f"/v1/deliveries?{query}", headers=owner)).json()["items"]
        assert len(found) == count
    assert (await client.post(f"/v1/deliveries/{sending['id']}/redeliver", headers=owner)).status_code == 409
    tested = await client.post(f"/v1/endpoints/{endpoint['id']}/test", headers=owner)
    assert len(tested.json()["items"]) == 1


async def test_one_key_publishes_once(client: httpx.AsyncClient, owner: Headers) -> None:
    await client.post("/v1/endpoints", headers=owner, json=HOOK)
    headers = owner | {"Idempotency-Key": "paid-1"}
    answers = [await client.post("/v1/deliveries", headers=headers, json={"type": "invoice.paid"}) for _ in range(3)]
    assert len({answer.text for answer in answers}) == 1
    assert len((await client.get("/v1/deliveries", headers=owner)).json()["items"]) == 1


async def test_what_is_no_endpoint_and_no_event_is_refused_where_it_stands(
    client: httpx.AsyncClient, owner: Headers
) -> None:
    for change, pointer in (
        ({"url": "ftp://example.com"}, "/url"),
        ({"events": []}, "/events"),
        ({"events": ["invoice.*.paid"]}, "/events/0"),
    ):
        refused = await client.post("/v1/endpoints", headers=owner, json=HOOK | change)
        assert refused.status_code == 422
        assert [fault["pointer"] for fault in refused.json()["errors"]] == [pointer]
    await client.post("/v1/endpoints", headers=owner, json=HOOK)
    large = await client.post("/v1/deliveries", headers=owner, json={"type": "invoice.paid", "data": "x" * 2**20})
    assert [fault["pointer"] for fault in large.json()["errors"]] == ["/data"]
