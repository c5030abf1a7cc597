"""The audit trail: who did what to which object, when, and what came of it. Rows are added and read, never changed."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct
from sqlalchemy import (
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    and_,
    or_,
    select,
)

from gateway.auth.permissions import Role
from gateway.auth.principal import Principal
from gateway.installation import register_installation
from plugins.storage.database import Database, Instant, metadata, now
from plugins.storage.ids import new_id
from plugins.storage.tenants import tenants

audit_records = Table(
    "audit_records",
    metadata,
    Column("tenant_id", String(40), ForeignKey(tenants.c.id), nullable=False),
    Column("id", String(40), nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", String(300), nullable=False),
    Column("role", String(20), nullable=False),
    Column("action", String(80), nullable=False),
    Column("path", String(500), nullable=False),
    Column("object_id", String(80)),
    Column("trace_id", String(32), nullable=False),
    PrimaryKeyConstraint("tenant_id", "id"),
    Index("ix_audit_records_object_id", "tenant_id", "object_id"),
)

#: a table of its own, so that what came of an action is added to the trail and changes nothing of it
audit_outcomes = Table(
    "audit_outcomes",
    metadata,
    Column("tenant_id", String(40), nullable=False),
    Column("record_id", String(40), nullable=False),
    Column("at", Instant, nullable=False),
    Column("status", Integer, nullable=False),
    Column("made_id", String(80)),
    PrimaryKeyConstraint("tenant_id", "record_id"),
    ForeignKeyConstraint(["tenant_id", "record_id"], ["audit_records.tenant_id", "audit_records.id"]),
    Index("ix_audit_outcomes_made_id", "tenant_id", "made_id"),
)


class Outcome(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What came of an action."""

    at: datetime
    #: of the HTTP answer
    status: int
    #: the id of the object that was made
    made_id: str | None = None


class AuditRecord(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One action, written before it was done."""

    id: str
    at: datetime
    #: the id of the key that was presented, or whose token it was; ``admin``: the installation's own key
    actor: str
    role: Role
    #: the ``operationId`` of the API's description
    action: str
    path: str
    #: what it was done to; absent where something was made
    object_id: str | None = None
    trace_id: str
    #: absent: the process ended before it could say, and the action may have been done or not
    outcome: Outcome | None = None


class Trail:
    """The audit trails of all tenants, and the installation's own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, principal: Principal, *, action: str, path: str, object_id: str | None, trace_id: str) -> str:
        """Write down what is about to be done, and return the id of the record."""
        if principal.is_admin:
            await register_installation(self._database)
        id = new_id("aud")
        row = {
            "tenant_id": principal.tenant_id,
            "id": id,
            "at": now(),
            "actor": principal.id,
            "role": principal.role,
            "action": action,
            "path": path[:500],
            "object_id": object_id,
            "trace_id": trace_id,
        }
        async with self._database.transaction(principal.tenant_id) as connection:
            await connection.execute(audit_records.insert().values(row))
        return id

    async def conclude(self, principal: Principal, record_id: str, *, status: int, made_id: str | None) -> None:
        """Write down what came of it."""
        row = {
            "tenant_id": principal.tenant_id,
            "record_id": record_id,
            "at": now(),
            "status": status,
            "made_id": made_id,
        }
        async with self._database.transaction(principal.tenant_id) as connection:
            await connection.execute(audit_outcomes.insert().values(row))

    async def list(
        self,
        tenant_id: str,
        *,
        action: str | None = None,
        actor: str | None = None,
        object_id: str | None = None,
        after: datetime | None = None,
        limit: int,
        before: str | None = None,
    ) -> Sequence[AuditRecord]:
        """Return records, newest first, those older than the id `before`.

        Args:
            tenant_id: whose trail.
            action: an ``operationId``.
            actor: the id of a key.
            object_id: of what was acted on, or made.
            after: when it was done.
            limit: the most records to return.
            before: the id of a record.
        """
        its_outcome = and_(
            audit_outcomes.c.tenant_id == audit_records.c.tenant_id, audit_outcomes.c.record_id == audit_records.c.id
        )
        query = (
            select(
                audit_records,
                audit_outcomes.c.at.label("concluded_at"),
                audit_outcomes.c.status,
                audit_outcomes.c.made_id,
            )
            .join(audit_outcomes, its_outcome, isouter=True)
            .where(audit_records.c.tenant_id == tenant_id)
            .order_by(audit_records.c.id.desc())
            .limit(limit)
        )
        if action is not None:
            query = query.where(audit_records.c.action == action)
        if actor is not None:
            query = query.where(audit_records.c.actor == actor)
        if object_id is not None:
            query = query.where(or_(audit_records.c.object_id == object_id, audit_outcomes.c.made_id == object_id))
        if after is not None:
            query = query.where(audit_records.c.at > after)
        if before is not None:
            query = query.where(audit_records.c.id < before)
        async with self._database.read(tenant_id) as connection:
            rows = await connection.execute(query)
        return [
            AuditRecord(
                id=row.id,
                at=row.at,
                actor=row.actor,
                role=row.role,
                action=row.action,
                path=row.path,
                object_id=row.object_id,
                trace_id=row.trace_id,
                outcome=None
                if row.status is None
                else Outcome(at=row.concluded_at, status=row.status, made_id=row.made_id),
            )
            for row in rows
        ]
