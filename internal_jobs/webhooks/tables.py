"""The tables of outbound webhooks."""

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    text,
)

from plugins.storage.database import Instant, metadata
from plugins.storage.tenants import tenants
from plugins.vault.renewal import sealed_as

endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("tenant_id", String(40), ForeignKey(tenants.c.id), nullable=False),
    Column("id", String(40), nullable=False),
    # ``{url, events, description}``
    Column("spec_sealed", LargeBinary, nullable=False, info=sealed_as(lambda row: spec_place(row.id))),
    # the present one, and the one before it
    Column("secrets_sealed", LargeBinary, nullable=False, info=sealed_as(lambda row: secrets_place(row.id))),
    Column("previous_until", Instant),
    Column("enabled", Boolean, nullable=False),
    Column("disabled_reason", String(300)),
    Column("disabled_at", Instant),
    Column("failing_since", Instant),
    Column("failures", Integer, nullable=False),
    Column("last_delivered_at", Instant),
    Column("created_at", Instant, nullable=False),
    PrimaryKeyConstraint("tenant_id", "id"),
)

messages = Table(
    "webhook_messages",
    metadata,
    Column("tenant_id", String(40), ForeignKey(tenants.c.id), nullable=False),
    Column("id", String(40), nullable=False),
    # a CloudEvent in JSON, byte for byte as it is sent
    Column("body_sealed", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
    PrimaryKeyConstraint("tenant_id", "id"),
    Index("ix_webhook_messages_created", "created_at"),
)

deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("tenant_id", String(40), nullable=False),
    Column("id", String(40), nullable=False),
    Column("endpoint_id", String(40), nullable=False),
    Column("message_id", String(40), nullable=False),
    Column("type", String(128), nullable=False),
    Column("status", String(20), nullable=False),
    # SHA-256 of the ordering key
    Column("order_digest", String(64)),
    Column("job_id", String(40)),
    # rises with each redelivery that is asked for
    Column("round", Integer, nullable=False),
    # of the first attempt of this round
    Column("begun_at", Instant),
    Column("attempts", Integer, nullable=False),
    Column("last_status", Integer),
    Column("reason", String(300)),
    Column("created_at", Instant, nullable=False),
    Column("closed_at", Instant),
    PrimaryKeyConstraint("tenant_id", "id"),
    ForeignKeyConstraint(
        ["tenant_id", "endpoint_id"], ["webhook_endpoints.tenant_id", "webhook_endpoints.id"], ondelete="CASCADE"
    ),
    ForeignKeyConstraint(["tenant_id", "message_id"], ["webhook_messages.tenant_id", "webhook_messages.id"]),
    Index("ix_webhook_deliveries_endpoint", "tenant_id", "endpoint_id", "id"),
    Index("ix_webhook_deliveries_message", "tenant_id", "message_id"),
    Index("ix_webhook_deliveries_closed", "closed_at"),
)

_OPEN = text("status IN ('held', 'pending', 'failing')")
Index(
    "ix_webhook_deliveries_open",
    deliveries.c.tenant_id,
    deliveries.c.endpoint_id,
    deliveries.c.order_digest,
    sqlite_where=_OPEN,
    postgresql_where=_OPEN,
)

attempts = Table(
    "webhook_attempts",
    metadata,
    Column("tenant_id", String(40), nullable=False),
    Column("id", String(40), nullable=False),
    Column("delivery_id", String(40), nullable=False),
    Column("number", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("status", Integer),
    Column("error_type", String(200)),
    # ``{response, message}``
    Column("detail_sealed", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant_id", "id"),
    ForeignKeyConstraint(
        ["tenant_id", "delivery_id"], ["webhook_deliveries.tenant_id", "webhook_deliveries.id"], ondelete="CASCADE"
    ),
    Index("ix_webhook_attempts_delivery", "tenant_id", "delivery_id", "number"),
)


def spec_place(endpoint_id: str) -> str:
    return f"webhook_endpoint.spec:{endpoint_id}"


def secrets_place(endpoint_id: str) -> str:
    return f"webhook_endpoint.secrets:{endpoint_id}"
