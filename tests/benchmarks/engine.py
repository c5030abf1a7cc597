"""The engine against hand-written Temporal workflows: ratios measured side by side in one run.

``make bench`` prints them. Both sides use one server, and one worker each: in this interpreter, or each in a process of
its own where the worker's processor time is the figure. Ours alone keeps records in SQLite and seals every payload. The
two sides take turns, call by call or round by round, so that a noisy machine hits both; medians are compared, of
processor time the least.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import structlog
from temporalio.client import Client
from temporalio.worker import Worker

from gateway.processes import keep_what_is_loaded
from plugins.builtin import BUILTINS
from plugins.host.registry import Registry
from plugins.storage.database import Database
from plugins.storage.ids import new_id
from tests import servers
from tests.benchmarks.apart import open_sides
from tests.benchmarks.baseline import QUEUE, ActivityApiece, Empty, TenActivities, read
from tests.benchmarks.figures import Figure, show
from tests.benchmarks.installation import Installation, open_installation
from tests.sqlite import new_sqlite
from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane, open_lane
from user_workflows.definition.validate import validate
from user_workflows.plan.compile import compile_plan

#: what the figures consist of, and below what they cannot go
NOTES = """\
Ten inline nodes and the webhook: an empty workflow is two calls and one workflow task, and its caller waits until
Temporal has written the end into its history. Ours adds the version that is published (a read), the row of the start
(a commit before Temporal is asked: an accepted start is never lost) and a local activity with the final record (a
commit before the workflow closes: no closed status without its figures). Its caller waits for that commit alone, of
which Redis tells; without Redis it waits for Temporal as well, a third longer. The webhook adds the look-up of its
token and the lending of its secret, and reads its answer instead of the record.
Isolated nodes: the SDK carries each activity as it does by hand, where it comes with the answer to a workflow task;
ours comes by way of the server's queue, which is fair to tenants, and adds sealing (five payloads a node), the host, a
summary for Temporal's UI and two or three transactions of records. Their clients do not count."""

# The suite makes them small: that they still run is all it wants to know.
ROUNDS = 5
#: definitions of which the least processor time counts, as of everything that is measured so
COMPILED = 20
WARM_UP = 3
CALLS = 8
ITEMS = 1_000
CONCURRENT = 16
TOTAL = 96

Run = Callable[[], Awaitable[Any]]


async def latency(run: Run) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    await run()
    return time.perf_counter() - began


async def throughput(run: Run) -> float:
    """Calls a second with `CONCURRENT` under way."""
    left = iter(range(TOTAL))

    async def work() -> None:
        for _ in left:
            await run()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CONCURRENT)))
    return TOTAL / (time.perf_counter() - began)


async def side_by_side(
    measure: Callable[[Run], Awaitable[float]],
    ours: Run,
    theirs: Run,
    *,
    rounds: int,
    typical: Callable[[Iterable[float]], float] = statistics.median,
) -> tuple[float, float]:
    """Measure both in turns, after a few to warm up, and return what is typical of each."""
    for _ in range(WARM_UP):
        await ours()
        await theirs()
    measured = [(await measure(ours), await measure(theirs)) for _ in range(rounds)]
    return typical(a for a, _ in measured), typical(b for _, b in measured)


def chain_of(make: Callable[[int], dict[str, Any]], count: int = 10) -> dict[str, Any]:
    nodes = [make(i) for i in range(count)]
    return {"nodes": nodes, "edges": edges(*(f"{a['id']}>{b['id']}" for a, b in pairwise(nodes)))}


async def measure(lane: Lane, plain: Client, installation: Installation) -> list[Figure]:
    def by_hand(workflow: Any, *args: Any) -> Run:
        async def run() -> None:
            await plain.execute_workflow(workflow, args=args, id=new_id("ex"), task_queue=QUEUE)

        return run

    async def published(definition: dict[str, Any]) -> Run:
        workflow = await lane.publish(definition)

        async def run() -> None:
            await lane.finish(await lane.start(workflow))

        return run

    reads = await published(chain_of(lambda i: node(f"n{i}", "test.echo", value="{{ input }}")))
    inline = await installation.published(chain_of(lambda i: node(f"n{i}", values={"n": i})))
    deliver = await installation.hook()
    items = await published(
        {"nodes": [node("each", "foreach", items=[*range(ITEMS)], nodes=[node("n", "test.echo", value="{{ item }}")])]}
    )
    ten, apiece, empty = by_hand(TenActivities.run), by_hand(ActivityApiece.run, ITEMS), by_hand(Empty.run)

    figures = []
    ours, theirs = await side_by_side(latency, reads, ten, rounds=ROUNDS * CALLS)
    figures.append(faster("ten reads: latency", ours, theirs, "≥ 3.5 ×"))
    ours, theirs = await side_by_side(throughput, reads, ten, rounds=ROUNDS)
    figures.append(
        Figure(
            name=f"ten reads: executions/s at {CONCURRENT}",
            ours=f"{ours:.1f}",
            baseline=f"{theirs:.1f}",
            ratio=f"{ours / theirs:.2f} ×",
            wanted="≥ 3 ×",
        )
    )
    figures.append(await events(lane, plain))
    ours, theirs = await side_by_side(latency, inline, empty, rounds=ROUNDS * CALLS)
    figures.append(slower("ten inline nodes: latency against an empty workflow", ours, theirs, "≤ 1.2 ×"))
    ours, theirs = await side_by_side(latency, deliver, empty, rounds=ROUNDS * CALLS)
    figures.append(slower("webhook, three inline nodes, respond: against an empty workflow", ours, theirs, "≤ 1.3 ×"))
    ours, theirs = await side_by_side(latency, items, apiece, rounds=min(ROUNDS, 3))
    figures.append(faster(f"foreach of {ITEMS:,} cheap items: latency", ours, theirs, "≥ 10 ×"))
    return figures


