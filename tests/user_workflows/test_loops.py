"""`foreach` and `while` from start to end, on a real Temporal server."""

from typing import Any

import pytest

from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane
from user_workflows.errors import InvalidInput, NotFound
from user_workflows.executions.views import Execution


def loop(*nodes: dict[str, Any], **config: Any) -> dict[str, Any]:
    """Draw a `foreach`, or a `while` when it has a condition."""
    plugin = "while" if "condition" in config else "foreach"
    return node(config.pop("id", "loop"), plugin, nodes=list(nodes), **config)


def failure(execution: Execution) -> tuple[str, str | None]:
    assert execution.error is not None, execution
    return execution.error.type, execution.error.node_id


async def test_a_foreach_calls_its_plugins_for_every_item_and_keeps_their_order(lane: Lane) -> None:
    definition = {
        "variables": {"tax": 2},
        "nodes": [
            node("before", values={"base": 100}),
            loop(
                node("call", "test.echo", value="{{ item.price * vars.tax + nodes.before.output.base }}"),
                node("act", "test.flaky"),
                node(
                    "both", values={"sum": "{{ nodes.call.output }}", "n": "{{ index }}", "in": "{{ input.attempt }}"}
                ),
                edges=edges("call>act", "act>both"),
                items="{{ trigger.items }}",
                result="{{ nodes.both.output }}",
                concurrency=4,
            ),
            node("after", values={"sums": "{{ input.map(r, r.sum) }}"}),
        ],
        "edges": edges("before>loop", "loop>after"),
    }
    execution = await lane.run(definition, {"items": [{"price": price} for price in range(12)]})
    assert execution.status == "completed", execution.error
    assert execution.output == {"after": {"sums": [100 + 2 * price for price in range(12)]}}
    steps = await lane.steps(execution)
    assert steps["loop"].output[11] == {"sum": 122, "n": 11, "in": 1}
    assert len({key for step, _, key in lane.keys if step.startswith("act.")}) >= 12


async def test_without_a_result_an_item_comes_to_the_nodes_that_lead_nowhere(lane: Lane) -> None:
    definition = {"nodes": [loop(node("a", values={"x": "{{ item }}"}), node("b", "test.echo", value=1), items=[7])]}
    execution = await lane.run(definition)
    assert execution.output == {"loop": [{"a": {"x": 7}, "b": 1}]}


async def test_an_empty_list_is_walked_at_once(lane: Lane) -> None:
    execution = await lane.run({"nodes": [loop(node("a", "test.echo"), items="{{ input }}")]}, [])
    assert (execution.status, execution.output) == ("completed", {"loop": []})
    assert await lane.inside(execution, "loop") == []


async def test_collected_errors_leave_by_error_beside_the_results(lane: Lane) -> None:
    definition = {
        "nodes": [
            loop(
                node("odd", "if", condition="{{ item % 2 == 1 }}"),
                node("bad", "test.flaky", permanent=True),
                node("good", values={"n": "{{ item }}"}),
                edges=edges("odd.true>bad", "odd.false>good"),
                items=[0, 1, 2, 3],
                result="{{ nodes.good.output.n }}",
                continueOnItemError=True,
            ),
            node("fine", values={"results": "{{ input }}"}),
            node("errors", values={"where": "{{ input.map(e, e.index) }}", "type": "{{ input[0].error.type }}"}),
        ],
        "edges": edges("loop.output>fine", "loop.error>errors"),
    }
    execution = await lane.run(definition)
    assert execution.output == {
        "fine": {"results": [0, None, 2, None]},
        "errors": {"where": [1, 3], "type": "test.permanent"},
    }
    steps = await lane.inside(execution, "loop", 1)
    assert [(step.node_id, step.path, step.status) for step in steps] == [
        ("odd", (1,), "completed"),
        ("bad", (1,), "failed"),
        ("good", (1,), "skipped"),
    ]
    assert steps[1].error is not None
    assert steps[1].error.status == 404


async def test_a_failed_item_fails_the_loop_and_says_where(lane: Lane) -> None:
    body = (node("bad", "test.flaky", permanent=True), node("after", values={}))
    execution = await lane.run({"nodes": [loop(*body, edges=edges("bad>after"), items=[1], id="f")]})
    assert (execution.status, failure(execution)) == ("failed", ("test.permanent", "f"))
    assert execution.error is not None
    assert execution.error.message == "round 0, node bad: it will never work"
    assert [step.status for step in await lane.inside(execution, "f", 0)] == ["failed", "skipped"]


async def test_a_loop_within_a_loop_sees_both_items(lane: Lane) -> None:
    inner = loop(
        node("cell", "test.echo", value="{{ nodes.row.output.name + string(item) }}"),
        id="inner",
        items="{{ nodes.row.output.cells }}",
        result="{{ nodes.cell.output }}",
    )
    outer = loop(
        node("row", values={"name": "{{ item.name }}", "cells": "{{ item.cells }}"}),
        inner,
        edges=edges("row>inner"),
        id="outer",
        items="{{ input }}",
        result="{{ {'row': item.name, 'cells': nodes.inner.output} }}",
    )
    execution = await lane.run({"nodes": [outer]}, [{"name": "a", "cells": [1, 2]}, {"name": "b", "cells": [3]}])
    assert execution.output == {"outer": [{"row": "a", "cells": ["a1", "a2"]}, {"row": "b", "cells": ["b3"]}]}
    steps = await lane.inside(execution, "inner")
    assert [(step.path, step.output) for step in steps] == [((0, 0), "a1"), ((0, 1), "a2"), ((1, 0), "b3")]
    assert [step.output for step in await lane.inside(execution, "inner", 0)] == ["a1", "a2"]
    (cell,) = await lane.inside(execution, "inner", 1, 0)
    assert (cell.node_id, cell.status, cell.input) == ("cell", "completed", 3)


