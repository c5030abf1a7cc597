"""Why a node is in the state it is in: from the plan, what is recorded of its neighbours, and its pending call.

Pure: everything that it says follows from its arguments. `user_workflows.executions.explainer` gathers them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct, structs

from user_workflows.executions.views import Execution
from user_workflows.interpreter.messages import Compensation, StepError, StepStatus
from user_workflows.plan.model import PlanGraph, PlanNode

#: `queued`: it is due, and no worker has taken it up yet
WhyStatus = StepStatus | Literal["queued"]

#: nodes that one answer names, where there may be any number
MOST_NAMED = 20

_SETTLED = ("completed", "failed", "skipped", "canceled")


class Obstacle(Struct, frozen=True, kw_only=True, rename="camel"):
    """What has to happen first: a node upstream that has not settled, or one inside a loop that runs."""

    node_id: str
    #: item and round numbers inside loops
    path: tuple[int, ...] = ()
    #: the port by which it has to leave; ``None``: whichever
    port: str | None = None
    status: StepStatus
    reason: str


class Why(Struct, frozen=True, kw_only=True, rename="camel"):
    """Why a node is in the state it is in."""

    status: WhyStatus
    #: for the person who drew the workflow
    reason: str
    waiting_for: tuple[Obstacle, ...]
    #: when it came into this state, as far as it is known
    since: datetime | None


class Recorded(Struct, frozen=True, kw_only=True):
    """What is recorded of one node, without its data."""

    node_id: str
    path: tuple[int, ...] = ()
    status: StepStatus = "pending"
    attempt: int = 0
    port: str | None = None
    error: StepError | None = None
    reason: str | None = None
    started_at: datetime | None = None
    closed_at: datetime | None = None
    #: how it went to undo it
    compensation: Compensation | None = None


class PendingCall(Struct, frozen=True, kw_only=True):
    """What the engine says of a call that has not ended."""

    state: Literal["queued", "running", "backingOff", "stopping"]
    attempt: int
    #: when this state began, or, while it backs off, when it ends
    at: datetime | None


class Surroundings(Struct, frozen=True, kw_only=True):
    """What is known around one node."""

    execution: Execution
    #: that the node lies in: the plan's, or the body of a loop
    graph: PlanGraph
    #: of the nodes of that graph, in the same round
    steps: Mapping[str, Recorded]
    #: of a loop: what is open inside
    inner: Sequence[Recorded] = ()
    call: PendingCall | None = None
    #: when a delayed execution is due
    due_at: datetime | None = None


def explain(node: PlanNode, around: Surroundings) -> Why:
    """Say why `node` is in the state it is in."""
    step = around.steps[node.id]
    why = _EXPLANATIONS[step.status](node, step, around)
    stuck = around.execution.stuck
    if stuck is None or why.status in _SETTLED:
        return why
    return structs.replace(why, reason=f"{why.reason}; the execution does not move: {stuck.reason}")


def _pending(node: PlanNode, step: Recorded, around: Surroundings) -> Why:
    execution = around.execution
    if execution.status == "queued":
        reason = _why_not_begun(execution, around.due_at)
        return Why(status="queued", reason=reason, waiting_for=(), since=execution.created_at)
    obstacles = tuple(_open_edges(node, around))
    if obstacles:
        reason = f"{_when_it_begins(node)}; open: {len(obstacles)} of {len(node.incoming)}"
    elif execution.status == "paused":
        reason = "the execution is paused: nothing new begins until it is resumed"
    else:
        reason = "nothing holds it up: it begins within moments"
    return Why(status="pending", reason=reason, waiting_for=obstacles, since=execution.started_at)


def _why_not_begun(execution: Execution, due_at: datetime | None) -> str:
    queue = execution.queue
    if queue is None:
        return "the execution has not begun: no worker has taken it up yet"
    if due_at is not None and queue.until == due_at:
        return f"the execution was put off until {due_at:%Y-%m-%dT%H:%M:%SZ}"
    until = "" if queue.until is None else f", until {queue.until:%Y-%m-%dT%H:%M:%SZ}"
    return f"the execution waits for a slot, as number {queue.position} in line: {queue.reason}{until}"


def _running(node: PlanNode, step: Recorded, around: Surroundings) -> Why:
    since = step.started_at
    if node.body is not None:
        inner = tuple(
            Obstacle(node_id=each.node_id, path=each.path, status=each.status, reason=_plainly(each))
            for each in around.inner[:MOST_NAMED]
        )
        reason = f"its body is being walked{_at_most(node, step)}"
        return Why(status="running", reason=reason, waiting_for=inner, since=since)
    call = around.call
    attempt = max(step.attempt, 1 if call is None else call.attempt)
    limit = f"an attempt may take {node.timeout:g} s"
    if call is None:
        # Of several that share an activity: the engine knows of the activity alone, and the step tells.
        how = f"failed{_told(step)}; another follows" if step.error is not None else f"is under way; {limit}"
        reason = f"attempt {attempt} {how}"
        return Why(status="running", reason=reason, waiting_for=(), since=since)
    match call.state:
        case "queued":
            reason = f"attempt {attempt} is due, and no worker has taken it up yet"
            return Why(status="queued", reason=reason, waiting_for=(), since=call.at or since)
        case "backingOff":
            due = "" if call.at is None else f" at {call.at:%Y-%m-%dT%H:%M:%SZ}"
            reason = f"attempt {attempt - 1} failed{_told(step)}; attempt {attempt} follows{due}"
        case "stopping":
            reason = f"attempt {attempt} was asked to stop, and has not acknowledged yet"
        case "running":
            reason = f"attempt {attempt} is under way; {limit}"
    return Why(status="running", reason=reason, waiting_for=(), since=since)


def _waiting(node: PlanNode, step: Recorded, around: Surroundings) -> Why:
    reason = f"{step.reason or 'waiting'}{_at_most(node, step)}"
    return Why(status="waiting", reason=reason, waiting_for=(), since=step.started_at)


def _at_most(node: PlanNode, step: Recorded) -> str:
    """Tell when the limit of a control node stops it."""
    if node.limit is None or step.started_at is None:
        return ""
    return f"; its timeout is at {step.started_at + timedelta(seconds=node.limit):%Y-%m-%dT%H:%M:%SZ}"


def _completed(node: PlanNode, step: Recorded, around: Surroundings) -> Why:
    attempt = f" on attempt {step.attempt}" if step.attempt > 1 else ""
    passed = "it is disabled, and passed its input on" if node.disabled else f"it completed{attempt}"
    # Only what another execution made completes with a reason.
    made = f"it was {step.reason}" if step.reason else passed
    reason = f"{made}, and left by port `{step.port}`{_undone(step)}"
    return Why(status="completed", reason=reason, waiting_for=(), since=step.closed_at)


def _failed(node: PlanNode, step: Recorded, around: Surroundings) -> Why:
    what, tries = "it failed", ""
    if step.error is not None:
        what = f"{step.error.type}: {step.error.message}"
        tries = "" if step.error.attempts == 1 else f" after {step.error.attempts} attempts"
    reason = f"{what}{tries}; {_AFTER_FAILURE[node.on_error].format(port=node.default_port)}"
    return Why(status="failed", reason=reason, waiting_for=(), since=step.closed_at)


def _ended(node: PlanNode, step: Recorded, around: Surroundings) -> Why:
    reason = step.reason or f"the execution was {around.execution.status}"
    return Why(status=step.status, reason=reason, waiting_for=(), since=step.closed_at)


def _told(step: Recorded) -> str:
    return "" if step.error is None else f" ({step.error.type}: {step.error.message})"


def _undone(step: Recorded) -> str:
    undo = step.compensation
    if undo is None:
        return ""
    if undo.status == "failed" and undo.error is not None:
        return f"; it could not be undone: {undo.error.type}: {undo.error.message}"
    return "; it is being undone" if undo.status == "running" else "; it was undone, for the execution did not complete"


def _open_edges(node: PlanNode, around: Surroundings) -> Iterator[Obstacle]:
    for index in node.incoming:
        edge = around.graph.edges[index]
        source = around.steps[edge.source]
        if source.status not in _SETTLED:
            reason = _behind(source, around) if source.status == "pending" else _plainly(source)
            yield Obstacle(
                node_id=source.node_id, path=source.path, port=edge.port, status=source.status, reason=reason
            )


def _behind(step: Recorded, around: Surroundings) -> str:
    """Name the nodes upstream that are at work, which everything on the way waits for."""
    nodes = {node.id: node for node in around.graph.nodes}
    seen, found, asked = {step.node_id}, dict[str, Recorded](), [nodes[step.node_id]]
    while asked:
        for index in asked.pop().incoming:
            source = around.steps[around.graph.edges[index].source]
            if source.status in ("running", "waiting"):
                found[source.node_id] = source
            elif source.status == "pending" and source.node_id not in seen:
                seen.add(source.node_id)
                asked.append(nodes[source.node_id])
    if not found:
        return "it has not begun"
    named = [f"{node_id} ({_plainly(found[node_id])})" for node_id in sorted(found)[:MOST_NAMED]]
    return "it has not begun: it is behind " + ", ".join(named)


def _plainly(step: Recorded) -> str:
    return step.reason or {"running": "it is running", "waiting": "it is waiting"}.get(step.status, step.status)


def _when_it_begins(node: PlanNode) -> str:
    match node.join:
        case "any":
            if len(node.incoming) == 1:
                return "it begins when its incoming edge fires"
            return "it begins when each incoming edge has fired or been ruled out, and one has fired"
        case "all":
            return "it begins when all incoming edges have fired"
        case "first":
            return "it begins when the first of its incoming edges fires"
        case count:
            return f"it begins when {count} of its incoming edges have fired"


_AFTER_FAILURE = {
    "fail": "the execution failed with it",
    "continue": "the execution went on by its port `{port}`",
    "port": "the execution went on by its port `error`",
}

_EXPLANATIONS: Mapping[StepStatus, Callable[[PlanNode, Recorded, Surroundings], Why]] = {
    "pending": _pending,
    "running": _running,
    "waiting": _waiting,
    "completed": _completed,
    "failed": _failed,
    "skipped": _ended,
    "canceled": _ended,
}
