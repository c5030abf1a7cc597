"""What a Temporal user would write by hand for the same work: the baseline of every ratio."""

import asyncio
from datetime import timedelta

from temporalio import activity, workflow

QUEUE = "baseline"


@activity.defn(name="baseline.read")
async def read(value: int) -> int:
    return value + 1


@workflow.defn(name="baseline.ten")
class TenActivities:
    """Ten activities, one after the other."""

    @workflow.run
    async def run(self) -> int:
        value = 0
        for _ in range(10):
            value = await workflow.execute_activity(read, value, start_to_close_timeout=timedelta(seconds=30))
        return value


@workflow.defn(name="baseline.apiece")
class ActivityApiece:
    """So many activities, side by side."""

    @workflow.run
    async def run(self, count: int) -> list[int]:
        calls = [
            workflow.execute_activity(read, value, start_to_close_timeout=timedelta(seconds=60))
            for value in range(count)
        ]
        return list(await asyncio.gather(*calls))


@workflow.defn(name="baseline.empty")
class Empty:
    @workflow.run
    async def run(self) -> None:
        return None
