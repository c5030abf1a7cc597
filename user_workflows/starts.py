"""How every execution starts, whoever asks: the row first, then Temporal (design §9, §12).

The workflow id follows from the execution id and an equal key finds the first row, so a start may be repeated at any
point and still starts one execution.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, select
from temporalio.client import Client
from temporalio.common import Priority, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from plugins.storage.database import Database, now
from plugins.storage.ids import new_id
from plugins.vault.keys import Vault
from user_workflows.client import RPC_TIMEOUT, reaching_temporal
from user_workflows.interpreter.messages import StartExecution, TriggerCall, workflow_id
from user_workflows.interpreter.workflow import EXECUTION
from user_workflows.metrics import STARTED
from user_workflows.records import OPEN_STATUSES
from user_workflows.store import execution_tags, executions
from user_workflows.workflows import Workflows

EXECUTION_QUEUE = "user-workflows"


def input_place(execution_id: str) -> str:
    return f"execution.input:{execution_id}"


class Starts:
    """The one way to start an execution."""

    def __init__(self, *, database: Database, vault: Vault, workflows: Workflows, temporal: Client) -> None:
        self._database = database
        self._vault = vault
        self._workflows = workflows
        self._temporal = temporal

    async def start(
        self,
        tenant_id: str,
        workflow_id: str,
        *,
        trigger: TriggerCall,
        version: int | None = None,
        tags: Sequence[str] = (),
        delay: float | None = None,
        key: str | None = None,
    ) -> str:
        """Start an execution of a published version and return its id; an equal `key` returns the first one's.

        Raises:
            NotFound: no such workflow or version of this tenant.
            Conflict: nothing is published.
            EngineUnavailable: Temporal cannot be reached; with a `key` the start is repeated by the sweep.
        """
        published = await self._workflows.plan(tenant_id, workflow_id, version)
        execution_id, is_new = await self._insert(
            tenant_id, workflow_id, published.version, trigger=trigger, tags=tags, delay=delay, key=key
        )
        if is_new:
            start = StartExecution(
                tenant_id=tenant_id,
                execution_id=execution_id,
                workflow_id=workflow_id,
                version=published.version,
                trigger=trigger,
                plan=published.plan,
                origin_id=execution_id,
            )
            await self._submit(start, delay)
        else:
            await self.repeat(tenant_id, execution_id)
        return execution_id

    async def repeat(self, tenant_id: str, execution_id: str) -> None:
        """Hand a queued execution to Temporal, which has it already or not.

        Raises:
            EngineUnavailable: Temporal cannot be reached.
        """
        row = await self._queued(tenant_id, execution_id)
        if row is None:
            return
        published = await self._workflows.recorded_plan(tenant_id, row.workflow_id, row.version)
        sealer = await self._vault.sealer(tenant_id)
        payload = sealer.open_json(row.input_sealed, input_place(execution_id))
        start = StartExecution(
            tenant_id=tenant_id,
            execution_id=execution_id,
            workflow_id=row.workflow_id,
            version=row.version,
            trigger=TriggerCall(type=row.trigger["type"], id=row.trigger.get("id"), payload=payload),
            plan=published.plan,
            origin_id=row.origin_id or execution_id,
        )
        await self._submit(start, (row.due_at - now()).total_seconds())

    async def is_scheduled(self, tenant_id: str, workflow_id: str, trigger_id: str) -> bool:
        """Return whether a cron trigger is on: of the published version of an active workflow."""
        return await self._workflows.find_cron(tenant_id, workflow_id, trigger_id) is not None

    async def is_open(self, tenant_id: str, key_prefix: str) -> bool:
        """Return whether an execution whose key begins with `key_prefix` is still open."""
        query = (
            select(executions.c.id)
            .where(executions.c.tenant_id == tenant_id)
            .where(executions.c.start_key.startswith(key_prefix, autoescape=True))
            .where(executions.c.status.in_(OPEN_STATUSES))
            .limit(1)
        )
        async with self._database.read() as connection:
            return (await connection.execute(query)).first() is not None

    async def _insert(
        self,
        tenant_id: str,
        workflow_id: str,
        version: int,
        *,
        trigger: TriggerCall,
        tags: Sequence[str],
        delay: float | None,
        key: str | None,
    ) -> tuple[str, bool]:
        execution_id = new_id("ex")
        sealer = await self._vault.sealer(tenant_id)
        at = now()
        values = {
            "tenant_id": tenant_id,
            "id": execution_id,
            "workflow_id": workflow_id,
            "version": version,
            "status": "queued",
            "seq": 0,
            "start_key": key,
            "trigger": {"type": trigger.type, "id": trigger.id},
            "input_sealed": sealer.seal_json(trigger.payload, input_place(execution_id)),
            "created_at": at,
            "due_at": _due(at, delay),
            "checked_at": at,
        }
        insert = self._database.insert(executions).values(values)
        async with self._database.transaction() as connection:
            inserted = await connection.execute(
                insert.on_conflict_do_nothing(index_elements=["tenant_id", "start_key"]).returning(executions.c.id)
            )
            if inserted.scalar_one_or_none() is None:
                first = select(executions.c.id).where(
                    executions.c.tenant_id == tenant_id, executions.c.start_key == key
                )
                return (await connection.execute(first)).scalar_one(), False
            if tags:
                rows = [
                    {"tenant_id": tenant_id, "execution_id": execution_id, "tag": tag} for tag in dict.fromkeys(tags)
                ]
                await connection.execute(execution_tags.insert(), rows)
        return execution_id, True

    async def _queued(self, tenant_id: str, execution_id: str) -> "Row[Any] | None":
        query = select(executions).where(
            executions.c.tenant_id == tenant_id, executions.c.id == execution_id, executions.c.status == "queued"
        )
        async with self._database.read() as connection:
            return (await connection.execute(query)).one_or_none()

    async def _submit(self, start: StartExecution, delay: float | None) -> None:
        async with reaching_temporal():
            try:
                await self._temporal.start_workflow(
                    EXECUTION,
                    start,
                    id=workflow_id(start.tenant_id, start.execution_id),
                    task_queue=EXECUTION_QUEUE,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    start_delay=timedelta(seconds=delay) if delay is not None and delay > 0 else None,
                    priority=Priority(fairness_key=start.tenant_id),
                    rpc_timeout=RPC_TIMEOUT,
                )
            except WorkflowAlreadyStartedError:
                return
        STARTED.labels(start.trigger.type).inc()


def _due(at: datetime, delay: float | None) -> datetime:
    return at if delay is None else at + timedelta(seconds=delay)
