"""Tables of workflows, their published versions and their triggers."""

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
)

from plugins.storage.database import Instant, metadata
from plugins.vault.renewal import sealed_as
from user_workflows.errors import NotFound

workflows = Table(
    "workflows",
    metadata,
    Column("tenant_id", String(40), nullable=False),
    Column("id", String(40), nullable=False),
    Column("name_sealed", LargeBinary, nullable=False, info=sealed_as(lambda row: name_place(row.id))),
    Column("draft_sealed", LargeBinary, nullable=False, info=sealed_as(lambda row: draft_place(row.id))),
    #: rises with every change of the draft
    Column("revision", Integer, nullable=False),
    Column("published_version", Integer),
    #: whether its triggers start executions
    Column("active", Boolean, nullable=False),
    #: false while Temporal's schedules may differ from what this row says
    Column("settled", Boolean, nullable=False),
    #: until when one process alone may change what is published and active
    Column("changing_until", Instant),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    #: a deleted workflow is absent, but its executions still need its versions
    Column("deleted_at", Instant),
    PrimaryKeyConstraint("tenant_id", "id"),
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
    Index("ix_workflows_settled", "settled"),
)

workflow_versions = Table(
    "workflow_versions",
    metadata,
    Column("tenant_id", String(40), nullable=False),
    Column("workflow_id", String(40), nullable=False),
    Column("version", Integer, nullable=False),
    Column(
        "definition_sealed",
        LargeBinary,
        nullable=False,
        info=sealed_as(lambda row: definition_place(row.workflow_id, row.version)),
    ),
    Column(
        "plan_sealed", LargeBinary, nullable=False, info=sealed_as(lambda row: plan_place(row.workflow_id, row.version))
    ),
    #: none of one that was only tried
    Column("published_at", Instant),
    PrimaryKeyConstraint("tenant_id", "workflow_id", "version"),
    ForeignKeyConstraint(["tenant_id", "workflow_id"], ["workflows.tenant_id", "workflows.id"]),
)

#: What has been made for triggers outside of definitions. Rows stay when a trigger goes: it may come back.
workflow_triggers = Table(
    "workflow_triggers",
    metadata,
    Column("tenant_id", String(40), nullable=False),
    Column("workflow_id", String(40), nullable=False),
    Column("trigger_id", String(64), nullable=False),
    #: webhook: SHA-256 of the token in its URL
    Column("token_hash", String(64)),
    Column("token_sealed", LargeBinary, info=sealed_as(lambda row: token_place(row.workflow_id, row.trigger_id))),
    #: event: a digest of the type that it listens to
    Column("event_digest", String(64)),
    #: cron: whether Temporal may hold a schedule for it
    Column("scheduled", Boolean, nullable=False),
    PrimaryKeyConstraint("tenant_id", "workflow_id", "trigger_id"),
    ForeignKeyConstraint(["tenant_id", "workflow_id"], ["workflows.tenant_id", "workflows.id"]),
    Index("ix_workflow_triggers_event", "tenant_id", "event_digest"),
    Index("uq_workflow_triggers_token_hash", "token_hash", unique=True),
)


def is_possible_id(text: str) -> bool:
    """Return whether any id could be `text`: what is not is absent, and not every database can be asked for it."""
    return text.isascii() and text.isprintable()


def is_workflow(tenant_id: str, workflow_id: str) -> tuple[Any, ...]:
    """Return the conditions by which a row is that of a tenant's workflow, and not deleted.

    Raises:
        NotFound: no workflow could have this id.
    """
    if not is_possible_id(workflow_id):
        raise NotFound("workflow", workflow_id)
    return workflows.c.tenant_id == tenant_id, workflows.c.id == workflow_id, workflows.c.deleted_at.is_(None)


def name_place(workflow_id: str) -> str:
    return f"workflow.name:{workflow_id}"


def draft_place(workflow_id: str) -> str:
    return f"workflow.draft:{workflow_id}"


def definition_place(workflow_id: str, version: int) -> str:
    return f"workflow.definition:{workflow_id}:{version}"


def plan_place(workflow_id: str, version: int) -> str:
    return f"workflow.plan:{workflow_id}:{version}"


def token_place(workflow_id: str, trigger_id: str) -> str:
    return f"workflow.token:{workflow_id}:{trigger_id}"
