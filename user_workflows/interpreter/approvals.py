"""The `approval` node: people decide, each by a link that works once.

The links are made by an activity when the node begins to wait. A decision is a row first; then the node is told of it,
perhaps more than once.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from msgspec import Struct
from temporalio import workflow
from temporalio.common import RetryPolicy

from plugins.sdk.duration import parse_duration
from user_workflows.interpreter.control import Ports
from user_workflows.interpreter.errors import StepFailed
from user_workflows.interpreter.figures import Figures
from user_workflows.interpreter.messages import StartExecution, StepError
from user_workflows.interpreter.node import NodeState, Waiting
from user_workflows.interpreter.waits import Signals, seconds_until

OPEN = "approval.open"
CLOSE = "approval.close"

#: decisions that one approval may need, and people that it may ask
MOST_LINKS = 50

Decision = Literal["approved", "rejected"]


class OpenApproval(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The input of the activity that makes the links."""

    tenant_id: str
    execution_id: str
    node_id: str
    title: str
    #: decisions that are needed
    required: int
    path: tuple[int, ...] = ()
    generation: int = 1
    message: str | None = None
    form: dict[str, Any] | None = None
    #: a link for each, by mail; without them one for each decision that is needed, for whoever may run executions
    approvers: tuple[str, ...] = ()
    #: RFC 3339
    until: str | None = None


class CloseApproval(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The input of the activity that closes the links, and returns what was decided by them."""

    tenant_id: str
    execution_id: str
    node_id: str
    path: tuple[int, ...] = ()
    generation: int = 1


async def run_approval(
    start: StartExecution,
    graph: Waiting,
    state: NodeState,
    config: Mapping[str, Any],
    told: Signals,
    *,
    figures: Figures,
    tell: Callable[[], None],
) -> Ports:
    """Wait until it is decided, or the deadline has passed, and return the port to leave by.

    What has come is kept in `NodeState.kept`, and so a later run goes on where this one was.

    Raises:
        StepFailed: the rendered config cannot be used.
    """
    about = about_of(state.node.id, state.path)
    if not state.kept:
        call = _opening(start, state, config)
        may_be_closed = await _call_locally(OPEN, call, f"{state.node.id}: links")
        figures.count_local()
        state.kept = {
            "until": call.until,
            "links": len(call.approvers) or call.required,
            "required": call.required,
            "decisions": [],
            # Nothing is returned in histories that are older than `CLOSE`.
            "closes": may_be_closed is True,
        }
    kept = state.kept
    figures.count(int(kept["until"] is not None))
    try:
        async with asyncio.timeout(_at_least_zero(seconds_until(kept["until"]))):
            while (outcome := outcome_of(kept["decisions"], kept["links"], kept["required"])) is None:
                graph.wait(state, reason_of(kept))
                tell()
                came = dict(await told.take(about, None))
                # By a link of the run before, which a retry has closed.
                is_late = came.pop("generation", start.generation) != start.generation
                if not is_late and all(known["link"] != came["link"] for known in kept["decisions"]):
                    kept["decisions"] = [*kept["decisions"], came]
        if kept["until"] is not None:
            # Its timer is taken back in this workflow task.
            figures.count_marker()
    except TimeoutError:
        if kept.get("closes"):
            kept["decisions"] = await _close(start, state, figures)
        decided = outcome_of(kept["decisions"], kept["links"], kept["required"])
        outcome = decided or config.get("onDeadline", "expired")
    return {outcome: {"decisions": [_shown(decision) for decision in kept["decisions"]]}}


async def _close(start: StartExecution, state: NodeState, figures: Figures) -> list[dict[str, Any]]:
    """Let nobody decide any more, and return all that was decided: the record knows what nobody has told yet."""
    call = CloseApproval(
        tenant_id=start.tenant_id,
        execution_id=start.execution_id,
        node_id=state.node.id,
        path=state.path,
        generation=start.generation,
    )
    decisions: list[dict[str, Any]] = await _call_locally(CLOSE, call, f"{state.node.id}: deadline")
    figures.count_local()
    return decisions


async def _call_locally(activity: str, call: OpenApproval | CloseApproval, summary: str) -> Any:
    return await workflow.execute_local_activity(
        activity,
        call,
        start_to_close_timeout=timedelta(seconds=30),
        retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10)),
        summary=summary,
    )


def about_of(node_id: str, path: Sequence[int]) -> str:
    """Return what a decision is told about."""
    return "approval:" + ".".join((node_id, *map(str, path)))


def outcome_of(decisions: Sequence[Mapping[str, Any]], links: int, required: int) -> Decision | None:
    """Return what the decisions come to; ``None``: it is open yet.

    Rejected as soon as approval is out of reach; where one decision is enough, the first one counts.
    """
    approved = sum(each["decision"] == "approved" for each in decisions)
    rejected = len(decisions) - approved
    if approved >= required:
        return "approved"
    return "rejected" if rejected and (required == 1 or links - rejected < required) else None


def reason_of(kept: Mapping[str, Any]) -> str:
    """Say what a node waits for that keeps this."""
    approved = sum(each["decision"] == "approved" for each in kept["decisions"])
    until = "" if kept["until"] is None else f", until {kept['until']}"
    return (
        f"waiting for approval: {approved} of {kept['required']} given, "
        f"{len(kept['decisions'])} of {kept['links']} have decided{until}"
    )


def _opening(start: StartExecution, state: NodeState, config: Mapping[str, Any]) -> OpenApproval:
    approvers = config.get("approvers") or ()
    required = config.get("required", 1)
    try:
        if isinstance(approvers, str):
            approvers = [each.strip() for each in approvers.split(",") if each.strip()]
        if not all(isinstance(each, str) and "@" in each for each in approvers):
            raise ValueError("approvers must be a list of e-mail addresses")
        if len(approvers) > MOST_LINKS or (approvers and required > len(approvers)):
            raise ValueError(f"{required} of {len(approvers)} approvers cannot be asked; at most {MOST_LINKS} may")
        until = _deadline(config.get("deadline"))
    except (TypeError, ValueError) as error:
        raise StepFailed(StepError(type="config.invalid", message=f"approval: {error}")) from error
    message = config.get("message")
    return OpenApproval(
        tenant_id=start.tenant_id,
        execution_id=start.execution_id,
        node_id=state.node.id,
        path=state.path,
        generation=start.generation,
        title=str(config["title"]),
        message=None if message is None else str(message),
        form=config.get("form"),
        approvers=tuple(dict.fromkeys(approvers)),
        required=required,
        until=until,
    )


def _deadline(value: Any) -> str | None:
    """Return the moment of a duration from now, or of a timestamp."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError('deadline must be a duration like "2d", or a moment like "2030-01-31T09:00:00Z"')
    if "T" in value or "-" in value:
        moment = datetime.fromisoformat(value)
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).isoformat()
    return (workflow.now() + timedelta(seconds=parse_duration(value))).isoformat()


def _at_least_zero(seconds: float | None) -> float | None:
    return None if seconds is None else max(seconds, 0.0)


def _shown(decision: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in decision.items() if key != "link"}
