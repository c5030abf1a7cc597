"""A published version as one Python module with a plain Temporal workflow.

Expressions stay what they are, compiled templates that the module holds as constants: CEL compares, divides and fails
otherwise than Python, and a translation that is nearly the same is a silent change. What the nodes do, what follows
what, which joins hold and which loops turn is Python, in the order of the graph.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, structs

from plugins.host.retry import Retry
from user_workflows.codegen.layout import WIDTH, Group, Pair, Part, Text, call, lay_out, literal, quoted
from user_workflows.codegen.names import Names, pascal, prose, snake
from user_workflows.codegen.refusals import refuse
from user_workflows.definition.control_nodes import CONTROL_NODES
from user_workflows.generated.types import generated_type
from user_workflows.interpreter.loops import DEFAULT_CONCURRENCY, DEFAULT_MAX_ITERATIONS
from user_workflows.plan.model import Plan, PlanEdge, PlanGraph, PlanNode

_JOINS = {"any": "any_of", "all": "all_of", "first": "first_of"}


class _Action(Struct, frozen=True):
    """What of `user_workflows.generated` does the work of a control node."""

    name: str
    #: the parts of the node's config that it is given
    templates: tuple[tuple[str, ...], ...] = ((),)
    is_awaited: bool = False


_ACTIONS = {
    "filter": _Action("keep", (("items",), ("where",))),
    "stop": _Action("stop"),
    "respond": _Action("respond"),
    "wait": _Action("wait", is_awaited=True),
    "workflow.call": _Action("call_workflow", is_awaited=True),
    "approval": _Action("ask", is_awaited=True),
}

#: names that a module imports, as far as it needs them
_IMPORTS = (
    "Flow", "Graph", "Ports", "Retry", "StartExecution", "Step", "all_of", "any_of", "ask", "call_plugin",
    "call_workflow", "compile_template", "count_of", "first_of", "for_each", "keep", "repeat_while", "respond",
    "results", "stop", "wait",
)  # fmt: skip

#: what a linter asks of people, and a graph may have more of
_LIMITS = {"PLR0911": 6, "PLR0912": 12, "PLR0915": 50}


def export_python(plan: Plan, *, workflow_id: str, version: int, name: str = "") -> str:
    """Return the module's text: the same for the same plan.

    Args:
        plan: of the version.
        workflow_id: of the workflow.
        version: its number.
        name: of the workflow, for people.

    Raises:
        NotWritable: a node can only be interpreted.
    """
    refuse(plan, frozenset(CONTROL_NODES))
    return _Module(plan, workflow_id, version, name).text()


class _Module:
    def __init__(self, plan: Plan, workflow_id: str, version: int, name: str) -> None:
        self._plan = plan
        self._workflow_id = workflow_id
        self._version = version
        self._name = prose(name, 40) or "A workflow"
        self._used = {"Flow", "Graph", "StartExecution"}
        self._class = Names(("Any", "TYPE", "VARIABLES", *_IMPORTS)).take(pascal(name))
        #: what the methods' names must not be: local variables are called the same
        taken = ("Any", "workflow", "flow", "graph", "run", "start", "step", "ports", "walk", *_IMPORTS)
        self._methods = Names((*taken, self._class))
        self._constants = Names(("TYPE", "VARIABLES", self._class, *_IMPORTS))
        self._lines: list[str] = []
        self._templates: list[str] = []
        #: ids are unique over all graphs
        self._method_of = {
            node.id: self._methods.take(snake(node.id)) for graph in plan.graphs() for node in graph.nodes
        }
        self._undo_of = {
            node.id: self._methods.take(f"undo_{self._method_of[node.id]}")
            for node in plan.nodes
            if node.compensate is not None
        }
        #: the most that a method has of what a linter counts
        self._counted = dict.fromkeys(_LIMITS, 0)

    def text(self) -> str:
        body = [*self._walk(self._plan, "walk", "graph", "What runs after what.")]
        for node in self._plan.nodes:
            body += self._node(node)
        code = "\n".join([*self._templates, "", "", *self._opening(), *body, ""])
        return "\n".join([*self._head(code), code])

    def _head(self, code: str) -> Iterator[str]:
        made_from = f"version {self._version} of workflow {self._workflow_id}"
        yield f'"""{self._name}: {made_from}, as a Temporal workflow.'
        yield ""
        yield "Written by `gateway workflow export`; the same version gives the same text. It is served by"
        yield "`gateway worker user-workflows --module FILE`. Nodes are methods, in topological order; `walk` says what"
        yield "runs after what. Expressions are templates, whose language is the editor's, not Python."
        yield '"""'
        yield ""
        variables = lay_out(literal(self._plan.variables), depth=0, before="VARIABLES: dict[str, Any] = ")
        too_much = [rule for rule, limit in _LIMITS.items() if self._counted[rule] > limit]
        if max(len(line) for line in (code + variables).split("\n")) > WIDTH:
            too_much.insert(0, "E501")
        if too_much:
            yield f"# ruff: noqa: {', '.join(too_much)}"
            yield ""
        yield "from typing import Any"
        yield ""
        yield "from temporalio import workflow"
        yield ""
        imported = ", ".join(each for each in _IMPORTS if each in self._used)
        one_line = f"from user_workflows.generated import {imported}"
        yield one_line if len(one_line) <= WIDTH else self._import_list()
        yield ""
        yield "#: the workflow's type on Temporal, and its task queue"
        yield f"TYPE = {quoted(generated_type(self._workflow_id, self._version))}"
        yield ""
        yield "#: what expressions see as `vars`"
        yield variables
        if self._templates:
            yield ""

    def _import_list(self) -> str:
        names = "".join(f"    {each},\n" for each in _IMPORTS if each in self._used)
        return f"from user_workflows.generated import (\n{names})"

    def _opening(self) -> Iterator[str]:
        options: list[Part] = ["start", "variables=VARIABLES"]
        if self._plan.timeout is not None:
            options.append(f"timeout={self._plan.timeout!r}")
        if self._plan.error_workflow is not None:
            options.append(Pair("error_workflow=", Text(self._plan.error_workflow)))
        yield "@workflow.defn(name=TYPE)"
        yield f"class {self._class}:"
        yield f'    """{self._name}."""'
        yield ""
        yield "    @workflow.init"
        yield "    def __init__(self, start: StartExecution) -> None:"
        yield lay_out(call("Flow", *options), depth=2, before="self.flow = ")
        yield ""
        yield "    @workflow.run"
        yield "    async def run(self, start: StartExecution) -> Any:"
        yield '        """Run it to its end and return its output."""'
        yield "        return await self.flow.run(self.walk)"

    def _walk(self, graph: PlanGraph, method: str, over: str, told: str, result: str | None = None) -> Iterator[str]:
        """Write the method that walks a graph: a statement for each node, in topological order."""
        yield ""
        yield f"    async def {method}(self, graph: Graph) -> Any:"
        yield f'        """{told}"""'
        ends = [node for node in graph.nodes if not node.outgoing and node.plugin != "stop"]
        named = {graph.edges[index].source for node in graph.nodes for index in node.incoming}
        if result is None:
            named |= {node.id for node in ends}
        for node in graph.nodes:
            before = f"{self._method_of[node.id]} = " if node.id in named else ""
            yield lay_out(self._wiring(graph, node), depth=2, before=before)
        yield "        await graph.settled()"
        self._counted["PLR0915"] = max(self._counted["PLR0915"], len(graph.nodes) + 2)
        if result is not None:
            yield f"        return graph.render({result})"
        else:
            self._used.add("results")
            yield lay_out(call("results", *(self._method_of[node.id] for node in ends)), depth=2, before="return ")

    def _wiring(self, graph: PlanGraph, node: PlanNode) -> Group:
        parts: list[Part] = [quoted(node.id), f"self.{self._method_of[node.id]}"]
        if node.incoming:
            join = node.join
            name = _JOINS[join] if isinstance(join, str) else "count_of"
            self._used.add(name)
            edges = [self._edge(graph.edges[index]) for index in node.incoming]
            parts.append(call(name, *([] if isinstance(join, str) else [str(join)]), *edges))
        if node.compensate is not None:
            parts.append(f"undo=self.{self._undo_of[node.id]}")
        if node.label:
            parts.append(Pair("label=", Text(node.label)))
        if node.on_error != "fail":
            parts.append(f'on_error="{node.on_error}"')
        if node.limit is not None:
            parts.append(f"limit={node.limit!r}")
        if node.on_error == "continue" and node.default_port != "output":
            parts.append(Pair("default_port=", Text(node.default_port)))
        if node.plugin == "merge" and len(node.incoming) == 1:
            parts.append("input_as_map=True")
        return call("graph.node", *parts)

    def _edge(self, edge: PlanEdge) -> Group:
        parts: list[Part] = [] if edge.port is None else [Text(edge.port)]
        if edge.key != edge.source:
            parts.append(Pair("to=", Text(edge.key)))
        return call(f"{self._method_of[edge.source]}.port", *parts)

    def _node(self, node: PlanNode) -> Iterator[str]:
        """Write the methods of a node: what it does, what undoes it, and of a loop what is in its body."""
        yield from self._work(node)
        if node.compensate is not None:
            undo = self._call_plugin(node.compensate, self._undo_of[node.id])
            yield ""
            yield f"    async def {self._undo_of[node.id]}(self, step: Step) -> Ports:"
            yield f'        """`{prose(node.compensate.plugin)}`, to undo `{node.id}`."""'
            yield lay_out(undo, depth=2, before="return ")

    def _work(self, node: PlanNode) -> Iterator[str]:
        self._used |= {"Step", "Ports"}
        method = self._method_of[node.id]
        label = f' "{prose(node.label)}"' if node.label else ""
        disabled = ", disabled: its input passes through" if node.disabled else ""
        yield ""
        yield f"    async def {method}(self, step: Step) -> Ports:"
        yield f'        """`{prose(node.plugin)}`{label}{disabled}."""'
        if node.disabled:
            yield f"        return {{{quoted(node.default_port)}: step.input}}"
            return
        match node.plugin:
            case "if":
                yield from self._if(node)
            case "switch":
                yield from self._switch(node)
            case "foreach" | "while":
                yield from self._loop(node)
            case _:
                yield lay_out(self._plain(node), depth=2, before="return ")

    def _plain(self, node: PlanNode) -> Part:
        if node.plugin == "set":
            return Group("{", (Pair('"output": ', f"step.render({self._template(node, 'values')})"),), "}")
        if node.plugin == "merge":
            return Group("{", (Pair('"output": ', "step.input"),), "}")
        action = _ACTIONS.get(node.plugin)
        if action is None:
            return self._call_plugin(node, self._method_of[node.id])
        templates = [self._template(node, *path) for path in action.templates]
        # What is asked of the form stays as it was drawn.
        asks = node.plugin == "approval" and node.config.get("form") is not None
        form = [Pair("form=", literal(node.config["form"]))] if asks else []
        return self._action(action.name, *templates, *form, awaited=action.is_awaited)

    def _call_plugin(self, node: PlanNode, method: str) -> Group:
        template = self._constant(node.config, method)
        return self._action("call_plugin", quoted(node.plugin), template, *self._options(node), awaited=True)

    def _action(self, name: str, *parts: Part, awaited: bool = False) -> Group:
        self._used.add(name)
        return call(f"await {name}" if awaited else name, "step", *parts)

    def _options(self, node: PlanNode) -> Iterator[Part]:
        if node.timeout != 30.0:
            yield f"timeout={node.timeout!r}"
        if node.retry is not None:
            self._used.add("Retry")
            yield Pair("retry=", call("Retry", *_retry(node.retry)))
        if node.credentials:
            yield Pair("credentials=", literal(node.credentials))
        if node.on_unknown != "fail":
            yield f'on_unknown="{node.on_unknown}"'

    def _if(self, node: PlanNode) -> Iterator[str]:
        condition = self._template(node, "condition")
        yield f'        return {{"true" if step.holds({condition}, "condition") else "false": step.input}}'

    def _switch(self, node: PlanNode) -> Iterator[str]:
        cases: Sequence[Mapping[str, Any]] = node.config["cases"]
        every = node.config.get("mode", "first") == "all"
        if every:
            yield "        ports: Ports = {}"
        for index, case in enumerate(cases):
            when = self._template(node, "cases", index, "when", called=str(case["port"]))
            yield f'        if step.holds({when}, "cases[{index}].when"):'
            port = quoted(case["port"])
            yield f"            ports[{port}] = step.input" if every else f"            return {{{port}: step.input}}"
        yield f'        return {"ports or " if every else ""}{{"default": step.input}}'
        self._counted["PLR0912"] = max(self._counted["PLR0912"], len(cases))
        if not every:
            self._counted["PLR0911"] = max(self._counted["PLR0911"], len(cases) + 1)

    def _loop(self, node: PlanNode) -> Iterator[str]:
        is_foreach = node.plugin == "foreach"
        method = self._method_of[node.id]
        body = self._methods.take(f"{method}_item" if is_foreach else f"{method}_round")
        if is_foreach:
            parts: list[Part] = [
                self._template(node, "items"),
                f"self.{body}",
                f"concurrency={node.config.get('concurrency', DEFAULT_CONCURRENCY)}",
            ]
            if node.config.get("continueOnItemError", False):
                parts.append("collect_errors=True")
            action = self._action("for_each", *parts, awaited=True)
        else:
            limit = f"limit={node.config.get('maxIterations', DEFAULT_MAX_ITERATIONS)}"
            condition = self._template(node, "condition")
            action = self._action("repeat_while", condition, f"self.{body}", limit, awaited=True)
        yield lay_out(action, depth=2, before="return ")
        result = self._template(node, "result") if "result" in node.config else None
        graph = node.body or PlanGraph(nodes=(), edges=())
        told = f"One {'item' if is_foreach else 'round'} of `{node.id}`."
        yield from self._walk(graph, body, "graph", told, result)
        for inner in graph.nodes:
            yield from self._node(inner)

    def _template(self, node: PlanNode, *path: str | int, called: str | None = None) -> str:
        """Write a constant that holds a part of a node's config, and return its name."""
        value: Any = node.config
        for part in path:
            value = value[part]
        suffix = called if called is not None else "_".join(str(part) for part in path)
        method = self._method_of[node.id]
        return self._constant(value, f"{method}_{suffix}" if suffix else method)

    def _constant(self, value: Any, called: str) -> str:
        name = self._constants.take(snake(called).upper())
        self._used.add("compile_template")
        self._templates.append(lay_out(call("compile_template", literal(value)), depth=0, before=f"{name} = "))
        return name


def _retry(retry: Retry) -> Iterator[Part]:
    for field in structs.fields(retry):
        value = getattr(retry, field.name)
        if value != field.default:
            yield Pair(f"{field.name}=", _tuple(value) if isinstance(value, tuple) else literal(value))


def _tuple(values: tuple[str, ...]) -> Part:
    return Group("(", tuple(literal(each) for each in values), ",)" if len(values) == 1 else ")")
