"""Gathers what is known around one node, so that `why` can say why it is in the state it is in."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Row, select
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client
from temporalio.service import RPCError

from plugins.storage.database import Database
from plugins.vault.cipher import Sealer
from plugins.vault.keys import Vault
from user_workflows.client import RPC_TIMEOUT, is_not_found, reaching_temporal
from user_workflows.errors import EngineUnavailable, InvalidInput, NotFound
from user_workflows.executions.executions import Executions
from user_workflows.executions.tables import executions, path_key, step_place, steps
from user_workflows.executions.views import Execution
from user_workflows.executions.why import MOST_NAMED, PendingCall, Recorded, Surroundings, Why, explain
from user_workflows.interpreter.messages import Compensation, StepError, workflow_id
from user_workflows.plan.model import PlanGraph, PlanNode
from user_workflows.workflows.workflows import Workflows


class Explainer:
    """Answers why a node of an execution is in the state it is in."""

    def __init__(
        self, *, database: Database, vault: Vault, workflows: Workflows, executions: Executions, temporal: Client
    ) -> None:
        self._database = database
        self._vault = vault
        self._workflows = workflows
        self._executions = executions
        self._temporal = temporal

    async def why(self, tenant_id: str, execution_id: str, node_id: str, path: Sequence[int] = ()) -> Why:
        """Say why a node is in the state it is in.

        Args:
            tenant_id: whose execution it is.
            execution_id: the execution.
            node_id: the node, inside a loop or not.
            path: item and round numbers of the loops around the node, the outermost first.

        Raises:
            NotFound: no such execution of this tenant, or no such node in its version.
            InvalidInput: the node lies in more loops, or fewer, than `path` has numbers.
        """
        execution = await self._executions.get(tenant_id, execution_id)
        published = await self._workflows.recorded_plan(tenant_id, execution.workflow_id, execution.version)
        found = next((found for found in _nodes(published.plan) if found[1].id == node_id), None)
        if found is None:
            raise NotFound("node", node_id)
        graph, node, loops = found
        if len(path) != len(loops):
            raise InvalidInput("path", _wanted_path(node_id, loops))
        known = await self._steps(tenant_id, execution_id, path)
        around = Surroundings(
            execution=execution,
            graph=graph,
            steps={each.id: known.get(each.id) or _unreached(each.id, execution) for each in graph.nodes},
        )
        around = await self._look_closer(tenant_id, around, node, path)
        return explain(node, around)

    async def _look_closer(
        self, tenant_id: str, around: Surroundings, node: PlanNode, path: Sequence[int]
    ) -> Surroundings:
        """Ask for what only some states need."""
        execution = around.execution
        inner: tuple[Recorded, ...] = ()
        call = due_at = None
        if execution.status == "queued":
            due_at = await self._due_at(tenant_id, execution.id)
        elif around.steps[node.id].status == "running" and not execution.is_closed:
            if node.body is None:
                call = await self._call(tenant_id, execution.id, ".".join((node.id, *map(str, path))))
            else:
                inner = await self._open_inside(tenant_id, execution, node, path)
        return Surroundings(
            execution=execution, graph=around.graph, steps=around.steps, inner=inner, call=call, due_at=due_at
        )

    async def _steps(self, tenant_id: str, execution_id: str, path: Sequence[int]) -> dict[str, Recorded]:
        query = select(steps).where(*_of(tenant_id, execution_id), steps.c.path == path_key(tuple(path)))
        sealer = await self._vault.sealer(tenant_id)
        async with self._database.read(tenant_id) as connection:
            return {row.node_id: _recorded(row, sealer) for row in await connection.execute(query)}

    async def _open_inside(
        self, tenant_id: str, execution: Execution, loop: PlanNode, path: Sequence[int]
    ) -> tuple[Recorded, ...]:
        bodies = () if loop.body is None else [node.id for _, node, _ in _nodes(loop.body)]
        query = (
            select(steps)
            .where(*_of(tenant_id, execution.id), steps.c.node_id.in_(bodies))
            .where(steps.c.status.in_(("running", "waiting")))
            .order_by(steps.c.seq)
            .limit(MOST_NAMED)
        )
        if path:
            query = query.where(steps.c.path.startswith(path_key(tuple(path)) + "."))
        sealer = await self._vault.sealer(tenant_id)
        async with self._database.read(tenant_id) as connection:
            return tuple(_recorded(row, sealer) for row in await connection.execute(query))

    async def _due_at(self, tenant_id: str, execution_id: str) -> datetime | None:
        query = select(executions.c.due_at).where(executions.c.tenant_id == tenant_id, executions.c.id == execution_id)
        async with self._database.read(tenant_id) as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def _call(self, tenant_id: str, execution_id: str, activity_id: str) -> PendingCall | None:
        """Ask the engine about a call; ``None`` while it is away, and of a call that shares its activity."""
        handle = self._temporal.get_workflow_handle(workflow_id(tenant_id, execution_id))
        try:
            async with reaching_temporal():
                description = await handle.describe(rpc_timeout=RPC_TIMEOUT)
        except EngineUnavailable:
            return None
        except RPCError as error:
            if is_not_found(error):
                return None
            raise
        pending = description.raw_description.pending_activities
        return next((_pending_call(each) for each in pending if each.activity_id == activity_id), None)


def _recorded(row: "Row[Any]", sealer: Sealer) -> Recorded:
    detail = sealer.open_json(row.detail_sealed, step_place(row.execution_id, row.node_id, row.path))
    return Recorded(
        node_id=row.node_id,
        path=tuple(int(part) for part in row.path.split(".") if part),
        status=row.status,
        attempt=row.attempt,
        port=detail["port"],
        error=None if detail["error"] is None else StepError(**detail["error"]),
        reason=detail["reason"],
        started_at=row.started_at,
        closed_at=row.closed_at,
        compensation=msgspec.convert(detail.get("compensation"), Compensation | None),
    )


def _unreached(node_id: str, execution: Execution) -> Recorded:
    if not execution.is_closed:
        return Recorded(node_id=node_id)
    reason = f"the execution was {execution.status} before this node was reached"
    return Recorded(node_id=node_id, status="skipped", reason=reason, closed_at=execution.closed_at)


def _pending_call(activity: PendingActivityInfo) -> PendingCall:
    match activity.state:
        case PendingActivityState.PENDING_ACTIVITY_STATE_STARTED:
            return PendingCall(state="running", attempt=activity.attempt, at=_moment(activity, "last_started_time"))
        case PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED:
            return PendingCall(state="stopping", attempt=activity.attempt, at=None)
    due = _moment(activity, "scheduled_time")
    if activity.attempt > 1 and due is not None and due > datetime.now(UTC):
        return PendingCall(state="backingOff", attempt=activity.attempt, at=due)
    return PendingCall(state="queued", attempt=activity.attempt, at=due)


def _moment(activity: PendingActivityInfo, field: str) -> datetime | None:
    return getattr(activity, field).ToDatetime(UTC) if activity.HasField(field) else None  # type: ignore[arg-type]  # by name


def _nodes(graph: PlanGraph, loops: tuple[str, ...] = ()) -> Iterator[tuple[PlanGraph, PlanNode, tuple[str, ...]]]:
    """Yield every node with the graph that it lies in and the loops around it."""
    for node in graph.nodes:
        yield graph, node, loops
        if node.body is not None:
            yield from _nodes(node.body, (*loops, node.id))


def _wanted_path(node_id: str, loops: Sequence[str]) -> str:
    if not loops:
        return f"node {node_id} lies in no loop; leave the path out"
    numbers = "one number" if len(loops) == 1 else f"{len(loops)} numbers"
    return f"node {node_id} lies inside {' and '.join(loops)}; give {numbers}, of the item or round, e.g. path=" + (
        ",".join("0" for _ in loops)
    )


def _of(tenant_id: str, execution_id: str) -> tuple[Any, Any]:
    return steps.c.tenant_id == tenant_id, steps.c.execution_id == execution_id
