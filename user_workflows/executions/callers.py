"""What started an execution, as its row keeps it, and how an execution that waits for another is told of its end."""

from collections.abc import Mapping
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError

from user_workflows.client import RPC_TIMEOUT, is_not_found, reaching_temporal
from user_workflows.interpreter.messages import CallEnd, TriggerCall, told_about, workflow_id


def keep_trigger(trigger: TriggerCall) -> dict[str, Any]:
    """Return what a row keeps of a trigger in the clear: all but its payload."""
    kept: dict[str, Any] = {"type": trigger.type, "id": trigger.id}
    if trigger.execution_id is not None:
        kept |= {"executionId": trigger.execution_id, "callers": trigger.callers, "isAwaited": trigger.is_awaited}
    return kept


def restore_trigger(kept: Mapping[str, Any], payload: Any) -> TriggerCall:
    """Return the trigger that a row keeps."""
    return TriggerCall(
        type=kept["type"],
        id=kept.get("id"),
        payload=payload,
        execution_id=kept.get("executionId"),
        callers=tuple(kept.get("callers", ())),
        is_awaited=kept.get("isAwaited", False),
    )


async def tell_caller(temporal: Client, tenant_id: str, caller_id: str, execution_id: str, end: CallEnd) -> None:
    """Tell an execution the end of one that it called; one that is over, or was told before, does not mind.

    Raises:
        EngineUnavailable: Temporal cannot be reached.
    """
    handle = temporal.get_workflow_handle(workflow_id(tenant_id, caller_id))
    async with reaching_temporal():
        try:
            await handle.signal("tell", args=[told_about(execution_id), end], rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if not is_not_found(error):
                raise
