"""Signals to executions that have not begun: kept in their rows, and handed over with the start."""

from typing import Any

import msgspec
from sqlalchemy import select, update

from plugins.storage.database import Database
from plugins.vault.cipher import Sealer
from plugins.vault.keys import Vault
from user_workflows.admission.gate import UNBEGUN, Gate
from user_workflows.errors import Conflict
from user_workflows.executions.tables import executions
from user_workflows.interpreter.messages import Received

#: what one execution is told before it begins, at most
MOST = 100


class Letters:
    def __init__(self, database: Database, vault: Vault, gate: Gate) -> None:
        self._database = database
        self._vault = vault
        self._gate = gate

    async def keep(self, tenant_id: str, execution_id: str, signal: str, *args: Any) -> bool:
        """Keep a signal for an execution that has not begun; return whether it had not.

        Raises:
            Conflict: it has been told too much already.
        """
        sealer = await self._vault.sealer(tenant_id)
        mine = executions.c.tenant_id == tenant_id, executions.c.id == execution_id
        query = select(executions.c.id, executions.c.letters_sealed).where(*mine, UNBEGUN)
        async with self._database.transaction(tenant_id) as connection:
            await self._gate.lock(connection, (tenant_id,))
            row = (await connection.execute(query.with_for_update())).one_or_none()
            if row is None:
                return False
            letters = (*open_letters(sealer, row), Received(name=signal, args=args))
            if len(letters) > MOST:
                raise Conflict(f"execution {execution_id} has not begun, and has been told {MOST} things already")
            sealed = sealer.seal_json(letters, _place(execution_id))
            await connection.execute(update(executions).where(*mine).values(letters_sealed=sealed))
            return True


def open_letters(sealer: Sealer, row: Any) -> tuple[Received, ...]:
    """Return what an execution was told before it began, in order."""
    if row.letters_sealed is None:
        return ()
    return msgspec.convert(sealer.open_json(row.letters_sealed, _place(row.id)), tuple[Received, ...])


def _place(execution_id: str) -> str:
    return f"execution.letters:{execution_id}"
