"""Hands over whom the gate has let in, and lets in whom the clock does; every worker runs one."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import and_, bindparam, exists, func, or_, select
from temporalio.client import Client
from temporalio.service import RPCError

from plugins.storage.database import Database, now
from user_workflows.admission.gate import Gate
from user_workflows.admission.reception import Reception
from user_workflows.admission.tables import tenant_gates
from user_workflows.client import RPC_TIMEOUT, is_not_found, reaching_temporal
from user_workflows.errors import EngineUnavailable, NotFound
from user_workflows.executions.tables import executions
from user_workflows.interpreter.messages import ADMITTED, workflow_id

#: seconds between two looks, where nothing in this process says that somebody was let in
TICK = 0.5

_DUE = and_(
    executions.c.admission.in_(("delayed", "ending")),
    executions.c.due_at <= bindparam("at", type_=executions.c.due_at.type),
)

#: executions that are handed over in one round, and at a time
_AT_ONCE, _AT_A_TIME = 256, 32

_log = structlog.get_logger(__name__)


class Usher:
    """Args:
    database: holds the queues.
    reception: of the gate.
    temporal: carries executions.
    begin: hands an execution to Temporal, which has it already or not.
    """

    def __init__(
        self,
        database: Database,
        reception: Reception,
        temporal: Client,
        begin: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self._database = database
        self._reception = reception
        self._gate: Gate = reception.gate
        self._temporal = temporal
        self._begin = begin
        cap = func.coalesce(tenant_gates.c.concurrent_executions, self._gate.defaults.concurrent_executions)
        self._has_room = and_(tenant_gates.c.waiting > 0, or_(cap.is_(None), tenant_gates.c.inside < cap))
        # One statement, for it is asked all the time and mostly finds nothing.
        self._look = select(
            or_(exists().where(_DUE), exists().where(self._has_room)).label("is_due"),
            exists().where(executions.c.admission == "admitted").label("is_let_in"),
            select(func.min(executions.c.due_at)).where(executions.c.admission == "delayed").label("next_at"),
        )

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            pause = TICK
            try:
                pause = await self.round()
            except Exception:
                # Nothing is lost: the next round finds the same rows.
                _log.exception("admission.failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._gate.stirred.wait()
            self._gate.stirred.clear()

    async def round(self) -> float:
        """Look once; return in how many seconds to look again at the latest."""
        at = now()
        async with self._database.across.read() as connection:
            seen = (await connection.execute(self._look, {"at": at})).one()
        if seen.is_due:
            await self._call_up(at)
        if (seen.is_due or seen.is_let_in) and await self._hand_over():
            return 0.0
        return TICK if seen.next_at is None else min(TICK, max(0.01, (seen.next_at - now()).total_seconds()))

    async def _call_up(self, at: datetime) -> None:
        """Have the gate look after the tenants for which time may have changed something."""
        async with self._database.across.read() as connection:
            due = await connection.execute(select(executions.c.tenant_id).where(_DUE).distinct(), {"at": at})
            queued = await connection.execute(select(tenant_gates.c.tenant_id).where(self._has_room))
            tenant_ids = {*due.scalars(), *queued.scalars()}
        for tenant_id in sorted(tenant_ids):
            await self._gate.call_up(tenant_id)

    async def _hand_over(self) -> bool:
        """Hand over whom the gate has let in, tenants in turn; return whether there are more."""
        turn = func.row_number().over(partition_by=executions.c.tenant_id, order_by=executions.c.due_at)
        query = (
            select(executions.c.tenant_id, executions.c.id, executions.c.parked_at, turn.label("turn"))
            .where(executions.c.admission == "admitted")
            .order_by("turn", executions.c.tenant_id)
            .limit(_AT_ONCE)
        )
        async with self._database.across.read() as connection:
            rows = (await connection.execute(query)).all()
        room = asyncio.Semaphore(_AT_A_TIME)

        async def one(row: Any) -> Any:
            async with room:
                try:
                    await (self._begin if row.parked_at is None else self._tell)(row.tenant_id, row.id)
                except (EngineUnavailable, RPCError, NotFound) as error:
                    _log.warning("admission.notHandedOver", execution_id=row.id, error=str(error))
                    return None
                return row

        done = [row for row in await asyncio.gather(*map(one, rows)) if row is not None]
        for tenant_id in sorted({row.tenant_id for row in done}):
            await self._reception.confirm(tenant_id, [row.id for row in done if row.tenant_id == tenant_id])
        return len(rows) == _AT_ONCE and bool(done)

    async def _tell(self, tenant_id: str, execution_id: str) -> None:
        """Tell who woke of a parked execution, and of those that share its slot, that it may go on."""
        for waking_id in await self._gate.waking(tenant_id, execution_id):
            handle = self._temporal.get_workflow_handle(workflow_id(tenant_id, waking_id))
            async with reaching_temporal():
                try:
                    await handle.signal(ADMITTED, rpc_timeout=RPC_TIMEOUT)
                except RPCError as error:
                    if not is_not_found(error):
                        raise
