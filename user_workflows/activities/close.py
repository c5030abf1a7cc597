"""The local activities that make records durable, before an execution closes or goes on in another run (design §9)."""

from msgspec import UNSET
from temporalio import activity
from temporalio.client import Client

from user_workflows.client import RPC_TIMEOUT
from user_workflows.executions.callers import tell_caller
from user_workflows.interpreter.ending import CLOSE
from user_workflows.interpreter.messages import CallEnd, ExecutionRecord
from user_workflows.interpreter.workflow import CANCEL, CHECKPOINT
from user_workflows.metrics import CLOSED, DURATION
from user_workflows.records.writer import RecordWriter


class CloseActivities:
    def __init__(self, records: RecordWriter, temporal: Client) -> None:
        self._records = records
        self._temporal = temporal

    @activity.defn(name=CHECKPOINT)
    async def checkpoint(self, record: ExecutionRecord) -> None:
        """Write a record and return when it is committed: the next run tells nothing of it again."""
        await self._records.write(record)

    @activity.defn(name=CANCEL)
    async def cancel(self) -> None:
        """Ask Temporal to cancel the execution that asks."""
        await self._temporal.get_workflow_handle(activity.info().workflow_id or "").cancel(rpc_timeout=RPC_TIMEOUT)

    @activity.defn(name=CLOSE)
    async def close(self, record: ExecutionRecord) -> None:
        """Write the final record and return when it is committed, and the execution that waits for this one knows."""
        await self._records.write(record)
        if record.awaited_by is not UNSET:
            end = CallEnd(status=record.status, output=record.output, error=record.error)
            await tell_caller(self._temporal, record.tenant_id, record.awaited_by, record.execution_id, end)
        CLOSED.labels(record.status).inc()
        if record.closed_at is not None:
            DURATION.labels(record.status).observe((record.closed_at - record.started_at).total_seconds())
