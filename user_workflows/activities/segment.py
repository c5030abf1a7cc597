"""The activity of a segment: walks a chain of cheap steps, each with its own retries, timeout and record."""

import asyncio
from datetime import UTC, datetime

import structlog
from temporalio import activity

from plugins.host.invoke import CallFailed, Host
from plugins.trace import logged_trace
from user_workflows.activities.calls import host_call, ignore_heartbeat, step_error
from user_workflows.activities.heartbeats import heartbeats
from user_workflows.interpreter.control import Scope
from user_workflows.interpreter.errors import ExecutionFailed, StepFailed
from user_workflows.interpreter.journal import Journal
from user_workflows.interpreter.messages import (
    ExecutionRecord,
    SegmentCall,
    SegmentResult,
    StepError,
    StepRecord,
)
from user_workflows.interpreter.node import NodeState
from user_workflows.interpreter.segments import LOCAL_BUDGET, SEGMENT
from user_workflows.interpreter.state import GraphState
from user_workflows.interpreter.templates import templates_of
from user_workflows.interpreter.walk import Performed, Walk
from user_workflows.records import RecordWriter

#: a longer back-off, in seconds, is waited for by the workflow
LONGEST_PAUSE = 1.0

#: segments of one tenant, and of all, that a worker runs locally at a time: local work bypasses the server's fairness
LOCAL_PER_TENANT = 16
LOCAL_IN_ALL = 64


class _Paused(Exception):
    """The next attempt of a step is due only after a while."""

    def __init__(self, seconds: float, attempt: int) -> None:
        super().__init__()
        self.seconds = seconds
        self.attempt = attempt


class SegmentActivity:
    def __init__(self, host: Host, records: RecordWriter) -> None:
        self._host = host
        self._records = records
        self._local: dict[str, int] = {}

    @activity.defn(name=SEGMENT)
    async def run(self, call: SegmentCall) -> SegmentResult:
        """Walk the chain as far as it goes for now."""
        structlog.contextvars.bind_contextvars(**logged_trace(call.traceparent))
        if not call.local:
            return await self._run_remotely(call)
        under_way = self._local.get(call.tenant_id, 0)
        if under_way >= LOCAL_PER_TENANT or sum(self._local.values()) >= LOCAL_IN_ALL:
            return SegmentResult(outcomes=(), resume_in=0.0)
        self._local[call.tenant_id] = under_way + 1
        try:
            return await _Segment(call, self._host, self._records).walk(budget=LOCAL_BUDGET)
        finally:
            self._local[call.tenant_id] -= 1
            if not self._local[call.tenant_id]:
                del self._local[call.tenant_id]

    async def _run_remotely(self, call: SegmentCall) -> SegmentResult:
        async with heartbeats():
            return await _Segment(call, self._host, self._records).walk(budget=None)


class _Segment:
    """One call of one segment; the performer of its own walk."""

    def __init__(self, call: SegmentCall, host: Host, records: RecordWriter) -> None:
        self._call = call
        self._host = host
        self._records = records
        self._graph = GraphState(call.graph, Journal(), path=call.path, outer=call.outer)
        #: of the step that comes next
        self._attempt = call.attempt

    async def walk(self, budget: float | None) -> SegmentResult:
        for outcome in self._call.outcomes:
            self._graph.apply(outcome, self._call.given)
        walk = Walk(
            self._graph,
            templates=templates_of(self._call.tenant_id, self._call.workflow_id, self._call.version),
            seen=self._call.seen,
            given=self._call.given,
            performer=self,
            clock=lambda: datetime.now(UTC),
            pause=lambda: None,
        )
        resume_in = None
        try:
            async with asyncio.timeout(budget):
                await walk.run()
        except ExecutionFailed:
            # The outcome of the failed step says it; the workflow decides what follows.
            pass
        except TimeoutError:
            resume_in = 0.0
        except _Paused as paused:
            resume_in, self._attempt = paused.seconds, paused.attempt
        settled = tuple(self._graph.outcomes())
        await walk.close("the segment goes on later")
        return SegmentResult(outcomes=settled, resume_in=resume_in, attempt=self._attempt)

    async def perform(self, walk: Walk, state: NodeState, scope: Scope) -> Performed:
        config = walk.templates.at(state.node).render(scope)
        while True:
            attempt = self._attempt
            self._tell(state, attempt, None)
            try:
                outcome = await self._host.invoke(
                    host_call(self._call, state, config, attempt),
                    heartbeat=ignore_heartbeat,
                    is_cancelled=activity.is_cancelled,
                )
            except CallFailed as failed:
                failure = failed.failure
                error = step_error(failure)
                if failure.retry_in is None:
                    self._attempt = 1
                    raise StepFailed(error) from None
                self._attempt = attempt + 1
                self._tell(state, attempt, error)
                if failure.retry_in > LONGEST_PAUSE:
                    raise _Paused(failure.retry_in, attempt + 1) from None
                await asyncio.sleep(failure.retry_in)
            else:
                self._attempt = 1
                return Performed({outcome.port: outcome.output}, attempt)

    def _tell(self, state: NodeState, attempt: int, error: StepError | None) -> None:
        """Tell of a step that takes a while: one that runs locally is told of by the workflow, once it has ended."""
        if self._call.local and attempt == 1:
            return
        position = [node.id for node in self._call.graph.nodes].index(state.node.id)
        self._records.put(
            ExecutionRecord(
                tenant_id=self._call.tenant_id,
                execution_id=self._call.execution_id,
                seq=-1,
                status="running",
                started_at=state.started_at or datetime.now(UTC),
                steps=(
                    StepRecord(
                        node_id=state.node.id,
                        path=state.path,
                        seq=self._call.seq + 20 * position + 2 * min(attempt, 8) + (error is not None),
                        status="running",
                        attempt=attempt,
                        input=state.input,
                        error=error,
                        reason=None if error is None else f"attempt {attempt} failed; another follows",
                        started_at=state.started_at,
                    ),
                ),
            )
        )
