"""What is large on a real Temporal server: it works end to end, leaves the history small, and is read by nobody."""

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import func, select

from plugins.host.perform import MAX_OUTPUT
from plugins.storage.blobs import blobs
from plugins.storage.database import now
from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane
from user_workflows.executions.views import Execution
from user_workflows.interpreter.loops import MAX_RESULTS
from user_workflows.interpreter.messages import workflow_id

FIVE_MB = 5 * 2**20


async def history_bytes(lane: Lane, execution: Execution) -> int:
    handle = lane.temporal.get_workflow_handle(workflow_id(lane.tenant_id, execution.id))
    return sum(event.ByteSize() for event in (await handle.fetch_history()).events)


async def owned(lane: Lane, execution: Execution) -> int:
    query = select(func.count()).where(blobs.c.tenant_id == lane.tenant_id, blobs.c.owner_id == execution.id)
    async with lane.database.across.read() as connection:
        return int((await connection.execute(query)).scalar_one())


@pytest.mark.parametrize("home", [{}, {"isolate": True}], ids=["segment", "activity"])
async def test_five_megabytes_travel_by_claim(lane: Lane, home: dict[str, bool]) -> None:
    """A step's output is read by the API, picked from by an expression, and is the output of the execution."""
    definition = {
        "nodes": [
            node("bulk", "test.bulk", size=FIVE_MB, mark="here") | home,
            node("again", "test.bulk", size=FIVE_MB, mark="there") | home,
            node("pick", values={"mark": "{{ nodes.bulk.output.mark }}"}),
            node("last", "test.bulk", size=FIVE_MB, mark="{{ nodes.pick.output.mark }}") | home,
        ],
        "edges": edges("bulk>again", "again>pick", "pick>last"),
    }
    execution = await lane.run(definition)
    assert execution.status == "completed", execution.error
    assert execution.output["last"]["mark"] == "here"
    assert len(execution.output["last"]["text"]) == FIVE_MB
    steps = await lane.steps(execution)
    assert len(steps["bulk"].output["text"]) == FIVE_MB
    assert steps["pick"].output == {"mark": "here"}
    assert await history_bytes(lane, execution) < 20_000


async def test_an_output_that_is_too_large_fails_its_step_and_names_the_limit(lane: Lane) -> None:
    definition = {"nodes": [node("bulk", "test.bulk", size=100 * 10**6, packs=True)]}
    execution = await lane.run(definition)
    assert execution.status == "failed"
    assert execution.error is not None
    assert execution.error.type == "output.tooLarge"
    assert f"at most {MAX_OUTPUT:,} are kept" in execution.error.message


async def test_results_that_are_too_large_together_fail_their_loop(lane: Lane) -> None:
    """Batched or not: what an execution could never end with must not leave it stuck."""
    body = [node("bulk", "test.bulk", size=6 * 2**20, packs=True)]
    for home in ({}, {"isolate": True}):
        loop = node("each", "foreach", items="{{ [1, 2, 3, 4, 5, 6] }}", nodes=[body[0] | home], concurrency=1)
        execution = await lane.run({"nodes": [loop]})
        assert execution.status == "failed"
        assert execution.error is not None
        assert (execution.error.type, execution.error.node_id) == ("foreach.resultsTooLarge", "each")
        assert f"{MAX_RESULTS:,} bytes" in execution.error.message


async def test_an_expression_that_hands_on_too_much_fails_its_step_and_names_the_limit(lane: Lane) -> None:
    definition = {
        "nodes": [
            node("bulk", "test.bulk", size=FIVE_MB),
            node("copy", values={"text": "{{ nodes.bulk.output.text }}"}),
        ],
        "edges": edges("bulk>copy"),
    }
    execution = await lane.run(definition)
    assert execution.error is not None
    assert execution.error.node_id == "copy"
    assert "larger than 1 MiB" in execution.error.message


