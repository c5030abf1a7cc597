"""Limits: how many jobs of a tenant, of a type or to a host run at a time, and how many start in a while.

The relay reads them each time it publishes: a change counts from the next job on.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from sqlalchemy import (
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Select,
    String,
    Table,
    delete,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.allowances import Allowances, Rule
from internal_jobs.destination import host_digest
from internal_jobs.errors import InvalidLimit
from internal_jobs.inflight import InFlight
from plugins.host.retry import Duration
from plugins.sdk.duration import parse_duration
from plugins.storage.database import Database, Instant, metadata, now
from plugins.storage.tenants import tenants
from plugins.vault.keys import Vault
from plugins.vault.renewal import sealed_as

#: tenant  all jobs of a tenant
#: type    the jobs of one type
#: host    the jobs whose payload has a ``url`` on one host
Scope = Literal["tenant", "type", "host"]

#: The longest time over which starts may be counted.
_LONGEST = 86_400.0

job_limits = Table(
    "job_limits",
    metadata,
    Column("tenant_id", String(40), ForeignKey(tenants.c.id), nullable=False),
    # what it limits: ``tenant``, ``type:<type>`` or ``host:<digest>``
    Column("id", String(220), nullable=False),
    Column("subject_sealed", LargeBinary, nullable=False, info=sealed_as(lambda row: _place(row.id))),
    Column("max_concurrent", Integer),
    Column("rate_count", Integer),
    # seconds
    Column("rate_per", Float),
    # the earliest moment of the next start
    Column("next_at", Instant),
    PrimaryKeyConstraint("tenant_id", "id"),
)


class Rate(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """So many starts in so long, evenly spread."""

    count: Annotated[int, Meta(ge=1, le=1_000_000)]
    per: Duration = "1s"

    @property
    def per_minute(self) -> int:
        return round(self.count * 60 / parse_duration(self.per))


class Limit(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    scope: Scope
    #: the type, or the host; none for a tenant
    subject: Annotated[str, Meta(max_length=200)] = ""
    #: published or running at a time; 0 holds them all back
    max_concurrent: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    rate: Rate | None = None


class Limits:
    """The limits of each tenant, and those of the installation, which hold for all tenants together."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def put(self, tenant_id: str, limit: Limit) -> Limit:
        """Set a limit, in place of an earlier one on the same.

        Raises:
            InvalidLimit: it limits nothing, or nothing that there is.
            VaultError: the tenant is unknown, or its keys were destroyed.
        """
        _check(limit)
        id = _id(limit.scope, limit.subject)
        sealer = await self._vault.sealer(tenant_id)
        values = {
            "subject_sealed": sealer.seal_json(limit.subject, _place(id)),
            "max_concurrent": limit.max_concurrent,
            "rate_count": limit.rate and limit.rate.count,
            "rate_per": limit.rate and parse_duration(limit.rate.per),
            "next_at": None,
        }
        statement = self._database.insert(job_limits).values(tenant_id=tenant_id, id=id, **values)
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(statement.on_conflict_do_update(index_elements=["tenant_id", "id"], set_=values))
        return limit

    async def list(self, tenant_id: str) -> Sequence[Limit]:
        query = select(job_limits).where(job_limits.c.tenant_id == tenant_id).order_by(job_limits.c.id)
        async with self._database.read(tenant_id) as connection:
            rows = (await connection.execute(query)).all()
        if not rows:
            return []
        sealer = await self._vault.sealer(tenant_id)
        return [_limit(row, sealer.open_json(row.subject_sealed, _place(row.id))) for row in rows]

    async def remove(self, tenant_id: str, scope: Scope, subject: str) -> bool:
        """Lift a limit; return whether there was one."""
        one = (job_limits.c.tenant_id == tenant_id, job_limits.c.id == _id(scope, subject))
        async with self._database.transaction(tenant_id) as connection:
            return (await connection.execute(delete(job_limits).where(*one))).rowcount > 0


def limits_at(present: ColumnElement[datetime]) -> Select[Any]:
    """Return the question for `read_allowances`: all limits, at a moment given as SQL."""
    return select(
        job_limits.c.tenant_id,
        job_limits.c.id,
        job_limits.c.max_concurrent,
        job_limits.c.rate_count,
        job_limits.c.rate_per,
        job_limits.c.next_at,
        present.label("present"),
    )


async def read_allowances(connection: AsyncConnection, limits: Select[Any], flight: Sequence[InFlight]) -> Allowances:
    """Return what all limits still allow at the moment that is asked about."""
    rows = (await connection.execute(limits)).all()
    rules = [
        Rule(
            tenant_id=row.tenant_id,
            id=row.id,
            max_concurrent=row.max_concurrent,
            interval=None if row.rate_count is None else timedelta(seconds=row.rate_per / row.rate_count),
            next_at=row.next_at,
        )
        for row in rows
    ]
    return Allowances(rules, flight, rows[0].present if rows else now())


async def store_spent(connection: AsyncConnection, allowances: Allowances) -> None:
    """Remember what was taken from the rates."""
    for (tenant_id, id), next_at in allowances.spent.items():
        one = (job_limits.c.tenant_id == tenant_id, job_limits.c.id == id)
        await connection.execute(update(job_limits).where(*one).values(next_at=next_at))


def _check(limit: Limit) -> None:
    if limit.max_concurrent is None and limit.rate is None:
        raise InvalidLimit("/maxConcurrent", "or /rate is needed: without them nothing is limited")
    if (limit.scope == "tenant") != (limit.subject == ""):
        detail = "stays empty: all jobs of the tenant are meant" if limit.subject else f"names the {limit.scope}"
        raise InvalidLimit("/subject", detail)
    if limit.scope == "host" and not set("/:@?# ").isdisjoint(limit.subject):
        raise InvalidLimit("/subject", "is a host alone, without scheme, port or path, e.g. api.example.com")
    if limit.rate is not None and not 0 < parse_duration(limit.rate.per) <= _LONGEST:
        raise InvalidLimit("/rate/per", "is longer than nothing and at most a day")


def _id(scope: Scope, subject: str) -> str:
    if scope == "tenant":
        return scope
    return f"{scope}:{host_digest(subject) if scope == 'host' else subject}"


def _limit(row: Any, subject: str) -> Limit:
    rate = None if row.rate_count is None else Rate(count=row.rate_count, per=f"{row.rate_per:g}s")
    scope: Scope = row.id.partition(":")[0]
    return Limit(scope=scope, subject=subject, max_concurrent=row.max_concurrent, rate=rate)


def _place(id: str) -> str:
    return f"job_limit.subject:{id}"
