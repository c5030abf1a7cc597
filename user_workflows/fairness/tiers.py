"""What an installation grants a tenant of its engine: a tier, a weight against others, and perhaps workers of its own.

Read from the database at most every `HOLDS` seconds and tenant: a change counts for what starts after that, and, by
`Shares`, for what open executions do next. They stay on the queue on which they began.
"""

import time
from collections.abc import Mapping
from ctypes import c_float
from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct
from sqlalchemy import Column, Float, ForeignKey, String, Table, func, select

from plugins.storage.database import Database, metadata
from plugins.storage.tenants import tenants
from user_workflows.interpreter.queues import EXECUTION_QUEUE, dedicated_queue
from user_workflows.recent import Recent

TierName = Literal["basic", "standard", "premium"]

#: a tenant's share of busy workers against another's, where its row names no other
WEIGHTS: Mapping[TierName, float] = dict(zip(get_args(TierName), (0.25, 1.0, 4.0), strict=True))

#: seconds for which what was read is taken to hold
HOLDS = 2.0

#: a queue's name; ``steps`` would be the shared queue of activities
QueueName = Annotated[str, Meta(pattern=r"^(?!steps$)[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$(?!\n)")]

tenant_tiers = Table(
    "tenant_tiers",
    metadata,
    Column("tenant_id", String(40), ForeignKey(tenants.c.id), primary_key=True),
    Column("tier", String(16), nullable=False),
    #: instead of the tier's
    Column("weight", Float),
    #: whose workers run its executions; those that all tenants share otherwise
    Column("queue", String(40)),
)


class Tier(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a tenant is granted."""

    tier: TierName = "standard"
    #: instead of the tier's
    weight: Annotated[float, Meta(ge=0.001, le=1000)] | None = None
    #: of workers that run nobody else's executions: `gateway worker user-workflows --queue NAME`
    queue: QueueName | None = None

    @property
    def share(self) -> float:
        """The weight that counts."""
        return WEIGHTS[self.tier] if self.weight is None else self.weight

    @property
    def task_queue(self) -> str:
        """Temporal's name of the queue on which executions start."""
        return EXECUTION_QUEUE if self.queue is None else dedicated_queue(self.queue)


class Tiers:
    """The tiers of all tenants; one without a row is `standard`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read: Recent[str, tuple[float, Tier]] = Recent(10_000)

    async def of(self, tenant_id: str) -> Tier:
        """Return what a tenant is granted, as it was at most `HOLDS` seconds ago."""
        read_at, tier = self._read.get(tenant_id) or (-HOLDS, None)
        if tier is not None and time.monotonic() - read_at < HOLDS:
            return tier
        return await self.get(tenant_id)

    async def get(self, tenant_id: str) -> Tier:
        """Return what a tenant is granted now."""
        query = select(tenant_tiers).where(tenant_tiers.c.tenant_id == tenant_id)
        async with self._database.read(tenant_id) as connection:
            row = (await connection.execute(query)).one_or_none()
        tier = Tier() if row is None else Tier(tier=row.tier, weight=row.weight, queue=row.queue)
        self._read.put(tenant_id, (time.monotonic(), tier))
        return tier

    async def put(self, tenant_id: str, tier: Tier) -> None:
        """Grant a tenant this, in place of what it had; its open executions stay on the queue on which they began."""
        values = {"tier": tier.tier, "weight": tier.weight, "queue": tier.queue}
        statement = self._database.insert(tenant_tiers).values(tenant_id=tenant_id, **values)
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(statement.on_conflict_do_update(index_elements=["tenant_id"], set_=values))
        self._read.put(tenant_id, (time.monotonic(), tier))

    async def shares(self, most: int) -> Mapping[str, float]:
        """Return the weights of so many tenants that have, or had, another tier than most: as floats of 32 bits."""
        query = select(tenant_tiers).order_by(tenant_tiers.c.tenant_id.desc()).limit(most)
        async with self._database.across.read() as connection:
            rows = (await connection.execute(query)).all()
        return {row.tenant_id: c_float(Tier(tier=row.tier, weight=row.weight).share).value for row in rows}

    async def queues(self) -> Mapping[str, int]:
        """Return the queues of their own that tenants have, and how many each."""
        query = select(tenant_tiers.c.queue, func.count()).where(tenant_tiers.c.queue.is_not(None)).group_by("queue")
        async with self._database.across.read() as connection:
            return {row.queue: row[1] for row in await connection.execute(query)}
