import asyncio
import threading
from contextlib import suppress
from typing import Any, Literal

import pytest
import structlog
from msgspec import Struct
from prometheus_client import REGISTRY

from plugins import (
    BearerCredential,
    Context,
    Effect,
    Permanent,
    PluginError,
    Port,
    Secret,
    Transient,
    plugin,
)
from plugins.host.invoke import Call, CallFailed, Host, Outcome
from plugins.host.registry import Registry
from tests.plugins.host.bench import Bench
from tests.plugins.host.plays import Acts, Config, pure, until
from tests.plugins.target import Target

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


async def test_a_plain_result_leaves_by_the_default_port_as_json(bench: Bench) -> None:
    class Quote(Struct):
        symbol: str
        prices: tuple[float, ...]

    async def quote(config: Config, ctx: Context) -> Quote:
        return Quote("AAPL", (1.5, 2.0))

    outcome = await bench.invoke(pure(quote, ports=["quoted", "absent"]))
    assert outcome == Outcome(port="quoted", output={"symbol": "AAPL", "prices": [1.5, 2.0]})


async def test_a_plugin_may_choose_its_port(bench: Bench) -> None:
    async def choose(config: Config, ctx: Context) -> Port[int]:
        return Port("true", 1)

    assert await bench.invoke(pure(choose, ports=["false", "true"])) == Outcome(port="true", output=1)
    failure = await bench.fail(pure(choose, ports=["false"]))
    assert (failure.type, failure.retry_in) == ("plugin.unknownPort", None)
    assert "'true'" in failure.message


async def test_the_context_says_who_the_call_is_for(bench: Bench) -> None:
    async def tell(config: Config, ctx: Context) -> list[Any]:
        return [ctx.tenant_id, ctx.execution_id, ctx.job_id, ctx.step, ctx.attempt, ctx.cancelled]

    outcome = await bench.invoke(pure(tell), execution_id=None, job_id="job_1", step="n[2]", attempt=3)
    assert outcome.output == [bench.tenant_id, None, "job_1", "n[2]", 3, False]


async def test_a_plain_function_runs_in_a_thread_and_reaches_out_through_the_loop(bench: Bench, target: Target) -> None:
    target.answer("/", body=b"hello")
    told: list[tuple[Any, int]] = []

    def fetch(config: Config, ctx: Context) -> list[Any]:
        ctx.heartbeat({"percent": 50})
        answer = ctx.wait(ctx.http.request("GET", target.url + "/"))
        return [answer.content.decode(), threading.current_thread() is threading.main_thread()]

    outcome = await bench.invoke(pure(fetch), heartbeat=lambda progress: told.append((progress, threading.get_ident())))
    assert outcome.output == ["hello", False]
    assert told == [({"percent": 50}, threading.get_ident())], "the engine is told on its own thread"


async def test_an_unknown_plugin_is_a_final_failure(bench: Bench) -> None:
    host = Host(registry=Registry([]), ledger=bench.ledger, lender=bench.lender, egress=bench.egress)
    with pytest.raises(CallFailed) as caught:
        await host.invoke(bench.call(Acts("pure").plugin), heartbeat=lambda _: None, is_cancelled=lambda: False)
    assert (caught.value.failure.type, caught.value.failure.retry_in) == ("plugin.unknown", None)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"size": "x"}, "/size: expected `int`, got `str`"),
        ({"siez": 1}, "/siez: unknown key 'siez'; did you mean 'size'?"),
        ([1], "expected `object`, got `array`"),
    ],
)
async def test_a_config_of_another_form_is_refused_before_anything_happens(
    bench: Bench, config: Any, message: str
) -> None:
    acts = Acts("unsafe")
    failure = await bench.fail(acts.plugin, config)
    assert (failure.type, failure.retry_in, acts.count) == ("config.invalid", None, 0)
    assert message in failure.message
    assert await bench.rows() == []


@pytest.mark.parametrize(
    ("value", "type"),
    [
        (Secret("canary"), "output.invalid"),
        ({"deep": [BearerCredential(token=Secret("canary"))]}, "output.invalid"),
        (object(), "output.invalid"),
        ({(1, 2): 3}, "output.invalid"),
        ("x" * 200, "output.tooLarge"),
    ],
)
async def test_an_output_that_cannot_be_kept_is_a_final_failure(bench: Bench, value: Any, type: str) -> None:
    failure = await bench.fail(Acts("read", value).plugin, max_output=100)
    assert (failure.type, failure.retry_in) == (type, None)
    assert "canary" not in failure.message


async def test_a_bottomless_output_is_a_final_failure(bench: Bench) -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert (await bench.fail(Acts("read", loop).plugin)).type == "output.invalid"


@pytest.mark.parametrize(
    ("error", "type", "retried"),
    [
        (Transient("later", type="http.503", status=503), "http.503", True),
        (Permanent("never", type="http.404", status=404), "http.404", False),
        (PluginError("odd", type="odd"), "odd", False),
        (TimeoutError(), "timeout", True),
        (ZeroDivisionError("division by zero"), "plugin.crashed", False),
        (SystemExit(3), "plugin.crashed", False),
        (asyncio.CancelledError(), "plugin.crashed", False),
        (RecursionError(), "plugin.crashed", False),
    ],
)
async def test_every_error_becomes_a_failure(bench: Bench, error: BaseException, type: str, retried: bool) -> None:
    failure = await bench.fail(Acts("read", error).plugin, attempt=2)
    assert (failure.type, failure.attempt) == (type, 2)
    assert (failure.retry_in is not None) is retried
    assert failure.status == getattr(error, "status", None)
    if type == "plugin.crashed":
        assert error.__class__.__name__ in failure.message


