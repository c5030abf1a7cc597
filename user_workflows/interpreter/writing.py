"""How a workflow writes a record before it goes on: by a local activity, which a marker in its history stands for."""

from collections.abc import Callable
from datetime import timedelta

from msgspec import structs
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from user_workflows.interpreter.errors import PAYLOAD_TOO_LARGE, ExecutionFailed, is_too_large
from user_workflows.interpreter.messages import ExecutionError, ExecutionRecord


async def write(activity: str, record: ExecutionRecord, flush: Callable[[], None]) -> None:
    """Write a record, and return when it is committed.

    Args:
        activity: that writes it.
        record: to be written.
        flush: emits what has not been told of, its steps too: they go ahead where they are too large for the record.

    Raises:
        ApplicationError: it is too large even without its steps.
    """
    try:
        await _write_whole(activity, record)
    except ApplicationError as error:
        if not is_too_large(error):
            raise
        # In a record of their own, which is committed no later than this one.
        flush()
        await _write_whole(activity, structs.replace(record, steps=()))


async def _write_whole(activity: str, record: ExecutionRecord) -> None:
    await workflow.execute_local_activity(
        activity,
        record,
        summary="the last record" if record.closed_at is not None else "records",
        start_to_close_timeout=timedelta(seconds=30),
        retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10)),
    )


def too_large(what: str, error: ApplicationError) -> Exception:
    """Return what an execution ends with of which something is too large to travel; any other error stays itself."""
    if not is_too_large(error):
        return error
    return ExecutionFailed(ExecutionError(type=PAYLOAD_TOO_LARGE, message=f"{what} of the execution: {error.message}"))
