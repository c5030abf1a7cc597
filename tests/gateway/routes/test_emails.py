"""Senders and templates of mails through the API, down to the mail that arrives."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from msgspec import structs

from gateway.compose import Platform, open_platform
from gateway.settings import Settings
from plugins.host.invoke import Call, CallFailed
from tests.gateway.application import ADMIN, Headers, new_tenant
from tests.plugins.mail import MailServer, open_mail_server

TEMPLATE = {"subject": "Hello {{ name }}", "text": None, "html": "<p>{{ name }}</p>"}


@pytest.fixture
async def mails() -> AsyncIterator[MailServer]:
    async with open_mail_server() as server:
        yield server


async def test_an_owner_settles_who_its_mails_come_from_within_what_the_administrator_grants(
    client: httpx.AsyncClient, owner: Headers
) -> None:
    nothing: dict[str, Any] = {"from": None, "replyTo": None, "allowed": []}
    assert (await client.get("/v1/email-sender", headers=owner)).json() == nothing
    tenant = (await client.get("/v1/me", headers=owner)).json()["tenantId"]
    where = f"/v1/tenants/{tenant}/email-senders"
    assert (await client.get(where, headers=ADMIN)).json() == {"allowed": []}
    granted = await client.put(where, headers=ADMIN, json={"allowed": ["*@acme.example", "ceo@acme.example"]})
    assert granted.status_code == 200
    settled = await client.put("/v1/email-sender", headers=owner, json={"from": "Acme <news@acme.example>"})
    assert settled.json() == {
        "from": "Acme <news@acme.example>",
        "replyTo": None,
        "allowed": ["*@acme.example", "ceo@acme.example"],
    }
    await client.put(where, headers=ADMIN, json={"allowed": []})
    left = (await client.get("/v1/email-sender", headers=owner)).json()
    assert (left["from"], left["allowed"]) == ("Acme <news@acme.example>", []), "each has its own word"
    assert (await client.put(where, headers=owner, json={"allowed": ["*"]})).status_code == 403
    assert (await client.put("/v1/tenants/ten_none/email-senders", headers=ADMIN, json={})).status_code == 404


@pytest.mark.parametrize("address", ["nobody", "a@x.test, b@x.test", "a@x.test\r\nBcc: b@x.test", ""])
async def test_a_sender_that_is_no_address_says_where(client: httpx.AsyncClient, owner: Headers, address: str) -> None:
    for name in ("from", "replyTo"):
        refused = await client.put("/v1/email-sender", headers=owner, json={name: address})
        assert refused.status_code == 422
        assert [fault["pointer"] for fault in refused.json()["errors"]] == [f"/{name}"]


@pytest.mark.parametrize("pattern", ["acme.example", "@acme.example", "*@", "a*@acme.example", "*@*", "*@ACME.example"])
async def test_a_grant_that_means_nothing_says_where(client: httpx.AsyncClient, owner: Headers, pattern: str) -> None:
    tenant = (await client.get("/v1/me", headers=owner)).json()["tenantId"]
    where = f"/v1/tenants/{tenant}/email-senders"
    refused = await client.put(where, headers=ADMIN, json={"allowed": ["*@acme.example", pattern]})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/allowed/1")


async def test_a_template_is_stored_filled_in_replaced_and_deleted(client: httpx.AsyncClient, owner: Headers) -> None:
    where = "/v1/email-templates/welcome.en"
    stored = await client.put(where, headers=owner, json=TEMPLATE)
    assert stored.json() == {**TEMPLATE, "name": "welcome.en", "updatedAt": stored.json()["updatedAt"]}
    assert (await client.get(where, headers=owner)).json() == stored.json()
    assert (await client.get("/v1/email-templates", headers=owner)).json()["items"] == [stored.json()]
    filled = await client.post(f"{where}/render", headers=owner, json={"data": {"name": "Ann & Bob"}})
    assert filled.json() == {"subject": "Hello Ann & Bob", "text": None, "html": "<p>Ann &amp; Bob</p>"}
    missing = await client.post(f"{where}/render", headers=owner, json={})
    assert (missing.status_code, missing.json()["errors"][0]["pointer"]) == (422, "/data")
    assert "`name` is undefined" in missing.json()["errors"][0]["detail"]
    await client.put(where, headers=owner, json={"subject": "Bye", "text": "Bye"})
    assert (await client.get(where, headers=owner)).json()["html"] is None
    assert (await client.delete(where, headers=owner)).status_code == 204
    for gone in (await client.get(where, headers=owner), await client.delete(where, headers=owner)):
        assert (gone.status_code, gone.json()["type"]) == (404, "/problems/not-found")


async def test_a_template_that_cannot_be_says_everything_that_is_wrong(
    client: httpx.AsyncClient, owner: Headers
) -> None:
    wrong = {"subject": "{{ name", "text": "{% for %}", "html": "{% if x %}"}
    refused = await client.put("/v1/email-templates/x", headers=owner, json=wrong)
    assert refused.status_code == 422
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/subject", "/text", "/html"]
    assert (await client.get("/v1/email-templates/x", headers=owner)).status_code == 404


async def test_templates_and_senders_are_each_tenants_own(
    client: httpx.AsyncClient, serving: tuple[Platform, httpx.AsyncClient], owner: Headers
) -> None:
    other = await new_tenant(serving[0])
    await client.put("/v1/email-templates/mine", headers=owner, json=TEMPLATE)
    await client.put("/v1/email-sender", headers=owner, json={"from": "me@acme.example"})
    assert (await client.get("/v1/email-templates", headers=other)).json()["items"] == []
    assert (await client.get("/v1/email-sender", headers=other)).json()["from"] is None
    foreign = await client.get("/v1/email-templates/mine", headers=other)
    absent = await client.get("/v1/email-templates/mine2", headers=other)
    assert (foreign.status_code, foreign.json()["detail"] + "2") == (404, absent.json()["detail"].replace("2.", ".2"))


async def test_a_mail_is_sent_as_it_was_settled_and_granted(
    client: httpx.AsyncClient, settings: Settings, owner: Headers, mails: MailServer
) -> None:
    """From the API through the host to a real mail server, the installation's own."""
    tenant = (await client.get("/v1/me", headers=owner)).json()["tenantId"]
    await client.put("/v1/email-templates/welcome", headers=owner, json=TEMPLATE)
    settled = {"from": "Acme <news@acme.example>", "replyTo": "help@acme.example"}
    await client.put("/v1/email-sender", headers=owner, json=settled)
    call = Call(
        plugin="email.sendTemplate",
        config={"to": "ann@example.com", "template": "welcome", "data": {"name": "Ann"}},
        tenant_id=tenant,
        origin="job_x",
        job_id="job_x",
        step="email.sendTemplate",
    )
    house = structs.replace(settings, egress_allow=("127.0.0.0/8",), smtp_url=f"smtp://127.0.0.1:{mails.port}")
    async with open_platform(house) as platform:

        async def send() -> None:
            await platform.host.invoke(call, heartbeat=lambda progress: None, is_cancelled=lambda: False)

        with pytest.raises(CallFailed) as caught:
            await send()
        assert caught.value.failure.type == "email.senderNotGranted"
        grant = {"allowed": ["*@acme.example"]}
        await client.put(f"/v1/tenants/{tenant}/email-senders", headers=ADMIN, json=grant)
        await send()
    message = mails.mails[0].message
    assert (message["From"], message["Reply-To"]) == ("Acme <news@acme.example>", "help@acme.example")
    assert (message["Subject"], message.get_content().strip()) == ("Hello Ann", "<p>Ann</p>")
