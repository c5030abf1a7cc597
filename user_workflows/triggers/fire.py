"""What a Temporal Schedule starts: a tiny workflow whose one activity starts an execution as everybody does."""

from datetime import datetime, timedelta
from typing import Any

import structlog
from msgspec import Struct
from temporalio import activity, workflow
from temporalio.common import RetryPolicy, SearchAttributeKey

from user_workflows.errors import Conflict, InputTooLarge, NotFound
from user_workflows.executions.starts import Starts
from user_workflows.interpreter.messages import TriggerCall
from user_workflows.interpreter.queues import STEP_QUEUE

FIRE = "trigger.fire"
START = "execution.start"

_log = structlog.get_logger(__name__)

_SCHEDULED_AT = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")


class FireInput(Struct, frozen=True, kw_only=True):
    tenant_id: str
    workflow_id: str
    trigger_id: str
    #: what happens while the execution of an earlier firing is still open
    overlap: str
    #: merged into what expressions see as `trigger`
    payload: dict[str, Any]


class FireStart(Struct, frozen=True, kw_only=True):
    fire: FireInput
    #: the nominal time of this firing
    scheduled_at: datetime


@workflow.defn(name=FIRE)
class Fire:
    """One firing of one cron trigger."""

    @workflow.run
    async def run(self, fire: FireInput) -> None:
        scheduled_at = workflow.info().typed_search_attributes.get(_SCHEDULED_AT) or workflow.info().start_time
        await workflow.execute_activity(
            START,
            FireStart(fire=fire, scheduled_at=scheduled_at),
            task_queue=STEP_QUEUE,
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30)),
        )


class FireActivity:
    def __init__(self, starts: Starts) -> None:
        self._starts = starts

    @activity.defn(name=START)
    async def start(self, firing: FireStart) -> str | None:
        """Start the execution of one firing, once: the key is the schedule and its nominal time."""
        fire = firing.fire
        if not await self._starts.is_scheduled(fire.tenant_id, fire.workflow_id, fire.trigger_id):
            # A schedule that a crash left behind, until `Workflows.settle` removes it.
            return None
        series = f"cron:{fire.workflow_id}:{fire.trigger_id}:"
        if fire.overlap == "skip" and await self._starts.is_open(fire.tenant_id, series):
            return None
        moment = firing.scheduled_at.isoformat().replace("+00:00", "Z")
        trigger = TriggerCall(type="cron", id=fire.trigger_id, payload={"scheduledAt": moment, **fire.payload})
        try:
            return await self._starts.start(fire.tenant_id, fire.workflow_id, trigger=trigger, key=series + moment)
        except (NotFound, Conflict):
            # The workflow was deleted or withdrawn between the firing and now; there is nothing to start.
            return None
        except InputTooLarge as error:
            # Drawn so, and capped since: the next firing is no smaller, and waiting does not help.
            _log.warning("trigger.inputTooLarge", workflow_id=fire.workflow_id, error=error.message)
            return None
