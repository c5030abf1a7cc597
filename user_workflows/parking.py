"""Asks executions that do nothing but wait to park, so that they hold no build of the worker back (design §6)."""

import time
from datetime import timedelta

from msgspec import Struct
from temporalio.client import Client, WorkflowExecutionDescription

from user_workflows.client import RPC_TIMEOUT
from user_workflows.interpreter.messages import EXECUTION

#: how long an execution has to rest before it is asked
REST = timedelta(seconds=60)

#: and how long until it is asked again, when what it waited for was not so far away
PATIENCE = timedelta(hours=1)

#: executions that are remembered; what is forgotten is only looked at anew
_MOST_SEEN = 100_000


class _Seen(Struct, kw_only=True):
    history_length: int
    #: on the monotonic clock, as the next
    since: float
    asked_at: float | None = None


class Parker:
    """Notices executions at rest, as the sweep comes by.

    Args:
        temporal: carries them.
        rest: how long they have to rest.
    """

    def __init__(self, temporal: Client, *, rest: timedelta = REST) -> None:
        self._temporal = temporal
        self._rest = rest.total_seconds()
        #: run → what was seen of it
        self._seen: dict[str, _Seen] = {}

    async def ask(self, description: WorkflowExecutionDescription) -> bool:
        """Ask an open execution to park if it has rested long enough; return whether it was asked.

        Whether everything that remains waits for long is the execution's own to decide: it costs nothing to look at
        it here, and a few events to be asked in vain.
        """
        if description.workflow_type != EXECUTION or not _rests(description):
            self._seen.pop(description.run_id, None)
            return False
        at, length = time.monotonic(), description.raw_description.workflow_execution_info.history_length
        seen = self._seen.get(description.run_id)
        if seen is not None and seen.asked_at is not None and at - seen.asked_at < PATIENCE.total_seconds():
            return False
        if seen is None or seen.history_length != length:
            self._remember(description.run_id, _Seen(history_length=length, since=at))
            return False
        if at - seen.since < self._rest:
            return False
        handle = self._temporal.get_workflow_handle(description.id, run_id=description.run_id)
        await handle.signal("park", rpc_timeout=RPC_TIMEOUT)
        seen.asked_at = at
        return True

    def _remember(self, run_id: str, seen: _Seen) -> None:
        self._seen[run_id] = seen
        if len(self._seen) > _MOST_SEEN:
            del self._seen[next(iter(self._seen))]


def _rests(description: WorkflowExecutionDescription) -> bool:
    raw = description.raw_description
    return not (raw.pending_activities or raw.pending_children or raw.HasField("pending_workflow_task"))