async def test_a_large_input_travels_by_claim(lane: Lane) -> None:
    definition = {"nodes": [node("size", values={"n": "{{ size(input.text) }}"})]}
    execution = await lane.run(definition, {"text": "".join(map(str, range(FIVE_MB // 6)))})
    assert execution.output["size"]["n"] > FIVE_MB // 2
    assert await owned(lane, execution) == 1
    assert await history_bytes(lane, execution) < 20_000


async def test_a_small_execution_stores_nothing(lane: Lane) -> None:
    execution = await lane.run({"nodes": [node("echo", "test.echo", value="small")]})
    assert execution.status == "completed"
    assert await owned(lane, execution) == 0


async def test_blobs_go_with_the_record_of_their_execution_and_no_sooner(lane: Lane) -> None:
    bulk = {"nodes": [node("bulk", "test.bulk", size=100_000) | {"isolate": True}]}
    closed = await lane.run(bulk)
    held = {"nodes": [*bulk["nodes"], node("hold", "test.gate", name="keeps blobs")], "edges": edges("bulk>hold")}
    running = await lane.start(await lane.publish(held))
    await lane.gates.arrived("keeps blobs")
    assert await owned(lane, closed) > 0
    assert await owned(lane, running) > 0
    await lane.executions.purge(now() + timedelta(seconds=1))
    assert await owned(lane, closed) == 0
    assert await owned(lane, running) > 0
    lane.gates.at("keeps blobs").set()
    assert (await lane.finish(running)).status == "completed"


async def test_nobody_reads_what_is_large(lane: Lane, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither on the disk of Temporal nor in the database."""
    canary = "canary-in-a-large-output-2718"
    definition = {"nodes": [node("bulk", "test.bulk", size=200_000, mark="{{ input }}")]}
    execution = await lane.run(definition, canary)
    assert execution.output["bulk"]["mark"] == canary
    assert await owned(lane, execution) > 0
    files = [path for path in tmp_path_factory.getbasetemp().glob("*/*.db*") if path.is_file()]
    written = {path.name for path in files}
    assert {"temporal.db", "gateway.db"} <= written
    assert [path for path in files if canary.encode() in _content(path)] == []
    # The search finds what is there: the ids of executions are in clear in both.
    holders = {path.name.split(".")[0] for path in files if execution.id.encode() in _content(path)}
    assert holders == {"temporal", "gateway"}


async def test_a_thousand_nodes_run_with_a_small_history(lane: Lane) -> None:
    branches = [[f"b{branch}_{number}" for number in range(100)] for branch in range(10)]
    pairs = [f"{source}>{target}" for branch in branches for source, target in pairwise(branch)]
    definition = {
        "nodes": [
            node(id, values={"n": "{{ has(input.n) ? input.n + 1 : 1 }}"}) for branch in branches for id in branch
        ],
        "edges": edges(*pairs),
    }
    execution = await lane.run(definition, {})
    assert execution.status == "completed", execution.error
    assert execution.output == {branch[-1]: {"n": 100} for branch in branches}
    assert execution.history_events is not None
    assert execution.history_events < 50
    assert await history_bytes(lane, execution) < 20_000


async def test_results_of_a_hundred_thousand_items_are_larger_than_a_payload_may_be(lane: Lane) -> None:
    loop = node(
        "each",
        "foreach",
        items="{{ input }}",
        nodes=[node("row", values={"id": "{{ item }}", "name": "row {{ item }}", "even": "{{ item % 2 == 0 }}"})],
        result="{{ nodes.row.output }}",
    )
    last = node("last", values={"row": "{{ nodes.each.output[99999] }}"})
    execution = await lane.start(
        await lane.publish({"nodes": [loop, last], "edges": edges("each>last")}), list(range(100_000))
    )
    execution = await lane.executions.wait(lane.tenant_id, execution.id, 120)
    assert execution.status == "completed", execution.error
    assert execution.output == {"last": {"row": {"id": 99_999, "name": "row 99999", "even": False}}}
    results = (await lane.steps(execution))["each"].output
    assert len(results) == 100_000
    assert await history_bytes(lane, execution) < 4 * 2**20


def _content(path: Path) -> bytes:
    return path.read_bytes()
