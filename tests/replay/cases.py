"""What is recorded: one small definition per feature of the interpreter."""

from typing import Any

from msgspec import Struct

from tests.user_workflows.drawing import edges, node
from user_workflows.interpreter.approvals import Decision
from user_workflows.interpreter.messages import HISTORY_LIMIT


class Case(Struct, frozen=True, kw_only=True):
    name: str
    definition: dict[str, Any]
    input: Any = None
    #: sent once the execution has started: (name, payload)
    signals: tuple[tuple[str, Any], ...] = ()
    #: cancel once this gate has been reached
    cancel_at: str | None = None
    #: cancel once an attempt of this node has failed
    cancel_after: str | None = None
    #: and undo what has completed
    compensates: bool = False
    #: pause once this gate has been reached, and resume when its node, of the same name, has completed
    pause_at: str | None = None
    #: decide so, link by link, once this node waits
    decide_at: str | None = None
    decisions: tuple[Decision, ...] = ()
    #: skip this node once it waits, or once this gate has been reached
    skip: str | None = None
    skip_at: str | None = None
    #: open this gate as soon as another node, of that name, has completed
    opens: tuple[str, str] | None = None
    #: once it has ended, rerun it from this node with another input; the history is that of the new execution
    rerun: tuple[str, Any] | None = None
    #: another workflow, for this one to call: its id is `input.called`
    calls: dict[str, Any] | None = None
    #: once it has failed, retry it; the history is that of the retry
    is_retried: bool = False
    #: events after which a run hands over to the next
    history_limit: int = HISTORY_LIMIT
    #: park once this node waits, and send the first of the signals then
    park_at: str | None = None
    #: which run's history it is, counted as in a list
    run: int = -1


_LONG = {
    "nodes": [
        {
            **node("paid", "test.echo", value="{{ input.id }}"),
            "compensate": {"pluginId": "test.echo", "config": {"value": "{{ nodes.paid.output }}"}},
        },
        node(
            "each",
            "foreach",
            items=[1, 2, 3, 4, 5, 6, 7, 8],
            nodes=[node("call", "test.echo", value="{{ item * size(nodes.paid.output) }}", timeout="2m")],
            edges=[],
            concurrency=2,
        ),
        node("bad", "test.flaky", permanent=True),
    ],
    "edges": edges("paid>each", "each>bad"),
}

_MUCH_TO_UNDO = {
    "nodes": [
        *(
            node(f"n{number}", values={"n": number})
            | {
                "compensate": {
                    "pluginId": "test.flaky",
                    "config": {"permanent": f"{{{{ nodes.n{number}.output.n == 4 }}}}"},
                }
            }
            for number in range(8)
        ),
        node("bad", "test.flaky", permanent=True),
        node("never", values={}),
    ],
    "edges": edges(*(f"n{number}>n{number + 1}" for number in range(7)), "n7>bad", "bad>never"),
}

_PATIENT = {
    "nodes": [
        node("first", values={"n": 1}),
        node("hold", "wait", signal="go", timeout="90d"),
        node("other", "wait", duration="2h"),
        node("after", "stop", output="{{ input.n + nodes.first.output.n }}"),
    ],
    "edges": edges("first>hold", "hold.output>after"),
}
_PATIENT["nodes"][1]["config"]["timeout"] = _PATIENT["nodes"][1].pop("timeout")

