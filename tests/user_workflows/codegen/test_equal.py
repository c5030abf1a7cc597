"""Generated code and the interpreter come to the same, step by step, on a real Temporal server."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from temporalio.api.enums.v1 import EventType

from tests.replay.cases import CASES, Case
from tests.replay.recording import see_through
from tests.user_workflows.codegen.lanes import Pair
from tests.user_workflows.drawing import edges, node
from tests.user_workflows.reference.drawings import definitions, triggers
from user_workflows.executions.views import Execution
from user_workflows.interpreter.messages import workflow_id

ROOT = Path(__file__).parents[3]

#: generated code never parks: an execution of it waits where it is, however long
_CASES = [case for case in CASES if case.park_at is None]

#: random definitions that are compared, and those that run at a time
_RANDOM, _AT_A_TIME = 200, 10


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
async def test_what_is_recorded_of_the_interpreter_comes_to_the_same(pair: Pair, case: Case) -> None:
    async def to_the_end(execution: Execution) -> Execution:
        pair.lane.gates.close_all()
        return await see_through(pair.lane, case, execution)

    input = case.input if case.calls is None else {"called": await pair.lane.publish(case.calls)}
    id, file = await pair.publish(case.definition)
    async with pair.serving(file):
        interpreted = await pair.interpreted(id, input, to_the_end)
        assert await pair.generated(id, input, to_the_end) == interpreted


async def test_the_example_is_written_as_it_was_reviewed(pair: Pair) -> None:
    """What people read; a change of it is read, and kept beside this test."""
    id, file = await pair.publish(_example("demo"))
    reviewed = Path(__file__).with_name("price_alert.py").read_text()
    assert file.read_text().replace(id, "wf_01ABC") == reviewed


@pytest.mark.parametrize("name", ["demo", "tour"])
async def test_the_examples_of_this_repository_come_to_the_same(pair: Pair, name: str) -> None:
    id, file = await pair.publish(_example(name))
    async with pair.serving(file):
        interpreted, generated = await asyncio.gather(pair.interpreted(id, None), pair.generated(id, None))
    assert generated == interpreted
    assert generated["status"] == "completed"
    assert generated["steps"]["mail/"][0] == "completed"


def _example(name: str) -> Any:
    if name == "demo":
        return json.loads((ROOT / "gateway" / "demo" / "price_alert.json").read_text())
    (body,) = re.findall(r"""call "\$API/workflows" -d '(.*?)'""", (ROOT / "README.md").read_text(), re.DOTALL)
    return json.loads(body)["definition"]


_FAILS = node("fails", "test.flaky", permanent=True)
_NEVER = node("never", "wait", signal="never")

#: what a race would decide, drawn so that it can only go one way
_EARLY = {
    "first": {
        "nodes": [
            node("a", values={}),
            _NEVER,
            node("b", join="first", values={"in": "{{ input }}"}),
            node("end", "stop", output="{{ nodes.b.output }}"),
        ],
        "edges": edges("a>b", "never>b", "b>end"),
    },
    "count": {
        "nodes": [
            *(node(id, values={"n": 1}) for id in "abc"),
            _NEVER,
            node("three", "merge", join={"count": 3}),
            node("end", "stop", status="failed", message="{{ size(nodes.three.output) }} of four"),
        ],
        "edges": edges("a>three", "b>three", "c>three", "never>three", "three>end"),
    },
    "dead-count": {
        "nodes": [
            node("a", "if", condition="{{ false }}"),
            node("b", values={}),
            node("c", "merge", join={"count": 2}),
        ],
        "edges": edges("a.true>c", "b>c"),
    },
    "failure-stops-what-runs": {
        "nodes": [
            _FAILS,
            _NEVER,
            node("after", values={}),
            node("each", "foreach", items=[1, 2], nodes=[{**_NEVER, "id": "inside"}]),
        ],
        "edges": edges("fails>after"),
    },
    "error-port": {
        "nodes": [
            {**_FAILS, "onError": "port"},
            node("mended", "test.echo", value="{{ input.type }}"),
            node("unharmed", values={}),
        ],
        "edges": edges("fails.error>mended", "fails.output>unharmed"),
    },
    "several-ports": {
        "nodes": [
            node("pick", "switch", mode="all", cases=[{"port": p, "when": f"{{{{ input != '{p}' }}}}"} for p in "xyz"]),
            node("x", values={"x": 1}),
            node("y", "merge"),
            node("z", "test.echo", value=1),
            node("none", "merge"),
            node("both", "merge", join="all"),
        ],
        "edges": edges("pick.x>x", "pick.y>y", "pick.z>z", "pick.default>none", "x>both", "z>both"),
    },
}


@pytest.mark.parametrize("name", _EARLY)
async def test_early_joins_failures_and_stops_come_to_the_same(pair: Pair, name: str) -> None:
    id, file = await pair.publish(_EARLY[name])
    async with pair.serving(file, forgetful=True):
        interpreted, generated = await asyncio.gather(pair.interpreted(id, "y"), pair.generated(id, "y"))
    assert generated == interpreted


async def test_a_cancel_disturbs_no_end_that_has_begun(pair: Pair) -> None:
    lane = pair.lane

    async def cancel_while_it_closes(execution: Execution) -> Execution:
        handle = lane.temporal.get_workflow_handle(workflow_id(lane.tenant_id, execution.id))

        async def has(event: EventType.ValueType, then: EventType.ValueType | None = None) -> None:
            async with asyncio.timeout(60):
                while True:
                    types = [found.event_type for found in (await handle.fetch_history()).events]
                    if event in types and (then is None or then in types[types.index(event) :]):
                        return
                    await asyncio.sleep(0.02)

        async with lane.database.across.transaction():
            # Nobody else writes now: the error workflow that it starts on its way out keeps it waiting.
            await lane.executions.signal(lane.tenant_id, execution.id, "go")
            await has(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
            await lane.executions.cancel(lane.tenant_id, execution.id)
            canceled = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
            await has(canceled, then=EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
        return await lane.finish(execution)

    definition = {
        "errorWorkflow": await lane.publish({"nodes": [node("told", values={"by": "{{ trigger.error.message }}"})]}),
        "nodes": [node("go", "wait", signal="go"), node("end", "stop", status="failed", message="as drawn")],
        "edges": edges("go>end"),
    }
    id, file = await pair.publish(definition)
    async with pair.serving(file):
        interpreted = await pair.interpreted(id, None, cancel_while_it_closes)
        assert interpreted["status"] == "failed"
        assert await pair.generated(id, None, cancel_while_it_closes) == interpreted


async def test_two_hundred_random_definitions_come_to_the_same(pair: Pair) -> None:
    drawn = _drawn()
    for first in range(0, len(drawn), _AT_A_TIME):
        batch = drawn[first : first + _AT_A_TIME]
        published = [await pair.publish(definition) for definition, _ in batch]
        # Replayed at every step: what is written is deterministic.
        async with pair.serving(*(file for _, file in published), forgetful=True):
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


async def test_a_history_that_becomes_too_long_for_generated_code_ends_with_its_own_error(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Temporal would end it; what it completed is undone and its record is written as of any that fails."""
    monkeypatch.setattr("user_workflows.generated.graph.RUNS_IN_ONE", 0.02)
    inside = node("in", "test.echo", value="{{ item }}")
    loop = node("each", "foreach", items="{{ input }}", nodes=[inside], concurrency=1)
    id, file = await pair.publish({"nodes": [loop]})
    async with pair.serving(file):
        ended = await pair.generated(id, list(range(60)))
    assert (ended["status"], ended["error"]["type"], ended["error"]["nodeId"]) == ("failed", "history.tooLong", "each")
    assert "let the interpreter run this version" in ended["error"]["message"]
