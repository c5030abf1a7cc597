"""What is made again by a retry, a rerun or a replay, and what is kept of the execution before (design §6)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct, structs
from sqlalchemy import Row

from plugins.host.registry import Registry
from plugins.storage.database import now
from plugins.vault.cipher import Sealer
from user_workflows.executions.tables import step_place
from user_workflows.interpreter.journal import Journal
from user_workflows.interpreter.messages import Seed, StepOutcome
from user_workflows.interpreter.state import SKIPPED, GraphState
from user_workflows.plan.model import Plan, PlanGraph, PlanNode
from user_workflows.plan.segments import known_effect

#: statuses of a step that had begun, and may have acted
_BEGUN = ("running", "waiting", "completed", "failed", "canceled")


class Repeat(Struct, frozen=True, kw_only=True, rename="camel"):
    """A node that may have acted already, and may act again."""

    node_id: str
    effect: Literal["idempotent", "unsafe"]


class Redo(Struct, frozen=True, kw_only=True):
    """What would happen, told before it does."""

    reused: tuple[str, ...]
    #: what runs, unless a dead path rules it out
    runs: tuple[str, ...]
    repeats: tuple[Repeat, ...]


def seed_of(plan: Plan, rows: "Sequence[Row[Any]]", sealer: Sealer) -> Seed:
    """Return all that a new run of a plan may begin with: what settled without ending the execution.

    Args:
        plan: of the version that ran.
        rows: of `steps`; those inside loops are not looked at, a loop is kept or made again as a whole.
        sealer: of the tenant.
    """
    outcomes, skipped, undone = [], [], []
    known = {row.node_id: row for row in rows if row.path == ""}
    for node in plan.nodes:
        row = known.get(node.id)
        if row is None or row.closed_at is None:
            continue
        detail = sealer.open_json(row.detail_sealed, step_place(row.execution_id, row.node_id, row.path))
        compensation = detail.get("compensation")
        if compensation is not None and compensation["status"] == "completed":
            undone.append(node.id)
        elif row.status == "skipped" and detail["reason"] == SKIPPED:
            skipped.append(node.id)
        elif row.status == "completed" and node.plugin != "stop":
            outcomes.append(
                _outcome(row, ports=detail["ports"] or {detail["port"]: detail["output"]}, reason=detail["reason"])
            )
        elif row.status == "failed" and node.on_error != "fail":
            outcomes.append(_outcome(row, error=detail["error"]))
    # In the order of completion: what is undone later is undone in its reverse.
    outcomes.sort(key=lambda outcome: known[outcome.node_id].seq)
    seed = Seed(outcomes=tuple(outcomes), skipped=tuple(skipped))
    for node_id in undone:
        # It is made again, and so is what was made of its output.
        seed = before(plan, node_id, seed)
    return seed


def before(plan: PlanGraph, node_id: str, seed: Seed) -> Seed:
    """Return the part of a seed that a rerun from `node_id` keeps: what is not downstream of it."""
    by_id = {node.id: node for node in plan.nodes}
    again, found = {node_id}, [node_id]
    while found:
        for index in by_id[found.pop()].outgoing:
            target = plan.edges[index].target
            if target not in again:
                again.add(target)
                found.append(target)
    return structs.replace(
        seed,
        outcomes=tuple(outcome for outcome in seed.outcomes if outcome.node_id not in again),
        skipped=tuple(id for id in seed.skipped if id not in again),
    )


def foresee(plan: Plan, seed: Seed, rows: "Sequence[Row[Any]]", registry: Registry) -> Redo:
    """Tell what a run of `plan` that begins with `seed` reuses, runs, and may do a second time.

    Args:
        plan: what would run.
        seed: what it would begin with.
        rows: of `steps`: what the execution before has begun, inside loops too.
        registry: knows what the plugins do.
    """
    graph = GraphState(plan, Journal())
    graph.plant(seed, None, now())
    begun = {row.node_id for row in rows if row.status in _BEGUN}
    runs = [state.node for state in graph.nodes.values() if not state.is_settled]
    return Redo(
        reused=tuple(outcome.node_id for outcome in seed.outcomes),
        runs=tuple(node.id for node in runs),
        repeats=tuple(
            Repeat(node_id=node.id, effect=effect)
            for node in _with_bodies(runs)
            if node.id in begun and (effect := _effect(node, registry)) is not None
        ),
    )


def kept_nodes(plan: PlanGraph, seed: Seed) -> set[str]:
    """Return the nodes whose steps stay as they are recorded, those inside loops too."""
    seeded = {outcome.node_id for outcome in seed.outcomes}.union(seed.skipped)
    return {node.id for node in _with_bodies([node for node in plan.nodes if node.id in seeded])}


def _outcome(
    row: "Row[Any]", *, ports: Mapping[str, Any] | None = None, error: Any = None, reason: str | None = None
) -> StepOutcome:
    return msgspec.convert(
        {
            "node_id": row.node_id,
            "started_at": row.started_at or row.closed_at,
            "closed_at": row.closed_at,
            "ports": ports,
            "error": error,
            "attempt": row.attempt,
            "reason": reason,
        },
        StepOutcome,
    )


def _with_bodies(nodes: Sequence[PlanNode]) -> Iterator[PlanNode]:
    for node in nodes:
        yield node
        if node.body is not None:
            yield from _with_bodies(node.body.nodes)


def _effect(node: PlanNode, registry: Registry) -> Literal["idempotent", "unsafe"] | None:
    if node.disabled:
        return None
    if node.home == "child":
        # It starts another execution, and what that does is not known here.
        return "unsafe"
    plugin = registry.find(node.plugin)
    if plugin is None:
        return None
    # What only an expression will tell may be the worst.
    effect = known_effect(plugin, node.config) or "unsafe"
    return effect if effect in ("idempotent", "unsafe") else None
