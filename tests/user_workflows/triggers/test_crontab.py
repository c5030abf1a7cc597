"""A real Temporal server fires when we say that it will."""

import pytest
from temporalio.client import Client, Schedule, ScheduleActionStartWorkflow, ScheduleSpec, ScheduleState

from internal_jobs.cron import cron_fault
from plugins.storage.ids import new_id
from user_workflows.definition.trigger_configs import CronConfig, crontab, next_firing


def test_days_of_the_month_and_of_the_week_add_up() -> None:
    assert crontab(CronConfig(cron="0 9 1,15 * fri")) == ["0 9 1,15 * *", "0 9 * * FRI"]
    assert crontab(CronConfig(cron="0 9 1,15 * *")) == ["0 9 1,15 * *"]
    assert crontab(CronConfig(cron="0 9 */2 * 1-5")) == ["0 9 */2 * 1-5"]


@pytest.mark.parametrize(
    "cron",
    [
        "* * * * *",
        "*/7 * * * *",
        "5/15 3 * * *",
        "0 9 * * MON-FRI",
        "0 9 * * mon,wed",
        "30 8-18/2 * jan-jun *",
        "0 0 1 * *",
        "0 0 29 2 *",
        "0 12 * * 0",
        "0 12 * * 7",
        "0 12 * * 5-7",
        "0 9 13 * FRI",
        "15 6 */10 * 1",
    ],
)
@pytest.mark.parametrize("timezone", ["UTC", "America/New_York"])
async def test_temporal_fires_next_when_we_say(cron: str, timezone: str, temporal_address: str) -> None:
    config = CronConfig(cron=cron, timezone=timezone)
    assert cron_fault(cron) is None
    client = await Client.connect(temporal_address)
    handle = await client.create_schedule(
        new_id("trg"),
        Schedule(
            action=ScheduleActionStartWorkflow("nobody", id=new_id("ex"), task_queue="nobody"),
            spec=ScheduleSpec(cron_expressions=crontab(config), time_zone_name=timezone),
            state=ScheduleState(paused=True),
        ),
    )
    try:
        # A minute may turn between the two readings.
        before, described, after = next_firing(config), await handle.describe(), next_firing(config)
        assert described.info.next_action_times[0] in (before, after)
    finally:
        await handle.delete()
