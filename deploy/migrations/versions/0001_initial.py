"""The tables of the first release."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "effects",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.String(length=64), nullable=False),
        sa.Column("step", sa.String(length=255), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("plugin", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_effects")),
    )
    with op.batch_alter_table("effects", schema=None) as batch_op:
        batch_op.create_index("ix_effects_lease_until", ["lease_until"], unique=False)

    op.create_table(
        "tenants",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
    )
    op.create_table(
        "api_keys",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("key_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_api_keys_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_api_keys")),
    )
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.create_index("ix_api_keys_id", ["id"], unique=True)

    op.create_table(
        "credentials",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("details_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("data_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rotated_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_credentials_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_credentials")),
    )
    op.create_table(
        "executions",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("workflow_id", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("origin_id", sa.String(length=40), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("ended_run_id", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("start_key", sa.String(length=255), nullable=True),
        sa.Column("trigger", sa.JSON(), nullable=False),
        sa.Column("input_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("seed_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("result_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("error_type", sa.String(length=100), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("history_events", sa.Integer(), nullable=True),
        sa.Column("billable_actions", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_executions_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_executions")),
    )
    with op.batch_alter_table("executions", schema=None) as batch_op:
        batch_op.create_index("ix_executions_open", ["status", "checked_at"], unique=False)
        batch_op.create_index("ix_executions_status", ["tenant_id", "status", "id"], unique=False)
        batch_op.create_index("ix_executions_workflow", ["tenant_id", "workflow_id", "id"], unique=False)
        batch_op.create_index("uq_executions_start_key", ["tenant_id", "start_key"], unique=True)

    op.create_table(
        "idempotency_keys",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("claim", sa.String(length=32), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answer_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_idempotency_keys_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_idempotency_keys")),
    )
    with op.batch_alter_table("idempotency_keys", schema=None) as batch_op:
        batch_op.create_index("ix_idempotency_keys_created_at", ["created_at"], unique=False)

    op.create_table(
        "jobs",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("type", sa.String(length=200), nullable=False),
        sa.Column("queue", sa.String(length=20), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("payload_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("credentials", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=64), nullable=True),
        sa.Column("singleton_key", sa.String(length=64), nullable=True),
        sa.Column("traceparent", sa.String(length=55), nullable=True),
        sa.Column("max_attempts", sa.Integer(), nullable=True),
        sa.Column("timeout", sa.Float(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("available_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sequence", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("generation", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("redeliveries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("progress_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("result_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("error_type", sa.String(length=200), nullable=True),
        sa.Column("error_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_jobs_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("tenant_id", "idempotency_key", name=op.f("uq_jobs_tenant_id_idempotency_key")),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index(
            "ix_jobs_backlog",
            ["queue", "tenant_id", "available_at", "id"],
            unique=False,
            sqlite_where=sa.text("status = 'queued' AND published_at IS NULL"),
            postgresql_where=sa.text("status = 'queued' AND published_at IS NULL"),
        )
        batch_op.create_index(
            "ix_jobs_leased",
            ["lease_until"],
            unique=False,
            sqlite_where=sa.text("status = 'running'"),
            postgresql_where=sa.text("status = 'running'"),
        )
        batch_op.create_index(
            "ix_jobs_perishable",
            ["expires_at"],
            unique=False,
            sqlite_where=sa.text("status IN ('scheduled', 'queued', 'failed') AND expires_at IS NOT NULL"),
            postgresql_where=sa.text("status IN ('scheduled', 'queued', 'failed') AND expires_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_jobs_ripening",
            ["available_at"],
            unique=False,
            sqlite_where=sa.text("status IN ('scheduled', 'failed')"),
            postgresql_where=sa.text("status IN ('scheduled', 'failed')"),
        )
        batch_op.create_index(
            "ix_jobs_settled",
            ["closed_at"],
            unique=False,
            sqlite_where=sa.text("status IN ('completed', 'canceled', 'expired')"),
            postgresql_where=sa.text("status IN ('completed', 'canceled', 'expired')"),
        )
        batch_op.create_index("ix_jobs_status", ["tenant_id", "status", "id"], unique=False)
        batch_op.create_index(
            "ix_jobs_window",
            ["queue", "tenant_id", "published_at"],
            unique=False,
            sqlite_where=sa.text("status = 'queued' AND published_at IS NOT NULL"),
            postgresql_where=sa.text("status = 'queued' AND published_at IS NOT NULL"),
        )
        batch_op.create_index(
            "uq_jobs_singleton",
            ["tenant_id", "singleton_key"],
            unique=True,
            sqlite_where=sa.text(
                "singleton_key IS NOT NULL AND status IN ('scheduled', 'queued', 'running', 'failed')"
            ),
            postgresql_where=sa.text(
                "singleton_key IS NOT NULL AND status IN ('scheduled', 'queued', 'running', 'failed')"
            ),
        )

    op.create_table(
        "tenant_keys",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("master_version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_tenant_keys_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "version", name=op.f("pk_tenant_keys")),
    )
    op.create_table(
        "workflows",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("draft_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("published_version", sa.Integer(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("changing_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_workflows_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_workflows")),
    )
    with op.batch_alter_table("workflows", schema=None) as batch_op:
        batch_op.create_index("ix_workflows_settled", ["settled"], unique=False)

    op.create_table(
        "execution_tags",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("execution_id", sa.String(length=40), nullable=False),
        sa.Column("tag", sa.String(length=100), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "execution_id"],
            ["executions.tenant_id", "executions.id"],
            name=op.f("fk_execution_tags_tenant_id_execution_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "tag", "execution_id", name=op.f("pk_execution_tags")),
    )
    with op.batch_alter_table("execution_tags", schema=None) as batch_op:
        batch_op.create_index("ix_execution_tags_execution", ["tenant_id", "execution_id"], unique=False)

    op.create_table(
        "steps",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("execution_id", sa.String(length=40), nullable=False),
        sa.Column("node_id", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=200), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("error_type", sa.String(length=100), nullable=True),
        sa.Column("input_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("detail_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "execution_id"],
            ["executions.tenant_id", "executions.id"],
            name=op.f("fk_steps_tenant_id_execution_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "execution_id", "node_id", "path", name=op.f("pk_steps")),
    )
    op.create_table(
        "workflow_triggers",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("workflow_id", sa.String(length=40), nullable=False),
        sa.Column("trigger_id", sa.String(length=64), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=True),
        sa.Column("token_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("event_digest", sa.String(length=64), nullable=True),
        sa.Column("scheduled", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "workflow_id"],
            ["workflows.tenant_id", "workflows.id"],
            name=op.f("fk_workflow_triggers_tenant_id_workflow_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "workflow_id", "trigger_id", name=op.f("pk_workflow_triggers")),
    )
    with op.batch_alter_table("workflow_triggers", schema=None) as batch_op:
        batch_op.create_index("ix_workflow_triggers_event", ["tenant_id", "event_digest"], unique=False)
        batch_op.create_index("uq_workflow_triggers_token_hash", ["token_hash"], unique=True)

    op.create_table(
        "workflow_versions",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("workflow_id", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("definition_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("plan_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "workflow_id"],
            ["workflows.tenant_id", "workflows.id"],
            name=op.f("fk_workflow_versions_tenant_id_workflow_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "workflow_id", "version", name=op.f("pk_workflow_versions")),
    )


def downgrade() -> None:
    op.drop_table("workflow_versions")
    with op.batch_alter_table("workflow_triggers", schema=None) as batch_op:
        batch_op.drop_index("uq_workflow_triggers_token_hash")
        batch_op.drop_index("ix_workflow_triggers_event")

    op.drop_table("workflow_triggers")
    op.drop_table("steps")
    with op.batch_alter_table("execution_tags", schema=None) as batch_op:
        batch_op.drop_index("ix_execution_tags_execution")

    op.drop_table("execution_tags")
    with op.batch_alter_table("workflows", schema=None) as batch_op:
        batch_op.drop_index("ix_workflows_settled")

    op.drop_table("workflows")
    op.drop_table("tenant_keys")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_jobs_singleton",
            sqlite_where=sa.text(
                "singleton_key IS NOT NULL AND status IN ('scheduled', 'queued', 'running', 'failed')"
            ),
            postgresql_where=sa.text(
                "singleton_key IS NOT NULL AND status IN ('scheduled', 'queued', 'running', 'failed')"
            ),
        )
        batch_op.drop_index(
            "ix_jobs_window",
            sqlite_where=sa.text("status = 'queued' AND published_at IS NOT NULL"),
            postgresql_where=sa.text("status = 'queued' AND published_at IS NOT NULL"),
        )
        batch_op.drop_index("ix_jobs_status")
        batch_op.drop_index(
            "ix_jobs_settled",
            sqlite_where=sa.text("status IN ('completed', 'canceled', 'expired')"),
            postgresql_where=sa.text("status IN ('completed', 'canceled', 'expired')"),
        )
        batch_op.drop_index(
            "ix_jobs_ripening",
            sqlite_where=sa.text("status IN ('scheduled', 'failed')"),
            postgresql_where=sa.text("status IN ('scheduled', 'failed')"),
        )
        batch_op.drop_index(
            "ix_jobs_perishable",
            sqlite_where=sa.text("status IN ('scheduled', 'queued', 'failed') AND expires_at IS NOT NULL"),
            postgresql_where=sa.text("status IN ('scheduled', 'queued', 'failed') AND expires_at IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_jobs_leased", sqlite_where=sa.text("status = 'running'"), postgresql_where=sa.text("status = 'running'")
        )
        batch_op.drop_index(
            "ix_jobs_backlog",
            sqlite_where=sa.text("status = 'queued' AND published_at IS NULL"),
            postgresql_where=sa.text("status = 'queued' AND published_at IS NULL"),
        )

    op.drop_table("jobs")
    with op.batch_alter_table("idempotency_keys", schema=None) as batch_op:
        batch_op.drop_index("ix_idempotency_keys_created_at")

    op.drop_table("idempotency_keys")
    with op.batch_alter_table("executions", schema=None) as batch_op:
        batch_op.drop_index("uq_executions_start_key")
        batch_op.drop_index("ix_executions_workflow")
        batch_op.drop_index("ix_executions_status")
        batch_op.drop_index("ix_executions_open")

    op.drop_table("executions")
    op.drop_table("credentials")
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.drop_index("ix_api_keys_id")

    op.drop_table("api_keys")
    op.drop_table("tenants")
    with op.batch_alter_table("effects", schema=None) as batch_op:
        batch_op.drop_index("ix_effects_lease_until")

    op.drop_table("effects")
