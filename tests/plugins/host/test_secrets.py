import base64
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from plugins import (
    Basic,
    Bearer,
    BearerCredential,
    Context,
    Effect,
    Permanent,
    Plugin,
    Transient,
    plugin,
)
from plugins.host.invoke import CallFailed
from tests.plugins.host.bench import Bench
from tests.plugins.host.plays import Config
from tests.plugins.target import Target

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


TOKEN = "canary-t0k3n/+ü"


async def bind(bench: Bench, type: str, data: dict[str, Any], **options: Any) -> str:
    record = await bench.credentials.create(bench.tenant_id, type=type, name=type, data=data, **options)
    return record.id


def lent(function: Callable[[Config, Context], Any], effect: Effect = "read") -> Plugin:
    slots = [Bearer("auth"), Basic("login", optional=True)]
    return plugin("test.lent", version="1.0.0", effect=effect, credentials=slots)(function)


async def hello(config: Config, ctx: Context) -> str:
    return "hello"


async def test_bound_credentials_are_lent(bench: Bench) -> None:
    async def use(config: Config, ctx: Context) -> bool:
        credential = ctx.credential("auth")
        assert isinstance(credential, BearerCredential)
        return credential.token.reveal() == TOKEN and not ctx.has_credential("login")

    auth = await bind(bench, "bearer", {"token": TOKEN})
    assert (await bench.invoke(lent(use), credentials={"auth": auth})).output is True


async def test_each_credential_restricts_a_way_of_its_own(bench: Bench, target: Target) -> None:
    """What talks to several parties reaches each as far as the credential for that party allows."""
    target.answer("/x", 200)

    async def reached(config: Config, ctx: Context) -> dict[str, Any]:
        ways = {
            "auth": ctx.http_for("auth"),
            "login": ctx.http_for("login"),
            "none": ctx.http_for(None),
            "all": ctx.http,
        }
        found: dict[str, Any] = {}
        for name, way in ways.items():
            try:
                found[name] = (await way.request("GET", target.url + "/x")).status
            except Permanent as error:
                found[name] = error.type
        return found

    here, elsewhere = f"127.0.0.1:{target.port}", "api.example.com"
    auth = await bind(bench, "bearer", {"token": TOKEN}, allowed_hosts=[here])
    login = await bind(bench, "basic", {"username": "a", "password": "b"}, allowed_hosts=[elsewhere])
    both = await bench.invoke(lent(reached), credentials={"auth": auth, "login": login})
    refused = "credential.hostNotAllowed"
    assert both.output == {"auth": 200, "login": refused, "none": 200, "all": refused}
    one = await bench.invoke(lent(reached), credentials={"auth": auth})
    assert one.output == {"auth": 200, "login": 200, "none": 200, "all": 200}


async def test_a_call_without_the_right_credentials_is_refused_before_anything_happens(bench: Bench) -> None:
    auth = await bind(bench, "bearer", {"token": TOKEN})
    cases: list[tuple[dict[str, str], str]] = [
        ({}, "credential.missing"),
        ({"auth": "cred_absent"}, "credential.missing"),
        ({"auth": auth, "other": auth}, "credential.unknownSlot"),
        ({"auth": auth, "login": auth}, "credential.wrongType"),
    ]
    for credentials, type in cases:
        failure = await bench.fail(lent(hello, "unsafe"), credentials=credentials)
        assert (failure.type, failure.retry_in) == (type, None)
    assert await bench.rows() == []


async def test_no_form_of_a_secret_leaves_by_a_message_a_trace_or_a_log(bench: Bench) -> None:
    password = "canary pass&wörd"
    forms = [
        TOKEN,
        base64.b64encode(TOKEN.encode()).decode(),
        base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("="),
        "canary-t0k3n%2F%2B%C3%BC",
        "canary-t0k3n/%2B%C3%BC",
        "canary+pass%26w%C3%B6rd",
        base64.b64encode(f"ada:{password}".encode()).decode(),
        "canary-t0k3n/+\\u00fc",
    ]
    credentials = {
        "auth": await bind(bench, "bearer", {"token": TOKEN}),
        "login": await bind(bench, "basic", {"username": "ada", "password": password}),
    }
    for form in forms:
        for error in (ValueError(f"<{form}>"), Transient(f"<{form}>")):

            async def leak(config: Config, ctx: Context, error: Exception = error) -> None:
                raise error

            made = lent(hello)
            leaking = Plugin(**{name: getattr(made, name) for name in made.__struct_fields__} | {"function": leak})
            with structlog.testing.capture_logs() as logs, pytest.raises(CallFailed) as caught:
                await bench.invoke(leaking, credentials=credentials)
            assert "<***>" in caught.value.failure.message
            assert form not in repr((caught.value, caught.value.failure, logs))
            assert caught.value.__context__ is None
            assert caught.value.__cause__ is None


async def test_a_secret_that_a_server_echoes_is_masked_in_the_output(bench: Bench) -> None:
    async def echo(config: Config, ctx: Context) -> Any:
        return {"headers": {"authorization": f"Bearer {TOKEN}", TOKEN: 1}, "n": 12345678, "list": [f"<{TOKEN}>", None]}

    auth = await bind(bench, "bearer", {"token": TOKEN})
    login = await bind(bench, "basic", {"username": "ada", "password": "12345678"})
    outcome = await bench.invoke(lent(echo), credentials={"auth": auth, "login": login})
    assert outcome.output == {
        "headers": {"authorization": "Bearer ***", "***": 1},
        "n": 12345678,
        "list": ["<***>", None],
    }


async def test_a_credential_goes_only_to_its_allowed_hosts(bench: Bench, target: Target) -> None:
    target.answer("/", body=b"hello")

    async def fetch(config: Config, ctx: Context) -> str:
        return (await ctx.http.request("GET", target.url + "/")).content.decode()

    here, elsewhere = f"127.0.0.1:{target.port}", "api.example.com"
    both = await bind(bench, "bearer", {"token": TOKEN}, allowed_hosts=[here, elsewhere])
    assert (await bench.invoke(lent(fetch), credentials={"auth": both})).output == "hello"

    other = await bind(bench, "basic", {"username": "a", "password": "b"}, allowed_hosts=[elsewhere])
    failure = await bench.fail(lent(fetch), credentials={"auth": both, "login": other})
    assert failure.type == "credential.hostNotAllowed", "with two credentials only what both allow remains"
    assert len(target.requests) == 1