async def isolated(folder: Path, temporal_address: str, redis_url: str) -> Figure:
    definition = chain_of(lambda i: node(f"n{i}", "test.echo", value=i) | {"isolate": True})
    async with open_sides(folder, temporal_address, redis_url, definition) as (ours, by_hand):
        for side in (ours, by_hand):
            for _ in range(WARM_UP):
                await side.run()
        rounds = [(await ours.processor_time(), await by_hand.processor_time()) for _ in range(ROUNDS)]
    # Whatever else shares the processor and its caches adds to either, and takes nothing away.
    spent, spent_by_hand = map(min, zip(*rounds, strict=True))
    return slower("ten isolated nodes: CPU of the worker", spent, spent_by_hand, "≤ 1.4 ×")


async def events(lane: Lane, plain: Client) -> Figure:
    workflow = await lane.publish(chain_of(lambda i: node(f"n{i}", "test.echo", value="{{ input }}")))
    ours = (await lane.finish(await lane.start(workflow))).history_events or 0
    handle = await plain.start_workflow(TenActivities.run, id=new_id("ex"), task_queue=QUEUE)
    await handle.result()
    theirs = (await handle.describe()).history_length
    return Figure(
        name="ten reads: history events",
        ours=str(ours),
        baseline=str(theirs),
        ratio=f"1/{theirs / ours:.1f}",
        wanted="≤ 1/5",
    )


def _sum(number: int, i: int) -> dict[str, Any]:
    return node(f"n{i}", values={"x": f"{{{{ input.x + {number}{i:03} }}}}"})


def compiling() -> Figure:
    registry = Registry(BUILTINS)
    taken = []
    for number in range(COMPILED):
        # No two expressions are the same, in one definition or in two: nothing can be remembered of an earlier one.
        definition = chain_of(partial(_sum, number), 1_000)
        began = time.process_time()
        validation = validate(definition, plugins=registry)
        assert validation.definition is not None
        compile_plan(validation.definition, plugins=registry)
        taken.append(time.process_time() - began)
    return Figure(
        name="compile (validate + plan) of 1,000 nodes, CPU",
        ours=f"{min(taken) * 1e3:.0f} ms",
        baseline="–",
        ratio="–",
        wanted="< 100 ms",
    )


def slower(name: str, ours: float, theirs: float, wanted: str) -> Figure:
    return Figure(
        name=name,
        ours=f"{ours * 1e3:.1f} ms",
        baseline=f"{theirs * 1e3:.1f} ms",
        ratio=f"{ours / theirs:.2f} ×",
        wanted=wanted,
    )


def faster(name: str, ours: float, theirs: float, wanted: str) -> Figure:
    return Figure(
        name=name,
        ours=f"{ours * 1e3:.1f} ms",
        baseline=f"{theirs * 1e3:.1f} ms",
        ratio=f"{theirs / ours:.2f} ×",
        wanted=wanted,
    )


async def run(folder: Path, temporal_address: str, redis_url: str) -> list[Figure]:
    database = Database(new_sqlite(folder / "gateway.db"))
    plain = await Client.connect(temporal_address)
    by_hand = Worker(plain, task_queue=QUEUE, workflows=[TenActivities, ActivityApiece, Empty], activities=[read])
    async with (
        open_lane(database, temporal_address, folder, redis_url=redis_url) as lane,
        open_installation(redis_url, temporal_address, folder) as installation,
        by_hand,
    ):
        figures = await measure(lane, plain, installation)
    await database.close()
    return [*figures, await isolated(folder, temporal_address, redis_url)]


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    keep_what_is_loaded()
    # Before anything else is in memory that the collector would walk through meanwhile.
    compiled = compiling()
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as name:
        temporal = servers.temporal_server(Path(name) / "temporal")
        valkey = servers.valkey_server(Path(name) / "valkey")
        with servers.running(temporal), servers.running(valkey):
            figures = asyncio.run(run(Path(name), temporal.address, valkey.url))
    show("Engine: records and codec on for ours alone", "by hand", [*figures, compiled], NOTES)


if __name__ == "__main__":
    main()
