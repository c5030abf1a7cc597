"""How those who come to the gate are received, in the transaction that makes their rows."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from plugins.storage.database import Database
from plugins.vault.keys import Vault
from user_workflows.admission.caps import Rate
from user_workflows.admission.gate import Gate, Ticket
from user_workflows.admission.policies import check_inputs, judge
from user_workflows.admission.standing import rate_of, workflow_standings
from user_workflows.admission.withdrawal import Withdrawals
from user_workflows.executions.tables import executions
from user_workflows.records.announcements import Announcements


class Entrant(Struct, frozen=True, kw_only=True):
    """An execution that comes to the gate."""

    id: str
    workflow_id: str
    due_at: datetime
    #: its input
    payload: Any
    #: false: it is tried again
    is_new: bool = True
    #: whether whoever asked is told that it is refused; else its record tells
    is_refusable: bool = True


class Received(Struct, frozen=True, kw_only=True):
    """What came of those who came."""

    #: who has a slot, and is to be handed to Temporal
    inside: Collection[str]
    #: who has to make room for them, and is to be canceled
    replaced: Sequence[str] = ()
    #: where starts per minute are capped
    rate: Rate | None = None
    #: whether the usher has something to do: somebody queues, or was let in from the queue
    is_stirred: bool = False


class Reception:
    """Args:
    database, vault: hold the rows.
    gate: the gate.
    announcements: tell of those that are closed before they begin.
    """

    def __init__(
        self, database: Database, vault: Vault, gate: Gate, announcements: Announcements | None = None
    ) -> None:
        self.gate = gate
        self.withdrawals = Withdrawals(database, vault, gate, announcements)
        self._database = database

    async def enter(self, connection: AsyncConnection, tenant_id: str, entrants: Sequence[Entrant]) -> Ticket | None:
        """Ask for slots for all of them; `receive` follows when their rows are made. ``None``: nobody came."""
        if not entrants:
            return None
        ticket = await self.gate.enter(
            connection,
            tenant_id,
            [each.workflow_id for each in entrants],
            count=len(entrants),
            new=sum(each.is_new for each in entrants),
        )
        return ticket.closed() if any(each.due_at > ticket.at for each in entrants) else ticket

    async def receive(self, connection: AsyncConnection, ticket: Ticket | None, made: Sequence[Entrant]) -> Received:
        """Let in those whose rows were made, or do with them what their workflows' policies say.

        Raises:
            OverCap: one is refused; roll back.
            InputTooLarge: one brings too much; roll back.
        """
        if ticket is None:
            return Received(inside=())
        inside = {each.id for each in made}
        if ticket.is_open:
            check_inputs([("tenant", ticket.caps)], [each.payload for each in made])
            await self.gate.settle(connection, ticket, made=len(made), new=sum(each.is_new for each in made), waiting=0)
            return Received(inside=inside)
        workflows = await workflow_standings(
            connection, ticket.tenant_id, sorted({each.workflow_id for each in made}), ticket.at
        )
        for each in made:
            own = workflows.get(each.workflow_id)
            caps = [("tenant", ticket.caps), *([] if own is None else [("workflow", own.caps)])]
            check_inputs(caps, [each.payload])
        due = [each for each in made if each.due_at <= ticket.at]
        await self.gate.settle(connection, ticket, made=0, new=0, waiting=len(due))
        let_in = await self.gate.let_in(connection, ticket.tenant_id)
        judgement = await judge(
            connection,
            self.withdrawals,
            ticket.tenant_id,
            [each.id for each in due if each.id not in let_in],
            refusable={each.id for each in due if each.is_refusable},
            defaults=self.gate.defaults,
            at=ticket.at,
        )
        cap, rate = ticket.caps.starts_per_minute, None
        if cap is not None:
            rate = await rate_of(connection, ticket.tenant_id, cap, ticket.at)
        return Received(inside=let_in & inside, replaced=judgement.replaced, rate=rate, is_stirred=True)

    async def confirm(self, tenant_id: str, handed_over: Collection[str]) -> None:
        """Note that Temporal has executions that were let in from the queue."""
        if not handed_over:
            return
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(
                update(executions)
                .where(executions.c.tenant_id == tenant_id, executions.c.id.in_(sorted(handed_over)))
                .where(executions.c.admission == "admitted")
                .values(admission="held", parked_at=None)
            )


def place_of(ticket: Ticket | None, due_at: datetime) -> Mapping[str, Any]:
    """Return what the row of an entrant says of the gate."""
    if ticket is None:
        return {"admission": None, "admitted_at": None}
    if ticket.is_open:
        return {"admission": "held", "admitted_at": ticket.at}
    return {"admission": "delayed" if due_at > ticket.at else "waiting", "admitted_at": None}
