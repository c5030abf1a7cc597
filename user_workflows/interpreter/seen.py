"""What expressions see everywhere in a definition."""

from datetime import datetime
from typing import Any

from user_workflows.interpreter.messages import StartExecution


def seen_everywhere(start: StartExecution, started_at: datetime) -> dict[str, Any]:
    """Return `vars`, `trigger` and `execution` of one execution."""
    return {
        "vars": start.plan.variables,
        "trigger": start.trigger.payload,
        "execution": {
            "id": start.execution_id,
            "workflowId": start.workflow_id,
            "version": start.version,
            "startedAt": rfc3339(started_at),
        },
    }


def rfc3339(at: datetime) -> str:
    """Return a moment as expressions see it."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
