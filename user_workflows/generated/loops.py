"""`foreach` and `while` of a generated workflow: a body is walked once for each item, or round."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from user_workflows.expressions import Template
from user_workflows.generated.graph import Graph, Step
from user_workflows.interpreter.control import Ports, boolean
from user_workflows.interpreter.errors import ExecutionFailed, StepFailed
from user_workflows.interpreter.loops import BROKEN, Room, collected, listed, round_failed, together
from user_workflows.interpreter.messages import ExecutionError, StepError

#: what walks the body of a loop once, and returns what that came to
Body = Callable[[Graph], Awaitable[Any]]

#: what a round counts as before it is walked: as many nodes as most bodies have, or more
_NODES_OF_A_ROUND = 10


async def for_each(step: Step, items: Template, body: Body, *, concurrency: int, collect_errors: bool = False) -> Ports:
    """Walk `body` for every item, some at a time, and leave with the results in the order of the items.

    Args:
        step: of the loop.
        items: gives the list.
        body: walked for each item.
        concurrency: items under way at a time.
        collect_errors: leave by ``error`` too, with the errors of items, instead of failing with the first.

    Raises:
        StepFailed: an item failed, `items` is not a list that may be walked, or the results are too large together.
        ExpressionError: `items` failed.
    """
    walked = listed(step.render(items))
    found: list[Any] = [None] * len(walked)
    failures: dict[int, ExecutionError] = {}
    room = Room()

    async def work(waiting: Iterator[tuple[int, Any]]) -> None:
        for index, item in waiting:
            try:
                found[index] = await _round(step, body, index, {"item": item, "index": index}, given=item)
            except ExecutionFailed as failure:
                if not collect_errors:
                    raise round_failed(index, failure.error) from failure
                failures[index] = failure.error
            room.take(found[index])

    waiting = enumerate(walked)
    await together([asyncio.create_task(work(waiting)) for _ in range(min(concurrency, len(walked)))])
    return collected(found, failures).ports


async def repeat_while(step: Step, condition: Template, body: Body, *, limit: int) -> Ports:
    """Walk `body` as long as a condition holds, tested before each round, and leave with the last result.

    Raises:
        StepFailed: a round failed, or the condition still held after `limit` rounds.
        ExpressionError: the condition failed.
    """
    last: Any = None
    rounds = 0
    while boolean(condition.render({**step.scope, "index": rounds, "last": last}), "condition"):
        if rounds >= limit:
            message = f"the condition still held after {limit} rounds; raise maxIterations or mend the condition"
            raise StepFailed(StepError(type="while.tooManyRounds", message=message))
        try:
            last = await _round(step, body, rounds, {"index": rounds, "last": last}, given=last)
        except ExecutionFailed as failure:
            raise round_failed(rounds, failure.error) from failure
        rounds += 1
    return {"output": last}


async def _round(step: Step, body: Body, number: int, seen: Mapping[str, Any], *, given: Any) -> Any:
    # The path of a round is its loop's and a number: a loop's graph has the path of the loop itself.
    inner = step.graph.inner(number, seen, given)
    await step.graph.engine.effort.spend(_NODES_OF_A_ROUND)
    try:
        return await body(inner)
    except BROKEN:
        inner.close("the round ended before this node was reached")
        raise
