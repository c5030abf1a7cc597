"""Run controls: what can be done to an execution that is under way, or again with one that was (design §6)."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct, structs
from sqlalchemy import Row, select, update

from plugins.host.registry import Registry
from plugins.storage.database import Database
from plugins.vault.keys import Vault
from user_workflows.codec import MAX_PAYLOAD
from user_workflows.errors import Conflict, InvalidInput, TooMuchKept
from user_workflows.executions.beginnings import StartRequest
from user_workflows.executions.executions import Executions
from user_workflows.executions.redo import Redo, before, foresee, seed_of
from user_workflows.executions.retries import RETRYABLE, Retries
from user_workflows.executions.starts import Starts
from user_workflows.executions.tables import executions, steps
from user_workflows.executions.views import Execution
from user_workflows.interpreter.messages import ExecutionStatus, Seed, TriggerCall
from user_workflows.plan.model import Plan, PlanGraph
from user_workflows.workflows.workflows import Workflows


class Controls:
    """The run controls of all tenants' executions.

    Each raises `NotFound` when this tenant has no such execution, `Conflict` when its present state does not allow it,
    and `EngineUnavailable` when Temporal cannot be reached.
    """

    def __init__(
        self,
        *,
        database: Database,
        vault: Vault,
        registry: Registry,
        workflows: Workflows,
        starts: Starts,
        executions: Executions,
    ) -> None:
        self._database = database
        self._vault = vault
        self._registry = registry
        self._starts = starts
        self._retries = Retries(database, vault, starts)
        self._workflows = workflows
        self._executions = executions

    async def pause(self, tenant_id: str, execution_id: str) -> None:
        """Let nothing new begin; what runs may finish, timers keep counting, signals are kept. Again: no effect."""
        await self._tell(tenant_id, execution_id, "pause")
        await self._mark(tenant_id, execution_id, "paused", instead_of=("queued", "running"))

    async def resume(self, tenant_id: str, execution_id: str) -> None:
        """Let a paused execution go on; one that is not paused is left as it is."""
        await self._tell(tenant_id, execution_id, "resume")
        execution = await self._executions.get(tenant_id, execution_id)
        status: ExecutionStatus = "queued" if execution.started_at is None else "running"
        await self._mark(tenant_id, execution_id, status, instead_of=("paused",))

    async def skip(self, tenant_id: str, execution_id: str, node_id: str) -> None:
        """Skip a top-level node that has not settled: it has no output, and the skip travels on as on any dead path.

        One that waits, runs or is between two attempts is stopped first; when it settles meanwhile, that stands. An
        execution that failed or timed out goes on without the node, otherwise as by `retry`.

        Raises:
            InvalidInput: the version has no such node at its top level.
            Conflict: the node has settled already, or the execution is closed for good.
        """
        execution = await self._executions.get(tenant_id, execution_id)
        published = await self._workflows.recorded_plan(tenant_id, execution.workflow_id, execution.version)
        check_node(published.plan, node_id, "/nodeId")
        if execution.status in RETRYABLE:
            await self._go_on_without(tenant_id, execution_id, node_id)
            return
        query = select(steps.c.status).where(
            steps.c.tenant_id == tenant_id,
            steps.c.execution_id == execution_id,
            steps.c.node_id == node_id,
            steps.c.path == "",
        )
        async with self._database.read(tenant_id) as connection:
            status = (await connection.execute(query)).scalar_one_or_none()
        if not execution.is_closed and status in ("completed", "failed"):
            raise _too_late(node_id, status)
        await self._tell(tenant_id, execution_id, "skip", node_id)

    async def plan_retry(self, tenant_id: str, execution_id: str) -> Redo:
        """Tell what `retry` would do."""
        last = await self._last(tenant_id, execution_id)
        _check_retryable(last.execution)
        return foresee(last.plan, last.seed, last.rows, self._registry)

    async def retry(self, tenant_id: str, execution_id: str) -> None:
        """Let a failed or timed-out execution go on from its failed nodes, as the same execution.

        What settled without ending it is kept; what runs again may act again, and its attempts count from 1.
        """
        last = await self._last(tenant_id, execution_id)
        await self._go_on(tenant_id, last, last.seed)

    async def _go_on_without(self, tenant_id: str, execution_id: str, node_id: str) -> None:
        last = await self._last(tenant_id, execution_id)
        if any(outcome.node_id == node_id for outcome in last.seed.outcomes):
            raise _too_late(node_id, next(row.status for row in last.rows if row.node_id == node_id and row.path == ""))
        await self._go_on(tenant_id, last, structs.replace(last.seed, skipped=(*last.seed.skipped, node_id)))

    async def _go_on(self, tenant_id: str, last: "_Last", seed: Seed) -> None:
        """Begin the next generation of an execution with what is kept of it."""
        _check_retryable(last.execution)
        _check_size(seed)
        execution_id = last.execution.id
        ended_run_id = await self._executions.ended_run_id(tenant_id, execution_id)
        if not await self._retries.begin(tenant_id, execution_id, last.plan, seed, ended_run_id=ended_run_id):
            raise Conflict(f"execution {execution_id} has been retried by somebody else meanwhile")
        if not await self._starts.reception.gate.is_unbegun(tenant_id, execution_id):
            await self._mark(tenant_id, execution_id, "running", instead_of=("queued",))

    async def plan_rerun(self, tenant_id: str, execution_id: str, *, from_node: str) -> Redo:
        """Tell what `rerun` would do."""
        _, redo = await self._rerun(await self._last(tenant_id, execution_id), from_node)
        return redo

    async def rerun(
        self,
        tenant_id: str,
        execution_id: str,
        *,
        from_node: str,
        input: Any = UNSET,
        key: str | None = None,
        traceparent: str | None = None,
    ) -> Execution:
        """Start a new execution of the same version that runs a node, and what is downstream of it, again.

        What else has settled is reused. Its effects have keys of their own: what runs again acts again.

        Args:
            tenant_id: whose execution it is.
            execution_id: what is repeated; closed or not.
            from_node: at the top level of its version.
            input: what the node sees as `input`, instead of what arrives.
            key: an equal one answers with the first new execution.
            traceparent: W3C trace context of the caller.

        Raises:
            InvalidInput: the version has no such node at its top level.
            Conflict: a dead path rules the node out.
            TooMuchKept: what is reused is too large to be handed on.
        """
        last = await self._last(tenant_id, execution_id)
        seed, _ = await self._rerun(last, from_node)
        if input is not UNSET:
            seed = structs.replace(seed, inputs={from_node: input})
        _check_size(seed)
        return await self._repeat(tenant_id, last.execution, key=key, traceparent=traceparent, seed=seed)

    async def plan_replay(self, tenant_id: str, execution_id: str, *, version: int | None = None) -> Redo:
        """Tell what `replay` would do."""
        last = await self._last(tenant_id, execution_id)
        workflow_id, wanted = last.execution.workflow_id, version or last.execution.version
        published = await self._workflows.plan(tenant_id, workflow_id, wanted)
        return foresee(published.plan, Seed(), last.rows, self._registry)

    async def replay(
        self,
        tenant_id: str,
        execution_id: str,
        *,
        version: int | None = None,
        key: str | None = None,
        traceparent: str | None = None,
    ) -> Execution:
        """Start a new execution with the same input, of the same version or of another, that runs everything again.

        Raises:
            NotFound: there is no such version.
        """
        execution = await self._executions.get(tenant_id, execution_id)
        return await self._repeat(tenant_id, execution, key=key, traceparent=traceparent, version=version)

    async def _rerun(self, last: "_Last", from_node: str) -> tuple[Seed, Redo]:
        check_node(last.plan, from_node, "/fromNode")
        seed = structs.replace(
            before(last.plan, from_node, last.seed), reason=f"reused from execution {last.execution.id}"
        )
        redo = foresee(last.plan, seed, last.rows, self._registry)
        if from_node not in redo.runs:
            raise Conflict(f"node {from_node} is on a path that was not taken; rerun from the node that chose the path")
        return seed, redo

    async def _repeat(
        self,
        tenant_id: str,
        execution: Execution,
        *,
        key: str | None,
        traceparent: str | None,
        version: int | None = None,
        seed: Seed | None = None,
    ) -> Execution:
        trigger = TriggerCall(
            type=execution.trigger["type"],
            id=execution.trigger.get("id"),
            payload=execution.input,
            traceparent=traceparent,
        )
        request = StartRequest(
            workflow_id=execution.workflow_id,
            trigger=trigger,
            version=version or execution.version,
            tags=execution.tags,
            key=key,
            is_urgent=True,
            origin_id=execution.id,
            seed=seed,
        )
        (repeated,) = await self._executions.start_many(tenant_id, [request])
        return repeated

    async def _last(self, tenant_id: str, execution_id: str) -> "_Last":
        execution = await self._executions.get(tenant_id, execution_id)
        published = await self._workflows.recorded_plan(tenant_id, execution.workflow_id, execution.version)
        sealer = await self._vault.sealer(tenant_id)
        query = select(steps).where(steps.c.tenant_id == tenant_id, steps.c.execution_id == execution_id)
        async with self._database.read(tenant_id) as connection:
            rows = (await connection.execute(query)).all()
        return _Last(execution=execution, plan=published.plan, rows=rows, seed=seed_of(published.plan, rows, sealer))

    async def _tell(self, tenant_id: str, execution_id: str, signal: str, *args: Any) -> None:
        await self._executions.tell(tenant_id, execution_id, signal, *args)

    async def _mark(
        self, tenant_id: str, execution_id: str, status: ExecutionStatus, *, instead_of: tuple[ExecutionStatus, ...]
    ) -> None:
        """Show at once what the interpreter is about to tell."""
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(
                update(executions)
                .where(executions.c.tenant_id == tenant_id, executions.c.id == execution_id)
                .where(executions.c.status.in_(instead_of))
                .values(status=status)
            )


class _Last(Struct, frozen=True, kw_only=True):
    """What an execution has come to, and what of it can be kept."""

    execution: Execution
    plan: Plan
    rows: Sequence[Row[Any]]
    seed: Seed


def _too_late(node_id: str, status: str) -> Conflict:
    return Conflict(f"node {node_id} cannot be skipped any more: it is {status}")


def _check_retryable(execution: Execution) -> None:
    if execution.status not in RETRYABLE:
        raise Conflict(
            f"execution {execution.id} is {execution.status}; only one that is {' or '.join(RETRYABLE)} can be retried"
        )


def _check_size(seed: Seed) -> None:
    # With room for the plan and the input that it travels with.
    most = MAX_PAYLOAD * 3 // 4
    if (size := len(msgspec.json.encode(seed))) > most:
        raise TooMuchKept(size, most)


def check_node(plan: PlanGraph, node_id: str, pointer: str) -> None:
    """Refuse a node that is not at the top level of a plan.

    Raises:
        InvalidInput: it is inside a loop, or nowhere.
    """
    if any(node.id == node_id for node in plan.nodes):
        return
    for node in plan.nodes:
        if node.body is not None and _holds(node.body, node_id):
            raise InvalidInput(pointer, f"node {node_id!r} is inside the loop {node.id!r}; name the loop")
    raise InvalidInput(pointer, f"there is no node {node_id!r} in this version")


def _holds(graph: PlanGraph, node_id: str) -> bool:
    return any(node.id == node_id or (node.body is not None and _holds(node.body, node_id)) for node in graph.nodes)
