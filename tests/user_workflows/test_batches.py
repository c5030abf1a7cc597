"""A `foreach` over cheap steps on a real Temporal server: items are carried by activities, many at a time."""

from typing import Any

from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane


def each(body: list[dict[str, Any]], *pairs: str, **config: Any) -> dict[str, Any]:
    return node("each", "foreach", items="{{ input }}", nodes=body, edges=edges(*pairs), **config)


async def test_a_hundred_thousand_cheap_items_take_less_than_ten_thousand_events(lane: Lane) -> None:
    definition = {
        "nodes": [
            each([node("double", values={"n": "{{ item * 2 }}"})], result="{{ nodes.double.output.n }}"),
            node("sum", values={"count": "{{ size(input) }}", "last": "{{ input[99999] }}"}),
        ],
        "edges": edges("each>sum"),
    }
    execution = await lane.start(await lane.publish(definition), list(range(100_000)))
    execution = await lane.executions.wait(lane.tenant_id, execution.id, 120)
    assert execution.output == {"sum": {"count": 100_000, "last": 199_998}}
    assert execution.history_events is not None
    assert execution.history_events < 10_000


async def test_a_thousand_cheap_calls_are_carried_by_four_activities(lane: Lane) -> None:
    body = [
        node("call", "test.echo", value="{{ item + vars.base }}"),
        node("check", "if", condition="{{ input > 1500 }}"),
        node("big", values={"n": "{{ nodes.call.output + index }}"}),
    ]
    loop = each(body, "call>check", "check.true>big", result="{{ has(nodes.big.output) ? nodes.big.output.n : 0 }}")
    execution = await lane.run({"nodes": [loop], "variables": {"base": 1000}}, list(range(1_000)))
    assert execution.output == {"each": [0 if n <= 500 else 1000 + 2 * n for n in range(1_000)]}
    assert execution.billable_actions == 1 + 4 + 1
    inside = await lane.executions.steps(lane.tenant_id, execution.id, within="each", path=(700,))
    assert {step.node_id: step.status for step in inside.items} == {
        "call": "completed",
        "check": "completed",
        "big": "completed",
    }


async def test_items_that_fail_are_collected_or_fail_the_loop(lane: Lane) -> None:
    body = [node("call", "test.echo", value="{{ 10 / item }}")]
    options = {"result": "{{ nodes.call.output }}", "batchSize": 2}
    kept = {"nodes": [each(body, continueOnItemError=True, **options)]}
    execution = await lane.run(kept, [1, 0, 5, 2])
    assert execution.output == {"each": [10, None, 2, 5]}
    failed = await lane.run({"nodes": [each(body, **options)]}, [1, 2, 5, 0])
    assert failed.status == "failed"
    assert failed.error is not None
    assert (failed.error.node_id, failed.error.message.split(":")[0]) == ("each", "round 3, node call")


async def test_large_items_are_split_into_batches_that_a_payload_carries(lane: Lane) -> None:
    body = [node("call", "test.echo", value="{{ size(item) }}")]
    loop = each(body, result="{{ nodes.call.output }}")
    execution = await lane.run({"nodes": [loop]}, ["x" * 100_000] * 8)
    assert execution.output == {"each": [100_000] * 8}


async def test_cancelling_reaches_into_a_batch(lane: Lane) -> None:
    loop = each([node("hold", "test.gate", name="cancel batch")])
    execution = await lane.start(await lane.publish({"nodes": [loop]}), [1, 2, 3])
    await lane.gates.arrived("cancel batch")
    await lane.executions.cancel(lane.tenant_id, execution.id)
    execution = await lane.finish(execution)
    assert execution.status == "canceled"
