"""The caps of a workflow, as its published version draws them (`concurrency`)."""

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from plugins.storage.database import Database
from user_workflows.admission.tables import workflow_gates
from user_workflows.definition.model import Concurrency


async def draw_gate(
    connection: AsyncConnection, database: Database, tenant_id: str, workflow_id: str, drawn: Concurrency | None
) -> None:
    """Make what a definition says hold for all starts of its workflow, from the end of this transaction on."""
    mine = workflow_gates.c.tenant_id == tenant_id, workflow_gates.c.workflow_id == workflow_id
    if drawn is None:
        await connection.execute(delete(workflow_gates).where(*mine))
        return
    caps = {
        "concurrent_executions": drawn.limit,
        "starts_per_minute": drawn.starts_per_minute,
        "payload_bytes": drawn.payload_bytes,
        "monthly_executions": drawn.monthly_executions,
        "policy": drawn.policy,
    }
    row = {"tenant_id": tenant_id, "workflow_id": workflow_id, "month": "", "month_count": 0, **caps}
    insert = database.insert(workflow_gates).values(row)
    await connection.execute(insert.on_conflict_do_update(index_elements=["tenant_id", "workflow_id"], set_=caps))
