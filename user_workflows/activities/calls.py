"""Plugin calls of a walk inside an activity."""

from typing import Any

from plugins.host.invoke import Call, Failure
from user_workflows.interpreter.activity_calls import GraphCall
from user_workflows.interpreter.messages import StepError
from user_workflows.interpreter.node import NodeState


def host_call(call: GraphCall, state: NodeState, config: Any, attempt: int) -> Call:
    """Return the host's call for one attempt of a node."""
    node = state.node
    return Call(
        plugin=node.plugin,
        config=config,
        tenant_id=call.tenant_id,
        origin=call.origin_id,
        step=".".join((node.acts_as or node.id, *map(str, state.path))),
        generation=call.generation,
        attempt=attempt,
        execution_id=call.execution_id,
        credentials=node.credentials,
        timeout=node.timeout,
        retry=node.retry,
        on_unknown=node.on_unknown,
    )


def step_error(failure: Failure) -> StepError:
    return StepError(type=failure.type, message=failure.message, status=failure.status, attempts=failure.attempt)


def ignore_heartbeat(progress: Any) -> None:
    """Heartbeats of single plugins are not passed on: `heartbeats` says that the whole activity lives."""
