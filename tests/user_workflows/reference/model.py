"""What a definition means: design §6 once more, written to be read, not to be fast.

It shares nothing with the interpreter but the JSON of a definition, knows no engine and no time: whatever may happen
next stands in `Execution.waiting`, and a schedule picks from it, so that one definition and one schedule have exactly
one outcome. Expressions are the few forms that `drawings` draws.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.user_workflows.reference.control import INLINE, Failed, Stopped, boolean, default_port, render

#: what may happen next: a call returns (path, node, -1), a loop begins (path, node, -1), a round (path, node, number)
Event = tuple[tuple[int, ...], str, int]

#: the value of every error: what it says is not the model's concern
ERROR = "an error"

#: instead of an answer: the call fails
LOST = object()


@dataclass
class Step:
    """How one node ended."""

    status: str = "pending"
    input: Any = None
    ports: dict[str, Any] = field(default_factory=dict)


@dataclass
class Moment:
    """One choice of the schedule: what could have happened, and what did."""

    waiting: set[Event]
    chosen: Event


class Execution:
    """One execution of a definition, which takes what is next by `choices`, again and again from the first.

    A call comes to its own value, unless `answers` says what the world made of it: (node, path) → value, or `LOST`.
    """

    def __init__(
        self,
        definition: Mapping[str, Any],
        trigger: Any,
        choices: Sequence[int],
        answers: "Mapping[tuple[str, tuple[int, ...]], Any] | None" = None,
    ) -> None:
        self.answers = answers or {}
        self.waiting: dict[Event, Callable[[], None]] = {}
        self.moments: list[Moment] = []
        #: (node, path) → step, of every graph that was walked
        self.steps: dict[tuple[str, tuple[int, ...]], Step] = {}
        self.status = "running"
        self.output: Any = None
        self.failed_node: str | None = None
        seen = {"vars": definition.get("variables", {}), "trigger": trigger}
        graph = Graph(self, definition, (), seen, trigger, {}, on_done=self._complete, on_failed=self._fail)
        try:
            graph.begin()
            while self.waiting:
                events = sorted(self.waiting)
                chosen = events[choices[len(self.moments) % len(choices)] % len(events)]
                self.moments.append(Moment(set(events), chosen))
                self.waiting.pop(chosen)()
        except Stopped as stopped:
            graph.close()
            self.status, self.output = "completed", stopped.output

    def _complete(self, graph: "Graph") -> None:
        self.status, self.output = "completed", graph.result()

    def _fail(self, node_id: str) -> None:
        self.status, self.failed_node = "failed", node_id


class Graph:
    """The walk over one graph: the definition's, or the body of a loop for one item or round."""

    def __init__(
        self,
        execution: Execution,
        drawn: Mapping[str, Any],
        path: tuple[int, ...],
        seen: Mapping[str, Any],
        given: Any,
        outer: Mapping[str, Mapping[str, Any]],
        *,
        on_done: Callable[["Graph"], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self.execution = execution
        self.path = path
        self.seen = seen
        self.given = given
        self.nodes: dict[str, dict[str, Any]] = {node["id"]: node for node in drawn["nodes"]}
        self.edges: list[dict[str, Any]] = drawn.get("edges", [])
        self.steps = {id: Step() for id in self.nodes}
        #: edge → whether it fired; those that are not settled are not in it
        self.fired: dict[int, bool] = {}
        #: what expressions see as `nodes`
        self.outputs: dict[str, Mapping[str, Any]] = dict(outer)
        self.ready: list[str] = []
        self.decided: set[str] = set()
        self.loops: dict[str, Loop] = {}
        self.ended = False
        self._on_done = on_done
        self._on_failed = on_failed
        execution.steps.update({(id, path): step for id, step in self.steps.items()})

    def begin(self) -> None:
        self.ready = [id for id in self.nodes if not self._incoming(id)]
        self.decided = set(self.ready)
        self.advance()

    def advance(self) -> None:
        """Begin what is ready, in the order in which it became so; when nothing is left, this graph is done."""
        while self.ready and not self.ended:
            self._begin(self.ready.pop(0))
        if not self.ended and not any(step.status == "running" for step in self.steps.values()):
            self.ended = True
            self._on_done(self)

    def close(self) -> None:
        """End at once: what runs is canceled, what has not begun is skipped."""
        self.ended = True
        for id, step in self.steps.items():
            if step.status == "running":
                step.status = "canceled"
                self.execution.waiting.pop((self.path, id, -1), None)
                if id in self.loops:
                    self.loops[id].close()
            elif step.status == "pending":
                step.status = "skipped"

    def result(self) -> dict[str, Any]:
        """Return the values of completed nodes that lead nowhere."""
        sources = {edge["source"] for edge in self.edges}
        return {
            id: next(iter(step.ports.values()), None)
            for id, step in self.steps.items()
            if step.status == "completed" and id not in sources
        }

    def scope(self, given: Any) -> dict[str, Any]:
        return {**self.seen, "nodes": dict(self.outputs), "input": given}

    def leave(self, id: str, ports: dict[str, Any]) -> None:
        """A node completed: the edges of its ports fire, its other edges are ruled out."""
        step = self.steps[id]
        step.status, step.ports = "completed", ports
        self.outputs[id] = ports
        self._settle_edges(id, list(ports))

    def fail(self, id: str) -> None:
        """A node failed: its `onError` says whether the graph goes on."""
        step, node = self.steps[id], self.nodes[id]
        step.status = "failed"
        match node.get("onError", "fail"):
            case "fail":
                self.close()
                self._on_failed(id)
            case "continue":
                port = default_port(node)
                step.ports = {port: None, "error": ERROR}
                self.outputs[id] = step.ports
                self._settle_edges(id, [port])
            case "port":
                step.ports = {"error": ERROR}
                self.outputs[id] = step.ports
                self._settle_edges(id, ["error"])

    def _incoming(self, id: str) -> list[int]:
        return [index for index, edge in enumerate(self.edges) if edge["target"] == id]

    def _input(self, id: str) -> Any:
        incoming = self._incoming(id)
        if not incoming:
            return self.given
        if len(incoming) == 1 and self.nodes[id]["pluginId"] != "merge":
            return self._value(incoming[0])
        return {
            self.edges[index].get("targetHandle", self.edges[index]["source"]): self._value(index)
            for index in incoming
            if self.fired.get(index)
        }

    def _value(self, index: int) -> Any:
        edge = self.edges[index]
        ports = self.steps[edge["source"]].ports
        return ports[edge["sourceHandle"]] if "sourceHandle" in edge else next(iter(ports.values()))

    def _begin(self, id: str) -> None:
        node, step = self.nodes[id], self.steps[id]
        step.status, step.input = "running", self._input(id)
        scope = self.scope(step.input)
        if node.get("disabled"):
            self.leave(id, {default_port(node): step.input})
            return
        if node["pluginId"] in ("foreach", "while"):
            loop = self.loops[id] = Loop(self, id, scope)
            self.execution.waiting[self.path, id, -1] = loop.begin
        elif node["pluginId"] in INLINE:
            try:
                self.leave(id, INLINE[node["pluginId"]](node["config"], scope))
            except Failed:
                self.fail(id)
            except Stopped as stopped:
                step.status, step.ports = "completed", {"output": stopped.output}
                if node["config"].get("status") != "failed":
                    raise
                self.close()
                self._on_failed(id)
        else:
            try:
                config = render(node["config"], scope)
            except Failed:
                config = {"fail": True}
            self.execution.waiting[self.path, id, -1] = lambda: self._return(id, config)

    def _return(self, id: str, config: dict[str, Any]) -> None:
        answer = self.execution.answers.get((id, self.path), config.get("value"))
        if config.get("fail") or answer is LOST:
            self.fail(id)
        else:
            self.leave(id, {"output": answer})
        self.advance()

    def _settle_edges(self, id: str, ports: list[str]) -> None:
        for index, edge in enumerate(self.edges):
            if edge["source"] == id:
                wanted = edge.get("sourceHandle")
                self.fired[index] = ports != ["error"] if wanted is None else wanted in ports
        self._settle_targets(id)

    def _settle_targets(self, source: str) -> None:
        """Decide about the nodes behind one that settled; a skip travels on."""
        sources = [source]
        while sources:
            source = sources.pop(0)
            for edge in self.edges:
                target = edge["target"]
                if edge["source"] != source or target in self.decided:
                    continue
                runs = self._join(target)
                if runs is None:
                    continue
                self.decided.add(target)
                if runs:
                    self.ready.append(target)
                else:
                    self.steps[target].status = "skipped"
                    for index, behind in enumerate(self.edges):
                        if behind["source"] == target:
                            self.fired[index] = False
                    sources.append(target)

    def _join(self, id: str) -> bool | None:
        """Return whether a node runs, or never will; ``None``: that is not known yet."""
        incoming = self._incoming(id)
        fired = sum(self.fired.get(index) is True for index in incoming)
        unsettled = sum(index not in self.fired for index in incoming)
        match self.nodes[id].get("join", "any"):
            case "any":
                return None if unsettled else fired >= 1
            case "first":
                needed = 1
            case "all":
                needed = len(incoming)
            case count:
                needed = count["count"]
        if fired >= needed:
            return True
        return None if fired + unsettled >= needed else False


class Loop:
    """A `foreach` or `while` that is under way."""

    def __init__(self, graph: Graph, id: str, scope: dict[str, Any]) -> None:
        self.graph = graph
        self.id = id
        #: what its expressions and its rounds see: what had settled when it began
        self.scope = scope
        self.config = graph.nodes[id]["config"]
        self.is_foreach = graph.nodes[id]["pluginId"] == "foreach"
        self.items: list[Any] = []
        self.results: dict[int, Any] = {}
        self.failures: set[int] = set()
        self.last: Any = None
        #: rounds that were asked for, and those that run
        self.asked = 0
        self.running: dict[int, Graph] = {}

    def begin(self) -> None:
        if self.is_foreach:
            try:
                items = render(self.config["items"], self.scope)
            except Failed:
                items = None
            if not isinstance(items, list):
                self._break()
                return
            self.items = items
            for _ in range(min(self.config.get("concurrency", 10), len(items))):
                self._ask()
            if not items:
                self._leave()
        else:
            self._test()

    def close(self) -> None:
        for number in range(self.asked):
            self.graph.execution.waiting.pop((self.graph.path, self.id, number), None)
        for round in self.running.values():
            round.close()

    def _ask(self) -> None:
        """Let the next round begin as soon as the schedule wants it."""
        number = self.asked
        self.asked += 1
        self.graph.execution.waiting[self.graph.path, self.id, number] = lambda: self._round(number)

    def _test(self) -> None:
        """A `while` tests before each round."""
        rounds = self.asked
        try:
            goes_on = boolean(render(self.config["condition"], {**self.scope, "index": rounds, "last": self.last}))
        except Failed:
            self._break()
            return
        if not goes_on:
            self._leave()
        elif rounds >= self.config.get("maxIterations", 1_000):
            self._break()
        else:
            self._ask()

    def _round(self, number: int) -> None:
        given = self.items[number] if self.is_foreach else self.last
        known = {"item": given} if self.is_foreach else {"last": given}
        self.running[number] = Graph(
            self.graph.execution,
            self.config,
            (*self.graph.path, number),
            {**self.graph.seen, "index": number, **known},
            given,
            self.scope["nodes"],
            on_done=lambda round: self._ended(number, round),
            on_failed=lambda _: self._failed(number),
        )
        self.running[number].begin()

    def _ended(self, number: int, round: Graph) -> None:
        try:
            result = (
                render(self.config["result"], round.scope(round.given)) if "result" in self.config else round.result()
            )
        except Failed:
            self._failed(number)
            return
        del self.running[number]
        if self.is_foreach:
            self.results[number] = result
            self._next_item()
        else:
            self.last = result
            self._test()

    def _failed(self, number: int) -> None:
        del self.running[number]
        if self.config.get("continueOnItemError"):
            self.failures.add(number)
            self._next_item()
        else:
            self._break()

    def _next_item(self) -> None:
        if self.asked < len(self.items):
            self._ask()
        elif len(self.results) + len(self.failures) == len(self.items):
            self._leave()

    def _leave(self) -> None:
        if self.is_foreach:
            ports: dict[str, Any] = {"output": [self.results.get(number) for number in range(len(self.items))]}
            if self.failures:
                ports["error"] = [{"index": number, "error": ERROR} for number in sorted(self.failures)]
            self.graph.leave(self.id, ports)
        else:
            self.graph.leave(self.id, {"output": self.last})
        self.graph.advance()

    def _break(self) -> None:
        self.close()
        self.graph.fail(self.id)
        self.graph.advance()
