"""Generated code and the interpreter come to the same, step by step, on a real Temporal server."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.replay.cases import CASES, Case
from tests.replay.recording import see_through
from tests.user_workflows.codegen.lanes import Pair
from tests.user_workflows.reference.drawings import definitions, triggers
from user_workflows.execution_views import Execution

#: what has no node that is undone, which only the interpreter does
WRITABLE = [case for case in CASES if '"compensate"' not in json.dumps(case.definition)]

#: random definitions that are compared, and those that run at a time
_RANDOM, _AT_A_TIME = 200, 25


@pytest.mark.parametrize("case", WRITABLE, ids=lambda case: case.name)
async def test_what_is_recorded_of_the_interpreter_comes_to_the_same(pair: Pair, case: Case) -> None:
    async def to_the_end(execution: Execution) -> Execution:
        pair.lane.gates.close_all()
        return await see_through(pair.lane, case, execution)

    input = case.input if case.calls is None else {"called": await pair.lane.publish(case.calls)}
    id, file = await pair.publish(case.definition)
    async with pair.serving([file]):
        interpreted = await pair.interpreted(id, input, to_the_end)
        assert await pair.generated(id, input, to_the_end) == interpreted


async def test_two_hundred_random_definitions_come_to_the_same(pair: Pair) -> None:
    drawn = _drawn()
    for first in range(0, len(drawn), _AT_A_TIME):
        batch = drawn[first : first + _AT_A_TIME]
        published = [await pair.publish(definition) for definition, _ in batch]
        async with pair.serving([file for _, file in published]):
            outcomes = await asyncio.gather(
                *(
                    asyncio.gather(pair.interpreted(id, input), pair.generated(id, input))
                    for (id, _), (_, input) in zip(published, batch, strict=True)
                )
            )
        for (definition, input), (interpreted, generated) in zip(batch, outcomes, strict=True):
            assert _unhurried(generated) == _unhurried(interpreted), json.dumps([definition, input])


def _unhurried(outcome: Any) -> Any:
    """Return an outcome without the words of its reasons: which of two dead edges was first is a race."""
    for *_, detail in outcome["steps"].values():
        detail["reason"] = detail["reason"] is not None
    return outcome


def _drawn() -> list[tuple[dict[str, Any], Any]]:
    """Draw definitions whose outcome depends on no race, and what starts each: the same ones every time."""
    drawn: list[tuple[dict[str, Any], Any]] = []

    @settings(
        max_examples=_RANDOM,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(definition=definitions(racing=False), trigger=triggers)
    def draw(definition: dict[str, Any], trigger: Any) -> None:
        drawn.append((definition, trigger))

    draw()
    return drawn[:_RANDOM]
