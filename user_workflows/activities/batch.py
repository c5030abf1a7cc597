"""The activity of a batch: walks the body of a `foreach` for many items, some at a time."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from temporalio import activity

from plugins.host.invoke import CallFailed, Host
from plugins.storage.database import Database
from plugins.trace import logged_trace
from user_workflows.activities.calls import host_call, ignore_heartbeat, step_error
from user_workflows.activities.heartbeats import heartbeats
from user_workflows.activities.pause import Pause
from user_workflows.expressions import ExpressionError
from user_workflows.interpreter.activity_calls import BatchCall, BatchResult
from user_workflows.interpreter.batches import BATCH
from user_workflows.interpreter.control import Performed, Scope
from user_workflows.interpreter.errors import ExecutionFailed, StepFailed
from user_workflows.interpreter.journal import Journal
from user_workflows.interpreter.messages import ExecutionError, ExecutionRecord
from user_workflows.interpreter.node import NodeState
from user_workflows.interpreter.state import GraphState
from user_workflows.interpreter.templates import templates_of
from user_workflows.interpreter.walk import Walk
from user_workflows.records.writer import RecordWriter

#: an activity takes no further items after so many seconds, or so many bytes of results
LONGEST = 20.0
RESULT_BYTES = 512 * 1024


class BatchActivity:
    def __init__(self, host: Host, records: RecordWriter, database: Database) -> None:
        self._host = host
        self._records = records
        self._database = database

    @activity.defn(name=BATCH)
    async def run(self, call: BatchCall) -> BatchResult:
        """Walk the items in their order, and return those that were walked when they are recorded."""
        structlog.contextvars.bind_contextvars(**logged_trace(call.traceparent))
        batch = _Batch(call, self._host, Pause(self._database, call))
        with heartbeats():
            result = await batch.walk()
            await self._records.write(batch.record(activity.info().attempt))
        return result


class _Batch:
    """One call of one batch; the performer of its walks."""

    def __init__(self, call: BatchCall, host: Host, pause: Pause) -> None:
        self._call = call
        self._host = host
        self._pause = pause
        self._journal = Journal()
        self._templates = templates_of(call.tenant_id, call.workflow_id, call.version)
        self._results: dict[int, Any] = {}
        self._errors: dict[int, ExecutionError] = {}
        self._bytes = 0

    async def walk(self) -> BatchResult:
        waiting = iter(enumerate(self._call.items, self._call.first))
        tasks = [asyncio.create_task(self._work(waiting)) for _ in range(self._call.concurrency)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        # Items are taken in order and each that was taken is walked to its end: there are no gaps.
        return BatchResult(
            results=tuple(self._results[number] for number in sorted(self._results)),
            errors=self._errors,
            is_held=await self._pause.is_on(surely=True),
        )

    async def _work(self, waiting: Iterator[tuple[int, Any]]) -> None:
        deadline = time.monotonic() + LONGEST
        for number, item in waiting:
            self._results[number] = await self._walk_item(number, item)
            if time.monotonic() > deadline or self._bytes > RESULT_BYTES:
                return
            if self._errors and not self._call.collects:
                return
            if await self._pause.is_on():
                return

    async def _walk_item(self, number: int, item: Any) -> Any:
        path = (*self._call.path, number)
        walk = Walk(
            GraphState(self._call.graph, self._journal, path=path, outer=self._call.outer),
            templates=self._templates,
            seen={**self._call.seen, "item": item, "index": number},
            given=item,
            performer=self,
            clock=lambda: datetime.now(UTC),
            pause=lambda: None,
        )
        try:
            await walk.run()
            result = self._result(walk, item)
        except (ExecutionFailed, ExpressionError) as error:
            await walk.close("the round ended before this node was reached")
            self._errors[number] = _error(error)
            return None
        self._bytes += len(msgspec.json.encode(result))
        return result

    def _result(self, walk: Walk, item: Any) -> Any:
        if "result" in self._call.loop.config:
            return self._templates.at(self._call.loop, "result").render(walk.scope(item))
        return walk.graph.result()

    async def perform(self, walk: Walk, state: NodeState, scope: Scope) -> Performed:
        config = walk.templates.at(state.node).render(scope)
        attempt = 1
        while True:
            try:
                outcome = await self._host.invoke(
                    host_call(self._call, state, config, attempt),
                    heartbeat=ignore_heartbeat,
                    is_cancelled=activity.is_cancelled,
                )
            except CallFailed as failed:
                if failed.failure.retry_in is None:
                    raise StepFailed(step_error(failed.failure)) from None
                await asyncio.sleep(failed.failure.retry_in)
                attempt += 1
            else:
                return Performed({outcome.port: outcome.output}, attempt)

    def record(self, attempt: int) -> ExecutionRecord:
        """Return the record of every step of every item, newer than that of an earlier attempt."""
        states = self._journal.all()
        return ExecutionRecord(
            tenant_id=self._call.tenant_id,
            execution_id=self._call.execution_id,
            seq=-1,
            status="running",
            started_at=datetime.now(UTC),
            steps=tuple(msgspec.structs.replace(state.record(), seq=state.seq + attempt) for state in states),
        )


def _error(error: ExecutionFailed | ExpressionError) -> ExecutionError:
    if isinstance(error, ExecutionFailed):
        return error.error
    return ExecutionError(type=error.type, message=f"result: {error}")
