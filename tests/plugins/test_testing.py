import threading
from typing import Any

import pytest
from msgspec import Struct

from plugins import BasicCredential, Bearer, BearerCredential, Context, Permanent, Port, Secret, Transient, plugin
from plugins.testing import Outcome, run
from tests.plugins.target import Target

TOKEN = BearerCredential(token=Secret("canary-token"))


class Config(Struct):
    url: str
    tries: int = 1


@plugin("page.read", version="1.0.0", effect="read", ports=["output", "absent"], credentials=[Bearer("auth")])
async def read_page(config: Config, ctx: Context) -> Any:
    """Written as the author of a plugin would."""
    credential = ctx.credential("auth")
    assert isinstance(credential, BearerCredential)
    ctx.heartbeat("asking")
    answer = await ctx.http.request("GET", config.url, headers={"authorization": f"Bearer {credential.token.reveal()}"})
    if answer.status == 404:
        return Port("absent", None)
    if answer.status == 503:
        raise Transient("the page is busy", effect="none", retry_after=7)
    return answer.content.decode()


async def test_a_plugin_runs_without_engines_and_reaches_a_server_on_loopback(target: Target) -> None:
    target.answer("/", body=b"hello")
    told: list[Any] = []
    outcome = await run(read_page, {"url": target.url + "/"}, credentials={"auth": TOKEN}, heartbeat=told.append)
    assert outcome == Outcome(port="output", output="hello")
    assert target.requests[0].headers["authorization"] == "Bearer canary-token"
    assert told == ["asking"]


async def test_ports_and_errors_come_out_as_the_plugin_gave_them(target: Target) -> None:
    target.answer("/busy", 503)
    outcome = await run(read_page, Config(url=target.url + "/gone"), credentials={"auth": TOKEN})
    assert outcome.port == "absent"
    with pytest.raises(Transient) as caught:
        await run(read_page, {"url": target.url + "/busy"}, credentials={"auth": TOKEN})
    assert caught.value.retry_after == 7


async def test_the_config_is_checked_as_in_production() -> None:
    with pytest.raises(Permanent, match=r"/uri: unknown key 'uri'.*; /url: is required"):
        await run(read_page, {"uri": "x"}, credentials={"auth": TOKEN})


async def test_allowed_hosts_are_kept(target: Target) -> None:
    with pytest.raises(Permanent) as caught:
        await run(read_page, {"url": target.url + "/"}, credentials={"auth": TOKEN}, allowed_hosts=("api.example.com",))
    assert caught.value.type == "credential.hostNotAllowed"


@pytest.mark.parametrize(
    ("credentials", "message"),
    [
        ({}, "needs a credential in slot 'auth'"),
        ({"auth": BasicCredential(username="a", password=Secret("b"))}, "takes bearer, and was given basic"),
        ({"auth": TOKEN, "other": TOKEN}, "has no credential slot 'other'; it has auth"),
    ],
)
async def test_credentials_that_do_not_fit_are_the_tests_own_mistake(credentials: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        await run(read_page, {"url": "http://a.example"}, credentials=credentials)


async def test_plain_functions_attempts_and_keys_are_as_in_production() -> None:
    @plugin("key.tell", version="1.0.0", effect="unsafe")
    def tell(config: Struct, ctx: Context) -> list[Any]:
        return [ctx.idempotency_key, ctx.attempt, threading.current_thread() is threading.main_thread()]

    first, second = await run(tell, {}), await run(tell, {}, attempt=2)
    assert first.output[0] == second.output[0]
    assert (first.output[1:], second.output[1:]) == ([1, False], [2, False])
    assert (await run(tell, {}, step="other")).output[0] != first.output[0]


async def test_a_plugin_that_hangs_is_ended() -> None:
    @plugin("clock.stop", version="1.0.0", effect="pure")
    def stop(config: Struct, ctx: Context) -> None:
        while not ctx.cancelled:
            threading.Event().wait(0.01)

    with pytest.raises(Transient) as caught:
        await run(stop, {}, timeout=0.05)
    assert caught.value.type == "timeout"
