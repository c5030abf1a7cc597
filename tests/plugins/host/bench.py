"""A host with real parts, and what a test needs to call plugins on it."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Struct
from sqlalchemy import select, update
from sqlalchemy.engine import Row

from plugins import Plugin
from plugins.egress.client import EgressClient
from plugins.host.invoke import Call, CallFailed, Failure, Host, Outcome
from plugins.host.ledger import Ledger, effects
from plugins.host.registry import Registry
from plugins.storage.database import Database, now
from plugins.vault.credentials import Credentials
from plugins.vault.lending import Lender


class Bench(Struct, frozen=True, kw_only=True):
    database: Database
    ledger: Ledger
    credentials: Credentials
    lender: Lender
    egress: EgressClient
    tenant_id: str

    def call(self, plugin: Plugin, config: Any = None, **changes: Any) -> Call:
        fields: dict[str, Any] = {
            "plugin": plugin.id,
            "config": config or {},
            "tenant_id": self.tenant_id,
            "origin": "ex_1",
            "execution_id": "ex_1",
            "step": "node",
            "timeout": 5.0,
        }
        return Call(**(fields | changes))

    async def invoke(
        self,
        plugin: Plugin,
        config: Any = None,
        *,
        heartbeat: Callable[[Any], None] = lambda progress: None,
        is_cancelled: Callable[[], bool] = lambda: False,
        max_output: int = 2 * 2**20,
        **changes: Any,
    ) -> Outcome:
        host = Host(
            registry=Registry([plugin]),
            ledger=self.ledger,
            lender=self.lender,
            egress=self.egress,
            max_output=max_output,
        )
        call = self.call(plugin, config, **changes)
        return await host.invoke(call, heartbeat=heartbeat, is_cancelled=is_cancelled)

    async def fail(self, plugin: Plugin, config: Any = None, **changes: Any) -> Failure:
        with pytest.raises(CallFailed) as caught:
            await self.invoke(plugin, config, **changes)
        return caught.value.failure

    async def rows(self) -> list[Row[Any]]:
        async with self.database.across.read() as connection:
            return list((await connection.execute(select(effects))).all())

    async def state(self) -> str:
        """The state of the one row; ``ended`` for a begun one whose lease is over."""
        (row,) = await self.rows()
        return "ended" if row.state == "begun" and row.lease_until <= now() else str(row.state)

    async def end_leases(self) -> None:
        """Let the time of every lease run out."""
        async with self.database.across.transaction() as connection:
            await connection.execute(update(effects).values(lease_until=now()))
