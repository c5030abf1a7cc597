"""The table `job_inbox`: how another service enqueues jobs inside a SQL transaction of its own.

A row is a promise: committed, it becomes a job; rolled back, it never was one. What is written here, and in
``deploy/job_inbox.md``, is a contract: it grows, and does not break. This module needs no vault and no Redis.
"""

from typing import Any, Literal

import msgspec
from sqlalchemy import Column, ForeignKey, Insert, PrimaryKeyConstraint, String, Table, Text, func

from internal_jobs.draft import check
from internal_jobs.jobs import JobRequest
from plugins.storage.database import Instant, metadata
from plugins.storage.ids import new_id
from plugins.storage.tenants import tenants

#: How the parameters of plain SQL are written, by the names of PEP 249; ``dollar`` is asyncpg's.
ParamStyle = Literal["named", "pyformat", "format", "qmark", "dollar"]

job_inbox = Table(
    "job_inbox",
    metadata,
    Column("tenant_id", String(40), ForeignKey(tenants.c.id), nullable=False),
    # becomes the job's: ``job_`` and 26 of 0-9a-z
    Column("id", String(40), nullable=False),
    # the body of ``POST /v1/jobs``, as JSON
    Column("request", Text, nullable=False),
    # of jobs with an equal one the first is made
    Column("idempotency_key", String(200)),
    Column("created_at", Instant, nullable=False, server_default=func.current_timestamp()),
    PrimaryKeyConstraint("tenant_id", "id"),
)

_MARKS: dict[ParamStyle, tuple[str, str, str, str]] = {
    "named": (":tenant_id", ":id", ":request", ":idempotency_key"),
    "pyformat": ("%(tenant_id)s", "%(id)s", "%(request)s", "%(idempotency_key)s"),
    "format": ("%s", "%s", "%s", "%s"),
    "qmark": ("?", "?", "?", "?"),
    "dollar": ("$1", "$2", "$3", "$4"),
}


def insert_job(tenant_id: str, request: JobRequest, *, key: str | None = None) -> Insert:
    """Return the statement, for a SQLAlchemy connection or session of any kind, that enqueues a job.

    The id of the job to come is ``statement.compile().params["id"]``, or `job_row`'s.

    Raises:
        InvalidJob: the request could never be kept.
    """
    return job_inbox.insert().values(job_row(tenant_id, request, key=key))


def job_sql(
    tenant_id: str, request: JobRequest, *, key: str | None = None, style: ParamStyle = "pyformat"
) -> tuple[str, dict[str, Any] | tuple[Any, ...]]:
    """Return plain SQL and its parameters, for a cursor of any driver.

    Raises:
        InvalidJob: the request could never be kept.
    """
    row = job_row(tenant_id, request, key=key)
    columns, marks = ", ".join(row), ", ".join(_MARKS[style])
    statement = f"INSERT INTO job_inbox ({columns}) VALUES ({marks})"  # noqa: S608 - names of our own
    return statement, row if style in ("named", "pyformat") else tuple(row.values())


def job_row(tenant_id: str, request: JobRequest, *, key: str | None = None) -> dict[str, Any]:
    """Return what is inserted.

    Raises:
        InvalidJob: the request could never be kept.
    """
    check(request)
    return {
        "tenant_id": tenant_id,
        "id": new_id("job"),
        "request": msgspec.json.encode(request).decode(),
        "idempotency_key": key,
    }
