"""Which triggers listen to which type of event: one indexed row each, without the type in the clear."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy import and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from plugins.storage.database import Database
from user_workflows.definition.model import Trigger
from user_workflows.workflows.tables import workflow_triggers, workflows


async def listen(
    connection: AsyncConnection, database: Database, tenant_id: str, workflow_id: str, triggers: Iterable[Trigger]
) -> None:
    """Make the event triggers of a version, and no others of the workflow, be found by their types."""
    mine = (workflow_triggers.c.tenant_id == tenant_id, workflow_triggers.c.workflow_id == workflow_id)
    await connection.execute(update(workflow_triggers).where(*mine).values(event_digest=None))
    insert = database.insert(workflow_triggers)
    listening = insert.on_conflict_do_update(
        index_elements=["tenant_id", "workflow_id", "trigger_id"],
        set_={"event_digest": insert.excluded.event_digest},
    )
    rows = [
        {
            "tenant_id": tenant_id,
            "workflow_id": workflow_id,
            "trigger_id": trigger.id,
            "event_digest": _digest(tenant_id, trigger.config["eventType"]),
            "scheduled": False,
        }
        for trigger in triggers
        if trigger.type == "event"
    ]
    if rows:
        await connection.execute(listening, rows)


async def find_listening(connection: AsyncConnection, tenant_id: str, event_type: str) -> Sequence[Any]:
    """Return workflow_id, trigger_id and published_version of the triggers of active workflows that may listen."""
    is_its_workflow = and_(
        workflows.c.tenant_id == workflow_triggers.c.tenant_id, workflows.c.id == workflow_triggers.c.workflow_id
    )
    query = (
        select(workflow_triggers.c.workflow_id, workflow_triggers.c.trigger_id, workflows.c.published_version)
        .join(workflows, is_its_workflow)
        .where(workflow_triggers.c.tenant_id == tenant_id)
        .where(workflow_triggers.c.event_digest == _digest(tenant_id, event_type))
        .where(workflows.c.active, workflows.c.deleted_at.is_(None))
        .order_by(workflow_triggers.c.workflow_id, workflow_triggers.c.trigger_id)
    )
    return (await connection.execute(query)).all()


def _digest(tenant_id: str, event_type: str) -> str:
    return sha256(f"{tenant_id}\0{event_type}".encode()).hexdigest()
