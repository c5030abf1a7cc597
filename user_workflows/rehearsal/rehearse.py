"""A dry run of a whole definition: the plan is walked in this process, and nothing is acted on."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from plugins.egress.client import EgressClient
from plugins.host.registry import Registry
from plugins.storage.database import now
from user_workflows.definition.control_nodes import BODY_KEYS
from user_workflows.definition.model import Definition, Node, SubGraph
from user_workflows.interpreter.errors import ExecutionFailed, ExecutionStopped
from user_workflows.interpreter.messages import ExecutionError, StepError, StepStatus
from user_workflows.interpreter.node import NodeState
from user_workflows.interpreter.seen import rfc3339
from user_workflows.interpreter.state import GraphState
from user_workflows.interpreter.templates import Templates
from user_workflows.interpreter.walk import Walk
from user_workflows.plan.model import Plan
from user_workflows.rehearsal.stand_in import Note, Source, StandIn
from user_workflows.rehearsal.tally import MAX_SECONDS, Exceeded, Tally

#: of all inputs and outputs together, as JSON; what is beyond is left out
MAX_SHOWN = 2 * 2**20


class RehearsedStep(Struct, frozen=True, kw_only=True, rename="camel"):
    """One node, or one round of one inside a loop, as an execution would have gone."""

    node_id: str
    #: item and round numbers inside loops
    path: tuple[int, ...]
    status: StepStatus
    #: where its output comes from; null where it has none
    source: Source | None
    port: str | None
    input: Any
    output: Any
    error: StepError | None
    #: why it was skipped, or what an execution would have done instead
    reason: str | None
    #: its input and output are left out, because all together are too large to show
    is_cut: bool = False


class Rehearsal(Struct, frozen=True, kw_only=True, rename="camel"):
    """What an execution would have come to; nothing was started and nothing was acted on."""

    workflow_id: str
    #: null: the draft
    version: int | None
    #: ``unfinished``: it takes more than a dry run may
    status: Literal["completed", "failed", "unfinished"]
    input: Any
    output: Any
    error: ExecutionError | None
    #: in the order in which they began
    steps: tuple[RehearsedStep, ...]
    #: nodes whose `compensate` action an execution that fails so would call, in that order
    undoes: tuple[str, ...] = ()
    #: the workflow that an execution that fails so would start
    error_workflow: str | None = None


class Subject(Struct, frozen=True, kw_only=True):
    """What is rehearsed."""

    workflow_id: str
    version: int | None
    definition: Definition
    plan: Plan
    #: node → its output, beside those that are drawn, and before them
    pins: Mapping[str, Any] = {}


def rehearse(subject: Subject, given: Any, *, registry: Registry, egress: EgressClient) -> Rehearsal:
    """Walk a plan with stand-ins for everything that is not evaluated.

    It runs an event loop of its own, and keeps it busy: call it in a thread.

    Args:
        subject: what is rehearsed.
        given: what expressions see as `trigger`, and as `input` at roots.
        registry: the plugins that nodes name.
        egress: of this process; nothing is let through it.
    """
    return asyncio.run(_Stage(subject, given, registry, egress).perform())


class _Stage:
    def __init__(self, subject: Subject, given: Any, registry: Registry, egress: EgressClient) -> None:
        self._subject = subject
        self._given = given
        self._tally = Tally()
        self._stand_in = StandIn(
            registry, {**dict(_pins(subject.definition.nodes)), **subject.pins}, egress, self._tally
        )
        self._graph = GraphState(subject.plan, self._tally)
        self._walk = Walk(
            self._graph,
            templates=Templates(),
            seen={
                "vars": subject.plan.variables,
                "trigger": given,
                "execution": {
                    "id": "ex_notStarted",
                    "workflowId": subject.workflow_id,
                    "version": subject.version or 0,
                    "startedAt": rfc3339(now()),
                },
            },
            given=given,
            performer=self._stand_in,
            clock=now,
            pause=lambda: None,
            breathe=_take_turns,
            evaluate=self._stand_in.evaluate,
        )

    async def perform(self) -> Rehearsal:
        output, error = None, None
        status: Literal["completed", "failed", "unfinished"] = "completed"
        try:
            async with asyncio.timeout(MAX_SECONDS):
                await self._walk.run()
            output = self._graph.result()
        except ExecutionStopped as stopped:
            output = stopped.output
        except ExecutionFailed as failed:
            status, error = "failed", failed.error
        except (Exceeded, TimeoutError) as exceeded:
            message = str(exceeded) or f"a dry run takes no more than {MAX_SECONDS:g} s"
            status, error = "unfinished", ExecutionError(type="dryRun.tooLong", message=message)
        self._tally.is_closed = True
        await self._walk.close(_CLOSE_REASONS[status])
        plan = self._subject.plan
        return Rehearsal(
            workflow_id=self._subject.workflow_id,
            version=self._subject.version,
            status=status,
            input=self._given,
            output=output,
            error=error,
            steps=tuple(self._steps()),
            undoes=tuple(self._undone()) if status == "failed" else (),
            error_workflow=plan.error_workflow if status == "failed" else None,
        )

    def _steps(self) -> Iterator[RehearsedStep]:
        room = MAX_SHOWN
        for state in self._tally.all():
            if room >= 0:
                room -= len(msgspec.json.encode((state.input, state.output)))
            yield _step(state, self._stand_in.note_of(state), is_cut=room < 0)

    def _undone(self) -> list[str]:
        done = [state for state in self._graph.nodes.values() if state.status == "completed" and state.node.compensate]
        return [state.node.id for state in sorted(done, key=lambda state: state.seq, reverse=True)]


def _step(state: NodeState, note: Note, *, is_cut: bool) -> RehearsedStep:
    has_output = state.status in ("completed", "failed") and bool(state.ports)
    return RehearsedStep(
        node_id=state.node.id,
        path=state.path,
        status=state.status,
        source=note.source if has_output else None,
        port=state.port,
        input=None if is_cut else state.input,
        output=None if is_cut else state.output,
        error=state.error,
        reason=state.reason or (note.reason if has_output else None),
        is_cut=is_cut,
    )


def _pins(nodes: tuple[Node, ...]) -> Iterator[tuple[str, Any]]:
    """Yield the pinned outputs of nodes, those inside loops too."""
    for node in nodes:
        if node.pinned_output is not None:
            yield node.id, node.pinned_output
        if "nodes" in node.config and not node.disabled and node.plugin_id in ("foreach", "while"):
            body: Mapping[str, Any] = {key: node.config[key] for key in BODY_KEYS if key in node.config}
            yield from _pins(msgspec.convert(body, SubGraph).nodes)


async def _take_turns(_nodes: int) -> None:
    await asyncio.sleep(0)


_CLOSE_REASONS = {
    "completed": "the execution was stopped before this node was reached",
    "failed": "the execution failed before this node was reached",
    "unfinished": "the dry run ended before this node was reached",
}
