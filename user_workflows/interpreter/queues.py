"""Where the work of executions waits, and in which order it is taken: Temporal's task queues, priorities and fairness.

The server takes lower priorities first, and those of one priority by fairness: tenant after tenant, by their weights.
An execution is given its priority and weight when it is started; its further runs and its activities inherit them. A
weight that changes meanwhile is made that of the queue (`user_workflows.fairness.shares`), which comes first.
"""

from temporalio import workflow
from temporalio.common import Priority

#: of all tenants that have no queue of their own
EXECUTION_QUEUE = "user-workflows"
#: activities have a queue of their own: eager dispatch would bypass the server's fairness
STEP_QUEUE = "user-workflows.steps"

#: somebody waits for it
INTERACTIVE = 2
#: everything else, which fairness alone orders; the server's default
ORDINARY = 3


def dedicated_queue(name: str) -> str:
    """Return the queue that a tenant's own workers serve."""
    return f"{EXECUTION_QUEUE}.{name}"


def queue_of_steps(execution_queue: str) -> str:
    """Return where the activities of executions wait that are on a queue."""
    if execution_queue.startswith(dedicated_queue("")):
        return f"{execution_queue}.steps"
    return STEP_QUEUE


def step_queue() -> str:
    """Return where the activities of this execution wait."""
    return queue_of_steps(workflow.info().task_queue)


def step_priority(tenant_id: str, path: tuple[int, ...] = ()) -> Priority:
    """Return the priority of an activity: its execution's, but what a loop does is never urgent.

    Args:
        tenant_id: whose it is.
        path: item and round numbers inside loops.
    """
    return Priority(priority_key=ORDINARY if path else None, fairness_key=tenant_id)