@pytest.mark.parametrize("error", [ValueError("v"), StopIteration("s"), SystemExit(1), Permanent("p")])
async def test_a_plain_function_fails_the_same_way(bench: Bench, error: BaseException) -> None:
    def fail(config: Config, ctx: Context) -> None:
        raise error

    failure = await bench.fail(pure(fail))
    assert failure.type == ("permanent" if isinstance(error, Permanent) else "plugin.crashed")


@pytest.mark.parametrize(
    ("errors", "type"),
    [
        ([Transient("a", type="a", effect="none"), Transient("b", type="b")], "b"),
        ([Transient("a", type="a"), Permanent("b", type="b")], "b"),
        ([Transient("a", type="a"), ExceptionGroup("inner", [Permanent("b", type="b")])], "b"),
        ([Permanent("a", type="a"), ValueError("b")], "plugin.crashed"),
    ],
)
async def test_of_errors_that_come_together_the_gravest_decides(
    bench: Bench, errors: list[Exception], type: str
) -> None:
    failure = await bench.fail(Acts("read", ExceptionGroup("several", errors)).plugin)
    assert failure.type == type


class Deep(Struct):
    inner: "Deep | None" = None


async def test_what_the_host_itself_cannot_handle_is_a_failure_too(bench: Bench) -> None:
    async def ignore(config: Deep, ctx: Context) -> None:
        return None

    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"inner": deep}
    failure = await bench.fail(pure(ignore), deep)
    assert (failure.type, failure.retry_in) == ("internal.error", None)


async def test_an_effect_that_cannot_be_told_is_a_final_failure(bench: Bench) -> None:
    def effect(config: Config) -> Effect:
        raise KeyError(config.value)

    made = plugin("test.odd", version="1.0.0", effect=effect)(Acts("pure").plugin.function)
    assert (await bench.fail(made)).type == "plugin.crashed"


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_a_call_that_takes_too_long_is_ended(bench: Bench, kind: str) -> None:
    over, cancelled = threading.Event(), threading.Event()

    async def slow(config: Config, ctx: Context) -> None:
        await asyncio.Event().wait()

    def slow_thread(config: Config, ctx: Context) -> None:
        over.wait(30)
        if ctx.cancelled:
            cancelled.set()

    await until(lambda: REGISTRY.get_sample_value("gateway_plugin_threads_abandoned") == 0)
    failure = await bench.fail(pure(slow if kind == "async" else slow_thread), timeout=0.05)
    assert failure.type == "timeout"
    assert "0.05 s" in failure.message
    if kind == "plain":
        assert REGISTRY.get_sample_value("gateway_plugin_threads_abandoned") == 1
        over.set()
        assert await asyncio.to_thread(cancelled.wait, 5), "what was left behind can see that it was"
        await until(lambda: REGISTRY.get_sample_value("gateway_plugin_threads_abandoned") == 0)


async def test_an_async_call_that_does_not_stop_is_left_behind_and_counted(bench: Bench) -> None:
    over = asyncio.Event()

    async def stubborn(config: Config, ctx: Context) -> None:
        while not over.is_set():
            with suppress(asyncio.CancelledError):
                await over.wait()

    def abandoned() -> float | None:
        return REGISTRY.get_sample_value("gateway_plugin_tasks_abandoned")

    failure = await bench.fail(pure(stubborn), timeout=0.05)
    assert failure.type == "timeout"
    assert abandoned() == 1
    over.set()
    await until(lambda: abandoned() == 0)


def _counted(outcome: Literal["completed", "replayed", "transient", "permanent"], plugin: str = "test.act") -> float:
    labels = {"plugin": plugin, "outcome": outcome}
    return REGISTRY.get_sample_value("gateway_plugin_calls_total", labels) or 0


async def test_calls_are_counted_by_how_they_ended(bench: Bench) -> None:
    before = [_counted(outcome) for outcome in ("completed", "replayed", "transient", "permanent")]
    await bench.invoke(Acts("unsafe").plugin)
    await bench.invoke(Acts("unsafe").plugin)
    await bench.fail(Acts("read", Transient("reset")).plugin)
    await bench.fail(Acts("read", Permanent("no")).plugin)
    after = [_counted(outcome) for outcome in ("completed", "replayed", "transient", "permanent")]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 1, 1]


async def test_each_call_is_one_line_in_the_log(bench: Bench) -> None:
    with structlog.testing.capture_logs() as logs:
        await bench.invoke(Acts("read").plugin, {"value": "canary"}, attempt=2)
    (line,) = logs
    assert line["event"] == "plugin.call"
    assert line["tenant_id"] == bench.tenant_id
    assert (line["execution_id"], line["job_id"], line["step"], line["attempt"]) == ("ex_1", None, "node", 2)
    assert (line["plugin"], line["outcome"], line["effect"]) == ("test.act", "completed", "read")
    assert line["seconds"] >= 0
    assert "canary" not in repr(line), "configs are the tenant's, not the operator's"


async def test_ids_of_unknown_plugins_do_not_become_labels(bench: Bench) -> None:
    host = Host(registry=Registry([]), ledger=bench.ledger, lender=bench.lender, egress=bench.egress)
    call = Call(plugin="made.up", config={}, tenant_id=bench.tenant_id, origin="ex_1", step="n")
    with pytest.raises(CallFailed):
        await host.invoke(call, heartbeat=lambda _: None, is_cancelled=lambda: False)
    assert _counted("permanent", "made.up") == 0
    assert _counted("permanent", "unknown") >= 1
