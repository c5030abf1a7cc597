"""Tokens are renewed once for everybody who waits, and what a dying process leaves is never a silent loop (T25)."""

import asyncio
import signal
import sys
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from plugins import Bearer, BearerCredential, Permanent, Smtp, Transient
from plugins.builtin import BUILTINS
from plugins.egress.client import EgressClient
from plugins.host.invoke import Call, CallFailed, Host
from plugins.host.ledger import Ledger
from plugins.host.registry import Registry
from plugins.storage.database import Database
from plugins.vault.credentials import Credentials
from plugins.vault.keys import Vault
from plugins.vault.lending import Borrower, Lender, Lent
from plugins.vault.oauth import grants
from plugins.vault.oauth.authorizations import Authorizations, Initiator
from plugins.vault.oauth.grants import Grants
from plugins.vault.oauth.provider import Provider
from plugins.vault.table import credentials
from tests.figures import Figures
from tests.lending import lend_to_anybody
from tests.oauth_provider import OAuthProvider


async def create(store: Credentials, tenant_id: str, data: dict[str, Any], **options: Any) -> str:
    return (await store.create(tenant_id, type="oauth2", name="Mail", data=data, **options)).id


async def lend(lender: Lender, tenant_id: str, credential_id: str) -> Lent:
    borrower = Borrower(tenant_id=tenant_id, plugin_id="http.request", step="node")
    return await lender.lend(borrower, Bearer("auth"), credential_id)


def token_of(lent: Lent) -> str:
    assert isinstance(lent.credential, BearerCredential)
    return lent.credential.token.reveal()


def host_over(database: Database, vault: Vault, way_out: EgressClient, lender: Lender) -> Host:
    return Host(registry=Registry(BUILTINS), ledger=Ledger(database, vault), lender=lender, egress=way_out)


@pytest.fixture
def host(database: Database, vault: Vault, way_out: EgressClient, lender: Lender) -> Host:
    return host_over(database, vault, way_out, lender)


def calling(provider: OAuthProvider, tenant_id: str, credential_id: str, step: str = "node", **config: Any) -> Call:
    return Call(
        plugin="http.request",
        config={"url": f"{provider.url}/api"} | config,
        credentials={"auth": credential_id},
        tenant_id=tenant_id,
        origin="ex_1",
        execution_id="ex_1",
        step=step,
    )


async def invoke(host: Host, call: Call) -> Any:
    outcome = await host.invoke(call, heartbeat=lambda progress: None, is_cancelled=lambda: False)
    return outcome.output


async def test_a_good_token_is_lent_as_a_bearer_and_nobody_is_asked(
    store: Credentials, lender: Lender, tenant_id: str, provider: OAuthProvider
) -> None:
    id = await create(store, tenant_id, provider.client(accessToken="a", expiresAt="2100-01-01T00:00:00Z"))
    assert token_of(await lend(lender, tenant_id, id)) == "a"
    assert provider.asked == []
    with pytest.raises(Permanent) as caught:
        await lender.lend(Borrower(tenant_id=tenant_id, plugin_id="email.send", step="node"), Smtp("smtp"), id)
    assert caught.value.type == "credential.wrongType"


async def test_a_storm_of_steps_over_one_expired_token_is_one_refresh(
    database: Database,
    vault: Vault,
    store: Credentials,
    tenant_id: str,
    provider: OAuthProvider,
    way_out: EgressClient,
    figures: Figures,
) -> None:
    """Four stores, as four processes have them, and twenty-five steps at once in each."""
    lenders = [lend_to_anybody(database, vault, Grants(database, vault, Provider(way_out))) for _ in range(4)]
    id = await create(store, tenant_id, provider.expired())
    hosts = [host_over(database, vault, way_out, lender) for lender in lenders]
    calls = [calling(provider, tenant_id, id, f"n{number}") for number in range(25)]
    outputs = await asyncio.gather(*(invoke(host, call) for host in hosts for call in calls))
    figures("T25", uses=len(outputs), refreshes=len(provider.refreshes), storms=1)
    assert [output["status"] for output in outputs] == [200] * 100
    assert provider.refreshes == ["granted"]
    assert provider.served == [200] * 100
    # What followed is good for the next refresh, too.
    assert token_of(await lend(lenders[3], tenant_id, id)) == token_of(await lend(lenders[0], tenant_id, id))