CASES = (
    Case(
        name="chain",
        definition={
            "variables": {"factor": 3},
            "nodes": [
                node("start", values={"n": "{{ input.n * vars.factor }}"}),
                node("call", "test.echo", value="{{ nodes.start.output.n + 1 }}"),
                node("last", values={"text": "got {{ nodes.call.output }}"}),
            ],
            "edges": edges("start>call", "call>last"),
        },
        input={"n": 2},
    ),
    Case(
        name="respond",
        definition={
            "nodes": [
                node("answer", "respond", status=201, headers={"X-N": "{{ string(input.n) }}"}, body="{{ input }}"),
                node("after", "test.echo", value="{{ nodes.answer.output.body.n }}"),
                node("again", "respond", body="too late"),
            ],
            "edges": edges("answer>after", "after>again"),
        },
        input={"n": 2},
    ),
    Case(
        name="approval",
        definition={
            "nodes": [
                node("ask", "approval", title="Pay {{ input.n }}?", required=2, deadline="1h"),
                node("pay", "test.echo", value="{{ size(nodes.ask.approved.decisions) }}"),
                node("no", values={}),
            ],
            "edges": edges("ask.approved>pay", "ask.rejected>no"),
        },
        input={"n": 2},
        decide_at="ask",
        decisions=("approved", "approved"),
    ),
    Case(
        name="approval-expires",
        definition={"nodes": [node("ask", "approval", title="?", deadline="1s", onDeadline="rejected")]},
    ),
    Case(
        name="approval-closed-at-its-deadline",
        definition={
            "nodes": [
                node("ask", "approval", title="?", required=2, deadline="2s"),
                node("late", values={"n": "{{ size(nodes.ask.expired.decisions) }}"}),
            ],
            "edges": edges("ask.expired>late"),
        },
        decide_at="ask",
        decisions=("approved",),
    ),
    Case(
        name="branches-and-dead-paths",
        definition={
            "nodes": [
                node("check", "if", condition="{{ input.n > 1 }}"),
                node("yes", "test.echo", value=["{{ input }}"]),
                node("no", "test.echo", value=2),
                node("dead", values={}),
                node("join", values={"has": "{{ has(nodes.no.output) }}", "in": "{{ input }}"}),
                node("all", join="all", values={}),
            ],
            "edges": edges("check.true>yes", "check.false>no", "no>dead", "yes>join", "dead>join", "yes>all", "no>all"),
        },
        input={"n": 5},
    ),
    Case(
        name="parallel-steps",
        definition={
            "nodes": [
                *(node(f"s{i}", "test.echo", value=i) for i in range(5)),
                node("sum", values={"in": "{{ input }}"}),
            ],
            "edges": edges(*(f"s{i}>sum" for i in range(5))),
        },
    ),
    Case(
        name="retries",
        definition={"nodes": [node("flaky", "test.flaky", failures=2)]},
    ),
    Case(
        name="permanent-failure",
        definition={
            "nodes": [node("bad", "test.flaky", permanent=True), node("after", values={})],
            "edges": edges("bad>after"),
        },
    ),
    Case(
        name="on-error-continue-and-port",
        definition={
            "nodes": [
                node("go", "test.flaky", permanent=True, onError="continue"),
                node("port", "test.flaky", permanent=True, onError="port"),
                node("why", values={"go": "{{ nodes.go.error.type }}", "port": "{{ nodes.port.error.status }}"}),
            ],
            "edges": edges("go>port", "port.error>why"),
        },
    ),
    Case(
        name="expression-failure",
        definition={"nodes": [node("bad", values={"x": "{{ input.absent.deeper }}"})]},
        input={},
    ),
    Case(
        name="data-nodes",
        definition={
            "nodes": [
                node("big", "filter", items="{{ input.items }}", where="{{ item > 2 }}"),
                node("size", "switch", cases=[{"port": "many", "when": "{{ size(input) > 3 }}"}]),
                node("few", values={"count": "{{ size(input) }}"}),
                node("off", "test.echo", value=1, disabled=True),
                node("all", "merge"),
            ],
            "edges": edges("big>size", "size.default>few", "size.many>all", "big>off", "few>all", "off>all"),
        },
        input={"items": [1, 2, 3, 4]},
    ),
    Case(
        name="waits",
        definition={
            "nodes": [
                node("pause", "wait", duration="20ms"),
                node("go", "wait", signal="go"),
                {"id": "late", "pluginId": "wait", "config": {"signal": "never", "timeout": "20ms"}},
                node("done", values={"go": "{{ nodes.go.output }}"}),
            ],
            "edges": edges("pause>go", "go>late", "late.timeout>done"),
        },
        signals=(("go", {"n": 1}),),
    ),
    Case(
        name="execution-timeout",
        definition={"nodes": [node("hold", "wait", signal="never")], "timeout": "200ms"},
    ),
    Case(
        name="stop",
        definition={"nodes": [node("hold", "wait", signal="never"), node("end", "stop", output={"n": "{{ input }}"})]},
        input=4,
    ),
    Case(
        name="stop-failed",
        definition={"nodes": [node("end", "stop", status="failed", message="no {{ input }}")]},
        input="good",
    ),
    Case(
        name="cancel",
        definition={
            "nodes": [node("hold", "test.gate", name="cancel"), node("after", values={})],
            "edges": edges("hold>after"),
        },
        cancel_at="cancel",
    ),
    Case(
        name="foreach",
        definition={
            "variables": {"tax": 2},
            "nodes": [
                node("before", values={"base": 100}),
                node(
                    "each",
                    "foreach",
                    items="{{ trigger.items }}",
                    nodes=[
                        node("read", "test.echo", value="{{ item * vars.tax + nodes.before.output.base }}"),
                        node("act", "test.flaky", failures=1),
                        node("both", values={"sum": "{{ nodes.read.output }}", "in": "{{ input.attempt }}"}),
                    ],
                    edges=edges("read>act", "act>both"),
                    concurrency=2,
                    result="{{ {'at': index, 'sum': nodes.both.output.sum} }}",
                ),
                node("after", values={"sums": "{{ input.map(r, r.sum) }}"}),
            ],
            "edges": edges("before>each", "each>after"),
        },
        input={"items": [1, 2, 3, 4, 5]},
    ),
    Case(
        name="foreach-errors",
        definition={
            "nodes": [
                node(
                    "each",
                    "foreach",
                    items=[0, 1, 2, 3],
                    nodes=[
                        node("odd", "if", condition="{{ item % 2 == 1 }}"),
                        node("bad", "test.flaky", permanent=True),
                        node("good", values={"n": "{{ 12 / item }}"}),
                    ],
                    edges=edges("odd.true>bad", "odd.false>good"),
                    continueOnItemError=True,
                    result="{{ nodes.good?.output.n }}",
                ),
                node("fine", values={"results": "{{ input }}"}),
                node("errors", values={"where": "{{ input.map(e, e.index) }}"}),
                node("failing", "foreach", items=[1], nodes=[node("no", "test.flaky", permanent=True)]),
            ],
            "edges": edges("each.output>fine", "each.error>errors", "errors>failing"),
        },
    ),
    Case(
        name="loops-within-loops",
        definition={
            "nodes": [
                node(
                    "rows",
                    "foreach",
                    items="{{ input }}",
                    nodes=[
                        node(
                            "cells",
                            "foreach",
                            items="{{ item }}",
                            nodes=[node("cell", "test.echo", value="{{ item * 10 + index }}")],
                            result="{{ nodes.cell.output }}",
                        ),
                        node(
                            "count",
                            "while",
                            condition="{{ index < size(item) }}",
                            nodes=[node("more", values={"n": "{{ last == null ? 1 : last.more.n + size(item) }}"})],
                        ),
                    ],
                    edges=edges("cells>count"),
                ),
            ],
        },
        input=[[1, 2, 3], [], [4]],
    ),
    Case(
        name="while-polling",
        definition={
            "nodes": [
                node(
                    "poll",
                    "while",
                    condition="{{ last == null || last.done < 3 }}",
                    nodes=[
                        node("ask", "test.echo", value="{{ last == null ? 1 : last.done + 1 }}"),
                        node("pause", "wait", duration="10ms"),
                    ],
                    edges=edges("ask>pause"),
                    result={"done": "{{ nodes.ask.output }}", "round": "{{ index }}"},
                ),
                node("endless", "while", condition="{{ true }}", nodes=[node("again", values={})], maxIterations=3),
            ],
            "edges": edges("poll>endless"),
        },
    ),
    Case(
        name="stop-in-loop",
        definition={
            "nodes": [
                node("each", "foreach", items=[5, 6], nodes=[node("end", "stop", output="{{ item }}")], concurrency=1),
                node("hold", "wait", signal="never"),
            ]
        },
    ),
    Case(
        name="cancel-in-loop",
        definition={
            "nodes": [
                node(
                    "each",
                    "foreach",
                    items=["a"],
                    nodes=[
                        node("quick", "test.echo", value="{{ item }}"),
                        node("hold", "test.gate", name="loop-{{ item }}") | {"isolate": True},
                        node("after", values={}),
                    ],
                    edges=edges("quick>hold", "hold>after"),
                ),
            ]
        },
        cancel_at="loop-a",
    ),
    Case(
        name="pause",
        definition={
            "nodes": [node("pause", "test.gate", name="pause", timeout="2m"), node("after", values={})],
            "edges": edges("pause>after"),
        },
        pause_at="pause",
    ),
    Case(
        name="skip",
        definition={
            "nodes": [node("hold", "wait", signal="never"), node("dead", values={}), node("join", values={})],
            "edges": edges("hold>dead", "dead>join"),
        },
        skip="hold",
    ),
    Case(
        name="retry",
        definition={
            "nodes": [
                node("first", "test.echo", value="{{ input }}"),
                node("soft", "test.flaky", permanent=True, onError="continue"),
                node("bad", "test.unsteady", name="retry", failures=1, retry={"maxAttempts": 1}),
                node("last", values={"sum": "{{ nodes.first.output + nodes.bad.output }}"}),
            ],
            "edges": edges("first>soft", "soft>bad", "bad>last"),
        },
        input=3,
        is_retried=True,
    ),
    Case(
        name="segment",
        definition={
            "variables": {"base": 100},
            "nodes": [
                node("first", values={"x": "{{ vars.base }}"}),
                node("a", "test.echo", value="{{ nodes.first.output.x + input.x }}"),
                node("between", values={"y": "{{ nodes.a.output * 2 }}"}),
                node("b", "test.echo", value="{{ nodes.between.output.y + nodes.a.output }}"),
                node("act", "test.flaky"),
                node("c", "test.echo", value="{{ nodes.b.output }}"),
            ],
            "edges": edges("first>a", "a>between", "between>b", "b>act", "act>c"),
        },
    ),
    Case(
        name="segment-that-acts",
        definition={
            "nodes": [
                node("a", "test.echo", value="{{ input }}"),
                node("between", values={"y": "{{ nodes.a.output * 2 }}"}),
                node("act", "test.flaky", failures=1, pause=1.2, value="{{ input.y }}"),
                node("b", "test.echo", value="{{ input.value }}"),
                node("softly", "test.flaky", permanent=True, onError="continue"),
                node("c", values={"of": "{{ nodes.softly.error.type }}", "y": "{{ nodes.b.output }}"}),
            ],
            "edges": edges("a>between", "between>act", "act>b", "b>softly", "softly>c"),
        },
        input=4,
    ),
    Case(
        name="segment-goes-on-remotely",
        definition={
            "nodes": [
                node("quick", "test.echo", value=1),
                node(
                    "unsteady",
                    "test.unsteady",
                    name="remote",
                    failures=1,
                    retry={"maxAttempts": 3, "initialInterval": "1500ms", "backoff": 1},
                ),
                node("after", "test.echo", value="{{ input }}"),
            ],
            "edges": edges("quick>unsteady", "unsteady>after"),
        },
    ),
    Case(
        name="batches",
        definition={
            "nodes": [
                node(
                    "each",
                    "foreach",
                    items="{{ input }}",
                    batchSize=2,
                    continueOnItemError=True,
                    nodes=[
                        node("call", "test.echo", value="{{ 10 / item }}"),
                        node("half", values={"n": "{{ input / 2 }}"}),
                    ],
                    edges=edges("call>half"),
                    result="{{ nodes.half.output.n }}",
                ),
                node("after", values={"got": "{{ nodes.each.output }}", "failed": "{{ size(nodes.each.error) }}"}),
            ],
            "edges": edges("each>after"),
        },
        input=[1, 0, 5, 2, 10],
    ),
    Case(
        name="compensation",
        definition={
            "nodes": [
                {
                    **node("order", "test.echo", value="o-1"),
                    "compensate": {"pluginId": "test.flaky", "config": {"failures": 1}},
                },
                {
                    **node("paid", values={"id": "{{ input }}"}),
                    "compensate": {"pluginId": "test.echo", "config": {"value": "{{ nodes.paid.output.id }}"}},
                },
                {
                    **node("sent", "test.echo", value=1),
                    "compensate": {"pluginId": "test.flaky", "config": {"permanent": True}},
                },
                node("bad", "test.flaky", permanent=True),
            ],
            "edges": edges("order>paid", "paid>sent", "sent>bad"),
        },
    ),
    Case(
        name="rest-in-a-long-loop",
        definition={
            "nodes": [
                node(
                    "each",
                    "foreach",
                    items="{{ input }}",
                    nodes=[node("double", values={"n": "{{ item * 2 }}"}), node("size", values={"n": "{{ input.n }}"})],
                    edges=edges("double>size"),
                    result="{{ nodes.size.output.n }}",
                ),
                node("sum", values={"n": "{{ size(nodes.each.output) }}"}),
            ],
            "edges": edges("each>sum"),
        },
        input=list(range(600)),
    ),
    Case(
        name="call",
        definition={
            "nodes": [
                node("one", "workflow.call", workflowId="{{ input.called }}", input={"n": 20}),
                node("two", "workflow.call", workflowId="{{ input.called }}", input={"n": "x"}, onError="continue"),
                node("apart", "workflow.call", workflowId="{{ input.called }}", input={"n": 1}, mode="detach"),
                node("after", values={"n": "{{ nodes.one.output.plus.n }}"}),
            ],
            "edges": edges("one>after"),
        },
        calls={"nodes": [node("plus", values={"n": "{{ input.n + 1 }}"})]},
    ),
    Case(
        name="call-times-out",
        definition={
            "nodes": [
                node("late", "workflow.call", workflowId="{{ input.called }}", timeout="100ms", onError="port"),
                node("why", values={"type": "{{ nodes.late.error.type }}"}),
            ],
            "edges": edges("late.error>why"),
        },
        calls={"nodes": [node("hold", "wait", signal="never")]},
    ),
    Case(
        name="limits",
        definition={
            "nodes": [
                node("hold", "wait", signal="never", timeout="20ms", onError="continue"),
                node(
                    "each",
                    "foreach",
                    items=[1, 2],
                    nodes=[node("go", "test.flaky"), node("stay", "wait", signal="never")],
                    edges=edges("go>stay"),
                    timeout="200ms",
                    onError="continue",
                ),
                node("soon", "wait", signal="soon", timeout="1h"),
                node("why", values={"hold": "{{ nodes.hold.error.type }}", "each": "{{ nodes.each.error.message }}"}),
            ],
            "edges": edges("hold>each", "each>soon", "soon>why"),
        },
        signals=(("soon", 1),),
    ),
    Case(
        name="call-skipped",
        definition={
            "nodes": [node("call", "workflow.call", workflowId="{{ input.called }}"), node("after", values={})],
            "edges": edges("call>after"),
        },
        calls={"nodes": [node("hold", "wait", signal="never")]},
        skip="call",
    ),
    Case(
        name="error-workflow",
        definition={
            "nodes": [node("bad", "test.flaky", permanent=True)],
            "errorWorkflow": "wf_nobody",
        },
    ),
    Case(
        name="joins",
        definition={
            "nodes": [
                node("a", "test.echo", value=1),
                node("b", "test.gate", name="late", timeout="2m"),
                node("c", "if", condition="{{ false }}"),
                node("first", "test.echo", join="first", value="{{ input }}"),
                node("two", values={"in": "{{ input }}"}, join={"count": 2}),
                node("three", values={}, join={"count": 3}),
                node("all", "test.echo", join="all", value="{{ input }}"),
                node("any", "test.echo", join="any", value="{{ input }}"),
            ],
            "edges": [
                *edges("a>first", "b>first", "a>two", "b>two", "c.true>two", "a>three", "b>three", "c.true>three"),
                *edges("a>all", "b>all", "a>any", "b>any", "c.true>any"),
            ],
        },
        opens=("late", "first"),
    ),
    Case(
        name="step-timeout",
        definition={
            "nodes": [
                node("alone", "test.gate", name="t", timeout="100ms", onError="continue", retry={"maxAttempts": 2})
                | {"isolate": True},
                node("shared", "test.gate", name="t", timeout="100ms", onError="port", retry={"maxAttempts": 1}),
                node("why", values={"one": "{{ nodes.alone.error.type }}", "two": "{{ nodes.shared.error.type }}"}),
            ],
            "edges": edges("alone>shared", "shared.error>why"),
        },
    ),
    Case(
        name="wait-until",
        definition={
            "nodes": [node("past", "wait", until="2020-01-01T00:00:00Z"), node("after", values={"x": "{{ input }}"})],
            "edges": edges("past>after"),
        },
    ),
    Case(
        name="approval-rejected",
        definition={
            "nodes": [
                node("ask", "approval", title="?", deadline="1h"),
                node("yes", values={}),
                node("no", values={"by": "{{ size(nodes.ask.rejected.decisions) }}"}),
            ],
            "edges": edges("ask.approved>yes", "ask.rejected>no"),
        },
        decide_at="ask",
        decisions=("rejected",),
    ),
    Case(
        name="cancel-and-undo",
        definition={
            "nodes": [
                node("made", values={"id": "o-1"})
                | {"compensate": {"pluginId": "test.echo", "config": {"value": "{{ nodes.made.output.id }}"}}},
                node("hold", "test.gate", name="cancel-and-undo"),
            ],
            "edges": edges("made>hold"),
        },
        cancel_at="cancel-and-undo",
        compensates=True,
    ),
    Case(
        name="cancel-between-attempts",
        definition={
            "nodes": [node("read", "test.echo", value=1), node("act", "test.flaky", failures=9, pause=60)],
            "edges": edges("read>act"),
        },
        cancel_after="act",
    ),
    Case(
        name="skip-running",
        definition={
            "nodes": [
                node("before", "test.echo", value=1),
                node("hold", "test.gate", name="skip-running"),
                node("dead", "test.echo", value=2),
                node("join", values={"before": "{{ nodes.before.output }}"}),
            ],
            "edges": edges("before>hold", "hold>dead", "dead>join", "before>join"),
        },
        skip="hold",
        skip_at="skip-running",
    ),
    Case(
        name="rerun",
        definition={
            "nodes": [
                node("first", "test.flaky", value="{{ input }}")
                | {"compensate": {"pluginId": "test.flaky", "config": {}}},
                node("again", "test.echo", value="{{ input.value * 10 }}")
                | {"compensate": {"pluginId": "test.flaky", "config": {}}},
                node("last", "test.flaky", permanent="{{ input > 30 }}"),
            ],
            "edges": edges("first>again", "again>last"),
        },
        input=3,
        rerun=("again", {"value": 4}),
    ),
    *(
        Case(name=name, definition=_MUCH_TO_UNDO, history_limit=25, run=run)
        for name, run in (("handover-while-undoing", 0), ("further-undoing", 1))
    ),
    Case(name="handover", definition=_LONG, input={"id": "abc"}, history_limit=25, run=0),
    Case(name="further-run", definition=_LONG, input={"id": "abc"}, history_limit=25),
    *(
        Case(name=name, definition=_PATIENT, signals=(("go", {"n": 7}),), park_at="hold", run=run)
        for run, name in enumerate(("parking", "parked", "woken"))
    ),
)
