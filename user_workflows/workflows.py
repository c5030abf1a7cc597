"""Workflows: drafts that may hold anything, immutable versions, and triggers that are on or off."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import structlog
from msgspec import Struct
from sqlalchemy import Row, Select, and_, func, select, update

from plugins.host.registry import Registry
from plugins.storage.database import Database, now
from plugins.storage.ids import new_id
from plugins.vault.cipher import Sealer
from plugins.vault.credentials import Credentials
from plugins.vault.errors import CredentialNotFound, VaultError
from plugins.vault.keys import Vault
from user_workflows.changes import Change, Changes, Schedules
from user_workflows.definition.faults import pointer
from user_workflows.definition.model import Fault, Trigger
from user_workflows.definition.trigger_configs import CronConfig, next_firing
from user_workflows.definition.validate import Validation, validate
from user_workflows.errors import (
    Conflict,
    InvalidDefinition,
    InvalidInput,
    NotFound,
    StaleRevision,
)
from user_workflows.hooks import Hook, ensure_tokens, find_token, forget_tokens, read_tokens
from user_workflows.plan.compile import compile_plan
from user_workflows.published import PublishedPlan, PublishedPlans, definition_place, open_definition, version_row
from user_workflows.recent import Recent
from user_workflows.workflow_store import workflow_versions, workflows

log = structlog.get_logger(__name__)

MAX_NAME = 200


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


class Version(Struct, frozen=True, kw_only=True, rename="camel"):
    version: int
    definition: Any
    published_at: datetime


class VersionPage(Struct, frozen=True, kw_only=True, rename="camel"):
    items: tuple[Version, ...]
    next_cursor: str | None


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
        self._plans = PublishedPlans(database=database, vault=vault)
        #: of a draft, by tenant, workflow and revision
        self._faults: Recent[tuple[str, str, int], tuple[Fault, ...]] = Recent(1024)

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
            "name_sealed": sealer.seal_json(_name(name), _name_place(workflow_id)),
            "draft_sealed": sealer.seal_json(_draft(definition, "/definition"), _draft_place(workflow_id)),
            "revision": 1,
            "active": False,
            "settled": True,
            "created_at": moment,
            "updated_at": moment,
        }
        async with self._database.transaction() as connection:
            await connection.execute(workflows.insert().values(row))
        return await self.get(tenant_id, workflow_id)

    async def get(self, tenant_id: str, workflow_id: str) -> Workflow:
        found = await self._fetch(tenant_id, _query(tenant_id).where(workflows.c.id == workflow_id))
        if not found:
            raise NotFound("workflow", workflow_id)
        return found[0]

    async def list(self, tenant_id: str, *, limit: int = 50, cursor: str | None = None) -> WorkflowPage:
        """Return the tenant's workflows, newest first."""
        query = _query(tenant_id).order_by(workflows.c.id.desc()).limit(limit + 1)
        found = await self._fetch(tenant_id, query if cursor is None else query.where(workflows.c.id < cursor))
        return WorkflowPage(items=found[:limit], next_cursor=found[limit - 1].id if len(found) > limit else None)

    async def rename(self, tenant_id: str, workflow_id: str, name: str) -> Workflow:
        """Give a workflow another name.

        Raises:
            InvalidInput: the name is empty or too long.
        """
        sealer = await self._vault.sealer(tenant_id)
        sealed = sealer.seal_json(_name(name), _name_place(workflow_id))
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
        sealer = await self._vault.sealer(tenant_id)
        sealed = sealer.seal_json(_draft(definition, ""), _draft_place(workflow_id))
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
            InvalidDefinition: with every error of the draft.
            EngineUnavailable: it is active with schedules and Temporal cannot be reached; nothing was published.
        """
        sealer = await self._vault.sealer(tenant_id)
        async with self._changes.begin(tenant_id, workflow_id) as change:
            draft = sealer.open_json(change.row.draft_sealed, _draft_place(workflow_id))
            definition = _require_valid(await self._validate(draft))
            version, published_at = await self._last_version(tenant_id, workflow_id) + 1, now()
            row = version_row(
                sealer,
                workflow_id=workflow_id,
                version=version,
                definition=draft,
                plan=compile_plan(definition, plugins=self._registry),
                published_at=published_at,
            )
            await self._switch(change, definition.triggers)
            async with change.commit(published_version=version) as connection:
                await connection.execute(workflow_versions.insert().values(row))
                await ensure_tokens(connection, self._database, sealer, workflow_id, definition.triggers)
        return Version(version=version, definition=draft, published_at=published_at)

    async def publish_version(self, tenant_id: str, workflow_id: str, version: int) -> Version:
        """Make an earlier version the published one again.

        Raises:
            NotFound: there is no such version.
            EngineUnavailable: it is active with schedules and Temporal cannot be reached; nothing was changed.
        """
        sealer = await self._vault.sealer(tenant_id)
        async with self._changes.begin(tenant_id, workflow_id) as change:
            triggers = (await self._plans.get(tenant_id, workflow_id, version)).definition.triggers
            await self._switch(change, triggers)
            async with change.commit(published_version=version) as connection:
                await ensure_tokens(connection, self._database, sealer, workflow_id, triggers)
        return await self.version(tenant_id, workflow_id, version)

    async def versions(
        self, tenant_id: str, workflow_id: str, *, limit: int = 50, cursor: str | None = None
    ) -> VersionPage:
        """Return the published versions, newest first."""
        query = _versions_query(tenant_id, workflow_id).order_by(workflow_versions.c.version.desc()).limit(limit + 1)
        if cursor is not None:
            if not cursor.isdecimal():
                raise InvalidInput("/cursor", "is not a cursor that a page of versions gave")
            query = query.where(workflow_versions.c.version < int(cursor))
        found = await self._fetch_versions(tenant_id, workflow_id, query)
        more = len(found) > limit
        return VersionPage(items=found[:limit], next_cursor=str(found[limit - 1].version) if more else None)

    async def version(self, tenant_id: str, workflow_id: str, version: int) -> Version:
        """Return one published version.

        Raises:
            NotFound: there is no such version.
        """
        query = _versions_query(tenant_id, workflow_id).where(workflow_versions.c.version == version)
        found = await self._fetch_versions(tenant_id, workflow_id, query)
        if not found:
            raise NotFound("version", f"{workflow_id}/{version}")
        return found[0]

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
            published = await self._plans.get(tenant_id, workflow_id, change.row.published_version)
            await self._require_secrets(tenant_id, published.definition.triggers)
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
        query = select(workflows.c.published_version).where(*_is(tenant_id, workflow_id))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NotFound("workflow", workflow_id)
        wanted = row.published_version if version is None else version
        if wanted is None:
            raise Conflict(f"workflow {workflow_id} has no published version yet; publish one first")
        return await self._plans.get(tenant_id, workflow_id, wanted)

    async def recorded_plan(self, tenant_id: str, workflow_id: str, version: int) -> PublishedPlan:
        """Return the plan that an existing execution runs, even when its workflow has been deleted.

        Raises:
            NotFound: no such version of this tenant.
        """
        return await self._plans.get(tenant_id, workflow_id, version)

    async def find_hook(self, token: str) -> Hook | None:
        """Return where a webhook token leads: a webhook trigger of the published version of an active workflow."""
        async with self._database.read() as connection:
            row = await find_token(connection, token)
        if row is None:
            return None
        published = await self._plans.get(row.tenant_id, row.workflow_id, row.published_version)
        trigger = _trigger(published, row.trigger_id, "webhook")
        if trigger is None:
            return None
        return Hook(tenant_id=row.tenant_id, workflow_id=row.workflow_id, trigger=trigger)

    async def find_cron(self, tenant_id: str, workflow_id: str, trigger_id: str) -> Trigger | None:
        """Return a cron trigger of the published version of an active workflow, for a firing to check."""
        query = select(workflows.c.published_version).where(*_is(tenant_id, workflow_id), workflows.c.active)
        async with self._database.read() as connection:
            version = (await connection.execute(query)).scalar_one_or_none()
        if version is None:
            return None
        return _trigger(await self._plans.get(tenant_id, workflow_id, version), trigger_id, "cron")

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

    async def _settle(self, tenant_id: str, workflow_id: str) -> None:
        async with self._changes.begin(tenant_id, workflow_id, deleted=True) as change:
            triggers: Sequence[Trigger] = ()
            if change.row.active:
                published = await self._plans.get(tenant_id, workflow_id, change.row.published_version)
                triggers = published.definition.triggers
            await change.fit_schedules(triggers)
            async with change.commit(updated_at=change.row.updated_at):
                pass

    async def _switch(self, change: Change, triggers: Sequence[Trigger]) -> None:
        """Prepare an active workflow for another version's triggers."""
        if change.row.active:
            await self._require_secrets(change.row.tenant_id, triggers)
        await change.fit_schedules(triggers if change.row.active else ())

    async def _require_secrets(self, tenant_id: str, triggers: Sequence[Trigger]) -> None:
        faults = []
        for index, trigger in enumerate(triggers):
            if trigger.type != "webhook":
                continue
            credential_id = trigger.config["secret"]
            where = pointer("triggers", index, "config", "secret")
            try:
                record = await self._credentials.get(tenant_id, credential_id)
            except CredentialNotFound:
                message = f"trigger {trigger.id}: there is no credential {credential_id!r}; bind one of type signing"
                faults.append(Fault(code="trigger.secretUnknown", pointer=where, message=message))
                continue
            if record.type != "signing":
                message = (
                    f"trigger {trigger.id}: the secret is of type {record.type}; bind a credential of type signing"
                )
                faults.append(Fault(code="trigger.secretWrongType", pointer=where, message=message))
        if faults:
            raise InvalidDefinition(faults)

    async def _validate(self, definition: Any) -> Validation:
        # Large definitions take a while, and the event loop has others to serve.
        return await asyncio.to_thread(validate, definition, plugins=self._registry)

    async def _update(self, tenant_id: str, workflow_id: str, if_match: int | None = None, **values: Any) -> None:
        change = update(workflows).where(*_is(tenant_id, workflow_id)).values({"updated_at": now(), **values})
        if if_match is not None:
            change = change.where(workflows.c.revision == if_match)
        async with self._database.transaction() as connection:
            if (await connection.execute(change)).rowcount:
                return
            query = select(workflows.c.revision).where(*_is(tenant_id, workflow_id))
            revision = (await connection.execute(query)).scalar_one_or_none()
        if revision is None:
            raise NotFound("workflow", workflow_id)
        raise StaleRevision(expected=if_match or 0, actual=revision)

    async def _last_version(self, tenant_id: str, workflow_id: str) -> int:
        query = select(func.max(workflow_versions.c.version)).where(
            workflow_versions.c.tenant_id == tenant_id, workflow_versions.c.workflow_id == workflow_id
        )
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar_one() or 0

    async def _fetch(self, tenant_id: str, query: "Select[Any]") -> tuple[Workflow, ...]:
        sealer = await self._vault.sealer(tenant_id)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
            tokens = await read_tokens(connection, sealer, [row.id for row in rows])
        return tuple([await self._workflow(row, sealer, tokens) for row in rows])

    async def _workflow(self, row: "Row[Any]", sealer: Sealer, tokens: dict[tuple[str, str], str]) -> Workflow:
        draft = sealer.open_json(row.draft_sealed, _draft_place(row.id))
        key = (row.tenant_id, row.id, row.revision)
        faults = self._faults.get(key)
        if faults is None:
            faults = self._faults.put(key, (await self._validate(draft)).faults)
        shown = draft
        if row.published_version is not None:
            shown = sealer.open_json(row.definition_sealed, definition_place(row.id, row.published_version))
        return Workflow(
            id=row.id,
            name=sealer.open_json(row.name_sealed, _name_place(row.id)),
            draft=draft,
            revision=row.revision,
            published_version=row.published_version,
            active=row.active,
            triggers=tuple(
                TriggerState(
                    id=trigger.id,
                    type=trigger.type,
                    token=tokens.get((row.id, trigger.id)) if trigger.type == "webhook" else None,
                    next_fire_at=_next_fire_at(trigger) if row.active else None,
                )
                for trigger in _triggers(shown)
            ),
            faults=faults,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    async def _fetch_versions(self, tenant_id: str, workflow_id: str, query: "Select[Any]") -> tuple[Version, ...]:
        sealer = await self._vault.sealer(tenant_id)
        async with self._database.read() as connection:
            if (await connection.execute(select(workflows.c.id).where(*_is(tenant_id, workflow_id)))).first() is None:
                raise NotFound("workflow", workflow_id)
            rows = (await connection.execute(query)).all()
        return tuple(
            Version(version=row.version, definition=open_definition(sealer, row), published_at=row.published_at)
            for row in rows
        )


def _is(tenant_id: str, workflow_id: str) -> tuple[Any, ...]:
    return workflows.c.tenant_id == tenant_id, workflows.c.id == workflow_id, workflows.c.deleted_at.is_(None)


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


def _versions_query(tenant_id: str, workflow_id: str) -> "Select[Any]":
    return select(workflow_versions).where(
        workflow_versions.c.tenant_id == tenant_id, workflow_versions.c.workflow_id == workflow_id
    )


def _name(name: str) -> str:
    stripped = name.strip()
    if not 0 < len(stripped) <= MAX_NAME:
        raise InvalidInput("/name", f"must have between 1 and {MAX_NAME} characters")
    return stripped


def _draft(definition: Any, where: str) -> dict[str, Any]:
    if not isinstance(definition, dict):
        raise InvalidInput(where, "must be an object")
    return definition


def _require_valid(validation: Validation) -> Any:
    if validation.definition is None:
        raise InvalidDefinition([fault for fault in validation.faults if fault.severity == "error"])
    return validation.definition


def _triggers(definition: Any) -> Iterable[Trigger]:
    """Yield the triggers that can be read, of a draft that may hold anything."""
    drawn = definition.get("triggers")
    for trigger in drawn if isinstance(drawn, list) else ():
        try:
            yield msgspec.convert(trigger, Trigger)
        except msgspec.ValidationError:
            continue


def _trigger(published: PublishedPlan, trigger_id: str, type: str) -> Trigger | None:
    triggers = published.definition.triggers
    return next((trigger for trigger in triggers if trigger.id == trigger_id and trigger.type == type), None)


def _next_fire_at(trigger: Trigger) -> datetime | None:
    return next_firing(msgspec.convert(trigger.config, CronConfig)) if trigger.type == "cron" else None


def _draft_place(workflow_id: str) -> str:
    return f"workflow.draft:{workflow_id}"


def _name_place(workflow_id: str) -> str:
    return f"workflow.name:{workflow_id}"
