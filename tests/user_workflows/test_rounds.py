"""Pages over the rounds of a loop, in the order of their numbers, on each database."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plugins.storage.database import Database
from tests.user_workflows.test_records import record, step, writing
from user_workflows.executions.rounds import rounds_of
from user_workflows.plan.model import PlanGraph, PlanNode

INNER = PlanNode(
    id="inner",
    plugin="while",
    home="inline",
    body=PlanGraph(nodes=(PlanNode(id="cell", plugin="set", home="inline"),), edges=()),
)
OUTER = PlanNode(
    id="outer",
    plugin="foreach",
    home="inline",
    body=PlanGraph(nodes=(PlanNode(id="row", plugin="set", home="inline"), INNER), edges=()),
)
PLAN = PlanGraph(nodes=(OUTER,), edges=())


async def pages(database: Database, loop: str, path: Sequence[int] = (), limit: int = 3) -> list[Any]:
    """Return all pages, joined."""
    rounds = rounds_of("ten_a", "ex_1", PLAN, loop)
    found: list[Any] = []
    cursor = None
    async with database.across.read() as connection:
        while True:
            page = await rounds.page(connection, tuple(path), limit=limit, cursor=cursor)
            assert len(page.items) <= limit
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found


async def test_rounds_come_in_the_order_of_their_numbers(database: Database, tmp_path: Path) -> None:
    rows = [step("row", 1, path=(number,)) for number in range(12)]
    cells = [step("cell", 1, path=(row, number)) for row in (1, 10) for number in range(11)]
    async with writing(database, tmp_path) as writer:
        await writer.write(record(1, *reversed(rows), *reversed(cells)))
    in_order = [(node, (number,)) for number in range(12) for node in ("row", "inner")]
    for limit in (1, 2, 3, 23, 24, 100):
        assert await pages(database, "outer", limit=limit) == in_order
    assert await pages(database, "outer", [1]) == [("row", (1,)), ("inner", (1,))]
    assert await pages(database, "inner", [1]) == [("cell", (1, number)) for number in range(11)]
    assert await pages(database, "inner", [10, 4]) == [("cell", (10, 4))]
    assert await pages(database, "inner", [2]) == []
    everything = await pages(database, "inner")
    assert len(everything) == 22
    assert set(everything) == {("cell", (row, number)) for row in (1, 10) for number in range(11)}
