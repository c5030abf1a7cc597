"""Repairs records from Temporal: what ended without its last step, and starts that were cut off (design §9)."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import or_, select, tuple_, update
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowHandle
from temporalio.service import RPCError

from plugins.storage.database import Database, now
from plugins.vault.keys import Vault
from user_workflows.admission.gate import UNBEGUN
from user_workflows.client import RPC_TIMEOUT, is_not_found, reaching_temporal
from user_workflows.errors import EngineUnavailable, NotFound
from user_workflows.executions.awaited import Awaited
from user_workflows.executions.starts import Starts
from user_workflows.executions.tables import OPEN_STATUSES, executions
from user_workflows.interpreter.messages import ExecutionError, ExecutionStatus, workflow_id
from user_workflows.metrics import STUCK
from user_workflows.records.announcements import Announcements
from user_workflows.records.closing import Closing
from user_workflows.records.ends import End, closed_status, read_end
from user_workflows.records.watchdog import PATIENCE, Trouble, find_trouble
from user_workflows.records.writer import LINGER

#: a record that was written or compared this recently is taken as it is
FRESH = timedelta(seconds=2)

#: how long a start may take before the sweep asks what became of it
START_GRACE = timedelta(seconds=30)

#: an open execution is compared with Temporal at least this often
SWEEP_AGE = timedelta(seconds=60)

#: how long after an end what its workers told before it may still be on its way
LAST_WORDS = timedelta(seconds=2 * LINGER)

#: open executions that one sweep compares
_AT_A_TIME = 200

#: executions that were ended by force lately, of which one look hears
_MOST_LISTED = 500

_BY_FORCE = "ExecutionStatus = 'Terminated' OR ExecutionStatus = 'TimedOut'"

_log = structlog.get_logger(__name__)


class Reconciler:
    """Brings single records back in line with Temporal.

    Args:
        database: holds the records.
        vault: opens and seals them.
        temporal: decides.
        starts: repeats a start that was cut off.
        patience: how long a task of an execution may wait for a worker before its record says so.
        tend: called with every execution that is found open.
        announcements: tell of executions that have ended, in the transaction that closes their records.
    """

    def __init__(
        self,
        *,
        database: Database,
        vault: Vault,
        temporal: Client,
        starts: Starts,
        patience: timedelta = PATIENCE,
        tend: Callable[[WorkflowExecutionDescription], Awaitable[None]] | None = None,
        announcements: Announcements | None = None,
    ) -> None:
        self._closing = Closing(
            database=database,
            vault=vault,
            temporal=temporal,
            gate=starts.reception.gate,
            announcements=announcements,
        )
        self._database = database
        self._temporal = temporal
        self._starts = starts
        self._patience = patience
        self._awaited = Awaited(database, temporal)
        self._tend = tend

    async def is_due(self, tenant_id: str, execution_id: str) -> bool:
        """Return whether an open record is old enough to be compared again."""
        query = select(executions.c.checked_at).where(*_is(tenant_id, execution_id), _BEGUN)
        async with self._database.read(tenant_id) as connection:
            checked_at = (await connection.execute(query)).scalar_one_or_none()
        return checked_at is not None and now() - checked_at > FRESH

    async def repair(self, tenant_id: str, execution_id: str) -> None:
        """Compare one open record with Temporal and mend it; while Temporal is away nothing changes."""
        handle = self._temporal.get_workflow_handle(workflow_id(tenant_id, execution_id))
        try:
            async with reaching_temporal():
                try:
                    description = await handle.describe(rpc_timeout=RPC_TIMEOUT)
                    await self._compare(tenant_id, execution_id, handle, description)
                except RPCError as error:
                    if not is_not_found(error):
                        raise
                    await self._mend_absent(tenant_id, execution_id)
        except EngineUnavailable:
            return

    async def sweep_all(self) -> None:
        """Compare every record that is open now."""
        since = now()
        while await self.sweep(before=since) == _AT_A_TIME:
            pass

    async def sweep(self, *, before: datetime | None = None, limit: int = _AT_A_TIME) -> int:
        """Compare the open records that nobody has written or read for a while; return how many.

        Args:
            before: compare those that were not compared since then.
            limit: how many.
        """
        until = now() - SWEEP_AGE if before is None else before
        query = (
            select(executions.c.tenant_id, executions.c.id)
            .where(executions.c.status.in_(OPEN_STATUSES), executions.c.checked_at < until, _BEGUN)
            .order_by(executions.c.checked_at)
            .limit(limit)
        )
        async with self._database.across.read() as connection:
            rows = (await connection.execute(query)).all()
        for row in rows:
            await self.repair(row.tenant_id, row.id)
        return len(rows)

    async def repair_ended(self, since: datetime) -> int:
        """Repair the open records of executions that Temporal has ended by force since then; return how many.

        Their slots are needed, and the sweep comes by only once in a while. It finds what is not listed in time.
        """
        query = f"({_BY_FORCE}) AND CloseTime >= '{since:%Y-%m-%dT%H:%M:%SZ}'"
        async with reaching_temporal():
            listed = self._temporal.list_workflows(query, limit=_MOST_LISTED, rpc_timeout=RPC_TIMEOUT)
            ended = [tuple(found.id.partition("/")[::2]) async for found in listed]
        if not ended:
            return 0
        rows = select(executions.c.tenant_id, executions.c.id).where(
            tuple_(executions.c.tenant_id, executions.c.id).in_(ended), executions.c.status.in_(OPEN_STATUSES)
        )
        async with self._database.across.read() as connection:
            found = (await connection.execute(rows)).all()
        for row in found:
            await self.repair(row.tenant_id, row.id)
        return len(found)

    async def _compare(
        self,
        tenant_id: str,
        execution_id: str,
        handle: "WorkflowHandle[Any, Any]",
        description: WorkflowExecutionDescription,
    ) -> None:
        status = closed_status(description)
        if status is None:
            await self._watch(tenant_id, execution_id, find_trouble(description, now(), patience=self._patience))
            if await self._awaited.is_unwanted(tenant_id, execution_id):
                await self._awaited.stop(tenant_id, execution_id, at_once=False)
            await self._tend_to(description)
            return
        if await self._is_followed(tenant_id, execution_id, description.run_id):
            await self._mend_absent(tenant_id, execution_id)
            return
        await _wait_for_last_words(description.close_time)
        await self._end(tenant_id, execution_id, await read_end(handle, description, status))

    async def _tend_to(self, description: WorkflowExecutionDescription) -> None:
        if self._tend is None:
            return
        try:
            await self._tend(description)
        except RPCError as error:
            # It has ended meanwhile, or the next sweep has more luck.
            _log.info("execution.notTended", workflow_id=description.id, error=error.message)

    async def _is_followed(self, tenant_id: str, execution_id: str, run_id: str) -> bool:
        """Return whether the execution has been retried since this run of it ended."""
        query = select(executions.c.ended_run_id).where(*_is(tenant_id, execution_id))
        async with self._database.read(tenant_id) as connection:
            return (await connection.execute(query)).scalar_one_or_none() == run_id

    async def _mend_absent(self, tenant_id: str, execution_id: str) -> None:
        """Temporal does not know the execution: its start was cut off, or its history is gone."""
        query = select(executions).where(*_is(tenant_id, execution_id), executions.c.status.in_(OPEN_STATUSES), _BEGUN)
        async with self._database.read(tenant_id) as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None or now() - (row.created_at if row.generation == 1 else row.due_at) < START_GRACE:
            return
        status: ExecutionStatus = "failed"
        if row.status == "queued" and await self._awaited.is_unwanted(tenant_id, execution_id):
            status = "canceled"
            error = ExecutionError(type="execution.canceled", message="it was not wanted any more before it started")
        elif row.status in ("queued", "paused") and (
            row.start_key is not None or row.generation > 1 or row.admission == "admitted"
        ):
            # Whoever asked repeats with the same key and must find this one, retried it, or was told that it waits: it
            # is safe to start it now.
            try:
                await self._starts.repeat(tenant_id, execution_id)
                return
            except NotFound:
                error = ExecutionError(type="workflow.deleted", message="its workflow was deleted before it started")
        elif row.status == "queued":
            error = ExecutionError(
                type="start.unavailable", message="the workflow engine could not be reached when this was started"
            )
        else:
            error = ExecutionError(type="execution.lost", message="the workflow engine no longer knows this execution")
        await self._end(tenant_id, execution_id, End(status=status, error=error, closed_at=now()))

    async def _watch(self, tenant_id: str, execution_id: str, trouble: Trouble | None) -> None:
        """Note that the execution is open, and whether it moves."""
        noted: dict[str, Any] = {"stuck_reason": None, "stuck_since": None}
        if trouble is not None:
            noted = {"stuck_reason": trouble.reason, "stuck_since": trouble.since}
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(
                update(executions)
                .where(*_is(tenant_id, execution_id), executions.c.status.in_(OPEN_STATUSES))
                .values(checked_at=now(), **noted)
            )
        if trouble is not None:
            STUCK.inc()
            _log.warning("execution.stuck", tenant_id=tenant_id, execution_id=execution_id, reason=trouble.reason)

    async def _end(self, tenant_id: str, execution_id: str, end: End) -> None:
        # Before the record is closed: while it is open, whoever finds it does all of this again.
        await self._stop_awaited(tenant_id, execution_id, at_once=end.status == "terminated")
        await self._closing.close(tenant_id, execution_id, end)

    async def _stop_awaited(self, tenant_id: str, execution_id: str, *, at_once: bool) -> None:
        """Stop what an execution waited for that ended without its last step.

        Raises:
            EngineUnavailable: Temporal cannot be reached.
        """
        for child_id in await self._awaited.of(tenant_id, execution_id):
            await self._awaited.stop(tenant_id, child_id, at_once=at_once)
            if at_once:
                await self.repair(tenant_id, child_id)


async def _wait_for_last_words(ended_at: datetime | None) -> None:
    """Let the record of an execution that has just ended come to its last step, so that it closes with all of them."""
    left = timedelta() if ended_at is None else ended_at + LAST_WORDS - now()
    # Not longer than that, whatever the server's clock says.
    await asyncio.sleep(max(0.0, min(left, LAST_WORDS).total_seconds()))


#: what waits at the gate to begin is not compared with Temporal, which knows nothing of it
_BEGUN = or_(executions.c.admission.is_(None), ~UNBEGUN)


def _is(tenant_id: str, execution_id: str) -> tuple[Any, Any]:
    return executions.c.tenant_id == tenant_id, executions.c.id == execution_id
