"""The one workflow type that interprets every plan.

It walks the graph: what is ready begins, inline nodes are evaluated at once, plugin nodes become activities, and every
settled node fires or rules out its edges. Everything here is deterministic; recorded histories are replayed by
``tests/replay``.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Any

from msgspec import UNSET, Struct, UnsetType
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, is_cancelled_exception

from user_workflows.expressions import ExpressionError
from user_workflows.interpreter.control import EVALUATORS, Ports, Stop, evaluate
from user_workflows.interpreter.emit import Emitter
from user_workflows.interpreter.errors import ExecutionFailed, StepFailed
from user_workflows.interpreter.messages import ExecutionError, ExecutionStatus, StartExecution, StepError
from user_workflows.interpreter.state import GraphState, NodeState
from user_workflows.interpreter.steps import run_step
from user_workflows.interpreter.templates import templates_of
from user_workflows.interpreter.waits import Signals, run_wait

EXECUTION = "execution"
CLOSE = "execution.close"

#: what the closing workflow task adds to a history: its completion, the marker of `CLOSE`, the end
_CLOSING_EVENTS = 3


class _Settled(Struct, frozen=True):
    """A node's coroutine ended: with the ports it left by, an error of the step, or a fault of ours."""

    node_id: str
    ports: Ports | None = None
    attempt: int = 1
    error: StepError | None = None
    fault: Exception | None = None


