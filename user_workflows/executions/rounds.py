"""Which steps inside a loop are on a page: round by round, each round in the order of the plan."""

from collections.abc import Iterator, Sequence

from msgspec import Struct
from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from user_workflows.errors import InvalidInput, NotFound
from user_workflows.executions.tables import path_key, steps
from user_workflows.plan.model import PlanGraph

#: item and round numbers of the loops around a step, the outermost first
Path = tuple[int, ...]


class Places(Struct, frozen=True, kw_only=True):
    """Where the steps of a page are: node ids and paths."""

    items: Sequence[tuple[str, Path]]
    #: give it back as `cursor` for what follows; ``None`` at the end
    next_cursor: str | None = None


class Rounds(Struct, frozen=True, kw_only=True):
    """The rounds of one loop in one execution. A round that has not begun has no steps."""

    tenant_id: str
    execution_id: str
    loop: str
    body: PlanGraph
    #: how many numbers the path of a round has
    depth: int

    async def page(self, connection: AsyncConnection, path: Path, *, limit: int, cursor: str | None) -> Places:
        """Return a page of the steps in the body.

        Args:
            connection: to the records.
            path: which round; a shorter path stands for all rounds in it, in the order of their numbers as far as it
                says which those of the loops around are.
            limit: the most steps.
            cursor: of the page before.

        Raises:
            InvalidInput: the path is too long for this loop, or the cursor is of another.
        """
        if len(path) > self.depth:
            numbers = "one number" if self.depth == 1 else f"{self.depth} numbers"
            raise InvalidInput("/path", f"names too much: a round of {self.loop} has {numbers}")
        order = [node.id for node in self.body.nodes]
        start, shown = self._position(cursor, order)
        rounds = await self._begun(connection, path_key(path), start, limit=(limit + 1) // len(order) + 2)
        found = [(node_id, round) for round in rounds for node_id in order][shown : shown + limit + 1]
        if len(found) <= limit:
            return Places(items=found)
        node_id, round = found[limit - 1]
        return Places(items=found[:limit], next_cursor=f"{path_key(round)}:{node_id}")

    def _position(self, cursor: str | None, order: Sequence[str]) -> tuple[str, int]:
        """Return the round at which a page begins, and how many of its nodes earlier pages have shown."""
        if cursor is None:
            return "", 0
        start, _, node_id = cursor.partition(":")
        if node_id not in order:
            raise InvalidInput("/cursor", f"is not one that a page of {self.loop} gave")
        return start, order.index(node_id) + 1

    async def _begun(self, connection: AsyncConnection, within: str, start: str, *, limit: int) -> list[Path]:
        """Return the rounds that have begun: those in which the first node of the body has a row."""
        length = func.length(steps.c.path)
        query = select(steps.c.path).where(
            steps.c.tenant_id == self.tenant_id,
            steps.c.execution_id == self.execution_id,
            steps.c.node_id == self.body.nodes[0].id,
        )
        if within:
            query = query.where(or_(steps.c.path == within, steps.c.path.startswith(f"{within}.")))
        if start:
            query = query.where(or_(length > len(start), and_(length == len(start), steps.c.path >= start)))
        # The shorter first: numbers without leading zeros come in their order.
        found = await connection.execute(query.order_by(length, steps.c.path).limit(limit))
        return [tuple(int(number) for number in key.split(".")) for key in found.scalars()]


def rounds_of(tenant_id: str, execution_id: str, plan: PlanGraph, loop: str) -> Rounds:
    """Return the rounds of a loop.

    Raises:
        NotFound: the plan has no such loop.
    """
    for node_id, body, depth in _bodies(plan, 1):
        if node_id == loop:
            return Rounds(tenant_id=tenant_id, execution_id=execution_id, loop=loop, body=body, depth=depth)
    raise NotFound("loop", loop)


def _bodies(graph: PlanGraph, depth: int) -> Iterator[tuple[str, PlanGraph, int]]:
    """Yield the id, the body and the depth of every loop."""
    for node in graph.nodes:
        if node.body is not None:
            yield node.id, node.body, depth
            yield from _bodies(node.body, depth + 1)
