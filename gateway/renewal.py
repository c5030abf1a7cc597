"""The chore after a rotation: it seals again with present keys, and discards those that nothing needs."""

from datetime import timedelta

import structlog
from msgspec import Struct

from gateway.compose import Platform
from gateway.installation import INSTALLATION, register_installation
from internal_jobs.client import JobRequest
from plugins.sdk.context import Context
from plugins.sdk.errors import Permanent
from plugins.sdk.plugin import Plugin, plugin
from plugins.storage.database import now
from plugins.vault.errors import KeysDestroyed
from plugins.vault.keys import DataKey

log = structlog.get_logger(__name__)

RENEW = "vault.renew"

#: by how much the chore comes after the key seals, for clocks that differ
_MARGIN = timedelta(seconds=2)


class RenewConfig(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    #: without one: every tenant that has a retired key
    tenant_id: str | None = None


def renew_plugin(platform: Platform) -> Plugin:
    """Make the chore over the stores of this process."""

    @plugin(RENEW, version="1.0.0", effect="idempotent")
    async def vault_renew(config: RenewConfig, ctx: Context) -> dict[str, int]:
        """Seal again what retired keys sealed, and destroy those that nothing needs any more.

        A repetition goes on where an earlier attempt ended.
        """
        if ctx.tenant_id != INSTALLATION:
            raise Permanent("this chore is the installation's own", type="chore.forbidden")
        renewed = {}
        tenants = await platform.vault.rotated_tenants() if config.tenant_id is None else [config.tenant_id]
        for tenant_id in tenants:
            try:
                count = await platform.renewal.renew(tenant_id, on_progress=ctx.heartbeat)
            except KeysDestroyed:
                continue
            if count:
                renewed[tenant_id] = count
                # What a schedule gives to its firings is sealed, too.
                await platform.workflows.reschedule(tenant_id)
            await platform.renewal.discard(tenant_id)
        return renewed

    return vault_renew


async def ask_for_renewal(platform: Platform, tenant_id: str, key: DataKey) -> None:
    """Enqueue the chore for a tenant, for when its new key seals everywhere."""
    await register_installation(platform.database)
    wait = max((key.seals_from - now() + _MARGIN).total_seconds(), 0.0)
    request = JobRequest(type=RENEW, payload={"tenantId": tenant_id}, queue="bulk", delay=f"{wait:.0f}s", timeout="60m")
    await platform.jobs.enqueue(INSTALLATION, request, key=f"{RENEW}:{tenant_id}:{key.version}")


async def ask_for_renewals(platform: Platform, period: int) -> None:
    """Enqueue the chore for every tenant, unless somebody has in this period."""
    request = JobRequest(type=RENEW, queue="bulk", timeout="60m")
    await platform.jobs.enqueue(INSTALLATION, request, key=f"{RENEW}:{period}")
