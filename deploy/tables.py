"""Every table of every floor: what a migration compares the database with."""

from gateway.audit import trail as audit_records
from gateway.auth import keys as api_keys
from gateway.idempotency import store as idempotency_keys
from internal_jobs import limits as job_limits
from internal_jobs import table as jobs
from internal_jobs.dead_letters import table as job_replays
from internal_jobs.inbox import contract as job_inbox
from internal_jobs.promotion import table as job_attempts
from internal_jobs.schedules import table as job_schedules
from internal_jobs.webhooks import tables as webhooks
from plugins.host import ledger
from plugins.mail import senders as email_senders
from plugins.mail import templates as email_templates
from plugins.storage import blobs, tenants
from plugins.storage.database import metadata
from plugins.vault import keys as tenant_keys
from plugins.vault import table as credentials
from user_workflows.admission import tables as admission
from user_workflows.approvals import tables as approvals
from user_workflows.executions import tables as executions
from user_workflows.fairness import tiers as tenant_tiers
from user_workflows.inbox import store as inbound_events
from user_workflows.workflows import tables as workflows

#: Importing a module puts its tables into the one `metadata`; `tests/deploy/test_migrations.py` misses none.
MODULES = (
    tenants,
    tenant_keys,
    credentials,
    ledger,
    jobs,
    job_attempts,
    job_limits,
    job_replays,
    job_inbox,
    job_schedules,
    webhooks,
    workflows,
    executions,
    tenant_tiers,
    approvals,
    inbound_events,
    email_senders,
    email_templates,
    admission,
    blobs,
    api_keys,
    idempotency_keys,
    audit_records,
)

__all__ = ["MODULES", "metadata"]
