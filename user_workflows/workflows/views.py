"""Workflows as they are shown: row, published version, triggers and the faults of the draft put together."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Row, Select, and_, select

from plugins.host.registry import Registry
from plugins.storage.database import Database
from plugins.vault.cipher import Sealer
from plugins.vault.keys import Vault
from user_workflows.definition.model import Fault, Trigger
from user_workflows.definition.trigger_configs import CronConfig, next_firing
from user_workflows.definition.validate import validate
from user_workflows.errors import NotFound
from user_workflows.recent import Recent
from user_workflows.triggers.hooks import read_tokens
from user_workflows.workflows.tables import draft_place, is_possible_id, name_place, workflow_versions, workflows
from user_workflows.workflows.versions import open_definition


class TriggerState(Struct, frozen=True, kw_only=True, rename="camel"):
    """A trigger of the published version, or of the draft while nothing is published."""

    id: str
    type: str
    #: webhook: the path segment of ``/hooks/{token}``, from the first publication on
    token: str | None = None
    #: cron, while active
    next_fire_at: datetime | None = None


class Workflow(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    name: str
    draft: Any
    #: of the draft; its ETag
    revision: int
    published_version: int | None
    active: bool
    triggers: tuple[TriggerState, ...]
    #: what is wrong with the draft
    faults: tuple[Fault, ...]
    created_at: datetime
    updated_at: datetime


class WorkflowPage(Struct, frozen=True, kw_only=True, rename="camel"):
    items: tuple[Workflow, ...]
    #: give it as `cursor` for the next page; ``None`` at the end
    next_cursor: str | None


class Views:
    """Reads workflows, deleted ones excepted."""

    def __init__(self, *, database: Database, vault: Vault, registry: Registry) -> None:
        self._database = database
        self._vault = vault
        self._registry = registry
        #: by tenant, workflow and revision
        self._faults: Recent[tuple[str, str, int], tuple[Fault, ...]] = Recent(1024)

    async def one(self, tenant_id: str, workflow_id: str) -> Workflow:
        """Return a workflow.

        Raises:
            NotFound: no such workflow of this tenant.
        """
        if is_possible_id(workflow_id):
            for workflow in await self._fetch(tenant_id, _query(tenant_id).where(workflows.c.id == workflow_id)):
                return workflow
        raise NotFound("workflow", workflow_id)

    async def page(self, tenant_id: str, *, limit: int, cursor: str | None) -> WorkflowPage:
        """Return workflows, newest first, those older than `cursor` alone."""
        query = _query(tenant_id).order_by(workflows.c.id.desc()).limit(limit + 1)
        found = await self._fetch(tenant_id, query if cursor is None else query.where(workflows.c.id < cursor))
        return WorkflowPage(items=found[:limit], next_cursor=found[limit - 1].id if len(found) > limit else None)

    async def _fetch(self, tenant_id: str, query: "Select[Any]") -> tuple[Workflow, ...]:
        sealer = await self._vault.sealer(tenant_id)
        async with self._database.read(tenant_id) as connection:
            rows = (await connection.execute(query)).all()
            tokens = await read_tokens(connection, sealer, [row.id for row in rows])
        return tuple([await self._view(row, sealer, tokens) for row in rows])

    async def _view(self, row: "Row[Any]", sealer: Sealer, tokens: dict[tuple[str, str], str]) -> Workflow:
        draft = shown = open_draft(sealer, row)
        if row.published_version is not None:
            shown = open_definition(sealer, row.id, row.published_version, row)
        return Workflow(
            id=row.id,
            name=sealer.open_json(row.name_sealed, name_place(row.id)),
            draft=draft,
            revision=row.revision,
            published_version=row.published_version,
            active=row.active,
            triggers=tuple(_state(trigger, row, tokens) for trigger in _readable_triggers(shown)),
            faults=await self._faults_of(row, draft),
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    async def _faults_of(self, row: "Row[Any]", draft: Any) -> tuple[Fault, ...]:
        key = (row.tenant_id, row.id, row.revision)
        faults = self._faults.get(key)
        if faults is None:
            # In a thread: a thousand nodes take long enough for others to notice.
            validation = await asyncio.to_thread(validate, draft, plugins=self._registry, workflow_id=row.id)
            faults = self._faults.put(key, validation.faults)
        return faults


def open_draft(sealer: Sealer, row: "Row[Any]") -> Any:
    """Return the draft in a row of `workflows`."""
    return sealer.open_json(row.draft_sealed, draft_place(row.id))


def _query(tenant_id: str) -> "Select[Any]":
    published = and_(
        workflow_versions.c.tenant_id == workflows.c.tenant_id,
        workflow_versions.c.workflow_id == workflows.c.id,
        workflow_versions.c.version == workflows.c.published_version,
    )
    return (
        select(workflows, workflow_versions.c.definition_sealed)
        .outerjoin(workflow_versions, published)
        .where(workflows.c.tenant_id == tenant_id, workflows.c.deleted_at.is_(None))
    )


def _readable_triggers(definition: Any) -> Iterator[Trigger]:
    """Yield the triggers that can be read, of a draft that may hold anything."""
    drawn = definition.get("triggers")
    for trigger in drawn if isinstance(drawn, list) else ():
        try:
            yield msgspec.convert(trigger, Trigger)
        except msgspec.ValidationError:
            continue


def _state(trigger: Trigger, row: "Row[Any]", tokens: dict[tuple[str, str], str]) -> TriggerState:
    token = next_fire_at = None
    if trigger.type == "webhook":
        token = tokens.get((row.id, trigger.id))
    elif trigger.type == "cron" and row.active:
        next_fire_at = next_firing(msgspec.convert(trigger.config, CronConfig))
    return TriggerState(id=trigger.id, type=trigger.type, token=token, next_fire_at=next_fire_at)
