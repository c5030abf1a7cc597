"""Workflows: drafts that may hold anything, immutable versions, and triggers that are on or off."""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import bindparam, select, update

from plugins.host.registry import Registry
from plugins.storage.database import Database, now
from plugins.storage.ids import new_id
from plugins.vault.credentials import Credentials
from plugins.vault.errors import VaultError
from plugins.vault.keys import Vault
from user_workflows.admission.drawn import draw_gate
from user_workflows.definition.calls import Called
from user_workflows.definition.catalogue import Catalogue
from user_workflows.definition.drawing import Drawing, read_drawing
from user_workflows.definition.model import Definition, Fault, Trigger
from user_workflows.definition.validate import validate
from user_workflows.errors import Conflict, InvalidDefinition, InvalidInput, NotFound, StaleRevision
from user_workflows.plan.compile import compile_plan
from user_workflows.plan.model import Plan
from user_workflows.triggers.hooks import Hook, ensure_tokens, forget_tokens
from user_workflows.triggers.listeners import listen
from user_workflows.triggers.live import LiveTriggers
from user_workflows.triggers.secrets import require_secrets
from user_workflows.workflows.bound_credentials import find_unlendable
from user_workflows.workflows.call_cycles import find_cycles
from user_workflows.workflows.changes import Change, Changes, Schedules
from user_workflows.workflows.tables import draft_place, is_possible_id, is_workflow, name_place, workflows
from user_workflows.workflows.versions import (
    PublishedPlan,
    Version,
    VersionPage,
    Versions,
    insert_version,
    mark_published,
)
from user_workflows.workflows.views import TriggerState, Views, Workflow, WorkflowPage, open_draft

__all__ = [
    "Hook",
    "PublishedPlan",
    "Schedules",
    "TriggerState",
    "Version",
    "VersionPage",
    "Workflow",
    "WorkflowPage",
    "Workflows",
]

log = structlog.get_logger(__name__)

MAX_NAME = 200

# Built once: every start asks.
_PUBLISHED_VERSION = select(workflows.c.published_version).where(
    workflows.c.tenant_id == bindparam("tenant_id"),
    workflows.c.id == bindparam("id"),
    workflows.c.deleted_at.is_(None),
)


