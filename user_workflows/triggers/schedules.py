"""Cron triggers as Temporal Schedules: put with activation, removed with it."""

from datetime import timedelta

import msgspec
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
)
from temporalio.common import Priority
from temporalio.service import RPCError

from plugins.sdk.duration import parse_duration
from user_workflows.client import RPC_TIMEOUT, is_not_found, reaching_temporal
from user_workflows.definition.model import Trigger
from user_workflows.definition.trigger_configs import CronConfig, crontab
from user_workflows.interpreter.queues import EXECUTION_QUEUE
from user_workflows.triggers.fire import FIRE, FireInput


class Schedules:
    """The schedules of all tenants' cron triggers."""

    def __init__(self, temporal: Client) -> None:
        self._temporal = temporal

    async def put(self, tenant_id: str, workflow_id: str, trigger: Trigger) -> None:
        """Create or replace the schedule of a cron trigger.

        Raises:
            EngineUnavailable: Temporal cannot be reached.
        """
        schedule_id = _schedule_id(tenant_id, workflow_id, trigger.id)
        schedule = _schedule(tenant_id, workflow_id, trigger)
        async with reaching_temporal():
            try:
                await self._temporal.create_schedule(schedule_id, schedule, rpc_timeout=RPC_TIMEOUT)
            except ScheduleAlreadyRunningError:
                handle = self._temporal.get_schedule_handle(schedule_id)
                await handle.update(lambda _: ScheduleUpdate(schedule=schedule), rpc_timeout=RPC_TIMEOUT)

    async def remove(self, tenant_id: str, workflow_id: str, trigger_id: str) -> None:
        """Delete the schedule of a cron trigger; one that is absent is no error.

        Raises:
            EngineUnavailable: Temporal cannot be reached.
        """
        handle = self._temporal.get_schedule_handle(_schedule_id(tenant_id, workflow_id, trigger_id))
        async with reaching_temporal():
            try:
                await handle.delete(rpc_timeout=RPC_TIMEOUT)
            except RPCError as error:
                if not is_not_found(error):
                    raise


def _schedule_id(tenant_id: str, workflow_id: str, trigger_id: str) -> str:
    return f"{tenant_id}/{workflow_id}/{trigger_id}"


def _schedule(tenant_id: str, workflow_id: str, trigger: Trigger) -> Schedule:
    config = msgspec.convert(trigger.config, CronConfig)
    fire = FireInput(
        tenant_id=tenant_id,
        workflow_id=workflow_id,
        trigger_id=trigger.id,
        overlap=config.overlap,
        payload=config.payload,
    )
    return Schedule(
        action=ScheduleActionStartWorkflow(
            FIRE,
            fire,
            id=f"{tenant_id}/fire/{workflow_id}/{trigger.id}",
            task_queue=EXECUTION_QUEUE,
            priority=Priority(fairness_key=tenant_id),
        ),
        spec=ScheduleSpec(cron_expressions=crontab(config), time_zone_name=config.timezone),
        policy=SchedulePolicy(
            # Overlap is decided where the execution starts: a firing itself never waits for another.
            overlap=ScheduleOverlapPolicy.ALLOW_ALL,
            catchup_window=timedelta(seconds=parse_duration(config.catch_up)),
        ),
    )
