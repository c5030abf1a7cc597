"""Tokens of a real issuer on loopback: who gets in by them, for which tenant, and nobody by a forged one."""

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import structs

from gateway.auth import key_sets
from gateway.auth.issuers import Issuer, parse_issuers
from gateway.compose import open_platform
from gateway.settings import Settings
from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant
from tests.gateway.application import Headers, answering
from tests.plugins.target import Target, open_target

DISCOVERY = "/.well-known/openid-configuration"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(key: rsa.RSAPrivateKey, key_id: str) -> dict[str, Any]:
    public: dict[str, Any] = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    return public | {"kid": key_id, "use": "sig"}


class World:
    """An issuer, and an application that trusts it."""

    def __init__(self, target: Target, client: httpx.AsyncClient, tenant: str, other_tenant: str) -> None:
        self.target, self.client, self.tenant, self.other_tenant = target, client, tenant, other_tenant

    def token(
        self, key: Any = KEY, key_id: str | None = "k1", algorithm: str = "RS256", drop: str = "", **claims: Any
    ) -> str:
        now = int(time.time())
        payload = {
            "iss": self.target.url,
            "aud": "gateway",
            "sub": "alice",
            "iat": now,
            "exp": now + 300,
            "org": "acme",
            "realm_access": {"roles": ["offline", "editors"]},
        } | claims
        payload.pop(drop, None)
        return jwt.encode(payload, key, algorithm, headers=None if key_id is None else {"kid": key_id})

    async def me(self, token: str) -> httpx.Response:
        return await self.client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with open_target() as target:
        yield target


@pytest.fixture
async def world(settings: Settings, database: Database, target: Target) -> AsyncIterator[World]:
    async with database.across.transaction() as connection:
        acme, other = await create_tenant(connection, "Acme"), await create_tenant(connection, "Other")
    issuer = Issuer(
        name="corp",
        issuer=target.url,
        audience="gateway",
        algorithms=("RS256", "ES256"),
        tenant_claim="org",
        tenants={"acme": acme.id, "gone": "ten_01jd3x0v7k8m5qf2c9hz6w4t1b", "all": "ten_installation"},
        role_claim="realm_access.roles",
        roles={"editors": "editor", "readers": "viewer"},
    )
    target.answer(DISCOVERY, body={"issuer": target.url, "jwks_uri": f"{target.url}/keys"})
    target.answer("/keys", body={"keys": [jwk(KEY, "k1")]})
    trusting = structs.replace(settings, oidc_issuers=(issuer,), egress_allow=(f"127.0.0.1:{target.port}",))
    async with open_platform(trusting) as platform, answering(platform) as client:
        yield World(target, client, acme.id, other.id)


async def test_a_token_stands_for_its_subject_in_its_tenant_with_its_role(world: World) -> None:
    me = await world.me(world.token())
    assert me.status_code == 200, me.text
    assert (me.json()["keyId"], me.json()["tenantId"], me.json()["role"]) == ("corp:alice", world.tenant, "editor")
    # Of several roles the one that may do most counts; one whose value means nothing counts for nothing.
    for roles, role in ((["readers", "editors"], "editor"), ("readers", "viewer"), (["readers", 5, "root"], "viewer")):
        assert (await world.me(world.token(realm_access={"roles": roles}))).json()["role"] == role
    # Its keys were asked for once.
    assert [request.path for request in world.target.requests] == [DISCOVERY, "/keys"]


async def test_what_a_subject_does_is_on_the_trail_under_its_name(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.token(sub='a' * 255)}"}
    definition = {"nodes": [{"id": "a", "pluginId": "set", "config": {"values": {}}}]}
    body = {"name": "x", "definition": definition}
    made = await world.client.post("/v1/workflows", headers=headers, json=body)
    assert made.status_code == 201, made.text
    refused = await world.client.get("/v1/audit", headers=headers)
    assert refused.status_code == 403


