"""The interpreter's walk against the model, on random definitions: both follow one schedule, event by event."""

import asyncio
import itertools
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings

from plugins.host.registry import Registry
from tests.user_workflows.reference.comparison import expected, plain
from tests.user_workflows.reference.drawings import definitions, schedules, triggers
from tests.user_workflows.reference.model import Event, Execution
from tests.user_workflows.reference.plugins import PLUGINS
from user_workflows.definition.validate import validate
from user_workflows.expressions import ExpressionError
from user_workflows.interpreter.control import Performed, Scope
from user_workflows.interpreter.errors import ExecutionFailed, ExecutionStopped, StepFailed
from user_workflows.interpreter.journal import Journal
from user_workflows.interpreter.loops import run_foreach, run_while
from user_workflows.interpreter.messages import ExecutionError, StepError
from user_workflows.interpreter.node import NodeState
from user_workflows.interpreter.state import GraphState
from user_workflows.interpreter.templates import Templates
from user_workflows.interpreter.walk import Walk
from user_workflows.plan.compile import compile_plan
from user_workflows.plan.model import Plan

REGISTRY = Registry(PLUGINS)

#: of the event loop: more than any walk needs to come to rest
_TURNS = 500

#: the loop whose rounds begin here: its path, its id, and the numbers of its rounds
_LOOP: ContextVar[tuple[tuple[int, ...], str, Iterator[int]]] = ContextVar("loop")


class Desk:
    """Holds everything that could happen until the schedule says that it does; the performer of the walk."""

    def __init__(self) -> None:
        self.waiting: dict[Event, asyncio.Event] = {}

    async def perform(self, walk: Walk, state: NodeState, scope: Scope) -> Performed:
        if state.node.plugin in ("foreach", "while"):
            await self._hold((state.path, state.node.id, -1))
            _LOOP.set((state.path, state.node.id, itertools.count()))
            run = run_foreach if state.node.plugin == "foreach" else run_while
            return await run(walk, state, scope)
        config: dict[str, Any] | ExpressionError
        try:
            config = walk.templates.at(state.node).render(scope)
        except ExpressionError as error:
            config = error
        await self._hold((state.path, state.node.id, -1))
        if isinstance(config, ExpressionError):
            raise config
        if config.get("fail"):
            raise StepFailed(StepError(type="ref.failed", message="it was drawn to fail"))
        return Performed({"output": config.get("value")})

    async def breathe(self, nodes: int) -> None:
        path, id, numbers = _LOOP.get()
        await self._hold((path, id, next(numbers)))

    async def _hold(self, event: Event) -> None:
        door = self.waiting[event] = asyncio.Event()
        try:
            await door.wait()
        finally:
            del self.waiting[event]

    def release(self, event: Event) -> None:
        self.waiting[event].set()


class Walked:
    """A plan walked by the interpreter, as a model's execution went."""

    def __init__(self, plan: Plan, trigger: Any) -> None:
        self.status = "running"
        self.output: Any = None
        self.error: ExecutionError | None = None
        self.journal = Journal()
        self._desk = Desk()
        self._graph = GraphState(plan, self.journal)
        self._walk = Walk(
            self._graph,
            templates=Templates(),
            seen={"vars": plan.variables, "trigger": trigger, "execution": {}},
            given=trigger,
            performer=self._desk,
            clock=lambda: datetime(2026, 1, 1, tzinfo=UTC),
            pause=lambda: None,
            breathe=self._desk.breathe,
        )

    async def follow(self, model: Execution) -> None:
        """Walk to the end, and see before every event that the same could happen as in the model."""
        walking = asyncio.create_task(self._run())
        try:
            for moment in model.moments:
                await self._rest(moment.waiting, walking)
                assert {*self._desk.waiting} == moment.waiting, f"before {moment.chosen}"
                self._desk.release(moment.chosen)
            await self._rest(set(), walking)
            assert not self._desk.waiting
            assert walking.done(), "the walk waits for nothing"
        finally:
            walking.cancel()
            await asyncio.gather(walking, return_exceptions=True)
        walking.result()

    async def _rest(self, waiting: set[Event], walking: "asyncio.Task[None]") -> None:
        await asyncio.sleep(0)
        for _ in range(_TURNS):
            # Without a change of what waits only the end can come.
            if {*self._desk.waiting} == waiting and (waiting or walking.done()):
                break
            await asyncio.sleep(0)

    async def _run(self) -> None:
        try:
            await self._walk.run()
        except ExecutionStopped as stopped:
            self.status, self.output = "completed", stopped.output
        except ExecutionFailed as failed:
            self.status, self.error = "failed", failed.error
        else:
            self.status, self.output = "completed", self._graph.result()
        await self._walk.close("it has ended")


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(definition=definitions(), trigger=triggers, choices=schedules)
def test_every_definition_ends_as_the_model_says_in_every_order_of_events(
    definition: dict[str, Any], trigger: Any, choices: list[int]
) -> None:
    checked = validate(definition, plugins=REGISTRY)
    assert checked.definition is not None, checked.faults
    model = Execution(definition, trigger, choices)
    walked = Walked(compile_plan(checked.definition, plugins=REGISTRY), trigger)
    asyncio.run(walked.follow(model))
    states = walked.journal.all()
    assert {
        (state.node.id, state.path): (state.status, plain(state.input), state.port, plain(state.output))
        for state in states
    } == expected(model)
    assert all(state.reason for state in states if state.status in ("skipped", "canceled"))
    assert all(state.error for state in states if state.status == "failed")
    assert (walked.status, plain(walked.output)) == (model.status, model.output)
    assert (walked.error and walked.error.node_id) == model.failed_node
