"""Retention: what is over is kept for as long as the settings say, then deleted, store by store."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

import structlog
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError

from gateway.compose import Platform
from gateway.installation import INSTALLATION, register_installation
from gateway.renewal import ask_for_renewals
from gateway.shredding import ask_for_shredding
from internal_jobs.client import JobRequest
from plugins.sdk.context import Context
from plugins.sdk.errors import Permanent
from plugins.sdk.plugin import Plugin, plugin
from plugins.storage.database import now

log = structlog.get_logger(__name__)

PURGE = "retention.purge"

#: seconds between two purges
INTERVAL = 3_600
#: seconds after which a purge is tried again that could not be enqueued
PAUSE = 60

Purge = Callable[[datetime], Awaitable[int]]


class PurgeConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """There is nothing to say: the settings say it."""


def purge_plugin(platform: Platform) -> Plugin:
    """Make the chore over the stores of this process."""
    settings = platform.settings.retention
    stores: Mapping[str, tuple[Purge, float]] = {
        "executions": (platform.executions.purge, settings.executions),
        "inbox": (platform.inbox.purge, settings.inbox),
        "jobs": (platform.jobs.purge, settings.jobs),
        "deliveries": (platform.webhooks.deliveries.purge, settings.jobs),
        "scheduleFirings": (platform.job_schedules.purge, settings.jobs),
        "effects": (platform.ledger.purge, settings.effects),
        "idempotency": (platform.answers.purge, settings.idempotency),
    }

    @plugin(PURGE, version="1.0.0", effect="idempotent")
    async def retention_purge(config: PurgeConfig, ctx: Context) -> dict[str, int]:
        """Delete what is older than its retention, of all tenants."""
        if ctx.tenant_id != INSTALLATION:
            raise Permanent("this chore is the installation's own", type="chore.forbidden")
        purged = dict.fromkeys(stores, 0)
        for name, (purge, seconds) in stores.items():
            before = now() - timedelta(seconds=seconds)
            # A store deletes a bounded number at a time, so that nobody waits long for its locks.
            while not ctx.cancelled and (count := await purge(before)):
                purged[name] += count
                ctx.heartbeat(purged)
        return purged

    return retention_purge


async def keep_purging(platform: Platform) -> None:
    """Enqueue the chores now and every `INTERVAL` seconds, once in the whole installation; ends by cancellation."""
    while True:
        try:
            await ask_for_purge(platform)
            # What was cut off and not taken up again.
            period = int(now().timestamp()) // INTERVAL
            await ask_for_renewals(platform, period)
            await ask_for_shredding(platform, period)
            pause = INTERVAL
        except (SQLAlchemyError, OSError) as error:
            log.warning("retention.notEnqueued", error=type(error).__name__, retry_in=PAUSE)
            pause = PAUSE
        await asyncio.sleep(pause)


async def ask_for_purge(platform: Platform) -> None:
    """Enqueue the chore, unless somebody has in this interval."""
    await register_installation(platform.database)
    period = int(now().timestamp()) // INTERVAL
    # Every jobs worker asks; the key makes one job of it.
    request = JobRequest(type=PURGE, queue="bulk", timeout="30m")
    await platform.jobs.enqueue(INSTALLATION, request, key=f"{PURGE}:{period}")
