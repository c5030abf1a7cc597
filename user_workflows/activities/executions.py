"""Activities that start one execution for another, as everybody does: by the same key, once."""

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from user_workflows.errors import Conflict, InputTooLarge, NotFound
from user_workflows.executions.starts import Starts
from user_workflows.interpreter.activity_calls import CallStart
from user_workflows.interpreter.calls import CALL, ERROR_WORKFLOW
from user_workflows.interpreter.queues import INTERACTIVE

_log = structlog.get_logger(__name__)


class CallActivities:
    def __init__(self, starts: Starts) -> None:
        self._starts = starts

    @activity.defn(name=CALL)
    async def call(self, call: CallStart) -> str:
        """Start the execution that a `workflow.call` asks for, and return its id."""
        return await self._start(call)

    @activity.defn(name=ERROR_WORKFLOW)
    async def start_error_workflow(self, call: CallStart) -> str:
        """Start the error workflow of an execution that fails, and return the execution's id."""
        try:
            return await self._start(call)
        except ApplicationError as error:
            _log.warning(
                "errorWorkflow.notStarted",
                tenant_id=call.tenant_id,
                execution_id=call.trigger.execution_id,
                workflow_id=call.workflow_id,
                reason=error.message,
            )
            raise

    async def _start(self, call: CallStart) -> str:
        try:
            return await self._starts.start(
                call.tenant_id,
                call.workflow_id,
                trigger=call.trigger,
                version=call.version,
                key=call.key,
                # Whoever waits for the caller waits for what it waits for.
                is_urgent=call.trigger.is_awaited and activity.info().priority.priority_key == INTERACTIVE,
            )
        except NotFound as error:
            raise ApplicationError(error.message, type="workflow.call.notFound", non_retryable=True) from error
        except Conflict as error:
            raise ApplicationError(error.message, type="workflow.call.unpublished", non_retryable=True) from error
        except InputTooLarge as error:
            raise ApplicationError(error.message, type="workflow.call.inputTooLarge", non_retryable=True) from error
