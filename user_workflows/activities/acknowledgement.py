"""Says, when a step has stopped, that the execution which was ended over it has one less that may act."""

import asyncio
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from user_workflows.admission.acting import Acknowledgements

#: how often it is said while the record of the execution is still open, and seconds between
_TIMES, _PAUSE = 4, 0.5


class Acknowledging(Interceptor):
    """Listens to the activities of a worker."""

    def __init__(self, acknowledgements: Acknowledgements) -> None:
        self._acknowledgements = acknowledgements

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Listening(next, self._acknowledgements)


class _Listening(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, acknowledgements: Acknowledgements) -> None:
        super().__init__(next)
        self._acknowledgements = acknowledgements

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        try:
            return await super().execute_activity(input)
        finally:
            details = activity.cancellation_details()
            # What runs is unknown to Temporal: its execution is over, or nobody waits for this attempt any more.
            if details is not None and details.not_found:
                await self._tell()

    async def _tell(self) -> None:
        info = activity.info()
        tenant_id, _, execution_id = (info.workflow_id or "").partition("/")
        for _ in range(_TIMES):
            if await self._acknowledgements.take(tenant_id, execution_id, info.activity_id):
                return
            await asyncio.sleep(_PAUSE)
