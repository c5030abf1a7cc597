"""Workflows of one step, made by the system: what a job runs as that goes on as an execution.

One is made for each way in which a tenant's jobs call a plugin, not for each job: the payload is its trigger. It is
stored as deleted workflows are: executions find their version, and nothing shows it, lists it or starts it.
"""

import asyncio
import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct, structs

from plugins.host.registry import Registry
from plugins.host.retry import Retry
from plugins.storage.database import Database, now
from plugins.vault.keys import Vault
from user_workflows.definition.validate import validate
from user_workflows.errors import InvalidDefinition, NotFound
from user_workflows.expressions import EVALUATOR_VERSION
from user_workflows.plan.compile import compile_plan
from user_workflows.plan.model import PLAN_FORMAT, Plan
from user_workflows.workflows.tables import draft_place, name_place, workflows
from user_workflows.workflows.versions import PublishedPlan, Version, Versions, insert_version

#: the id of the only node
NODE = "job"
#: the only version
VERSION = 1


class SingleStep(Struct, frozen=True, kw_only=True):
    """One way in which jobs call a plugin."""

    plugin: str
    #: the keys of its config, whose values are the trigger's
    keys: tuple[str, ...]
    credentials: dict[str, str]
    #: seconds for one attempt
    timeout: float
    retry: Retry | None


class SingleSteps:
    """Finds the workflow of a single step, and makes it when it is asked for the first time."""

    def __init__(self, *, database: Database, vault: Vault, registry: Registry) -> None:
        self._database = database
        self._vault = vault
        self._registry = registry
        self._versions = Versions(database=database, vault=vault)

    async def find(self, tenant_id: str, step: SingleStep) -> PublishedPlan:
        """Return the version that makes this step.

        Raises:
            InvalidDefinition: no workflow can make it, e.g. because its plugin is not known here.
        """
        workflow_id = _id(tenant_id, step)
        try:
            return await self._versions.plan(tenant_id, workflow_id, VERSION)
        except NotFound:
            await self._make(tenant_id, workflow_id, step)
        return await self._versions.plan(tenant_id, workflow_id, VERSION)

    async def _make(self, tenant_id: str, workflow_id: str, step: SingleStep) -> None:
        drawn = _draw(step)
        plan = await asyncio.to_thread(self._compile, step, drawn)
        sealer, at = await self._vault.sealer(tenant_id), now()
        row = {
            "tenant_id": tenant_id,
            "id": workflow_id,
            "name_sealed": sealer.seal_json(drawn["name"], name_place(workflow_id)),
            "draft_sealed": sealer.seal_json(drawn, draft_place(workflow_id)),
            "revision": 1,
            "published_version": VERSION,
            "active": False,
            "settled": True,
            "created_at": at,
            "updated_at": at,
            "deleted_at": at,
        }
        insert = self._database.insert(workflows).values(row).on_conflict_do_nothing().returning(workflows.c.id)
        async with self._database.transaction(tenant_id) as connection:
            # Whoever comes second finds it whole: both rows are written at once.
            if (await connection.execute(insert)).first() is not None:
                version = Version(version=VERSION, definition=drawn, published_at=at)
                await insert_version(connection, sealer, workflow_id, version, plan)

    def _compile(self, step: SingleStep, drawn: dict[str, Any]) -> Plan:
        validation = validate(drawn, plugins=self._registry)
        errors = [fault for fault in validation.faults if fault.severity == "error"]
        if validation.definition is None or errors:
            raise InvalidDefinition(errors)
        plan = compile_plan(validation.definition, plugins=self._registry)
        (node,) = plan.nodes
        # A jobs worker names the effects of a job by its type; they go on under that name.
        return structs.replace(plan, nodes=(structs.replace(node, acts_as=step.plugin),))


def _draw(step: SingleStep) -> dict[str, Any]:
    node: dict[str, Any] = {
        "id": NODE,
        "label": step.plugin,
        "pluginId": step.plugin,
        # Literal, as in a job: an expression's value is not looked at for expressions again.
        "config": {key: f"{{{{ trigger[{msgspec.json.encode(key).decode()}] }}}}" for key in step.keys},
        "credentials": step.credentials,
        "timeout": f"{max(round(step.timeout * 1000), 1)}ms",
    }
    if step.retry is not None:
        node["retry"] = msgspec.to_builtins(step.retry)
    return {"name": f"job: {step.plugin}", "nodes": [node]}


def _id(tenant_id: str, step: SingleStep) -> str:
    """Return an id that two different steps, or tenants, do not share."""
    parts: Sequence[Any] = (tenant_id, step, EVALUATOR_VERSION, PLAN_FORMAT)
    digest = hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).digest()
    return f"wf_{base64.b32hexencode(digest).decode().lower()[:26]}"