async def test_what_was_granted_is_committed_before_anybody_uses_it(
    database: Database,
    vault: Vault,
    tokens: Provider,
    store: Credentials,
    lender: Lender,
    tenant_id: str,
    provider: OAuthProvider,
) -> None:
    id = await create(store, tenant_id, provider.expired())
    token = token_of(await lend(lender, tenant_id, id))
    fresh = lend_to_anybody(database, vault, Grants(database, vault, tokens))
    assert token_of(await lend(fresh, tenant_id, id)) == token
    assert provider.refreshes == ["granted"]
    async with database.read(tenant_id) as connection:
        row = (await connection.execute(select(credentials))).one()
    assert (row.status, row.grant_version, row.renewing_by) == ("ok", 1, None)
    assert "canary" not in repr(row)


async def test_a_token_is_renewed_before_it_ends(
    store: Credentials, lender: Lender, tenant_id: str, provider: OAuthProvider
) -> None:
    provider.life = 100
    id = await create(store, tenant_id, provider.expired())
    first = token_of(await lend(lender, tenant_id, id))
    assert token_of(await lend(lender, tenant_id, id)) == first
    provider.life = 3600
    # One of a second's life is renewed a tenth of a second before.
    provider.life = 1
    other = await create(store, tenant_id, provider.expired())
    short = token_of(await lend(lender, tenant_id, other))
    deadline = time.monotonic() + 5
    while token_of(await lend(lender, tenant_id, other)) == short:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert "invalid_grant" not in provider.refreshes


