"""Makes a changed tier count for what open executions do next: they carry the weight with which they were started.

Temporal takes weights of a task queue's own before those that tasks carry. They are compared with the tiers in the
database every few seconds, by every worker for the queues that it serves: so a change reaches them however it was made,
and whatever was down meanwhile.
"""

import asyncio
from collections.abc import Mapping

import structlog
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, UpdateTaskQueueConfigRequest
from temporalio.client import Client
from temporalio.service import RPCError

from user_workflows.client import RPC_TIMEOUT
from user_workflows.fairness.tiers import Tiers
from user_workflows.interpreter.queues import queue_of_steps

#: seconds between two comparisons
INTERVAL = 5.0

#: tenants whose weights a task queue can hold, as Temporal has it by default (`matching.maxFairnessKeyWeightOverrides`)
MOST = 1_000

_IDENTITY = "user-workflows.shares"

_log = structlog.get_logger(__name__)


class Shares:
    """Args:
    tiers: of all tenants.
    temporal: orders tasks.
    queue: of executions; with it goes the one of their steps.
    """

    def __init__(self, tiers: Tiers, temporal: Client, queue: str) -> None:
        self._tiers = tiers
        self._temporal = temporal
        self._queues = (
            (queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW),
            (queue_of_steps(queue), TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
        )
        self._queue = queue

    async def run(self) -> None:
        """Compare until cancelled."""
        was_refused = False
        while True:
            try:
                await self.settle()
                was_refused = False
            except RPCError as error:
                # A server without such weights, or not reached: what starts carries its weight all the same.
                if not was_refused:
                    _log.warning("fairness.sharesNotSet", queue=self._queue, error=error.message)
                was_refused = True
            except Exception:
                _log.exception("fairness.sharesFailed", queue=self._queue)
            await asyncio.sleep(INTERVAL)

    async def settle(self) -> None:
        """Give each task queue the weights of the tenants that have, or had, a tier.

        Raises:
            RPCError: Temporal cannot be reached, or refuses.
        """
        wanted = await self._tiers.shares(MOST)
        for queue, kind in self._queues:
            held = await self.held(queue, kind)
            new = {tenant_id: share for tenant_id, share in wanted.items() if held.get(tenant_id) != share}
            gone = sorted(held.keys() - wanted.keys())
            if not (new or gone):
                continue
            request = UpdateTaskQueueConfigRequest(
                namespace=self._temporal.namespace,
                identity=_IDENTITY,
                task_queue=queue,
                task_queue_type=kind,
                set_fairness_weight_overrides=new,
                unset_fairness_weight_overrides=gone,
            )
            await self._temporal.workflow_service.update_task_queue_config(request, timeout=RPC_TIMEOUT)

    async def held(self, queue: str, kind: TaskQueueType.ValueType) -> Mapping[str, float]:
        """Return the weights that a task queue has of its own."""
        request = DescribeTaskQueueRequest(
            namespace=self._temporal.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=kind,
            report_config=True,
        )
        answer = await self._temporal.workflow_service.describe_task_queue(request, timeout=RPC_TIMEOUT)
        return answer.config.fairness_weight_overrides
