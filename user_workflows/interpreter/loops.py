"""`foreach` and `while`: a body is walked once for each item, or round."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from user_workflows.expressions import ExpressionError
from user_workflows.interpreter.control import Performed, Scope, boolean, name_of
from user_workflows.interpreter.errors import ExecutionFailed, StepFailed
from user_workflows.interpreter.messages import ExecutionError, LoopProgress, StepError
from user_workflows.interpreter.node import NodeState
from user_workflows.interpreter.state import ERROR_PORT
from user_workflows.interpreter.walk import Walk

MAX_ITEMS = 100_000
#: bytes of JSON that the results of one `foreach` may take together
MAX_RESULTS = 32 * 2**20
DEFAULT_CONCURRENCY = 10
DEFAULT_MAX_ITERATIONS = 1_000

#: what ends a round. Not `GeneratorExit`: a worker that lets go of an execution must not be kept waiting.
BROKEN = (Exception, asyncio.CancelledError)


async def run_foreach(walk: Walk, state: NodeState, scope: Scope) -> Performed:
    """Walk the body for every item, some at a time, and leave with the results in the order of the items.

    Raises:
        StepFailed: an item failed and errors are not collected, the items are not a list that may be walked, or the
            results are too large together.
    """
    items = items_of(walk, state, scope)
    collects = state.node.config.get("continueOnItemError", False)
    concurrency = state.node.config.get("concurrency", DEFAULT_CONCURRENCY)
    loop = walk.loop(state)
    done = loop.progress
    room = Room(done.results)

    async def work(waiting: Iterator[tuple[int, Any]]) -> None:
        for index, item in waiting:
            try:
                done.results[index] = await _round(walk, state, index, {"item": item, "index": index}, given=item)
            except ExecutionFailed as failure:
                if not collects:
                    raise round_failed(index, failure.error) from failure
                done.failures[index] = failure.error
            room.take(done.results[index])
            del loop.rounds[index]

    waiting = _waiting(items, done)
    await together([asyncio.create_task(work(waiting)) for _ in range(min(concurrency, len(items)))])
    return collected(done.results, done.failures)


def _waiting(items: Sequence[Any], done: LoopProgress) -> Iterator[tuple[int, Any]]:
    """Yield the items that are to be walked, first those that an earlier run of the execution began."""
    for index in sorted(done.under_way):
        yield index, items[index]
    while len(done.results) < len(items):
        index = len(done.results)
        done.results.append(None)
        yield index, items[index]


class Room:
    """What is left for the results of one `foreach`: an execution must be able to end with all that it holds.

    Args:
        results: that an earlier run of the execution came to.
    """

    def __init__(self, results: Sequence[Any] = ()) -> None:
        self._left = MAX_RESULTS
        if results:
            self.take(results)

    def take(self, result: Any) -> None:
        """Count a result, or several.

        Raises:
            StepFailed: they are too large together.
        """
        self._left -= len(msgspec.json.encode(result))
        if self._left < 0:
            message = (
                f"the results are larger than {MAX_RESULTS:,} bytes together; give a smaller `result` of each item"
            )
            raise StepFailed(StepError(type="foreach.resultsTooLarge", message=message))


def collected(results: list[Any], failures: Mapping[int, ExecutionError]) -> Performed:
    """Return how a `foreach` leaves: with its results, and by ``error`` too when items failed."""
    ports: dict[str, Any] = {"output": results}
    if failures:
        ports[ERROR_PORT] = [{"index": index, "error": seen_error(failures[index])} for index in sorted(failures)]
    return Performed(ports)


async def run_while(walk: Walk, state: NodeState, scope: Scope) -> Performed:
    """Walk the body as long as the condition holds, tested before each round, and leave with the last result.

    Raises:
        StepFailed: a round failed, or the condition still held after the last round that is allowed.
    """
    condition = walk.templates.at(state.node, "condition")
    limit = state.node.config.get("maxIterations", DEFAULT_MAX_ITERATIONS)
    loop = walk.loop(state)
    done = loop.progress
    while done.under_way or boolean(condition.render({**scope, "index": done.rounds, "last": done.last}), "condition"):
        if done.rounds >= limit:
            message = f"the condition still held after {limit} rounds; raise maxIterations or mend the condition"
            raise StepFailed(StepError(type="while.tooManyRounds", message=message))
        try:
            seen = {"index": done.rounds, "last": done.last}
            last = await _round(walk, state, done.rounds, seen, given=done.last)
        except ExecutionFailed as failure:
            raise round_failed(done.rounds, failure.error) from failure
        del loop.rounds[done.rounds]
        done.last, done.rounds = last, done.rounds + 1
    return Performed({"output": done.last})


async def _round(walk: Walk, state: NodeState, number: int, seen: Mapping[str, Any], *, given: Any) -> Any:
    inner = walk.inner(state, number, seen, given)
    await walk.breathe(len(inner.graph.nodes))
    try:
        await inner.run()
    except BROKEN:
        await inner.close("the round ended before this node was reached")
        raise
    if "result" not in state.node.config:
        return inner.graph.result()
    try:
        return walk.templates.at(state.node, "result").render(inner.scope(given))
    except ExpressionError as error:
        raise ExecutionFailed(ExecutionError(type=error.type, message=f"result: {error}")) from error


async def together(tasks: "list[asyncio.Task[None]]") -> None:
    """Wait for all; when one breaks, or this is cancelled, stop the others first.

    Not a `TaskGroup`: that one cancels in the order of a set.
    """
    try:
        await asyncio.gather(*tasks)
    except BROKEN:
        for task in tasks:
            # Asked once only: a second time would break off a round that is closing.
            if not task.cancelling():
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def items_of(walk: Walk, state: NodeState, scope: Scope) -> list[Any]:
    """Return what a `foreach` walks over.

    Raises:
        StepFailed: it is not a list, or too long a one.
    """
    return listed(walk.templates.at(state.node, "items").render(scope))


def listed(items: Any) -> list[Any]:
    """Return what an expression gave for the items of a `foreach`.

    Raises:
        StepFailed: it is not a list, or too long a one.
    """
    if not isinstance(items, list):
        raise StepFailed(StepError(type="config.type", message=f"items must be a list, not {name_of(items)}"))
    if len(items) > MAX_ITEMS:
        message = f"items holds {len(items):,}, and at most {MAX_ITEMS:,} are walked; split the list"
        raise StepFailed(StepError(type="foreach.tooManyItems", message=message))
    return items


def round_failed(number: int, error: ExecutionError) -> StepFailed:
    """Return the error of a loop one of whose rounds failed."""
    where = f"round {number}" + (f", node {error.node_id}" if error.node_id else "")
    return StepFailed(StepError(type=error.type, message=f"{where}: {error.message}"))


def seen_error(error: ExecutionError) -> dict[str, Any]:
    """Return an item's error as expressions see it."""
    return {"type": error.type, "message": error.message, "nodeId": error.node_id}