def confused(world: World) -> str:
    """Signed by HMAC with the public key, which everybody knows."""
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    # The library refuses to sign so; an attacker's does not.
    head = encoded({"alg": "HS256", "kid": "k1", "typ": "JWT"})
    signed = f"{head}.{world.token().split('.')[1]}"
    signature = hmac.digest(public, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def changed(token: str) -> str:
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return f"{head}.{encoded(claims | {'sub': 'root'})}.{signature}"


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


FORGED: dict[str, Callable[[World], str]] = {
    "another key": lambda w: w.token(OTHER),
    "another key, without its id": lambda w: w.token(OTHER, key_id=None),
    "a key that the issuer does not have": lambda w: w.token(OTHER, key_id="k2"),
    "an algorithm that is not trusted": lambda w: w.token(algorithm="RS512"),
    "no signature": lambda w: w.token(None, algorithm="none"),
    "the public key as a secret": confused,
    "another curve under the key's id": lambda w: w.token(ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"),
    "expired": lambda w: w.token(exp=int(time.time()) - 60),
    "issued in an hour": lambda w: w.token(iat=int(time.time()) + 3600),
    "not valid yet": lambda w: w.token(nbf=int(time.time()) + 3600),
    "for somebody else": lambda w: w.token(aud="billing"),
    "for nobody": lambda w: w.token(drop="aud"),
    "without an end": lambda w: w.token(drop="exp"),
    "without a beginning": lambda w: w.token(drop="iat"),
    "without a subject": lambda w: w.token(drop="sub"),
    "with an empty subject": lambda w: w.token(sub=""),
    "with a subject of two lines": lambda w: w.token(sub="a\nb"),
    "with a long subject": lambda w: w.token(sub="a" * 256),
    "without an issuer": lambda w: w.token(drop="iss"),
    "of another issuer": lambda w: w.token(iss="https://accounts.example.com"),
    "of almost this issuer": lambda w: w.token(iss=w.target.url + "/"),
    "without a tenant": lambda w: w.token(drop="org"),
    "of a tenant that is not mapped": lambda w: w.token(org=w.other_tenant),
    "of a tenant that is not there": lambda w: w.token(org="gone"),
    "of the installation": lambda w: w.token(org="all"),
    "of two tenants": lambda w: w.token(org=["acme", "acme"]),
    "without a role": lambda w: w.token(drop="realm_access"),
    "with a role that means nothing": lambda w: w.token(realm_access={"roles": ["owner", "admin"]}),
    "with a changed payload": lambda w: changed(w.token()),
    "of many kilobytes": lambda w: w.token(more="x" * 9000),
    "of dots": lambda _: "..",
    "of words": lambda _: "a.b.c",
}  # fmt: skip


async def test_no_other_token_lets_anybody_in(world: World) -> None:
    for what, forge in FORGED.items():
        token = forge(world)
        refused = await world.me(token)
        assert (refused.status_code, refused.json()["type"]) == (401, "/problems/unauthenticated"), what
        assert token not in refused.text
        assert "acme" not in refused.text
    assert (await world.me(world.token())).status_code == 200


async def test_a_new_key_is_asked_for_once_and_then_no_more_for_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_sets, "COOL_DOWN", 0.0)
    assert (await world.me(world.token())).status_code == 200
    world.target.scripts.clear()
    world.target.answer(DISCOVERY, body={"issuer": world.target.url, "jwks_uri": f"{world.target.url}/keys"})
    world.target.answer("/keys", body={"keys": [jwk(KEY, "k1"), jwk(OTHER, "k2")]})
    monkeypatch.setattr(key_sets, "COOL_DOWN", 3600.0)
    # The last fetch is too recent: a flood of unknown keys is no flood of fetches.
    fetched = len(world.target.requests)
    for number in range(20):
        assert (await world.me(world.token(OTHER, key_id=f"x{number}"))).status_code == 401
    assert len(world.target.requests) == fetched
    monkeypatch.setattr(key_sets, "COOL_DOWN", 0.0)
    assert (await world.me(world.token(OTHER, key_id="k2"))).status_code == 200
    assert (await world.me(world.token(sub="bob"))).status_code == 200


async def test_keys_are_served_through_an_outage_of_their_issuer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await world.me(world.token())).status_code == 200
    monkeypatch.setattr(key_sets, "FRESH", 0.0)
    monkeypatch.setattr(key_sets, "COOL_DOWN", 0.0)
    world.target.scripts.clear()
    world.target.answer(DISCOVERY, status=500)
    for number in range(5):
        assert (await world.me(world.token(sub=f"s{number}"))).status_code == 200
    assert len(world.target.requests) > 2


@pytest.mark.parametrize("discovery", [{"issuer": "https://evil.example.com", "jwks_uri": "/keys"}, [], b"{"])
async def test_an_issuer_that_never_said_its_keys_is_unavailable_and_nobody_is_refused_for_it(
    world: World, discovery: Any
) -> None:
    world.target.scripts.clear()
    world.target.answer(DISCOVERY, body=discovery)
    answer = await world.me(world.token())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")


async def test_without_issuers_a_token_is_nobodys(client: httpx.AsyncClient, owner: Headers) -> None:
    token = jwt.encode({"iss": "x", "sub": "y"}, KEY, "RS256")
    refused = await client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert refused.status_code == 401
    assert (await client.get("/v1/me", headers=owner)).status_code == 200


GOOD = {"name": "corp", "issuer": "https://id.example.com", "audience": "gateway", "tenant": "ten_1", "role": "viewer"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"algorithms": ["HS256"]}, "HS256"),
        ({"algorithms": ["none"]}, "none"),
        ({"algorithms": []}, "length"),
        ({"audience": ""}, "length"),
        ({"issuer": "id.example.com"}, "issuer"),
        ({"tenantClaim": "org"}, "either"),
        ({"tenant": None}, "either"),
        ({"tenants": {"a": "b"}}, "tenantClaim"),
        ({"role": None}, "roleClaim"),
        ({"roles": {"a": "owner"}}, "roleClaim"),
        ({"roles": {"a": "admin"}, "roleClaim": "r"}, "admin"),
        ({"role": "admin"}, "admin"),
        ({"colour": "red"}, "colour"),
        ({"name": "Corp:x"}, "name"),
    ],
)
def test_an_issuer_that_could_not_be_trusted_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_issuers(json.dumps([GOOD | change]))


def test_issuers_are_told_apart() -> None:
    with pytest.raises(ValueError, match="same issuer"):
        parse_issuers(json.dumps([GOOD, GOOD | {"name": "b"}]))
    with pytest.raises(ValueError, match="array"):
        parse_issuers("{}")
    (issuer,) = parse_issuers(json.dumps([GOOD]))
    assert (issuer.algorithms, issuer.tenant_of({}), issuer.role_of({})) == (("RS256",), "ten_1", "viewer")
