"""The caps of a workflow, as its published version draws them (`concurrency`)."""

from sqlalchemy import ColumnElement, delete, update
from sqlalchemy.ext.asyncio import AsyncConnection

from plugins.storage.database import Database
from user_workflows.admission.caps import Caps
from user_workflows.admission.tables import LIVE, workflow_gates
from user_workflows.definition.model import Concurrency


async def draw_gate(
    connection: AsyncConnection, database: Database, tenant_id: str, workflow_id: str, drawn: Concurrency | None
) -> None:
    """Make what a definition says hold for all starts of its workflow, from the end of this transaction on.

    What is set live stays, and comes before it.
    """
    caps = {
        "concurrent_executions": None if drawn is None else drawn.limit,
        "starts_per_minute": None if drawn is None else drawn.starts_per_minute,
        "payload_bytes": None if drawn is None else drawn.payload_bytes,
        "monthly_executions": None if drawn is None else drawn.monthly_executions,
        "policy": "queue" if drawn is None else drawn.policy,
    }
    if drawn is None:
        await connection.execute(update(workflow_gates).where(*_is(tenant_id, workflow_id)).values(caps))
        await remove_bare(connection, tenant_id, workflow_id)
        return
    row = {"tenant_id": tenant_id, "workflow_id": workflow_id, "month": "", "month_count": 0, **caps}
    insert = database.insert(workflow_gates).values(row)
    await connection.execute(insert.on_conflict_do_update(index_elements=["tenant_id", "workflow_id"], set_=caps))


async def remove_bare(connection: AsyncConnection, tenant_id: str, workflow_id: str) -> None:
    """Remove the gate of a workflow for which nothing is drawn or set any more: its starts pass the short way again."""
    said = [*Caps.__struct_fields__, f"{LIVE}policy", *(LIVE + name for name in Caps.__struct_fields__)]
    is_bare = (workflow_gates.c[name].is_(None) for name in said)
    await connection.execute(
        delete(workflow_gates).where(*_is(tenant_id, workflow_id), *is_bare, workflow_gates.c.policy == "queue")
    )


def _is(tenant_id: str, workflow_id: str) -> tuple[ColumnElement[bool], ...]:
    return workflow_gates.c.tenant_id == tenant_id, workflow_gates.c.workflow_id == workflow_id
