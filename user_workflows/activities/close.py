"""The local activity that ends every execution: its final record, before the workflow closes (design §9)."""

from temporalio import activity

from user_workflows.interpreter.messages import ExecutionRecord
from user_workflows.interpreter.workflow import CLOSE
from user_workflows.metrics import CLOSED, DURATION
from user_workflows.records import RecordWriter


class CloseActivity:
    def __init__(self, records: RecordWriter) -> None:
        self._records = records

    @activity.defn(name=CLOSE)
    async def close(self, record: ExecutionRecord) -> None:
        """Write the final record and return when it is committed."""
        await self._records.write(record)
        CLOSED.labels(record.status).inc()
        if record.closed_at is not None:
            DURATION.labels(record.status).observe((record.closed_at - record.started_at).total_seconds())
