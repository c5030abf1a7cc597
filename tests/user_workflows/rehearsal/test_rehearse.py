"""A dry run goes as an execution would, as far as that can be known, and acts on nothing at all."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from msgspec import Struct

from plugins.builtin import builtins
from plugins.builtin.email.server import parse_smtp_url
from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.host.registry import Registry
from plugins.sdk.context import Context
from plugins.sdk.credential import Slot
from plugins.sdk.errors import PluginError
from plugins.sdk.plugin import Port, plugin
from plugins.testing import LOOPBACK, run
from tests.user_workflows.palette import drawn, node
from user_workflows.definition.validate import validate
from user_workflows.plan.compile import compile_plan
from user_workflows.rehearsal.rehearse import Rehearsal, Subject, rehearse
from user_workflows.rehearsal.tally import MAX_SECONDS, MAX_STEPS


class Number(Struct, frozen=True, forbid_unknown_fields=True):
    value: int = 0


class Text(Struct, frozen=True):
    text: str


async def _never(config: Number, ctx: Context) -> Number:
    raise AssertionError("a dry run called a plugin that is not pure")


READ = plugin("test.read", version="1.0.0", effect="read")(_never)
ACT = plugin("test.act", version="1.0.0", effect="unsafe")(_never)
GUARDED = plugin("test.guarded", version="1.0.0", effect="pure", credentials=[Slot("auth", ("bearer",))])(_never)


@plugin("test.double", version="1.0.0", effect="pure", ports=("small", "large"))
async def double(config: Number, ctx: Context) -> Port[Number]:
    made = Number(config.value * 2)
    return Port("large" if made.value > 10 else "small", made)


@plugin("test.liar", version="1.0.0", effect="pure")
async def liar(config: Text, ctx: Context) -> int:
    return (await ctx.http.request("GET", config.text)).status


REGISTRY = Registry([READ, ACT, GUARDED, double, liar])


@asynccontextmanager
async def loopback() -> AsyncIterator[EgressClient]:
    """A way out that leads to this machine, so that nothing but the dry run itself keeps it from acting."""
    egress = EgressClient(Guard(allow=LOOPBACK))
    try:
        yield egress
    finally:
        await egress.close()


async def dry_run(raw: dict[str, Any], given: Any = None, registry: Registry = REGISTRY, **pins: Any) -> Rehearsal:
    validation = validate(raw, plugins=registry)
    assert validation.definition is not None, validation.faults
    plan = compile_plan(validation.definition, plugins=registry)
    subject = Subject(workflow_id="wf_1", version=3, definition=validation.definition, plan=plan, pins=pins)
    async with loopback() as egress:
        return await asyncio.to_thread(rehearse, subject, given, registry=registry, egress=egress)


def shown(rehearsal: Rehearsal) -> dict[str, tuple[Any, ...]]:
    return {
        ".".join((step.node_id, *map(str, step.path))): (step.status, step.source, step.port, step.output)
        for step in rehearsal.steps
    }


async def test_no_plugin_that_is_not_pure_is_called_and_each_step_says_where_its_output_comes_from() -> None:
    rehearsal = await dry_run(
        drawn(
            node("read", "test.read", value=1),
            {**node("act", "test.act", value="{{ nodes.read.output.value + 1 }}"), "pinnedOutput": {"value": 6}},
            node("twice", "test.double", value="{{ nodes.act.output.value }}"),
            node("sum", values={"all": "{{ nodes.twice.large.value + trigger.n }}"}),
            node("never", values={"x": "{{ input }}"}),
            node("keyed", "test.guarded") | {"credentials": {"auth": "cred_1"}},
            edges=[
                ("read", "act"), ("act", "twice"), ("twice", "large", "sum"), ("twice", "small", "never"),
                ("sum", "keyed"),
            ],
        ),
        {"n": 1},
    )  # fmt: skip
    assert shown(rehearsal) == {
        "read": ("completed", "made", "output", {"value": 0}),
        "act": ("completed", "pinned", "output", {"value": 6}),
        "twice": ("completed", "called", "large", {"value": 12}),
        "sum": ("completed", "evaluated", "output", {"all": 13}),
        "never": ("skipped", None, None, None),
        "keyed": ("completed", "made", "output", {"value": 0}),
    }
    assert rehearsal.status == "completed"
    assert rehearsal.output == {"keyed": {"value": 0}}
    reasons = {step.node_id: step.reason for step in rehearsal.steps}
    assert reasons["never"] == "edge twice→never ruled out: port `large` was taken"
    assert reasons["read"] == "made from its schema; not called, for its effect is read"
    assert reasons["act"] == "its output is pinned; not called, for its effect is unsafe"


async def test_with_real_plugins_not_one_connection_is_made() -> None:
    """The same configs do connect when the plugins are called: the last lines show it."""
    connections = 0

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    smtp = parse_smtp_url(f"smtp://127.0.0.1:{port}")
    registry = Registry([*builtins(smtp=smtp, quotes={"default": f"http://127.0.0.1:{port}"}), liar])
    url = f"http://127.0.0.1:{port}/"
    steps = [
        node("get", "http.request", url=url),
        node("post", "http.request", url=url, method="POST", body="{{ nodes.get.output.headers }}"),
        node("price", "stock.price", symbol="AAPL"),
        node("mail", "email.send", to="ann@example.com", subject="at {{ nodes.price.output.price }}"),
        {**node("lie", "test.liar", text=url), "onError": "continue"},
    ]
    edges: list[tuple[str, ...]] = [(one["id"], other["id"]) for one, other in pairwise(steps)]
    async with server:
        rehearsal = await dry_run(drawn(*steps, edges=edges), registry=registry)
        assert connections == 0
        statuses = {step.node_id: (step.status, step.source) for step in rehearsal.steps}
        made = ("completed", "made")
        assert statuses == {"get": made, "post": made, "price": made, "mail": made, "lie": ("failed", "called")}
        assert rehearsal.steps[0].output["status"] == 200
        assert "nothing of body" in str(rehearsal.steps[0].reason)
        with pytest.raises(PluginError):
            await run(registry.get("http.request"), {"url": url})
        with pytest.raises(PluginError):
            await run(registry.get("test.liar"), {"text": url})
        assert connections == 2


async def test_an_expression_that_fails_and_a_config_that_does_not_fit_fail_the_step_as_in_an_execution() -> None:
    rehearsal = await dry_run(drawn(node("a", "test.read", value="{{ trigger.n }}"), node("b"), edges=[("a", "b")]), {})
    step = rehearsal.steps[0]
    assert (step.status, step.error and step.error.type) == ("failed", "expression.noSuchKey")
    assert (rehearsal.status, rehearsal.error and rehearsal.error.node_id) == ("failed", "a")
    assert rehearsal.steps[1].reason == "the execution failed before this node was reached"
    wrong = await dry_run(drawn({**node("a", "test.read", value="{{ trigger.n }}"), "pinnedOutput": 1}), {"n": "x"})
    assert wrong.steps[0].error is not None
    assert wrong.steps[0].error.type == "config.invalid"
    assert "/value" in wrong.steps[0].error.message
    port = {**node("a", "test.read", value="{{ trigger.n }}"), "onError": "port"}
    handled = await dry_run(drawn(port, node("b"), edges=[("a", "error", "b")]), {})
    assert shown(handled)["b"][:2] == ("completed", "evaluated")


async def test_loops_are_walked_and_those_that_are_pinned_are_not() -> None:
    body = [
        node("call", "test.act", value="{{ item }}") | {"pinnedOutput": {"value": 4}},
        node("n", values={"i": "{{ index }}"}),
    ]
    loop = node("each", "foreach", items="{{ trigger }}", nodes=body, edges=[{"source": "call", "target": "n"}],
                result="{{ nodes.call.output.value + nodes.n.output.i }}")  # fmt: skip
    rehearsal = await dry_run(drawn(loop), [1, 2])
    assert shown(rehearsal)["each"] == ("completed", "evaluated", "output", [4, 5])
    assert shown(rehearsal)["call.1"] == ("completed", "pinned", "output", {"value": 4})
    pinned = await dry_run(drawn(loop | {"pinnedOutput": [9]}), [1, 2])
    assert shown(pinned) == {"each": ("completed", "pinned", "output", [9])}
    counted = node("w", "while", condition="{{ index < 3 }}", nodes=[node("r", "test.read", value=1)])
    assert shown(await dry_run(drawn(counted)))["r.2"][1] == "made"


async def test_whatever_is_pinned_comes_to_that_and_what_decides_still_decides() -> None:
    """A pin of the request goes before one that is drawn; a loop and its body, data nodes and conditions take them."""
    body = [node("in", values={"i": "{{ item }}"}), node("call", "test.act", value="{{ nodes.in.output.i }}")]
    raw = drawn(
        node("data", values={"x": "{{ trigger.absent }}"}) | {"pinnedOutput": {"x": 1}},
        node("big", "if", condition="{{ nodes.data.output.x > 3 }}"),
        node("each", "foreach", items="{{ input.items }}", nodes=body, edges=[{"source": "in", "target": "call"}]),
        node("small"),
        node("ask", "approval", title="May it?"),
        node("off", values={}) | {"disabled": True},
        edges=[("data", "big"), ("big", "true", "each"), ("big", "false", "small"), ("each", "ask"), ("ask", "off")],
    )
    pins: dict[str, Any] = {"data": {"x": 5}, "big": {"items": [7, 8]}, "in": {"i": 2}, "ask": None, "off": "no"}
    rehearsal = await dry_run(raw, {}, **pins)
    assert rehearsal.status == "completed", rehearsal.error
    told = shown(rehearsal)
    assert told["data"] == ("completed", "pinned", "output", {"x": 5})
    assert told["big"] == ("completed", "pinned", "true", {"items": [7, 8]})
    assert told["in.1"] == ("completed", "pinned", "output", {"i": 2})
    assert told["small"][0] == "skipped"
    assert told["ask"] == ("completed", "pinned", "approved", None)
    assert told["off"] == ("completed", "evaluated", "output", None)
    drawn_pin = await dry_run(raw, {}, each=[])
    assert shown(drawn_pin)["data"] == ("completed", "pinned", "output", {"x": 1})
    assert shown(drawn_pin)["each"][0] == "skipped"


async def test_what_an_execution_would_wait_for_is_told_and_not_waited_for() -> None:
    started = time.monotonic()
    rehearsal = await dry_run(
        drawn(
            node("pause", "wait", duration="7d"),
            node("signal", "wait", signal="go", timeout="1h"),
            node("ask", "approval", title="May it?"),
            node("child", "workflow.call", workflowId="wf_2"),
            node("answer", "respond", status=201),
            node("end", "stop", status="failed", message="that is all"),
            edges=[("pause", "signal"), ("signal", "output", "ask"), ("ask", "approved", "child"), ("child", "answer"),
                   ("answer", "end")],
        )
    )  # fmt: skip
    assert time.monotonic() - started < MAX_SECONDS
    assert [(step.node_id, step.status, step.source, step.port) for step in rehearsal.steps] == [
        ("pause", "completed", "evaluated", "output"),
        ("signal", "completed", "made", "output"),
        ("ask", "completed", "made", "approved"),
        ("child", "completed", "made", "output"),
        ("answer", "completed", "evaluated", "output"),
        ("end", "completed", "evaluated", "output"),
    ]
    assert [step.reason for step in rehearsal.steps[:4]] == [
        "would wait for 7d",
        "would wait for signal 'go'; taken as sent, without a payload",
        "would ask people; taken as approved",
        "would start workflow wf_2",
    ]
    assert rehearsal.status == "failed"
    assert rehearsal.error is not None
    assert rehearsal.error.message == "that is all"


async def test_a_failure_tells_what_would_be_undone_and_started() -> None:
    undo = {"compensate": {"pluginId": "test.act", "config": {"value": 1}}}
    first, second = node("first", "test.act") | undo, node("second", "test.read") | undo
    raw = drawn(
        first, second, node("bad", values={"x": "{{ trigger.x }}"}), edges=[("first", "second"), ("second", "bad")]
    )
    rehearsal = await dry_run(raw | {"errorWorkflow": "wf_9"}, {})
    assert rehearsal.undoes == ("second", "first")
    assert rehearsal.error_workflow == "wf_9"


@pytest.mark.parametrize(
    "loop",
    [
        node("l", "while", condition="{{ true }}", nodes=[node("n")], maxIterations=10_000),
        node("l", "foreach", items="{{ trigger }}", nodes=[node("n")]),
        node("l", "foreach", items="{{ range(60) }}", nodes=[node("n", values={"x": "{{ 'x'.repeat(900000) }}"})]),
        node("l", "foreach", items="{{ range(1000) }}", concurrency=1,
             nodes=[node("n", "if", condition="{{ range(20000).all(x, x >= 0) }}")]),
    ],
)  # fmt: skip
async def test_it_ends_soon_and_small_whatever_is_drawn(loop: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("rehearse", "tally"):
        monkeypatch.setattr(f"user_workflows.rehearsal.{module}.MAX_SECONDS", 2.0)
    started = time.monotonic()
    rehearsal = await dry_run(drawn(loop, node("after"), edges=[("l", "after")]), [0] * 100_000)
    assert time.monotonic() - started < 3 * MAX_SECONDS
    assert rehearsal.status == "unfinished"
    assert rehearsal.error is not None
    assert rehearsal.error.type == "dryRun.tooLong"
    assert len(rehearsal.steps) <= MAX_STEPS + 20
    assert sum(len(str(step.output)) for step in rehearsal.steps) < 4 * 2**20
    assert shown(rehearsal)["after"][0] == "skipped"
