"""Whatever takes a URL or a host goes through the one guard: the whole hostile corpus by every way (T21)."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
import structlog

from gateway.auth.key_sets import KeySet
from gateway.errors import IssuerUnavailable
from internal_jobs.webhooks import sending
from internal_jobs.webhooks.deliveries import Parcel
from internal_jobs.webhooks.endpoints import OpenedEndpoint
from plugins import BearerCredential, Context, DatabaseCredential, PluginError, Secret, SmtpCredential
from plugins.builtin import BUILTINS, builtins
from plugins.builtin.email.desk import Desk
from plugins.builtin.email.template import Template
from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.sdk.conform import Nonconforming, conform
from plugins.sdk.credential import Credential
from plugins.vault.oauth.client import OAuth2Client
from plugins.vault.oauth.grant import Grant
from plugins.vault.oauth.provider import Provider, Refused
from tests.figures import Figures
from tests.plugins.egress.corpus import resolve, urls, watched
from tests.plugins.target import open_target

Way = Callable[[EgressClient, str], Awaitable[object]]

#: what a way says of a URL that it does not take
REFUSALS = (PluginError, Nonconforming, IssuerUnavailable, Refused)


def plugin(
    id: str, config: Callable[[str], Any], credentials: Callable[[str], Mapping[str, Credential]] = lambda url: {}
) -> Way:
    """The way by a built-in plugin, run as the host runs it."""

    async def go(egress: EgressClient, url: str) -> object:
        made = builtins(quotes={"default": url}, desk=Desk(template=greeting))
        (found,) = (each for each in made if each.id == id)
        return await found(conform(found.config, config(url)), context(egress, credentials(url)))

    return go


def context(egress: EgressClient, credentials: Mapping[str, Credential]) -> Context:
    return Context(
        tenant_id="ten_1",
        execution_id="ex_1",
        job_id=None,
        step="node",
        attempt=1,
        idempotency_key="3f2a9c",
        http=egress,
        credentials=credentials,
        log=structlog.get_logger(),
        heartbeat=lambda progress: None,
        is_cancelled=lambda: False,
        loop=asyncio.get_running_loop(),
    )


async def gone(way: Way, egress: EgressClient, url: str) -> object:
    """Go a way; ``None``: it leads nowhere, or somebody who is patient goes on trying."""
    with contextlib.suppress(*REFUSALS, TimeoutError):
        return await asyncio.wait_for(way(egress, url), 2)
    return None


def place(url: str) -> tuple[str, int]:
    """What stands for host and port in a URL, however it is spelled."""
    authority = url.partition("//")[2].partition("/")[0]
    host, _, port = authority.rpartition(":")
    return (host, int(port)) if port.isascii() and port.isdigit() and host else (authority, 25)


def mail_server(url: str) -> Mapping[str, Credential]:
    host, port = place(url)
    return {"smtp": SmtpCredential(host=host, port=port, security="none")}


def database(url: str) -> Mapping[str, Credential]:
    authority = url.partition("//")[2].partition("/")[0]
    return {"database": DatabaseCredential(url=Secret(f"postgresql://ada:pw@{authority}/shop"))}


async def outbound_webhook(egress: EgressClient, url: str) -> object:
    endpoint = OpenedEndpoint(id="ep_1", url=url, events=("*",), secrets=(Secret("whsec_bm90aGluZw=="),))
    parcel = Parcel(delivery_id="dlv_1", message_id="msg_1", endpoint=endpoint, body=b"{}")
    outcome = await sending._post(parcel, context(egress, {}))
    if outcome.error is not None:
        raise outcome.error
    return outcome


async def token(egress: EgressClient, url: str) -> object:
    client = OAuth2Client(
        grant_type="client_credentials", token_url=url, client_id="gateway", client_secret=Secret("secret")
    )
    return await Provider(egress).renewed(client, Grant())


async def keys(egress: EgressClient, url: str) -> object:
    return await KeySet("https://id.example.com", url, egress).find("k1")


async def discovery(egress: EgressClient, url: str) -> object:
    return await KeySet(url, None, egress).find("k1")


def mail(**more: Any) -> dict[str, Any]:
    return {"to": "ann@example.com", "from": "gateway@example.com", "subject": "x", "text": "x"} | more


def templated(**more: Any) -> dict[str, Any]:
    return {"to": "ann@example.com", "from": "gateway@example.com", "template": "greeting"} | more


async def greeting(tenant_id: str, name: str) -> Template:
    return Template(subject="x", text="x")


SYNC_SOURCE = {"type": "http", "url": "https://public.example.com/"}

WAYS: dict[str, Way] = {
    "http.request": plugin("http.request", lambda url: {"url": url, "timeout": "2s"}),
    "http.request, with a token": plugin(
        "http.request",
        lambda url: {"url": url, "method": "POST", "timeout": "2s"},
        lambda url: {"auth": BearerCredential(token=Secret("t"))},
    ),
    "webhook.deliver": plugin("webhook.deliver", lambda url: {"url": url, "event": "x"}),
    "email.send, its server": plugin("email.send", lambda url: mail(), mail_server),
    "email.send, an attachment": plugin(
        "email.send", lambda url: mail(attachments=[{"filename": "a", "url": url}]), mail_server
    ),
    "email.sendTemplate, its server": plugin("email.sendTemplate", lambda url: templated(), mail_server),
    "email.sendTemplate, an attachment": plugin(
        "email.sendTemplate", lambda url: templated(attachments=[{"filename": "a", "url": url}]), mail_server
    ),
    "stock.price": plugin("stock.price", lambda url: {"symbol": "AAPL"}),
    "data.sync, its source": plugin(
        "data.sync",
        lambda url: {"source": {"type": "http", "url": url}, "sink": {"type": "http", "url": "https://x.example.com/"}},
    ),
    "data.sync, its database": plugin(
        "data.sync",
        lambda url: {
            "source": SYNC_SOURCE,
            "sink": {"type": "sql", "table": "t", "columns": {"id": "/id"}, "key": ["id"]},
        },
        database,
    ),
    "an outbound webhook": outbound_webhook,
    "a token of OAuth": token,
    "the keys of an issuer": keys,
    "the discovery of an issuer": discovery,
}


def test_no_built_in_plugin_is_left_out() -> None:
    assert {each.id for each in BUILTINS} == {way.partition(",")[0] for way in WAYS if "." in way.partition(",")[0]}


@pytest.mark.parametrize("way", WAYS)
async def test_no_hostile_url_connects_anywhere_by(way: str, figures: Figures) -> None:
    async with open_target("0.0.0.0") as target:
        hostile = urls(target.port)
        egress = EgressClient(Guard(), resolve=resolve)
        with watched() as connections:
            answers = await asyncio.gather(*(gone(WAYS[way], egress, url) for url in hostile))
        await egress.close()
        let_through = [url for url, answer in zip(hostile, answers, strict=True) if answer is not None]
    figures("T21", ways=1, tried=len(hostile), let_through=len(let_through), connections=len(connections))
    assert (let_through, connections, target.connections) == ([], [], 0)
    assert len(set(hostile)) >= 80


@pytest.mark.parametrize("way", WAYS)
async def test_what_the_operator_allows_is_reached_by(way: str) -> None:
    """The same ways lead out: what is refused above is refused by the guard, and not because nothing works."""
    async with open_target() as target:
        egress = EgressClient(Guard(allow=[f"127.0.0.1:{target.port}"]))
        await gone(WAYS[way], egress, f"{target.url}/")
        await egress.close()
        assert target.connections > 0
