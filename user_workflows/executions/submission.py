"""Handing executions to Temporal: under which type, on which queue, and how urgently."""

from collections.abc import Collection

import structlog
from temporalio.client import Client
from temporalio.common import Priority, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from plugins.storage.database import Database
from user_workflows.client import RPC_TIMEOUT, is_not_found, reaching_temporal
from user_workflows.errors import EngineUnavailable
from user_workflows.fairness.allowance import LESSER, MODEST, URGENT, Allowances
from user_workflows.fairness.tiers import Tier, Tiers
from user_workflows.generated.types import generated_type
from user_workflows.interpreter.messages import EXECUTION, StartExecution, workflow_id
from user_workflows.interpreter.queues import INTERACTIVE, ORDINARY
from user_workflows.metrics import STARTED

_log = structlog.get_logger(__name__)


class Submissions:
    """Hands executions over that have their rows.

    Args:
        database: knows the tiers of tenants.
        temporal: carries the executions.
        generated: types of versions whose executions run on generated code.
    """

    def __init__(self, *, database: Database, temporal: Client, generated: Collection[str]) -> None:
        self._temporal = temporal
        self._generated = generated
        self._tiers = Tiers(database)
        self._urgent, self._modest = Allowances(URGENT), Allowances(MODEST)

    async def submit(self, start: StartExecution, *, is_urgent: bool = False) -> None:
        """Hand over an execution, which Temporal has already or not.

        Raises:
            EngineUnavailable: Temporal cannot be reached.
        """
        await self._submit(start, WorkflowIDReusePolicy.REJECT_DUPLICATE, is_urgent=is_urgent)

    async def submit_again(self, start: StartExecution, ended_run_id: str | None) -> None:
        """Hand over a retry, if the run that it follows is the last, and over.

        Raises:
            EngineUnavailable: Temporal cannot be reached.
        """
        if await self._has_ended(start, ended_run_id):
            # Its id is that of the run before, which has failed.
            await self._submit(start, WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY)

    async def make_room(self, tenant_id: str, execution_id: str) -> None:
        """Cancel an execution in whose place another one waits; what is not canceled now, the sweep cancels."""
        handle = self._temporal.get_workflow_handle(workflow_id(tenant_id, execution_id))
        try:
            async with reaching_temporal():
                await handle.cancel(rpc_timeout=RPC_TIMEOUT)
        except (EngineUnavailable, RPCError) as error:
            _log.info("execution.notReplacedYet", execution_id=execution_id, error=str(error))

    async def _has_ended(self, start: StartExecution, ended_run_id: str | None) -> bool:
        """Return whether the run that is to be followed is the last, and over."""
        handle = self._temporal.get_workflow_handle(workflow_id(start.tenant_id, start.execution_id))
        async with reaching_temporal():
            try:
                return (await handle.describe(rpc_timeout=RPC_TIMEOUT)).run_id == ended_run_id
            except RPCError as error:
                if not is_not_found(error):
                    raise
                return True

    async def _submit(self, start: StartExecution, reuse: WorkflowIDReusePolicy, *, is_urgent: bool = False) -> None:
        tier = await self._tiers.of(start.tenant_id)
        kind, queue = self._carrier(start, tier)
        is_urgent = is_urgent and self._urgent.take(start.tenant_id)
        weight = tier.share if is_urgent or self._modest.take(start.tenant_id) else LESSER * tier.share
        async with reaching_temporal():
            try:
                await self._temporal.start_workflow(
                    kind,
                    start,
                    id=workflow_id(start.tenant_id, start.execution_id),
                    task_queue=queue,
                    id_reuse_policy=reuse,
                    priority=Priority(
                        priority_key=INTERACTIVE if is_urgent else ORDINARY,
                        fairness_key=start.tenant_id,
                        fairness_weight=weight,
                    ),
                    rpc_timeout=RPC_TIMEOUT,
                )
            except WorkflowAlreadyStartedError:
                return
        STARTED.labels(start.trigger.type).inc()

    def _carrier(self, start: StartExecution, tier: Tier) -> tuple[str, str]:
        """Return the workflow type that carries an execution, and its task queue.

        What keeps a part of another execution, or was told something before it began, is interpreted: generated code
        always runs from its beginning.
        """
        written = generated_type(start.workflow_id, start.version)
        if written in self._generated and start.seed is None and not start.received:
            return written, written
        return EXECUTION, tier.task_queue