@workflow.defn(name=EXECUTION)
class Interpreter:
    """One execution."""

    @workflow.init
    def __init__(self, start: StartExecution) -> None:
        self._start = start
        self._graph = GraphState(start.plan)
        self._templates = templates_of(start.tenant_id, start.workflow_id, start.version)
        self._signals = Signals()
        self._settled: asyncio.Queue[_Settled] = asyncio.Queue()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._stopped: Stop | UnsetType = UNSET
        self._billable_actions = 1
        self._emitter = Emitter(start, self._graph, workflow.info().start_time)
        self._execution = {
            "id": start.execution_id,
            "workflowId": start.workflow_id,
            "version": start.version,
            "startedAt": _rfc3339(workflow.info().start_time),
        }

    @workflow.run
    async def run(self, start: StartExecution) -> Any:
        """Walk the plan to its end and return the execution's output."""
        try:
            async with asyncio.timeout(start.plan.timeout):
                await self._walk()
        except ExecutionFailed as failure:
            await self._close("failed", error=failure.error)
            raise ApplicationError(failure.error.message, type=failure.error.type, non_retryable=True) from failure
        except TimeoutError:
            error = ExecutionError(type="execution.timeout", message=f"not done within {start.plan.timeout:g} s")
            await self._close("timedOut", error=error)
            raise ApplicationError(error.message, type=error.type, non_retryable=True) from None
        except BaseException as error:
            if is_cancelled_exception(error):
                await self._close("canceled", error=ExecutionError(type="execution.canceled", message="canceled"))
            raise
        output = self._graph.result() if self._stopped is UNSET else self._stopped.output
        await self._close("completed", output=output)
        return output

    @workflow.signal(name="signal")
    def on_signal(self, name: str, payload: Any = None) -> None:
        """Keep a named signal for the `wait` node that awaits it, now or later."""
        self._signals.put(name, payload)

    async def _walk(self) -> None:
        self._advance()
        while self._running and self._stopped is UNSET:
            self._emitter.flush("running")
            self._settle(await self._settled.get())
            while not self._settled.empty():
                self._settle(self._settled.get_nowait())
            self._advance()

    def _advance(self) -> None:
        """Begin everything that is ready, until nothing more can begin."""
        for state in self._graph.take_ready():
            self._begin(state)
            if self._stopped is not UNSET:
                return

    def _begin(self, state: NodeState) -> None:
        node = state.node
        given = self._graph.input_of(node, self._start.trigger.payload)
        self._graph.begin(state, given, workflow.now())
        if node.disabled:
            self._graph.complete(state, {node.default_port: given}, workflow.now())
            return
        scope = self._scope(given)
        try:
            if node.plugin in EVALUATORS:
                self._finish_inline(state, evaluate(node, self._templates, scope))
            else:
                config = self._templates.at(node).render(scope)
                self._running[node.id] = asyncio.create_task(self._run(state, config), name=node.id)
        except StepFailed as failure:
            self._fail(state, failure.error)
        except ExpressionError as error:
            self._fail(state, StepError(type=error.type, message=str(error)))

    def _finish_inline(self, state: NodeState, result: Ports | Stop) -> None:
        if not isinstance(result, Stop):
            self._graph.complete(state, result, workflow.now())
            return
        self._graph.complete(state, {"output": result.output}, workflow.now())
        if result.failed:
            raise ExecutionFailed(
                ExecutionError(type="execution.stopped", message=result.message, node_id=state.node.id)
            )
        self._stopped = result

    async def _run(self, state: NodeState, config: Any) -> None:
        node_id = state.node.id
        self._billable_actions += 1
        try:
            if state.node.plugin == "wait":
                ports = await run_wait(self._graph, state, config, self._signals)
                settled = _Settled(node_id, ports)
            else:
                result = await run_step(self._start, state, config)
                settled = _Settled(node_id, {result.port: result.output}, result.attempt)
        except StepFailed as failure:
            settled = _Settled(node_id, error=failure.error)
        except Exception as fault:
            settled = _Settled(node_id, fault=fault)
        self._settled.put_nowait(settled)

    def _settle(self, settled: _Settled) -> None:
        del self._running[settled.node_id]
        if settled.fault is not None:
            # Fails the workflow task, not the execution: it goes on when a mended worker takes over.
            raise settled.fault
        state = self._graph.nodes[settled.node_id]
        if settled.error is not None:
            self._fail(state, settled.error)
        else:
            self._graph.complete(state, settled.ports or {}, workflow.now(), attempt=settled.attempt)

    def _fail(self, state: NodeState, error: StepError) -> None:
        self._graph.fail(state, error, workflow.now())
        if state.node.on_error == "fail":
            raise ExecutionFailed(ExecutionError(type=error.type, message=error.message, node_id=state.node.id))

    async def _close(self, status: ExecutionStatus, *, output: Any = None, error: ExecutionError | None = None) -> None:
        """Stop what still runs, wait until it has, and write the final record before the workflow closes."""
        for task in self._running.values():
            task.cancel()
        if self._running:
            await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._keep_what_settled()
        self._graph.close(_CLOSE_REASONS[status], workflow.now())
        self._billable_actions += 1
        record = self._emitter.final(
            status,
            at=workflow.now(),
            output=output,
            error=error,
            history_events=workflow.info().get_current_history_length() + _CLOSING_EVENTS,
            billable_actions=self._billable_actions,
        )
        await workflow.execute_local_activity(
            CLOSE,
            record,
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(
                initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10)
            ),
        )

    def _keep_what_settled(self) -> None:
        """Record the steps that settled while the execution was ending; nothing follows from them any more."""
        while not self._settled.empty():
            settled = self._settled.get_nowait()
            state = self._graph.nodes[settled.node_id]
            if settled.ports is not None:
                self._graph.complete(state, settled.ports, workflow.now(), attempt=settled.attempt)
            elif settled.error is not None:
                self._graph.fail(state, settled.error, workflow.now())

    def _scope(self, given: Any) -> dict[str, Any]:
        return {
            "nodes": self._graph.outputs,
            "input": given,
            "vars": self._start.plan.variables,
            "trigger": self._start.trigger.payload,
            "execution": self._execution,
        }


_CLOSE_REASONS: dict[ExecutionStatus, str] = {
    "completed": "the execution was stopped before this node was reached",
    "failed": "the execution failed before this node was reached",
    "canceled": "the execution was canceled",
    "timedOut": "the execution ran out of time",
}


def _rfc3339(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
