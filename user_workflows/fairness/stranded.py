"""Task queues on which executions wait, or would start, and that no worker serves."""

from collections.abc import Mapping, Sequence
from datetime import UTC, timedelta

from msgspec import Struct
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from plugins.storage.database import now
from user_workflows.builds import GONE_AFTER
from user_workflows.client import RPC_TIMEOUT
from user_workflows.interpreter.queues import EXECUTION_QUEUE, dedicated_queue, queue_of_steps

#: open executions that are looked at for the queues that they wait on
_MOST_SEEN = 500


class Served(Struct, frozen=True, kw_only=True):
    """A task queue, and whether somebody works for it."""

    #: as tenants have it; ``None``: the one of all others
    name: str | None
    #: whose executions start on it
    tenants: int
    #: whether executions are open on it
    is_in_use: bool
    is_served: bool


async def look_at_queues(temporal: Client, granted: Mapping[str, int]) -> Sequence[Served]:
    """Return the shared queue and every one of their own: that tenants have now, or that executions still wait on.

    Args:
        temporal: knows the workers.
        granted: queue → how many tenants have it.
    """
    used = await _used_queues(temporal)
    found = [Served(name=None, tenants=0, is_in_use=True, is_served=await _is_served(temporal, EXECUTION_QUEUE))]
    for name in sorted(used | granted.keys()):
        is_served = await _is_served(temporal, dedicated_queue(name))
        found.append(Served(name=name, tenants=granted.get(name, 0), is_in_use=name in used, is_served=is_served))
    return found


async def _used_queues(temporal: Client) -> set[str]:
    prefix = dedicated_queue("")
    query = f'TaskQueue STARTS_WITH "{prefix}" AND ExecutionStatus = "Running"'
    return {
        each.task_queue.removeprefix(prefix)
        async for each in temporal.list_workflows(query, limit=_MOST_SEEN, rpc_timeout=timedelta(seconds=3))
    }


async def _is_served(temporal: Client, queue: str) -> bool:
    """Whether workers ask for both, executions and their activities."""
    return await _has_pollers(temporal, queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW) and await _has_pollers(
        temporal, queue_of_steps(queue), TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    )


async def _has_pollers(temporal: Client, queue: str, type: TaskQueueType.ValueType) -> bool:
    request = DescribeTaskQueueRequest(
        namespace=temporal.namespace, task_queue=TaskQueue(name=queue), task_queue_type=type
    )
    answer = await temporal.workflow_service.describe_task_queue(request, timeout=RPC_TIMEOUT)
    since = now() - GONE_AFTER
    return any(poller.last_access_time.ToDatetime(UTC) > since for poller in answer.pollers)
