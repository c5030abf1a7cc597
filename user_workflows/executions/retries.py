"""How a closed execution goes on: as the next generation of itself, with what is kept of the one before."""

from sqlalchemy import delete, select, update

from internal_jobs.promotion.record import reopen_on
from plugins.storage.database import Database, now
from plugins.vault.keys import Vault
from user_workflows.admission.reception import Entrant, place_of
from user_workflows.admission.standing import remember_start
from user_workflows.executions.beginnings import Begin, open_begin, seal_begin
from user_workflows.executions.redo import kept_nodes
from user_workflows.executions.starts import Starts
from user_workflows.executions.tables import executions, steps
from user_workflows.interpreter.messages import SEQ_STRIDE, Earlier, Seed
from user_workflows.plan.model import Plan

#: statuses from which an execution can go on
RETRYABLE = ("failed", "timedOut")


class Retries:
    """Begins retries.

    Args:
        database, vault: hold the rows.
        starts: hand the execution to Temporal, past the gate.
    """

    def __init__(self, database: Database, vault: Vault, starts: Starts) -> None:
        self._database = database
        self._vault = vault
        self._starts = starts
        self._reception = starts.reception

    async def begin(
        self, tenant_id: str, execution_id: str, plan: Plan, seed: Seed, *, ended_run_id: str | None
    ) -> bool:
        """Start a closed execution once more, as the next generation of itself; return whether this call did.

        The steps that `seed` does not keep are forgotten.

        Args:
            tenant_id: whose execution it is.
            execution_id: of an execution that failed or timed out.
            plan: of its version.
            seed: what is kept.
            ended_run_id: the run of it that Temporal ended last.

        Raises:
            EngineUnavailable: Temporal cannot be reached; the sweep goes on from here.
        """
        sealer = await self._vault.sealer(tenant_id)
        mine = executions.c.tenant_id == tenant_id, executions.c.id == execution_id
        async with self._database.transaction(tenant_id) as connection:
            workflow = (await connection.execute(select(executions.c.workflow_id).where(*mine))).scalar_one()
            entrant = Entrant(id=execution_id, workflow_id=workflow, due_at=now(), payload=None, is_new=False)
            ticket = await self._reception.enter(connection, tenant_id, [entrant])
            row = (await connection.execute(select(executions).where(*mine).with_for_update())).one()
            if row.status not in RETRYABLE:
                await self._reception.receive(connection, ticket, [])
                return False
            await self._reception.gate.end(connection, tenant_id, execution_id)
            await remember_start(connection, row, entrant.due_at)
            earlier = Earlier(
                started_at=row.started_at or row.created_at,
                # Above whatever a step of the run before may still tell.
                seq=row.seq + 10 * SEQ_STRIDE,
                history_events=row.history_events or 0,
                billable_actions=row.billable_actions or 0,
            )
            await connection.execute(
                update(executions)
                .where(*mine)
                .values(
                    status="queued",
                    generation=row.generation + 1,
                    ended_run_id=ended_run_id,
                    # Whoever waited has been told of the end before.
                    awaited_by=None,
                    seed_sealed=seal_begin(
                        sealer,
                        execution_id,
                        Begin(seed=seed, earlier=earlier, acts_for=open_begin(sealer, row).acts_for),
                    ),
                    result_sealed=None,
                    error_type=None,
                    closed_at=None,
                    due_at=entrant.due_at,
                    checked_at=now(),
                    rests=False,
                    replaced_by=None,
                    letters_sealed=None,
                    **place_of(ticket, entrant.due_at),
                )
            )
            await connection.execute(
                delete(steps).where(
                    steps.c.tenant_id == tenant_id,
                    steps.c.execution_id == execution_id,
                    steps.c.node_id.not_in(kept_nodes(plan, seed)),
                )
            )
            await reopen_on(connection, tenant_id, execution_id)
            received = await self._reception.receive(connection, ticket, [entrant])
        self._reception.gate.stir(received.is_stirred)
        await self._starts.repeat(tenant_id, execution_id)
        await self._reception.confirm(tenant_id, received.inside)
        await self._starts.make_room(tenant_id, received.replaced)
        return True
