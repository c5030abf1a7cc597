"""Executions: started, read, listed, waited for and stopped."""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from msgspec import Struct, structs
from sqlalchemy import delete, select
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from plugins.storage.blobs import delete_blobs
from plugins.storage.database import Database
from plugins.vault.keys import Vault
from user_workflows.admission.caps import Rate
from user_workflows.admission.letters import Letters
from user_workflows.client import RPC_TIMEOUT, is_not_found, reaching_temporal
from user_workflows.errors import Conflict
from user_workflows.executions.beginnings import StartRequest
from user_workflows.executions.reading import Reading
from user_workflows.executions.starts import Starts
from user_workflows.executions.tables import executions
from user_workflows.executions.views import Execution, Page, StepPage, queued_execution
from user_workflows.executions.waiting import Waiting
from user_workflows.interpreter.messages import ExecutionError, ExecutionStatus, TriggerCall, workflow_id
from user_workflows.live.wakeups import Wakeups
from user_workflows.records.announcements import Announcements
from user_workflows.records.reconcile import Reconciler
from user_workflows.records.watchdog import PATIENCE
from user_workflows.workflows.workflows import Workflows

T = TypeVar("T")


class Launch(Struct, frozen=True, kw_only=True):
    """Executions that were started together."""

    #: in the order of the requests
    executions: "list[Execution]"
    #: after them, where starts per minute are capped
    rate: Rate | None = None