async def test_eight_loops_within_one_another_are_walked(lane: Lane) -> None:
    """As deep as they may be drawn; every step says in which round of each of them it was."""
    drawn: dict[str, Any] = node("leaf", "test.echo", value="{{ [item, index, trigger] }}")
    for depth in range(8, 0, -1):
        drawn = loop(drawn, id=f"f{depth}", items=[depth, -depth] if depth in (1, 8) else [depth])
    execution = await lane.run({"nodes": [drawn]}, "given")
    assert execution.status == "completed", execution.error
    leaves = {step.path: step.output for step in await lane.inside(execution, "f8")}
    assert leaves == {
        (first, *[0] * 6, last): [-8 if last else 8, last, "given"] for first in (0, 1) for last in (0, 1)
    }
    assert len(execution.output["f1"]) == 2


async def test_a_while_polls_until_its_last_result_says_enough(lane: Lane) -> None:
    poll = loop(
        node("ask", "test.echo", value="{{ last == null ? 1 : last.done + 1 }}"),
        node("pause", "wait", duration="10ms"),
        edges=edges("ask>pause"),
        id="poll",
        condition="{{ last == null || last.done < 4 }}",
        result={"done": "{{ nodes.ask.output }}", "round": "{{ index }}"},
    )
    execution = await lane.run({"nodes": [poll]})
    assert execution.output == {"poll": {"done": 4, "round": 3}}
    steps = await lane.inside(execution, "poll")
    assert [step.path for step in steps if step.node_id == "ask"] == [(0,), (1,), (2,), (3,)]


async def test_a_while_whose_condition_never_ends_fails_by_its_own_limit(lane: Lane) -> None:
    endless = loop(node("again", values={}), condition="{{ true }}", maxIterations=5)
    execution = await lane.run({"nodes": [endless]})
    assert failure(execution) == ("while.tooManyRounds", "loop")


async def test_more_items_than_a_foreach_walks_fail_it_by_their_own_error(lane: Lane) -> None:
    items = loop(node("a", values={}), items="{{ input }}")
    execution = await lane.run({"nodes": [items]}, [0] * 100_001)
    assert failure(execution) == ("foreach.tooManyItems", "loop")
    assert execution.error is not None
    assert "100,001" in execution.error.message


async def test_a_stop_inside_a_loop_ends_the_execution(lane: Lane) -> None:
    body = loop(node("end", "stop", output="{{ item }}"), items=[5, 6], concurrency=1)
    execution = await lane.run({"nodes": [body, node("hold", "wait", signal="never")]})
    assert (execution.status, execution.output) == ("completed", 5)


async def test_cancelling_in_the_middle_of_a_loop_stops_what_runs_inside(lane: Lane) -> None:
    body = loop(
        node("quick", "test.echo", value="{{ item }}"),
        node("hold", "test.gate", name="loop-{{ item }}") | {"isolate": True},
        node("after", values={}),
        edges=edges("quick>hold", "hold>after"),
        items=["a", "b", "c"],
        concurrency=2,
    )
    execution = await lane.start(await lane.publish({"nodes": [body]}))
    await lane.gates.arrived("loop-a")
    await lane.gates.arrived("loop-b")
    await lane.executions.cancel(lane.tenant_id, execution.id)
    execution = await lane.finish(execution)
    assert execution.status == "canceled"
    assert (await lane.steps(execution))["loop"].status == "canceled"
    steps = await lane.inside(execution, "loop")
    assert [(step.path, step.status) for step in steps if step.node_id in ("hold", "after")] == [
        ((0,), "canceled"),
        ((0,), "skipped"),
        ((1,), "canceled"),
        ((1,), "skipped"),
    ]


async def test_steps_inside_a_loop_come_in_pages(lane: Lane) -> None:
    body = loop(node("a", values={"n": "{{ item }}"}), node("b", values={}), edges=edges("a>b"), items=[*range(12)])
    execution = await lane.run({"nodes": [body]})
    seen = []
    cursor = None
    while True:
        page = await lane.executions.steps(lane.tenant_id, execution.id, within="loop", limit=7, cursor=cursor)
        seen += [(step.path, step.node_id) for step in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        assert len(page.items) == 7
    assert seen == [((number,), node_id) for number in range(12) for node_id in ("a", "b")]
    assert await lane.inside(execution, "loop", 99) == []


async def test_what_is_no_loop_or_no_round_of_it_is_refused(lane: Lane) -> None:
    execution = await lane.run({"nodes": [loop(node("a", values={}), items=[1])]})
    for name in ("nowhere", "a"):
        with pytest.raises(NotFound, match=name):
            await lane.inside(execution, name)
    with pytest.raises(InvalidInput, match="one number"):
        await lane.inside(execution, "loop", 0, 0)
    with pytest.raises(InvalidInput, match="not one that a page"):
        await lane.executions.steps(lane.tenant_id, execution.id, within="loop", cursor="0:elsewhere")
