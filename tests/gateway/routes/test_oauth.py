"""A person authorizes a credential: they are sent to the provider, come back, and what they bring works once."""

from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from msgspec import Struct, structs
from sqlalchemy.exc import OperationalError

from gateway.audit.trail import Trail
from gateway.compose import open_platform
from gateway.settings import Settings
from plugins.vault.oauth import authorizations
from tests.gateway.application import Headers, answering, new_tenant
from tests.oauth_provider import OAuthProvider, open_provider


class World(Struct):
    provider: OAuthProvider
    client: httpx.AsyncClient
    owner: Headers
    other: Headers

    async def make(self, **changes: object) -> str:
        body = {"type": "oauth2", "name": "Mail", "data": self.provider.client(**changes)}
        made = await self.client.post("/v1/credentials", headers=self.owner, json=body)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    async def status(self, id: str) -> str:
        return str((await self.client.get(f"/v1/credentials/{id}", headers=self.owner)).json()["status"])

    async def begin(self, id: str) -> str:
        """Begin an authorization, agree at the provider, and return where it sends one back to."""
        begun = await self.client.post(f"/v1/credentials/{id}/authorize", headers=self.owner)
        assert begun.status_code == 200, begun.text
        async with httpx.AsyncClient(trust_env=False) as browser:
            back = (await browser.get(begun.json()["url"])).headers["location"]
        assert back.startswith("https://gateway.example.com/v1/oauth/callback?")
        return str(back.removeprefix("https://gateway.example.com"))


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    with open_provider() as provider:
        reaching = structs.replace(settings, egress_allow=(f"127.0.0.1:{provider.port}",))
        async with open_platform(reaching) as platform, answering(platform) as client:
            yield World(provider, client, await new_tenant(platform), await new_tenant(platform))


async def test_a_credential_is_good_once_a_person_has_authorized_it(world: World) -> None:
    id = await world.make()
    assert await world.status(id) == "needsAuthorization"
    back = await world.begin(id)
    assert await world.status(id) == "needsAuthorization"
    answer = await world.client.get(back)
    assert (answer.status_code, answer.json()) == (200, {"credentialId": id, "status": "ok"})
    assert await world.status(id) == "ok"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert world.provider.asked == [("authorization_code", "granted")]


async def test_the_url_asks_for_what_the_credential_says_and_for_no_more(world: World) -> None:
    id = await world.make(audience="https://api.example.com")
    begun = (await world.client.post(f"/v1/credentials/{id}/authorize", headers=world.owner, json={})).json()
    asked = {name: value[0] for name, value in parse_qs(urlsplit(begun["url"]).query).items()}
    assert asked.pop("code_challenge")
    assert asked == {
        "prompt": "consent",
        "response_type": "code",
        "client_id": "gateway",
        "redirect_uri": begun["redirectUri"],
        "state": begun["state"],
        "code_challenge_method": "S256",
        "scope": "read write",
        "audience": "https://api.example.com",
    }
    assert "canary" not in str(begun)


async def test_a_state_works_once_and_only_the_newest_one(world: World) -> None:
    id = await world.make()
    first, second = await world.begin(id), await world.begin(id)
    assert (await world.client.get(first)).status_code == 404
    assert (await world.client.get(second)).status_code == 200
    again = await world.client.get(second)
    assert (again.status_code, again.json()["type"]) == (404, "/problems/not-found")
    assert world.provider.asked == [("authorization_code", "granted")]


@pytest.mark.parametrize("state", ["", "x", "ten_x.y", "{tenant}.x", ".", "%00", "a" * 201])
async def test_a_state_that_nobody_gave_authorizes_nothing(world: World, state: str) -> None:
    await world.begin(await world.make())
    tenant = (await world.client.get("/v1/me", headers=world.owner)).json()["tenantId"]
    query = {"state": state.format(tenant=tenant), "code": "x"}
    answer = await world.client.get("/v1/oauth/callback", params=query)
    assert answer.status_code in (400, 404)
    assert world.provider.asked == []


async def test_a_state_is_bound_to_its_tenant(world: World) -> None:
    id = await world.make()
    back = await world.begin(id)
    mine = (await world.client.get("/v1/me", headers=world.owner)).json()["tenantId"]
    theirs = (await world.client.get("/v1/me", headers=world.other)).json()["tenantId"]
    assert (await world.client.get(back.replace(mine, theirs))).status_code == 404
    foreign = await world.client.post(f"/v1/credentials/{id}/authorize", headers=world.other)
    absent = await world.client.post(f"/v1/credentials/cred_{'0' * 26}/authorize", headers=world.other)
    assert (foreign.status_code, absent.status_code) == (404, 404)
    assert (await world.client.get(back)).status_code == 200