class Executions:
    """The executions of all tenants; every method takes the tenant of the principal that asks."""

    def __init__(
        self,
        *,
        database: Database,
        vault: Vault,
        workflows: Workflows,
        temporal: Client,
        starts: Starts,
        wakeups: Wakeups | None = None,
        patience: timedelta = PATIENCE,
        announcements: Announcements | None = None,
    ) -> None:
        self._database = database
        self._workflows = workflows
        self._reading = Reading(database, vault)
        self._temporal = temporal
        self._starts = starts
        self._waiting = Waiting(temporal, starts.reception.gate, Wakeups() if wakeups is None else wakeups)
        self._gate = starts.reception.gate
        self._withdrawals = starts.reception.withdrawals
        self._letters = Letters(database, vault, self._gate)
        self._reconciler = Reconciler(
            database=database,
            vault=vault,
            temporal=temporal,
            starts=starts,
            patience=patience,
            announcements=announcements,
        )

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
    ) -> Execution:
        """Start an execution; see `Starts.start`. An equal `key` answers with the first execution."""
        request = StartRequest(
            workflow_id=workflow_id, trigger=trigger, version=version, tags=tuple(tags), delay=delay, key=key
        )
        (execution,) = await self.start_many(tenant_id, [request])
        return execution

    async def start_many(self, tenant_id: str, requests: Sequence[StartRequest]) -> list[Execution]:
        """Start executions, all of them or none; see `Starts.start_many`."""
        return (await self.launch(tenant_id, requests)).executions

    async def launch(self, tenant_id: str, requests: Sequence[StartRequest]) -> Launch:
        """Start executions as `start_many` does, and tell how the tenant stands with its starts per minute."""
        started = await self._starts.start_many(tenant_id, requests)
        known = [one.id for one in started if one.row is None or not one.is_inside]
        found = await self._reading.several(tenant_id, known)
        launched = [
            found[one.id]
            if one.row is None or not one.is_inside
            else queued_execution(one.row, request.trigger.payload, request.tags)
            for one, request in zip(started, requests, strict=True)
        ]
        return Launch(executions=launched, rate=started[0].rate if started else None)

    async def started_by(self, tenant_id: str, key: str) -> Execution:
        """Return the execution that a key stands for, whether Temporal has it by now or not.

        Raises:
            NotFound: none was started by that key.
        """
        return await self._reading.started_by(tenant_id, key)

    async def get(self, tenant_id: str, execution_id: str) -> Execution:
        """Return an execution, repaired from Temporal where its record has fallen behind.

        Raises:
            NotFound: no such execution of this tenant.
        """
        execution = await self._reading.one(tenant_id, execution_id)
        if not execution.is_closed and await self._reconciler.is_due(tenant_id, execution_id):
            await self._reconciler.repair(tenant_id, execution_id)
            execution = await self._reading.one(tenant_id, execution_id)
        if execution.is_closed:
            return execution
        return structs.replace(execution, queue=await self._gate.place(tenant_id, execution_id))

    async def wait(self, tenant_id: str, execution_id: str, timeout: float) -> Execution:
        """Return an execution when it is closed, or as it is after `timeout` seconds.

        Raises:
            NotFound: no such execution of this tenant.
        """

        async def closed() -> Execution | None:
            execution = await self._reading.one(tenant_id, execution_id)
            return execution if execution.is_closed else None

        seen = await self.until(closed, tenant_id, execution_id, timeout=timeout, only_end=True)
        return await self._reading.one(tenant_id, execution_id) if seen is None else seen

    async def until(
        self,
        look: Callable[[], Awaitable[T | None]],
        tenant_id: str,
        execution_id: str,
        *,
        timeout: float,
        pause: float | None = None,
        only_end: bool = False,
    ) -> T | None:
        """Return what is to be seen of an execution as soon as it is there; ``None``: it is over, or the time is.

        The record of one that is over is closed. See `Waiting.until`.
        """
        seen = await self._waiting.until(look, tenant_id, execution_id, timeout=timeout, pause=pause, only_end=only_end)
        if seen is False:
            return None
        if seen is not True:
            return seen
        if (last := await look()) is None and not (await self._reading.one(tenant_id, execution_id)).is_closed:
            # It ended without its last step: terminated, or timed out by the server.
            await self._reconciler.repair(tenant_id, execution_id)
        return last

    async def list(
        self,
        tenant_id: str,
        *,
        workflow_id: str | None = None,
        status: str | None = None,
        tag: str | None = None,
        started_after: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Return executions, newest first."""
        return await self._reading.page(
            tenant_id,
            workflow_id=workflow_id,
            status=status,
            tag=tag,
            started_after=started_after,
            limit=limit,
            cursor=cursor,
        )

    async def steps(
        self,
        tenant_id: str,
        execution_id: str,
        *,
        within: str | None = None,
        path: Sequence[int] = (),
        limit: int = 50,
        cursor: str | None = None,
    ) -> StepPage:
        """Return every node of the execution's version, in the order of the plan, reached or not.

        With the id of a loop as `within`, those in its body instead, page by page; see `Reading.steps`.

        Raises:
            NotFound: no such execution of this tenant, or no such loop in it.
            InvalidInput: `path` is too long for the loop, or `cursor` is of another.
        """
        execution = await self.get(tenant_id, execution_id)
        plan = (await self._workflows.recorded_plan(tenant_id, execution.workflow_id, execution.version)).plan
        return await self._reading.steps(
            tenant_id, execution, plan, within=within, path=tuple(path), limit=limit, cursor=cursor
        )

    async def cancel(self, tenant_id: str, execution_id: str, *, compensate: bool = False) -> None:
        """Ask an execution to stop; it ends as ``canceled`` when its running steps have acknowledged.

        Args:
            tenant_id: whose it is.
            execution_id: which one.
            compensate: undo what has completed, by the `compensate` actions of its nodes.

        Raises:
            NotFound: no such execution of this tenant.
            Conflict: it is closed.
        """
        if await self._withdraw(tenant_id, execution_id, "canceled"):
            return
        handle = await self.open_handle(tenant_id, execution_id)
        async with reaching_temporal():
            if compensate:
                await or_conflict(handle.signal("compensate", rpc_timeout=RPC_TIMEOUT), execution_id)
            await or_conflict(handle.cancel(rpc_timeout=RPC_TIMEOUT), execution_id)

    async def terminate(self, tenant_id: str, execution_id: str, reason: str = "terminated by the API") -> None:
        """End an execution at once, without its consent; running steps learn of it by their next heartbeat.

        Raises:
            NotFound: no such execution of this tenant.
            Conflict: it is closed.
        """
        if await self._withdraw(tenant_id, execution_id, "terminated"):
            return
        handle = await self.open_handle(tenant_id, execution_id)
        async with reaching_temporal():
            await or_conflict(handle.terminate(reason=reason, rpc_timeout=RPC_TIMEOUT), execution_id)
        await self._reconciler.repair(tenant_id, execution_id)

    async def signal(self, tenant_id: str, execution_id: str, name: str, payload: Any = None) -> None:
        """Send a named signal; it is kept until a `wait` node awaits it.

        Raises:
            NotFound: no such execution of this tenant.
            Conflict: it is closed.
        """
        await self.tell(tenant_id, execution_id, "signal", name, payload)

    async def tell(self, tenant_id: str, execution_id: str, signal: str, *args: Any) -> None:
        """Send one of the interpreter's signals; for an execution that has not begun it is kept.

        Raises:
            NotFound: no such execution of this tenant.
            Conflict: it is closed.
        """
        if await self._gate.is_unbegun(tenant_id, execution_id) and await self._letters.keep(
            tenant_id, execution_id, signal, *args
        ):
            return
        handle = await self.open_handle(tenant_id, execution_id)
        async with reaching_temporal():
            await or_conflict(handle.signal(signal, args=args, rpc_timeout=RPC_TIMEOUT), execution_id)

    async def _withdraw(self, tenant_id: str, execution_id: str, status: ExecutionStatus) -> bool:
        """Close an execution that has not begun; return whether it had not."""
        error = ExecutionError(type=f"execution.{status}", message=f"{status} before it began")
        return await self._gate.is_unbegun(tenant_id, execution_id) and await self._withdrawals.withdraw(
            tenant_id, execution_id, status, error
        )

    async def purge(self, before: datetime, *, limit: int = 1_000) -> int:
        """Delete closed executions that ended before a moment, with their blobs, and return how many.

        What Temporal still holds of one by then keeps only claims to its large payloads.
        """
        old = (
            select(executions.c.tenant_id, executions.c.id)
            .where(executions.c.closed_at < before)
            .order_by(executions.c.closed_at)
            .limit(limit)
        )
        async with self._database.across.transaction() as connection:
            rows = (await connection.execute(old)).all()
            for row in rows:
                await connection.execute(
                    delete(executions).where(executions.c.tenant_id == row.tenant_id, executions.c.id == row.id)
                )
                await delete_blobs(connection, row.tenant_id, [row.id])
        return len(rows)

    async def ended_run_id(self, tenant_id: str, execution_id: str) -> str | None:
        """Return Temporal's last run of a closed execution, once it has ended; ``None``: Temporal has forgotten it.

        The record closes a moment before the run does.

        Raises:
            EngineUnavailable: Temporal cannot be reached, or is slow to end it.
        """
        handle = self._handle(tenant_id, execution_id)
        async with reaching_temporal():
            try:
                with contextlib.suppress(WorkflowFailureError):
                    await handle.result(rpc_timeout=RPC_TIMEOUT)
                return (await handle.describe(rpc_timeout=RPC_TIMEOUT)).run_id
            except RPCError as error:
                if not is_not_found(error):
                    raise
                return None

    async def open_handle(self, tenant_id: str, execution_id: str) -> "WorkflowHandle[Any, Any]":
        execution = await self._reading.one(tenant_id, execution_id)
        if execution.is_closed:
            raise Conflict(f"execution {execution_id} is closed: it is {execution.status}")
        if execution.status in ("queued", "paused") and await self._gate.is_expected(tenant_id, execution_id):
            await self._starts.repeat(tenant_id, execution_id)
        return self._handle(tenant_id, execution_id)

    def _handle(self, tenant_id: str, execution_id: str) -> "WorkflowHandle[Any, Any]":
        return self._temporal.get_workflow_handle(workflow_id(tenant_id, execution_id))


async def or_conflict(call: Any, execution_id: str) -> None:
    try:
        await call
    except RPCError as error:
        if is_not_found(error):
            raise Conflict(f"execution {execution_id} is closed, or has not begun yet") from error
        raise
