"""Executions and their steps read from their rows, as they stand there: one, some, or page by page."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, func, select

from plugins.storage.database import Database
from plugins.vault.keys import Vault
from user_workflows.errors import NotFound
from user_workflows.executions.rounds import Path, Places, rounds_of
from user_workflows.executions.tables import execution_tags, executions, path_key, steps
from user_workflows.executions.views import (
    SHOWN,
    Execution,
    Page,
    StepPage,
    read_execution,
    read_step,
    unreached_step,
)
from user_workflows.plan.model import Plan

# Built once: for one row SQLAlchemy takes longer to build a statement than a database to carry it out.
_TAGS = (
    select(func.aggregate_strings(execution_tags.c.tag, ","))
    .where(execution_tags.c.tenant_id == executions.c.tenant_id)
    .where(execution_tags.c.execution_id == executions.c.id)
    .scalar_subquery()
)
_MINE = select(*SHOWN, _TAGS.label("tags")).where(executions.c.tenant_id == bindparam("tenant"))
_BY_ID = _MINE.where(executions.c.id == bindparam("execution"))


class Reading:
    """The executions of all tenants, as their rows have them.

    Args:
        database, vault: hold the rows.
    """

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def one(self, tenant_id: str, execution_id: str) -> Execution:
        """Return one execution.

        Raises:
            NotFound: no such execution of this tenant.
        """
        for execution in await self._fetch(tenant_id, _BY_ID, {"execution": execution_id}):
            return execution
        raise NotFound("execution", execution_id)

    async def several(self, tenant_id: str, ids: Collection[str]) -> Mapping[str, Execution]:
        """Return those with these ids that there are, by id."""
        if not ids:
            return {}
        return {one.id: one for one in await self._fetch(tenant_id, _MINE.where(executions.c.id.in_(ids)))}

    async def started_by(self, tenant_id: str, key: str) -> Execution:
        """Return the execution that a key stands for.

        Raises:
            NotFound: none was started by that key.
        """
        for execution in await self._fetch(tenant_id, _MINE.where(executions.c.start_key == key)):
            return execution
        raise NotFound("execution", key)

    async def page(
        self,
        tenant_id: str,
        *,
        workflow_id: str | None,
        status: str | None,
        tag: str | None,
        started_after: datetime | None,
        limit: int,
        cursor: str | None,
    ) -> Page:
        """Return executions, newest first."""
        query = _MINE
        if workflow_id is not None:
            query = query.where(executions.c.workflow_id == workflow_id)
        if status is not None:
            query = query.where(executions.c.status == status)
        if tag is not None:
            tagged = select(execution_tags.c.execution_id).where(
                execution_tags.c.tenant_id == tenant_id, execution_tags.c.tag == tag
            )
            query = query.where(executions.c.id.in_(tagged))
        if started_after is not None:
            query = query.where(executions.c.started_at > started_after)
        if cursor is not None:
            query = query.where(executions.c.id < cursor)
        found = await self._fetch(tenant_id, query.order_by(executions.c.id.desc()).limit(limit + 1))
        return Page(items=found[:limit], next_cursor=found[limit - 1].id if len(found) > limit else None)

    async def steps(
        self,
        tenant_id: str,
        execution: Execution,
        plan: Plan,
        *,
        within: str | None,
        path: Path,
        limit: int,
        cursor: str | None,
    ) -> StepPage:
        """Return every node of a plan as a step of an execution, reached or not.

        With the id of a loop as `within`, those in its body instead, page by page; see `Rounds.page`.

        Raises:
            NotFound: the plan has no such loop.
            InvalidInput: `path` is too long for the loop, or `cursor` is of another.
        """
        sealer = await self._vault.sealer(tenant_id)
        places = Places(items=[(node.id, ()) for node in plan.nodes])
        async with self._database.read(tenant_id) as connection:
            if within is not None:
                rounds = rounds_of(tenant_id, execution.id, plan, within)
                places = await rounds.page(connection, path, limit=limit, cursor=cursor)
            query = select(steps).where(
                steps.c.tenant_id == tenant_id,
                steps.c.execution_id == execution.id,
                steps.c.node_id.in_({node_id for node_id, _ in places.items}),
                steps.c.path.in_({path_key(path) for _, path in places.items}),
            )
            rows = (await connection.execute(query)).all()
        known = {(row.node_id, row.path): row for row in rows}
        found = [(known.get((node_id, path_key(path))), node_id, path) for node_id, path in places.items]
        return StepPage(
            items=tuple(
                unreached_step(node_id, execution, path) if row is None else read_step(row, sealer)
                for row, node_id, path in found
            ),
            next_cursor=places.next_cursor,
        )

    async def _fetch(
        self, tenant_id: str, query: "Select[Any]", parameters: Mapping[str, Any] | None = None
    ) -> tuple[Execution, ...]:
        async with self._database.read(tenant_id) as connection:
            rows = (await connection.execute(query, {"tenant": tenant_id, **(parameters or {})})).all()
        if not rows:
            return ()
        sealer = await self._vault.sealer(tenant_id)
        return tuple(read_execution(row, sealer) for row in rows)