async def test_a_person_who_does_not_agree_leaves_it_as_it_was(world: World) -> None:
    id = await world.make()
    state = parse_qs(urlsplit(await world.begin(id)).query)["state"][0]
    answer = await world.client.get("/v1/oauth/callback", params={"state": state, "error": "access_denied"})
    assert (answer.status_code, "access_denied" in answer.json()["detail"]) == (400, True)
    script = {"state": state, "error": "<script>alert(1)</script>" * 5}
    assert (await world.client.get("/v1/oauth/callback", params=script)).status_code == 404, "the state was spent"
    assert await world.status(id) == "needsAuthorization"


async def test_a_code_that_the_provider_does_not_know_is_told(world: World) -> None:
    back = await world.begin(await world.make())
    answer = await world.client.get(back.replace("code=", "code=x"))
    assert (answer.status_code, "invalid_grant" in answer.json()["detail"]) == (400, True)


async def test_a_provider_that_is_down_is_unavailable(world: World) -> None:
    back = await world.begin(await world.make())
    world.provider.outage = [503]
    answer = await world.client.get(back)
    assert (answer.status_code, "again" in answer.json()["detail"]) == (503, True)


async def test_an_authorization_that_took_too_long_is_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorizations, "LIFETIME", -authorizations.LIFETIME)
    assert (await world.client.get(await world.begin(await world.make()))).status_code == 404


async def test_a_rotation_ends_what_was_begun(world: World) -> None:
    id = await world.make()
    back = await world.begin(id)
    rotated = await world.client.post(
        f"/v1/credentials/{id}/rotate", headers=world.owner, json={"data": world.provider.client()}
    )
    assert rotated.json()["status"] == "needsAuthorization"
    assert (await world.client.get(back)).status_code == 404


async def test_what_no_person_can_authorize_is_a_conflict(world: World) -> None:
    machine = await world.make(grantType="client_credentials", authorizationUrl=None)
    bearer = {"type": "bearer", "name": "x", "data": {"token": "t"}}
    other = (await world.client.post("/v1/credentials", headers=world.owner, json=bearer)).json()["id"]
    for id in (machine, other):
        assert (await world.client.post(f"/v1/credentials/{id}/authorize", headers=world.owner)).status_code == 409


async def test_who_connected_what_and_when_is_on_the_trail_and_so_is_each_refusal(world: World) -> None:
    id = await world.make()
    connected = await world.begin(id)
    answers = [await world.client.get(connected)]
    state = parse_qs(urlsplit(await world.begin(id)).query)["state"][0]
    denied = {"state": state, "error": "access_denied"}
    answers.append(await world.client.get("/v1/oauth/callback", params=denied))
    answers.append(await world.client.get((await world.begin(id)).replace("code=", "code=x")))
    back = await world.begin(id)
    world.provider.outage = [503]
    answers.append(await world.client.get(back))
    assert [answer.status_code for answer in answers] == [200, 400, 400, 503]
    # What nobody began is nobody's.
    assert (await world.client.get(connected)).status_code == 404

    asked = {"objectId": id, "action": "finish_authorization"}
    trail = await world.client.get("/v1/audit", headers=world.owner, params=asked)
    records = trail.json()["items"]
    me = (await world.client.get("/v1/me", headers=world.owner)).json()
    assert [record["outcome"]["status"] for record in records] == [503, 400, 400, 200]
    assert {(record["actor"], record["role"], record["path"]) for record in records} == {
        (me["keyId"], "owner", "/v1/oauth/callback")
    }
    # Written down before it was done.
    assert all(record["at"] <= record["outcome"]["at"] for record in records)
    query = parse_qs(urlsplit(connected).query)
    assert not [secret for secret in ("canary", query["state"][0], query["code"][0], state) if secret in trail.text]
    assert (await world.client.get("/v1/audit", headers=world.other, params=asked)).json()["items"] == []


async def test_nothing_is_authorized_that_cannot_be_written_down(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> str:
        raise OperationalError("INSERT", {}, Exception("disk full"))

    id = await world.make()
    back = await world.begin(id)
    monkeypatch.setattr(Trail, "begin", fail)
    assert (await world.client.get(back)).status_code == 503
    assert (world.provider.asked, await world.status(id)) == ([], "needsAuthorization")


async def test_nothing_of_a_token_is_ever_told(world: World) -> None:
    id = await world.make(accessToken="canary-a", refreshToken="canary-r", expiresAt="2100-01-01T00:00:00Z")
    told = await world.client.get(f"/v1/credentials/{id}", headers=world.owner)
    assert (told.json()["status"], "canary" in told.text) == ("ok", False)
