"""The activity of a segment: walks a chain of steps, each with its own retries, timeout and record.

What was settled outlives the activity in two ways. Its heartbeats carry it, so that a lost worker's successor goes on
about where that one was; they are throttled, so only steps lie behind them that may be made again. And the step that
acts, the last, commits it together with its row in the ledger: from then on every attempt goes on from there.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import structlog
from temporalio import activity
from temporalio.service import RPCError

from plugins.host.invoke import CallFailed, Host, Overtaken
from plugins.storage.database import Database
from plugins.trace import logged_trace
from user_workflows.activities.calls import host_call, ignore_heartbeat, step_error
from user_workflows.activities.heartbeats import heartbeats
from user_workflows.activities.pause import Pause
from user_workflows.interpreter.activity_calls import SegmentCall, SegmentResult
from user_workflows.interpreter.control import Performed, Scope
from user_workflows.interpreter.errors import ExecutionFailed, StepFailed
from user_workflows.interpreter.journal import Journal
from user_workflows.interpreter.messages import ExecutionRecord, StepError, StepOutcome, StepRecord
from user_workflows.interpreter.node import NodeState
from user_workflows.interpreter.segments import LOCAL_BUDGET, LONGEST_PAUSE, SEGMENT
from user_workflows.interpreter.state import GraphState
from user_workflows.interpreter.templates import templates_of
from user_workflows.interpreter.walk import Walk
from user_workflows.records.writer import OUTAGE, RecordWriter

#: the most bytes of JSON that a heartbeat carries
CHECKPOINT_BYTES = 256 * 1024

#: segments of one tenant, and of all, that a worker runs locally at a time: local work bypasses the server's fairness,
#: and each holds one of the workflow tasks that the worker takes, of which some must be left to decide
LOCAL_PER_TENANT = 12
LOCAL_IN_ALL = 14

#: seconds after its start in which a worker asks whether the one before it was lost over a local segment
WARY = 120.0
_ASKING = timedelta(seconds=1)

#: seconds until the database is asked again that does not answer
_OUTAGE_PAUSE = 2.0

_log = structlog.get_logger(__name__)


class _PutOff(Exception):
    """The next attempt of a step is due only after a while."""

    def __init__(self, seconds: float, attempt: int) -> None:
        super().__init__()
        self.seconds = seconds
        self.attempt = attempt


class _Held(Exception):
    """The execution is paused: what comes next begins in another segment, once it goes on."""


class SegmentActivity:
    def __init__(self, host: Host, records: RecordWriter, database: Database) -> None:
        self._host = host
        self._records = records
        self._database = database
        self._local: dict[str, int] = {}
        self._born_at = time.monotonic()

    @activity.defn(name=SEGMENT)
    async def run(self, call: SegmentCall) -> SegmentResult:
        """Walk the chain as far as it goes for now."""
        structlog.contextvars.bind_contextvars(**logged_trace(call.traceparent))
        if not call.local:
            return await self._run_remotely(call)
        if call.may_be_repeated and await self._is_repeated():
            return SegmentResult(outcomes=(), resume_in=0.0, is_careful=True)
        under_way = self._local.get(call.tenant_id, 0)
        if under_way >= LOCAL_PER_TENANT or sum(self._local.values()) >= LOCAL_IN_ALL:
            return SegmentResult(outcomes=(), resume_in=0.0)
        self._local[call.tenant_id] = under_way + 1
        try:
            return await self._segment(call).walk(budget=LOCAL_BUDGET)
        finally:
            self._local[call.tenant_id] -= 1
            if not self._local[call.tenant_id]:
                del self._local[call.tenant_id]

    async def _is_repeated(self) -> bool:
        """Tell whether a worker was lost over this workflow task: over this very segment, it may be.

        A local call counts no attempts, and would lose worker after worker. Only one that has just been started asks:
        where none was lost, none is.
        """
        if time.monotonic() - self._born_at > WARY:
            return False
        info = activity.info()
        if info.workflow_id is None:
            return False
        handle = activity.client().get_workflow_handle(info.workflow_id, run_id=info.workflow_run_id)
        try:
            described = await handle.describe(rpc_timeout=_ASKING)
        except RPCError:
            # In doubt it is: an ordinary activity does no harm.
            return True
        return described.raw_description.pending_workflow_task.attempt > 1

    async def _run_remotely(self, call: SegmentCall) -> SegmentResult:
        if activity.info().attempt > 1:
            call = msgspec.structs.replace(call, is_careful=True)
        segment = self._segment(_from_checkpoint(call))
        with heartbeats(segment.checkpoint):
            return await segment.walk(budget=None)

    def _segment(self, call: SegmentCall) -> "_Segment":
        return _Segment(call, self._host, self._records, Pause(self._database, call))


class _Segment:
    """One call of one segment; the performer of its own walk."""

    def __init__(self, call: SegmentCall, host: Host, records: RecordWriter, pause: Pause) -> None:
        self._call = call
        self._host = host
        self._records = records
        self._pause = pause
        self._graph = self._fresh_graph()
        #: of the step that comes next
        self._attempt = call.attempt
        #: the last step has begun to act, or to find out whether it may
        self._acts = False
        self._has_performed = False
        self._checkpoint: SegmentResult | None = None

    async def walk(self, budget: float | None) -> SegmentResult:
        outcomes = await self._committed() or self._call.outcomes
        if len(outcomes) > len(self._call.outcomes):
            self._attempt = 1
        while True:
            try:
                return await self._walk_from(outcomes, budget)
            except Overtaken as overtaken:
                # Another attempt of this segment came first to the step that acts; what it saw is what counts.
                outcomes = _read_commit(overtaken.committed)

    async def _walk_from(self, outcomes: Sequence[StepOutcome], budget: float | None) -> SegmentResult:
        self._graph = self._fresh_graph()
        self._has_performed = False
        for outcome in outcomes:
            if outcome.node_id in self._graph.nodes:
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
        resume_in, is_held = None, False
        try:
            async with asyncio.timeout(budget):
                await walk.run()
        except ExecutionFailed:
            # The outcome of the failed step says it; the workflow decides what follows.
            pass
        except TimeoutError:
            resume_in = 0.0
        except _PutOff as put_off:
            resume_in, self._attempt = put_off.seconds, put_off.attempt
        except _Held:
            is_held = True
        except asyncio.CancelledError:
            if not self._acts:
                raise
            # What is committed together with the effect is handed over, for it will not be seen again.
            resume_in = 0.0
        finally:
            await walk.close("the segment goes on later")
        come = self._graph.outcomes()
        return SegmentResult(
            outcomes=tuple(self._performed(come) if is_held else come),
            resume_in=resume_in,
            attempt=self._attempt,
            is_careful=self._call.is_careful,
        )

    def checkpoint(self) -> SegmentResult | None:
        """Return how far the walk has come, as far as a heartbeat may carry it."""
        come = SegmentResult(outcomes=tuple(self._graph.outcomes()), resume_in=0.0, attempt=self._attempt)
        if len(msgspec.json.encode(come)) <= CHECKPOINT_BYTES:
            self._checkpoint = come
        return self._checkpoint

    def _performed(self, outcomes: Sequence[StepOutcome]) -> Sequence[StepOutcome]:
        """Leave out the data nodes at the end: they belong to what comes next."""
        last = max(
            number for number, each in enumerate(outcomes) if self._graph.nodes[each.node_id].node.home != "inline"
        )
        return outcomes[: last + 1]

    def _fresh_graph(self) -> GraphState:
        return GraphState(self._call.graph, Journal(), path=self._call.path, outer=self._call.outer)

    async def _committed(self) -> Sequence[StepOutcome]:
        """Return what an earlier attempt has committed together with the step that acts."""
        acting = self._call.graph.acting
        if acting is None:
            return ()
        call = host_call(self._call, self._graph.nodes[acting.id], None, 1)
        while True:
            try:
                return _read_commit(await self._host.committed(call))
            except OUTAGE as error:
                # Not a fault of this segment, whose attempts are counted.
                _log.warning("segment.storageUnavailable", error=type(error).__name__)
                await asyncio.sleep(_OUTAGE_PAUSE)

    def _commit(self, state: NodeState) -> Any:
        """Return what is to be committed together with a step: all before it, if it is the one that acts."""
        if not state.node.acts:
            return None
        return msgspec.to_builtins(self._graph.outcomes()) or None

    async def perform(self, walk: Walk, state: NodeState, scope: Scope) -> Performed:
        config = walk.templates.at(state.node).render(scope)
        if self._has_performed:
            if await self._pause.is_on(surely=state.node.acts):
                raise _Held
            if self._call.is_careful:
                raise _PutOff(0.0, 1)
        self._has_performed = True
        commit = self._commit(state)
        self._acts = state.node.acts
        while True:
            attempt = self._attempt
            self._tell(state, attempt, None)
            try:
                outcome = await self._host.invoke(
                    msgspec.structs.replace(host_call(self._call, state, config, attempt), commit=commit),
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
                    raise _PutOff(failure.retry_in, attempt + 1) from None
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


def _from_checkpoint(call: SegmentCall) -> SegmentCall:
    """Return the call as the heartbeats of a lost attempt have left it."""
    details = activity.info().heartbeat_details
    if not details or details[0] is None:
        return call
    come = msgspec.convert(details[0], SegmentResult)
    return msgspec.structs.replace(call, outcomes=come.outcomes, attempt=come.attempt)


def _read_commit(committed: Any) -> tuple[StepOutcome, ...]:
    return msgspec.convert(committed or (), tuple[StepOutcome, ...])
