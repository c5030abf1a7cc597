"""Changes of what a workflow has published and active, kept in step with Temporal's schedules.

The order is always: the row says that a change is under way, Temporal's schedules are made to fit it, the row is
changed. A process that dies in between, or finds Temporal away, leaves a row that is not `settled`; whoever looks next
makes the schedules fit the row again. One change at a time: the row carries a lease.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol

from sqlalchemy import Row, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from plugins.storage.database import Database, now
from user_workflows.definition.model import Trigger
from user_workflows.errors import Conflict, EngineUnavailable, NotFound
from user_workflows.workflows.tables import is_possible_id, workflow_triggers, workflows

#: How long a change may take; the schedules of one must be made in less.
LEASE = timedelta(seconds=60)
_ENGINE_SECONDS = 20.0
_PATIENCE_SECONDS = 5.0


class Schedules(Protocol):
    """What keeps the time of cron triggers. Both methods may be repeated, and raise `EngineUnavailable`."""

    async def put(self, tenant_id: str, workflow_id: str, trigger: Trigger) -> None: ...

    async def remove(self, tenant_id: str, workflow_id: str, trigger_id: str) -> None: ...


class Change:
    """One change under way. While it lasts nobody else changes `row`, its draft and name excepted."""

    def __init__(self, database: Database, schedules: Schedules, row: "Row[Any]") -> None:
        self.row = row
        self._database = database
        self._schedules = schedules
        self._removed: set[str] = set()
        self._put: dict[str, Trigger] = {}

    async def fit_schedules(self, wanted: Iterable[Trigger]) -> None:
        """Make Temporal hold the schedules of the `wanted` cron triggers of this workflow, and no others.

        Raises:
            EngineUnavailable: Temporal cannot be reached; what was changed there already will be put right.
        """
        self._put = {trigger.id: trigger for trigger in wanted if trigger.type == "cron"}
        tenant_id, workflow_id = self.row.tenant_id, self.row.id
        scheduled = await self._scheduled()
        self._removed = scheduled - self._put.keys()
        if not self._put and not scheduled:
            return
        async with self._database.transaction(self.row.tenant_id) as connection:
            await self._unsettle(connection)
        try:
            async with asyncio.timeout(_ENGINE_SECONDS):
                for trigger_id in sorted(self._removed):
                    await self._schedules.remove(tenant_id, workflow_id, trigger_id)
                for trigger in self._put.values():
                    await self._schedules.put(tenant_id, workflow_id, trigger)
        except TimeoutError as error:
            raise EngineUnavailable() from error

    @asynccontextmanager
    async def commit(self, **values: Any) -> AsyncIterator[AsyncConnection]:
        """Write `values` into the row, and whatever else is done inside, in one transaction; ends the change."""
        async with self._database.transaction(self.row.tenant_id) as connection:
            settled = {"settled": True, "changing_until": None, "updated_at": now(), **values}
            held = await connection.execute(update(workflows).where(*self._held()).values(settled))
            if held.rowcount == 0:
                raise Conflict(f"workflow {self.row.id} was changed by somebody else at the same time; try again")
            if self._removed:
                gone = update(workflow_triggers).where(*self._mine(), workflow_triggers.c.trigger_id.in_(self._removed))
                await connection.execute(gone.values(scheduled=False))
            yield connection

    async def abandon(self) -> None:
        """Let others change the workflow; nothing of this change is kept in the row."""
        async with self._database.transaction(self.row.tenant_id) as connection:
            held = await connection.execute(update(workflows).where(*self._held()).values(changing_until=None))
            if held.rowcount == 0 and (self._put or self._removed):
                # The lease ran out and went to somebody else, whose schedules this change may have undone since.
                await self._unsettle(connection)

    async def _scheduled(self) -> set[str]:
        query = select(workflow_triggers.c.trigger_id).where(*self._mine(), workflow_triggers.c.scheduled)
        async with self._database.read(self.row.tenant_id) as connection:
            return set((await connection.execute(query)).scalars())

    async def _unsettle(self, connection: AsyncConnection) -> None:
        """Say that Temporal may hold other schedules than the row tells, these among them."""
        await connection.execute(update(workflows).where(*self._row()).values(settled=False))
        rows = [
            {"tenant_id": self.row.tenant_id, "workflow_id": self.row.id, "trigger_id": id, "scheduled": True}
            for id in self._put
        ]
        if rows:
            insert = self._database.insert(workflow_triggers).values(rows)
            key = ["tenant_id", "workflow_id", "trigger_id"]
            await connection.execute(insert.on_conflict_do_update(index_elements=key, set_={"scheduled": True}))

    def _row(self) -> tuple[Any, ...]:
        return workflows.c.tenant_id == self.row.tenant_id, workflows.c.id == self.row.id

    def _held(self) -> tuple[Any, ...]:
        return *self._row(), workflows.c.changing_until == self.row.changing_until

    def _mine(self) -> tuple[Any, ...]:
        return (
            workflow_triggers.c.tenant_id == self.row.tenant_id,
            workflow_triggers.c.workflow_id == self.row.id,
        )


class Changes:
    """Begins changes, one at a time for each workflow."""

    def __init__(self, *, database: Database, schedules: Schedules) -> None:
        self._database = database
        self._schedules = schedules

    @asynccontextmanager
    async def begin(self, tenant_id: str, workflow_id: str, *, deleted: bool = False) -> AsyncIterator[Change]:
        """Begin a change and wait shortly for another one to end; the caller ends it with `Change.commit`.

        Args:
            tenant_id: whose workflow it is.
            workflow_id: the workflow.
            deleted: whether a deleted workflow may be changed too.

        Raises:
            NotFound: no such workflow of this tenant.
            Conflict: another change takes too long.
        """
        if not is_possible_id(workflow_id):
            raise NotFound("workflow", workflow_id)
        deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        while (row := await self._acquire(tenant_id, workflow_id, deleted)) is None:
            if asyncio.get_running_loop().time() > deadline:
                raise Conflict(f"workflow {workflow_id} is being changed by somebody else; try again shortly")
            await asyncio.sleep(0.1)
        change = Change(self._database, self._schedules, row)
        try:
            yield change
        except BaseException:
            await asyncio.shield(change.abandon())
            raise

    async def unsettled(self, *, limit: int = 100) -> list[tuple[str, str]]:
        """Return tenant and id of workflows whose schedules may differ from what their rows say."""
        query = (
            select(workflows.c.tenant_id, workflows.c.id)
            .where(~workflows.c.settled, or_(workflows.c.changing_until.is_(None), workflows.c.changing_until < now()))
            .limit(limit)
        )
        async with self._database.across.read() as connection:
            return [(row.tenant_id, row.id) for row in await connection.execute(query)]

    async def _acquire(self, tenant_id: str, workflow_id: str, deleted: bool) -> "Row[Any] | None":
        moment = now()
        row_is = [workflows.c.tenant_id == tenant_id, workflows.c.id == workflow_id]
        if not deleted:
            row_is.append(workflows.c.deleted_at.is_(None))
        free = or_(workflows.c.changing_until.is_(None), workflows.c.changing_until < moment)
        take = update(workflows).where(*row_is, free).values(changing_until=moment + LEASE).returning(*workflows.c)
        async with self._database.transaction(tenant_id) as connection:
            row = (await connection.execute(take)).one_or_none()
            if row is None and (await connection.execute(select(workflows.c.id).where(*row_is))).first() is None:
                raise NotFound("workflow", workflow_id)
            return row
