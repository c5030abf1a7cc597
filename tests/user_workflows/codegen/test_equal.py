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

#: random definitions that are compared, and those that run at a time
_RANDOM, _AT_A_TIME = 200, 10


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
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
            different = _different(generated, interpreted)
            assert not different, f"{different} of {json.dumps([definition, input])}"


def _different(generated: Any, interpreted: Any) -> dict[str, tuple[Any, Any]]:
    """Return what two outcomes do not share."""
    left, right = _by_place(generated), _by_place(interpreted)
    places = sorted({*left, *right})
    return {place: (left.get(place), right.get(place)) for place in places if left.get(place) != right.get(place)}


def _by_place(outcome: Any) -> dict[str, Any]:
    """Return what no race and no slow machine decides: not which dead edge was first, nor how often a call was made."""
    steps = {
        place: (status, given, detail | {"reason": detail["reason"] is not None})
        for place, (status, _attempt, given, detail) in outcome["steps"].items()
    }
    placed: dict[str, Any] = _without_attempts({**outcome, **steps, "steps": None})
    return placed


def _without_attempts(value: Any) -> Any:
    match value:
        case dict():
            return {key: _without_attempts(inner) for key, inner in value.items() if key != "attempts"}
        case list() | tuple():
            return [_without_attempts(inner) for inner in value]
        case _:
            return value


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