async def test_a_token_that_a_server_refuses_is_replaced_once_and_the_request_sent_again(
    store: Credentials, host: Host, tenant_id: str, provider: OAuthProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await create(store, tenant_id, provider.expired())
    assert (await invoke(host, calling(provider, tenant_id, id)))["status"] == 200
    provider.revoke_access()
    # They were granted a moment ago: a server that refuses them so soon would refuse any.
    with pytest.raises(CallFailed) as caught:
        await invoke(host, calling(provider, tenant_id, id))
    assert (caught.value.failure.type, provider.refreshes) == ("http.401", ["granted"])
    monkeypatch.setattr(grants, "YOUNG", 0.0)
    provider.served.clear()
    outputs = await asyncio.gather(
        *(invoke(host, calling(provider, tenant_id, id, f"p{n}", method="POST", body={"n": n})) for n in range(20))
    )
    assert {output["status"] for output in outputs} == {200}
    assert provider.refreshes == ["granted", "granted"]
    assert provider.served.count(200) == 20
    assert len(provider.served) <= 40


async def test_a_token_that_came_during_the_call_is_masked_too(
    store: Credentials, host: Host, tenant_id: str, provider: OAuthProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await create(store, tenant_id, provider.expired())
    await invoke(host, calling(provider, tenant_id, id))
    provider.revoke_access()
    monkeypatch.setattr(grants, "YOUNG", 0.0)
    output = await invoke(host, calling(provider, tenant_id, id))
    assert output["body"]["told"]["authorization"] == "Bearer ***"


async def test_the_token_goes_only_to_allowed_hosts_and_may_come_from_another(
    store: Credentials, host: Host, tenant_id: str, provider: OAuthProvider
) -> None:
    id = await create(store, tenant_id, provider.expired(), allowed_hosts=["api.example.com"])
    with pytest.raises(CallFailed) as caught:
        await invoke(host, calling(provider, tenant_id, id))
    assert caught.value.failure.type == "credential.hostNotAllowed"
    assert (provider.refreshes, provider.served) == (["granted"], [])


async def test_client_credentials_ask_for_a_new_token_each_time(
    store: Credentials, lender: Lender, tenant_id: str, provider: OAuthProvider
) -> None:
    data = provider.client(grantType="client_credentials", authorizationUrl=None, clientAuthentication="body")
    id = await create(store, tenant_id, data)
    assert (await store.get(tenant_id, id)).status == "ok"
    await asyncio.gather(*(lend(lender, tenant_id, id) for _ in range(10)))
    assert provider.asked == [("client_credentials", "granted")]


async def test_a_refused_client_says_so_and_is_asked_no_more_until_it_is_rotated(
    store: Credentials, lender: Lender, tenant_id: str, provider: OAuthProvider
) -> None:
    data = provider.client(grantType="client_credentials", authorizationUrl=None, clientSecret="wrong")
    id = await create(store, tenant_id, data)
    for _ in range(5):
        with pytest.raises(Permanent, match="rotate it") as caught:
            await lend(lender, tenant_id, id)
        assert caught.value.type == "credential.needsReauth"
    assert provider.asked == [("client_credentials", "invalid_client")]
    told = await store.get(tenant_id, id)
    assert (told.status, told.status_reason) == ("needsReauth", "invalid_client")
    mended = provider.client(grantType="client_credentials", authorizationUrl=None)
    assert (await store.rotate(tenant_id, id, data=mended)).status == "ok"
    await lend(lender, tenant_id, id)


async def test_a_provider_that_is_down_is_a_transient_error_and_the_grant_outlives_it(
    store: Credentials, lender: Lender, tenant_id: str, provider: OAuthProvider
) -> None:
    id = await create(store, tenant_id, provider.expired())
    provider.outage = [503, 429, 500]
    for _ in range(3):
        with pytest.raises(Transient) as caught:
            await lend(lender, tenant_id, id)
        assert (caught.value.type, caught.value.effect) == ("oauth.unavailable", "none")
    await lend(lender, tenant_id, id)
    assert provider.refreshes == ["503", "429", "500", "granted"]


async def test_without_a_refresh_token_an_ended_one_needs_a_person(
    store: Credentials, lender: Lender, tenant_id: str, provider: OAuthProvider
) -> None:
    id = await create(store, tenant_id, provider.client(accessToken="a", expiresAt="2001-01-01T00:00:00Z"))
    with pytest.raises(Permanent, match="authorize it again"):
        await lend(lender, tenant_id, id)
    assert (await store.get(tenant_id, id)).status_reason == "no_refresh_token"
    assert provider.asked == []


async def test_a_token_that_cannot_be_renewed_stays_though_one_server_refuses_it(
    store: Credentials, host: Host, tenant_id: str, provider: OAuthProvider
) -> None:
    """Many providers grant tokens without an end; that one address answers 401 says nothing of the others."""
    id = await create(store, tenant_id, provider.client(accessToken="endless"))
    for _ in range(2):
        with pytest.raises(CallFailed) as caught:
            await invoke(host, calling(provider, tenant_id, id))
        assert caught.value.failure.type == "http.401"
    assert (await store.get(tenant_id, id)).status == "ok"
    assert provider.asked == []


async def test_whoever_gives_up_does_not_take_the_renewal_from_the_others(
    store: Credentials, lender: Lender, tenant_id: str, provider: OAuthProvider
) -> None:
    id = await create(store, tenant_id, provider.expired())
    provider.answers.clear()
    impatient, patient = (asyncio.create_task(lend(lender, tenant_id, id)) for _ in range(2))
    while not provider.refreshes:
        await asyncio.sleep(0.01)
    impatient.cancel()
    await asyncio.wait([impatient])
    provider.answers.set()
    token_of(await patient)
    assert provider.refreshes == ["granted"]


async def die(database: Database, tenant_id: str, credential_id: str, moment: str) -> None:
    """Let another process begin to renew, and be killed over it."""
    url = database.engine.url.render_as_string(hide_password=False)
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.plugins.vault.oauth.renewing", url, tenant_id, credential_id, moment),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await worker.communicate()
    assert (worker.returncode, output.decode().strip()) == (-signal.SIGKILL, moment)


async def test_after_a_kill_before_the_request_the_next_one_renews(
    database: Database, store: Credentials, lender: Lender, tenant_id: str, provider: OAuthProvider
) -> None:
    id = await create(store, tenant_id, provider.expired())
    await die(database, tenant_id, id, "asking")
    await asyncio.gather(*(lend(lender, tenant_id, id) for _ in range(10)))
    assert provider.refreshes == ["granted"]


async def test_after_a_kill_between_answer_and_commit_a_strict_provider_needs_a_person_and_hears_no_loop(
    database: Database,
    vault: Vault,
    store: Credentials,
    lender: Lender,
    tokens: Provider,
    tenant_id: str,
    provider: OAuthProvider,
) -> None:
    id = await create(store, tenant_id, provider.expired())
    await die(database, tenant_id, id, "answered")
    results = await asyncio.gather(*(lend(lender, tenant_id, id) for _ in range(10)), return_exceptions=True)
    results += await asyncio.gather(*(lend(lender, tenant_id, id) for _ in range(10)), return_exceptions=True)
    assert {getattr(result, "type", "lent") for result in results} == {"credential.needsReauth"}
    assert provider.refreshes == ["granted", "invalid_grant"], "each token was shown, and none again and again"
    told = await store.get(tenant_id, id)
    assert (told.status, told.status_reason) == ("needsReauth", "invalid_grant, after a renewal that broke off")
    # A person mends it.
    people = Authorizations(database, vault, tokens, "https://gateway.example.com/v1/oauth/callback")
    begun = await people.begin(tenant_id, id, Initiator("key_1", "owner"))
    code = provider.authorize(dict(pair.split("=") for pair in begun.url.partition("?")[2].split("&")))
    await people.finish(await people.take(begun.state), code=parse_qs(urlsplit(code).query)["code"][0], error=None)
    await lend(lender, tenant_id, id)
    assert (await store.get(tenant_id, id)).status == "ok"


async def test_after_a_kill_between_answer_and_commit_a_forgiving_provider_is_no_trouble(
    database: Database, store: Credentials, lender: Lender, tenant_id: str, provider: OAuthProvider
) -> None:
    provider.forgives = True
    id = await create(store, tenant_id, provider.expired())
    await die(database, tenant_id, id, "answered")
    await lend(lender, tenant_id, id)
    assert provider.refreshes == ["granted", "granted"]
    assert (await store.get(tenant_id, id)).status == "ok"


async def test_an_answer_that_comes_after_its_lease_is_kept_if_nothing_newer_is_there(
    database: Database,
    store: Credentials,
    lender: Lender,
    tenant_id: str,
    provider: OAuthProvider,
    vault: Vault,
    tokens: Provider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grants, "LEASE", 0.2)
    id = await create(store, tenant_id, provider.expired())
    provider.answers.clear()
    slow = asyncio.create_task(lend(lender, tenant_id, id))
    while not provider.refreshes:
        await asyncio.sleep(0.01)
    other = lend_to_anybody(database, vault, Grants(database, vault, tokens))
    fast = asyncio.create_task(lend(other, tenant_id, id))
    while len(provider.refreshes) < 2:
        await asyncio.sleep(0.01)
    provider.answers.set()
    results = await asyncio.gather(slow, fast, return_exceptions=True)
    assert any(isinstance(result, Lent) for result in results)
    assert (await store.get(tenant_id, id)).status == "ok"


async def test_a_rotation_counts_more_than_a_renewal_that_is_at_work(
    store: Credentials, lender: Lender, tenant_id: str, provider: OAuthProvider
) -> None:
    id = await create(store, tenant_id, provider.expired())
    provider.answers.clear()
    renewing = asyncio.create_task(lend(lender, tenant_id, id))
    while not provider.refreshes:
        await asyncio.sleep(0.01)
    await store.rotate(tenant_id, id, data=provider.client(accessToken="new", expiresAt="2100-01-01T00:00:00Z"))
    provider.answers.set()
    assert token_of(await renewing) == "new"
    assert token_of(await lend(lender, tenant_id, id)) == "new"
