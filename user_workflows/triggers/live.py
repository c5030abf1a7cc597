"""Finds what may fire: triggers of the published versions of active workflows."""

from collections.abc import Sequence

from sqlalchemy import select

from plugins.storage.database import Database
from user_workflows.definition.model import Trigger
from user_workflows.triggers.hooks import Hook, find_token
from user_workflows.triggers.listeners import find_listening
from user_workflows.workflows.tables import is_workflow, workflows
from user_workflows.workflows.versions import PublishedPlan, Versions


class LiveTriggers:
    """The triggers that are on."""

    def __init__(self, *, database: Database, versions: Versions) -> None:
        self._database = database
        self._versions = versions

    async def find_hook(self, token: str) -> Hook | None:
        """Return where a webhook token leads: a webhook trigger of the published version of an active workflow."""
        async with self._database.across.read() as connection:
            row = await find_token(connection, token)
        if row is None:
            return None
        published = await self._versions.plan(row.tenant_id, row.workflow_id, row.published_version)
        trigger = _trigger(published, row.trigger_id, "webhook")
        if trigger is None:
            return None
        return Hook(tenant_id=row.tenant_id, trigger=trigger, published=published)

    async def find_listeners(self, tenant_id: str, event_type: str) -> Sequence[Hook]:
        """Return the triggers that listen to a type of event: of published versions of active workflows."""
        async with self._database.read(tenant_id) as connection:
            rows = await find_listening(connection, tenant_id, event_type)
        listeners = []
        for row in rows:
            published = await self._versions.plan(tenant_id, row.workflow_id, row.published_version)
            trigger = _trigger(published, row.trigger_id, "event")
            # The row may be of another version: what is published has the last word.
            if trigger is not None and trigger.config.get("eventType") == event_type:
                listeners.append(Hook(tenant_id=tenant_id, trigger=trigger, published=published))
        return listeners

    async def find_cron(self, tenant_id: str, workflow_id: str, trigger_id: str) -> Trigger | None:
        """Return a cron trigger of the published version of an active workflow, for a firing to check."""
        query = select(workflows.c.published_version).where(*is_workflow(tenant_id, workflow_id), workflows.c.active)
        async with self._database.read(tenant_id) as connection:
            version = (await connection.execute(query)).scalar_one_or_none()
        if version is None:
            return None
        return _trigger(await self._versions.plan(tenant_id, workflow_id, version), trigger_id, "cron")


def _trigger(published: PublishedPlan, trigger_id: str, type: str) -> Trigger | None:
    triggers = published.definition.triggers
    return next((trigger for trigger in triggers if trigger.id == trigger_id and trigger.type == type), None)
