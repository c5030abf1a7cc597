"""The rows of approvals and their links: how they are found, when they are over, and where what is sealed belongs."""

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from plugins.storage.database import now
from user_workflows.approvals.tables import approval_links, approvals
from user_workflows.errors import NotFound
from user_workflows.executions.tables import OPEN_STATUSES, executions, steps
from user_workflows.interpreter.approvals import CloseApproval, OpenApproval, about_of, outcome_of
from user_workflows.tokens import hash_of


def id_of(call: OpenApproval | CloseApproval) -> str:
    step = f"{call.tenant_id}/{call.execution_id}/{call.generation}/{about_of(call.node_id, call.path)}"
    return f"apr_{hashlib.sha256(step.encode()).hexdigest()[:40]}"


def live() -> Any:
    """Select the approvals whose step may wait still: of the present generation of an open execution."""
    its_execution = and_(executions.c.tenant_id == approvals.c.tenant_id, executions.c.id == approvals.c.execution_id)
    its_step = and_(
        steps.c.tenant_id == approvals.c.tenant_id,
        steps.c.execution_id == approvals.c.execution_id,
        steps.c.node_id == approvals.c.node_id,
        steps.c.path == approvals.c.path,
    )
    return (
        select(approvals)
        .join(executions, its_execution)
        .outerjoin(steps, its_step)
        .where(executions.c.status.in_(OPEN_STATUSES), executions.c.generation == approvals.c.generation)
        .where(approvals.c.closed_at.is_(None))
        # A step that is not recorded yet has only just begun.
        .where(steps.c.status.is_(None) | steps.c.status.in_(("pending", "running", "waiting")))
    )


async def find_link(connection: AsyncConnection, token: str) -> "Row[Any]":
    query = select(approval_links).where(approval_links.c.token_hash == hash_of(token))
    link = (await connection.execute(query)).one_or_none()
    if link is None:
        raise NotFound("approval", "with this token")
    return link


async def open_row(connection: AsyncConnection, link: "Row[Any]") -> "tuple[Row[Any], Sequence[Row[Any]]]":
    """Return the approval of a link, and all of its links.

    Raises:
        NotFound: it is closed; said as of a token that never was.
    """
    query = live().where(approvals.c.tenant_id == link.tenant_id, approvals.c.id == link.approval_id)
    row = (await connection.execute(query)).one_or_none()
    links = await links_of(connection, link.tenant_id, link.approval_id)
    if row is None or is_over(row, links):
        raise NotFound("approval", "with this token")
    return row, links


async def links_of(connection: AsyncConnection, tenant_id: str, approval_id: str) -> "Sequence[Row[Any]]":
    query = select(approval_links).where(
        approval_links.c.tenant_id == tenant_id, approval_links.c.approval_id == approval_id
    )
    return (await connection.execute(query.order_by(approval_links.c.id))).all()


def is_over(row: "Row[Any]", links: "Sequence[Row[Any]]") -> bool:
    decisions = [{"decision": link.decision} for link in links if link.decision is not None]
    is_late = row.expires_at is not None and row.expires_at <= now()
    return is_late or outcome_of(decisions, len(links), row.required) is not None


def this_link(link: "Row[Any]") -> tuple[Any, Any]:
    return approval_links.c.tenant_id == link.tenant_id, approval_links.c.id == link.id


def request_place(id: str) -> str:
    return f"approval.request:{id}"


def link_place(id: str) -> str:
    return f"approval.link:{id}"


def decision_place(id: str) -> str:
    return f"approval.decision:{id}"