class Workflows:
    """The store of workflows. Every method takes the tenant from the principal, and raises `NotFound` for a workflow
    that is deleted or another tenant's.
    """

    def __init__(self, *, database: Database, vault: Vault, registry: Registry, schedules: Schedules) -> None:
        self._database = database
        self._vault = vault
        self._registry = registry
        self._credentials = Credentials(database, vault)
        self._changes = Changes(database=database, schedules=schedules)
        self._versions = Versions(database=database, vault=vault)
        self._views = Views(database=database, vault=vault, registry=registry)
        #: what may fire
        self.triggers = LiveTriggers(database=database, versions=self._versions)

    async def create(self, tenant_id: str, *, name: str, definition: Any) -> Workflow:
        """Store a new workflow with a first draft, which may have faults.

        Raises:
            InvalidInput: `name` is empty or too long, or `definition` is not an object.
        """
        sealer = await self._vault.sealer(tenant_id)
        workflow_id, moment = new_id("wf"), now()
        row = {
            "tenant_id": tenant_id,
            "id": workflow_id,
            "name_sealed": sealer.seal_json(_name(name), name_place(workflow_id)),
            "draft_sealed": sealer.seal_json(_draft(definition, "/definition"), draft_place(workflow_id)),
            "revision": 1,
            "active": False,
            "settled": True,
            "created_at": moment,
            "updated_at": moment,
        }
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(workflows.insert().values(row))
        return await self.get(tenant_id, workflow_id)

    async def get(self, tenant_id: str, workflow_id: str) -> Workflow:
        return await self._views.one(tenant_id, workflow_id)

    async def list(self, tenant_id: str, *, limit: int = 50, cursor: str | None = None) -> WorkflowPage:
        """Return the tenant's workflows, newest first."""
        return await self._views.page(tenant_id, limit=limit, cursor=cursor)

    async def rename(self, tenant_id: str, workflow_id: str, name: str) -> Workflow:
        """Give a workflow another name.

        Raises:
            InvalidInput: the name is empty or too long.
        """
        _require_possible(workflow_id)
        sealer = await self._vault.sealer(tenant_id)
        sealed = sealer.seal_json(_name(name), name_place(workflow_id))
        await self._update(tenant_id, workflow_id, name_sealed=sealed)
        return await self.get(tenant_id, workflow_id)

    async def put_draft(
        self, tenant_id: str, workflow_id: str, definition: Any, if_match: int | None = None
    ) -> Workflow:
        """Replace the draft.

        Args:
            tenant_id: whose workflow it is.
            workflow_id: the workflow.
            definition: any JSON object; what is wrong with it is in the answer's `faults`.
            if_match: the revision that the caller has read; ``None`` replaces whatever is there.

        Raises:
            StaleRevision: the draft is not at revision `if_match`.
            InvalidInput: `definition` is not an object.
        """
        _require_possible(workflow_id)
        sealer = await self._vault.sealer(tenant_id)
        sealed = sealer.seal_json(_draft(definition, ""), draft_place(workflow_id))
        values = {"draft_sealed": sealed, "revision": workflows.c.revision + 1}
        await self._update(tenant_id, workflow_id, if_match, **values)
        return await self.get(tenant_id, workflow_id)

    async def delete(self, tenant_id: str, workflow_id: str) -> None:
        """Delete a workflow and its triggers; executions that run go on, and their records stay.

        Raises:
            EngineUnavailable: it has schedules and Temporal cannot be reached; nothing was deleted.
        """
        async with self._changes.begin(tenant_id, workflow_id) as change:
            await change.fit_schedules(())
            async with change.commit(active=False, deleted_at=now()) as connection:
                await forget_tokens(connection, tenant_id, workflow_id)

    async def publish(self, tenant_id: str, workflow_id: str) -> Version:
        """Make the draft the next version, and the one that starts from now on run.

        Raises:
            InvalidDefinition: with every error of the draft, and every circle of workflows that it would close.
            EngineUnavailable: it is active with schedules and Temporal cannot be reached; nothing was published.
        """
        sealer = await self._vault.sealer(tenant_id)
        async with self._changes.begin(tenant_id, workflow_id) as change:
            draft = open_draft(sealer, change.row)
            definition, plan = await self._compile(tenant_id, workflow_id, draft)
            number = await self._versions.last(tenant_id, workflow_id) + 1
            version = Version(version=number, definition=draft, published_at=now())
            await self._switch(change, definition.triggers)
            async with change.commit(published_version=number) as connection:
                await insert_version(connection, sealer, workflow_id, version, plan)
                await ensure_tokens(connection, self._database, sealer, workflow_id, definition.triggers)
                await listen(connection, self._database, tenant_id, workflow_id, definition.triggers)
                await draw_gate(connection, self._database, tenant_id, workflow_id, definition.concurrency)
        return version

    async def publish_version(self, tenant_id: str, workflow_id: str, version: int) -> Version:
        """Make an earlier version the published one again.

        Raises:
            NotFound: there is no such version.
            InvalidDefinition: workflows would call one another in a circle.
            EngineUnavailable: it is active with schedules and Temporal cannot be reached; nothing was changed.
        """
        sealer = await self._vault.sealer(tenant_id)
        async with self._changes.begin(tenant_id, workflow_id) as change:
            published = (await self._versions.plan(tenant_id, workflow_id, version)).definition
            triggers = published.triggers
            drawn = (await self._versions.get(tenant_id, workflow_id, version)).definition
            if cycles := await self._cycles(tenant_id, workflow_id, self._read(drawn)):
                raise InvalidDefinition(cycles)
            await self._switch(change, triggers)
            async with change.commit(published_version=version) as connection:
                await mark_published(connection, tenant_id, workflow_id, version)
                await ensure_tokens(connection, self._database, sealer, workflow_id, triggers)
                await listen(connection, self._database, tenant_id, workflow_id, triggers)
                await draw_gate(connection, self._database, tenant_id, workflow_id, published.concurrency)
        return await self.version(tenant_id, workflow_id, version)

    async def versions(
        self, tenant_id: str, workflow_id: str, *, limit: int = 50, cursor: str | None = None
    ) -> VersionPage:
        """Return the published versions, newest first."""
        if cursor is not None and not (cursor.isascii() and cursor.isdigit()):
            raise InvalidInput("/cursor", "is not a cursor that a page of versions gave")
        await self._published_version(tenant_id, workflow_id)
        before = None if cursor is None else int(cursor)
        return await self._versions.page(tenant_id, workflow_id, limit=limit, before=before)

    async def version(self, tenant_id: str, workflow_id: str, version: int) -> Version:
        """Return one published version.

        Raises:
            NotFound: there is no such version.
        """
        await self._published_version(tenant_id, workflow_id)
        return await self._versions.get(tenant_id, workflow_id, version)

    async def activate(self, tenant_id: str, workflow_id: str) -> Workflow:
        """Let the triggers of the published version start executions.

        Raises:
            Conflict: nothing is published.
            InvalidDefinition: a webhook trigger's secret is not a signing credential of this tenant.
            EngineUnavailable: it has cron triggers and Temporal cannot be reached; it is as it was.
        """
        async with self._changes.begin(tenant_id, workflow_id) as change:
            if change.row.published_version is None:
                raise Conflict(f"workflow {workflow_id} has no published version yet; publish one, then activate it")
            published = await self._versions.plan(tenant_id, workflow_id, change.row.published_version)
            await require_secrets(self._credentials, tenant_id, published.definition.triggers)
            await change.fit_schedules(published.definition.triggers)
            async with change.commit(active=True):
                pass
        return await self.get(tenant_id, workflow_id)

    async def deactivate(self, tenant_id: str, workflow_id: str) -> Workflow:
        """Stop the triggers; executions that run go on, and others can be started by hand.

        Raises:
            EngineUnavailable: it has cron triggers and Temporal cannot be reached; it is as it was.
        """
        async with self._changes.begin(tenant_id, workflow_id) as change:
            await change.fit_schedules(())
            async with change.commit(active=False):
                pass
        return await self.get(tenant_id, workflow_id)

    async def plan(self, tenant_id: str, workflow_id: str, version: int | None = None) -> PublishedPlan:
        """Return what a new execution runs: a version's plan, of the published version by default.

        Raises:
            NotFound: no such workflow or version of this tenant.
            Conflict: nothing is published.
        """
        published = await self._published_version(tenant_id, workflow_id)
        wanted = published if version is None else version
        if wanted is None:
            raise Conflict(f"workflow {workflow_id} has no published version yet; publish one first")
        return await self._versions.plan(tenant_id, workflow_id, wanted)

    async def recorded_plan(self, tenant_id: str, workflow_id: str, version: int) -> PublishedPlan:
        """Return the plan that an existing execution runs, even when its workflow has been deleted.

        Raises:
            NotFound: no such version of this tenant.
        """
        return await self._versions.plan(tenant_id, workflow_id, version)

    async def compile_draft(self, tenant_id: str, workflow_id: str) -> tuple[Definition, Plan]:
        """Return the draft as it would be published.

        Raises:
            InvalidDefinition: with every error of the draft.
        """
        draft = (await self.get(tenant_id, workflow_id)).draft
        return await self._compile(tenant_id, workflow_id, draft)

    async def keep_draft(self, tenant_id: str, workflow_id: str) -> PublishedPlan:
        """Make the draft a version that can be started by its number, and leave the published one as it is.

        A draft that is the newest version already becomes no other.

        Raises:
            InvalidDefinition: with every error of the draft.
        """
        sealer = await self._vault.sealer(tenant_id)
        async with self._changes.begin(tenant_id, workflow_id) as change:
            draft = open_draft(sealer, change.row)
            number = await self._versions.last(tenant_id, workflow_id)
            if not number or (await self._versions.get(tenant_id, workflow_id, number)).definition != draft:
                number += 1
                _, plan = await self._compile(tenant_id, workflow_id, draft)
                version = Version(version=number, definition=draft, published_at=None)
                unchanged = {"settled": change.row.settled, "updated_at": change.row.updated_at}
                async with change.commit(**unchanged) as connection:
                    await insert_version(connection, sealer, workflow_id, version, plan)
            else:
                await change.abandon()
        return await self._versions.plan(tenant_id, workflow_id, number)

    async def settle(self) -> int:
        """Finish changes that a crash or an absent Temporal cut short, and return how many.

        Call it from time to time: afterwards Temporal's schedules are what the rows say.

        Raises:
            EngineUnavailable: Temporal cannot be reached.
        """
        settled = 0
        for tenant_id, workflow_id in await self._changes.unsettled():
            try:
                await self._settle(tenant_id, workflow_id)
                settled += 1
            except (Conflict, VaultError) as error:
                # Somebody else is at it, or the tenant's keys are gone: the others must not wait for this one.
                log.warning("workflow.unsettled", tenant_id=tenant_id, workflow_id=workflow_id, reason=str(error))
        return settled

    async def reschedule(self, tenant_id: str) -> None:
        """Let the schedules of a tenant's workflows be made again, by whoever settles next."""
        again = update(workflows).where(workflows.c.tenant_id == tenant_id, workflows.c.active).values(settled=False)
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(again)

    async def _settle(self, tenant_id: str, workflow_id: str) -> None:
        async with self._changes.begin(tenant_id, workflow_id, deleted=True) as change:
            triggers: Sequence[Trigger] = ()
            if change.row.active:
                published = await self._versions.plan(tenant_id, workflow_id, change.row.published_version)
                triggers = published.definition.triggers
            await change.fit_schedules(triggers)
            async with change.commit(updated_at=change.row.updated_at):
                pass

    async def _switch(self, change: Change, triggers: Sequence[Trigger]) -> None:
        """Prepare an active workflow for another version's triggers."""
        if change.row.active:
            await require_secrets(self._credentials, change.row.tenant_id, triggers)
        await change.fit_schedules(triggers if change.row.active else ())

    async def _compile(self, tenant_id: str, workflow_id: str, draft: dict[str, Any]) -> tuple[Definition, Plan]:
        validation = await asyncio.to_thread(validate, draft, plugins=self._registry, workflow_id=workflow_id)
        errors = [fault for fault in validation.faults if fault.severity == "error"]
        drawing = self._read(draft)
        errors += await self._cycles(tenant_id, workflow_id, drawing)
        errors += await find_unlendable(self._credentials, tenant_id, drawing)
        if validation.definition is None or errors:
            raise InvalidDefinition(errors)
        return validation.definition, await asyncio.to_thread(
            compile_plan, validation.definition, plugins=self._registry
        )

    def _read(self, definition: dict[str, Any]) -> Drawing:
        return read_drawing(definition, Catalogue(self._registry))

    async def _cycles(self, tenant_id: str, workflow_id: str, drawing: Drawing) -> Sequence[Fault]:
        async def find_plan(called: Called) -> Plan:
            return (await self.plan(tenant_id, called.workflow_id, called.version)).plan

        return await find_cycles(workflow_id, drawing, find_plan)

    async def _published_version(self, tenant_id: str, workflow_id: str) -> int | None:
        _require_possible(workflow_id)
        async with self._database.read(tenant_id) as connection:
            found = await connection.execute(_PUBLISHED_VERSION, {"tenant_id": tenant_id, "id": workflow_id})
            row = found.one_or_none()
        if row is None:
            raise NotFound("workflow", workflow_id)
        published: int | None = row.published_version
        return published

    async def _update(self, tenant_id: str, workflow_id: str, if_match: int | None = None, **values: Any) -> None:
        change = update(workflows).where(*is_workflow(tenant_id, workflow_id)).values({"updated_at": now(), **values})
        if if_match is not None:
            change = change.where(workflows.c.revision == if_match)
        async with self._database.transaction(tenant_id) as connection:
            if (await connection.execute(change)).rowcount:
                return
            query = select(workflows.c.revision).where(*is_workflow(tenant_id, workflow_id))
            revision = (await connection.execute(query)).scalar_one_or_none()
        if revision is None:
            raise NotFound("workflow", workflow_id)
        raise StaleRevision(expected=if_match or 0, actual=revision)


def _require_possible(workflow_id: str) -> None:
    if not is_possible_id(workflow_id):
        raise NotFound("workflow", workflow_id)


def _name(name: str) -> str:
    stripped = name.strip()
    if not 0 < len(stripped) <= MAX_NAME:
        raise InvalidInput("/name", f"must have between 1 and {MAX_NAME} characters")
    return stripped


def _draft(definition: Any, where: str) -> dict[str, Any]:
    if not isinstance(definition, dict):
        raise InvalidInput(where, "must be an object")
    return definition
