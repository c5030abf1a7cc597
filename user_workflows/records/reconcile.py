"""Repairs records from Temporal: what ended without its last step, and starts that were cut off (design §9)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import or_, select, tuple_, update
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from plugins.storage.database import Database, now
from plugins.vault.keys import Vault
from user_workflows.admission.gate import UNBEGUN
from user_workflows.client import RPC_TIMEOUT, is_not_found, reaching_temporal
from user_workflows.errors import EngineUnavailable, NotFound
from user_workflows.executions.awaited import Awaited
from user_workflows.executions.callers import restore_trigger, tell_caller
from user_workflows.executions.starts import Starts
from user_workflows.executions.tables import OPEN_STATUSES, executions, result_place, steps
from user_workflows.interpreter.messages import CallEnd, ExecutionError, ExecutionStatus, workflow_id
from user_workflows.metrics import REPAIRED, STUCK
from user_workflows.records.announcements import Announcements, Ending
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

_CLOSED: dict[WorkflowExecutionStatus, ExecutionStatus] = {
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.CANCELED: "canceled",
    WorkflowExecutionStatus.TERMINATED: "terminated",
    WorkflowExecutionStatus.TIMED_OUT: "timedOut",
}

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
        self._announcements = announcements
        self._gate = starts.reception.gate
        self._database = database
        self._vault = vault
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
        status = _CLOSED.get(description.status) if description.status is not None else None
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
        output, error = await _result(handle, status)
        await self._close(
            tenant_id,
            execution_id,
            status,
            output=output,
            error=error,
            closed_at=description.close_time or now(),
            history_events=description.history_length,
            acting=_acting(description),
        )

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
        await self._close(tenant_id, execution_id, status, output=None, error=error, closed_at=now())

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

    async def _close(
        self,
        tenant_id: str,
        execution_id: str,
        status: ExecutionStatus,
        *,
        output: Any,
        error: ExecutionError | None,
        closed_at: datetime,
        history_events: int | None = None,
        acting: Mapping[str, datetime] = {},
    ) -> None:
        # Both before the record: while that is open, whoever finds it does all of this again.
        await self._stop_awaited(tenant_id, execution_id, at_once=status == "terminated")
        await self._tell_caller(tenant_id, execution_id, CallEnd(status=status, output=output, error=error))
        sealer = await self._vault.sealer(tenant_id)
        sealed = sealer.seal_json({"output": output, "error": error}, result_place(execution_id))
        async with self._database.transaction(tenant_id) as connection:
            await self._gate.lock(connection, (tenant_id,))
            closed = await connection.execute(
                update(executions)
                .where(*_is(tenant_id, execution_id), executions.c.status.in_(OPEN_STATUSES))
                .values(
                    status=status,
                    seq=executions.c.seq + 1,
                    result_sealed=sealed,
                    error_type=None if error is None else error.type,
                    closed_at=closed_at,
                    checked_at=now(),
                    stuck_reason=None,
                    stuck_since=None,
                    history_events=history_events,
                )
            )
            if not closed.rowcount:
                return
            await connection.execute(
                update(steps)
                .where(steps.c.tenant_id == tenant_id, steps.c.execution_id == execution_id)
                .where(steps.c.status.in_(("running", "waiting", "pending")))
                .values(status="canceled", closed_at=closed_at)
            )
            if self._announcements is not None:
                ending = Ending(
                    tenant_id=tenant_id,
                    execution_id=execution_id,
                    status=status,
                    closed_at=closed_at,
                    output=output,
                    error=error,
                )
                await self._announcements.tell_ends(connection, {tenant_id: sealer}, [ending])
            is_stirred = await self._gate.release(connection, tenant_id, execution_id, acting=acting)
        self._gate.stir(is_stirred)
        REPAIRED.labels(status).inc()
        _log.info("execution.repaired", tenant_id=tenant_id, execution_id=execution_id, status=status)

    async def _stop_awaited(self, tenant_id: str, execution_id: str, *, at_once: bool) -> None:
        """Stop what an execution waited for that ended without its last step.

        Raises:
            EngineUnavailable: Temporal cannot be reached.
        """
        for child_id in await self._awaited.of(tenant_id, execution_id):
            await self._awaited.stop(tenant_id, child_id, at_once=at_once)
            if at_once:
                await self.repair(tenant_id, child_id)

    async def _tell_caller(self, tenant_id: str, execution_id: str, end: CallEnd) -> None:
        """Tell who waits for an execution that ended without its last step.

        Raises:
            EngineUnavailable: Temporal cannot be reached.
        """
        query = select(executions.c.trigger).where(
            *_is(tenant_id, execution_id), executions.c.status.in_(OPEN_STATUSES)
        )
        async with self._database.read(tenant_id) as connection:
            kept = (await connection.execute(query)).scalar_one_or_none()
        caller_id = None if kept is None else restore_trigger(kept, None).awaited_by
        if caller_id is not None:
            await tell_caller(self._temporal, tenant_id, caller_id, execution_id, end)


async def _wait_for_last_words(ended_at: datetime | None) -> None:
    """Let the record of an execution that has just ended come to its last step, so that it closes with all of them."""
    left = timedelta() if ended_at is None else ended_at + LAST_WORDS - now()
    # Not longer than that, whatever the server's clock says.
    await asyncio.sleep(max(0.0, min(left, LAST_WORDS).total_seconds()))


async def _result(handle: "WorkflowHandle[Any, Any]", status: ExecutionStatus) -> tuple[Any, ExecutionError | None]:
    try:
        return await handle.result(rpc_timeout=RPC_TIMEOUT), None
    except WorkflowFailureError as failure:
        cause = failure.cause
        if isinstance(cause, ApplicationError):
            return None, ExecutionError(type=cause.type or "execution.failed", message=cause.message)
        return None, ExecutionError(type=f"execution.{status}", message=str(cause))


def _acting(description: WorkflowExecutionDescription) -> Mapping[str, datetime]:
    """Return which steps of an execution that was ended by force may still act, and until when at the latest: they hear
    of it by a heartbeat, and what sends none for as long as its timeout has timed out, as everywhere.
    """
    found = {}
    for each in description.raw_description.pending_activities:
        if each.state != PendingActivityState.PENDING_ACTIVITY_STATE_STARTED:
            continue
        options, ended_at = each.activity_options, description.close_time or now()
        limits = [each.last_started_time.ToDatetime(UTC) + options.start_to_close_timeout.ToTimedelta()]
        if heartbeat := options.heartbeat_timeout.ToTimedelta():
            limits.append(ended_at + heartbeat)
        found[each.activity_id] = min(limits)
    return found


#: what waits at the gate to begin is not compared with Temporal, which knows nothing of it
_BEGUN = or_(executions.c.admission.is_(None), ~UNBEGUN)


def _is(tenant_id: str, execution_id: str) -> tuple[Any, Any]:
    return executions.c.tenant_id == tenant_id, executions.c.id == execution_id
