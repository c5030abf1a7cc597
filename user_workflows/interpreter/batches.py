"""A `foreach` whose body is cheap: its items are walked by activities, many at a time.

A hundred thousand items so cost a thousand events. Nothing in such a body acts on the world, so a batch that is cut off
is walked again.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from temporalio.exceptions import ActivityError

from user_workflows.interpreter.activity_calls import BatchCall, BatchResult
from user_workflows.interpreter.activity_walks import MOST_LOSSES, asked_for, run_walk
from user_workflows.interpreter.control import Performed, Scope
from user_workflows.interpreter.errors import StepFailed, stop_if_cancelled
from user_workflows.interpreter.loops import DEFAULT_CONCURRENCY, Room, collected, items_of, round_failed
from user_workflows.interpreter.messages import StartExecution
from user_workflows.interpreter.node import NodeState
from user_workflows.interpreter.steps import ended_error
from user_workflows.interpreter.walk import Walk
from user_workflows.plan.model import BATCH_ITEMS

BATCH = "foreach.batch"

#: the most bytes of JSON that the items of one batch take
BATCH_BYTES = 256 * 1024

#: a batch stops by itself after a while; lost workers are noticed by their heartbeats
_LONGEST = timedelta(hours=24)


async def run_batches(
    start: StartExecution, walk: Walk, state: NodeState, scope: Scope, *, on_call: Callable[[], None]
) -> Performed:
    """Walk the body for every item, batch after batch, and leave with the results in the order of the items.

    Raises:
        StepFailed: an item failed and errors are not collected, the items are not a list that may be walked, or the
            results are too large together.
    """
    items = items_of(walk, state, scope)
    call = _call(start, walk, state)
    loop = walk.loop(state)
    done = loop.progress
    room = Room(done.results)
    while len(done.results) < len(items):
        stop_if_cancelled()
        if done.is_held:
            await walk.resumed(loop)
        if walk.is_draining:
            await loop.hold()
        first = len(done.results)
        batch = _next_batch(items, first, state.node.config.get("batchSize", BATCH_ITEMS))
        on_call()
        walked = await _run(msgspec.structs.replace(call, first=first, items=batch), state)
        room.take(walked.results)
        done.results += walked.results
        done.is_held = walked.is_held
        done.failures.update(walked.errors)
        if done.failures and not call.collects:
            number = min(done.failures)
            raise round_failed(number, done.failures[number])
    return collected(done.results, done.failures)


def _next_batch(items: Sequence[Any], first: int, most: int) -> tuple[Any, ...]:
    """Return the items that come next: at least one, and no more than a payload should carry."""
    size = 0
    for count, item in enumerate(items[first : first + most]):
        size += len(msgspec.json.encode(item))
        if size > BATCH_BYTES and count:
            return tuple(items[first : first + count])
    return tuple(items[first : first + most])


async def _run(call: BatchCall, state: NodeState) -> BatchResult:
    last = call.first + len(call.items) - 1
    summary = f"{state.node.label or state.node.id}: items {call.first} to {last}"
    path = (*call.path, call.first)
    try:
        return await run_walk(BATCH, call, BatchResult, longest=_LONGEST, summary=summary, path=path)
    except ActivityError as error:
        ended = ended_error(error, 1, losses=MOST_LOSSES)
        where = f"items {call.first} to {last}: {ended.message}"
        raise StepFailed(msgspec.structs.replace(ended, message=where)) from error


def _call(start: StartExecution, walk: Walk, state: NodeState) -> BatchCall:
    node = state.node
    if node.body is None:
        raise ValueError(f"node {node.id} has no body")
    seen, outer = asked_for(walk, [node, *node.body.nodes])
    return BatchCall(
        tenant_id=start.tenant_id,
        execution_id=start.execution_id,
        workflow_id=start.workflow_id,
        version=start.version,
        origin_id=start.origin_id,
        generation=start.generation,
        traceparent=start.trigger.traceparent,
        # One activity walks the whole body: there is nothing to be handed on from it.
        graph=msgspec.structs.replace(node.body, segments=()),
        loop=msgspec.structs.replace(node, body=None),
        seen=seen,
        outer=outer,
        path=state.path,
        first=0,
        items=(),
        concurrency=node.config.get("concurrency", DEFAULT_CONCURRENCY),
        collects=node.config.get("continueOnItemError", False),
    )
