"""The methods of a node: what it does, what undoes it, and of a loop what is in its body."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, structs

from plugins.host.retry import Retry
from user_workflows.codegen.layout import Group, Pair, Part, call, lay_out, literal, quoted
from user_workflows.codegen.names import prose
from user_workflows.codegen.vocabulary import Vocabulary
from user_workflows.codegen.walks import write_walk
from user_workflows.interpreter.loops import DEFAULT_CONCURRENCY, DEFAULT_MAX_ITERATIONS
from user_workflows.plan.model import PlanGraph, PlanNode


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


def write_node(words: Vocabulary, node: PlanNode) -> Iterator[str]:
    """Yield the lines of a node's methods."""
    label = f' "{prose(node.label)}"' if node.label else ""
    disabled = ", disabled: its input passes through" if node.disabled else ""
    yield from _method(words, words.method(node.id), f"`{prose(node.plugin)}`{label}{disabled}.")
    yield from _work(words, node)
    if node.compensate is not None:
        method = words.undo(node.id)
        yield from _method(words, method, f"`{prose(node.compensate.plugin)}`, to undo `{node.id}`.")
        yield lay_out(_call_plugin(words, node.compensate, method), depth=2, before="return ")


def _method(words: Vocabulary, method: str, told: str) -> Iterator[str]:
    yield ""
    yield f"    async def {method}(self, step: {words.use('Step')}) -> {words.use('Ports')}:"
    yield f'        """{told}"""'


def _work(words: Vocabulary, node: PlanNode) -> Iterator[str]:
    if node.disabled:
        yield f"        return {{{quoted(node.default_port)}: step.input}}"
        return
    match node.plugin:
        case "if":
            condition = _template(words, node, "condition")
            yield f'        return {{"true" if step.holds({condition}, "condition") else "false": step.input}}'
        case "switch":
            yield from _switch(words, node)
        case "foreach" | "while":
            yield from _loop(words, node)
        case _:
            yield lay_out(_single(words, node), depth=2, before="return ")


def _single(words: Vocabulary, node: PlanNode) -> Part:
    """Return what a node leaves with that takes a single expression."""
    if node.plugin == "set":
        return Group("{", (Pair('"output": ', f"step.render({_template(words, node, 'values')})"),), "}")
    if node.plugin == "merge":
        return Group("{", (Pair('"output": ', "step.input"),), "}")
    action = _ACTIONS.get(node.plugin)
    if action is None:
        return _call_plugin(words, node, words.method(node.id))
    templates = [_template(words, node, *path) for path in action.templates]
    # What is asked of the form stays as it was drawn.
    asks = node.plugin == "approval" and node.config.get("form") is not None
    form = [Pair("form=", literal(node.config["form"]))] if asks else []
    return _action(words, action.name, *templates, *form, awaited=action.is_awaited)


def _call_plugin(words: Vocabulary, node: PlanNode, method: str) -> Group:
    config = words.constant(node.config, method)
    return _action(words, "call_plugin", quoted(node.plugin), config, *_options(words, node), awaited=True)


def _action(words: Vocabulary, name: str, *parts: Part, awaited: bool = False) -> Group:
    words.use(name)
    return call(f"await {name}" if awaited else name, "step", *parts)


def _options(words: Vocabulary, node: PlanNode) -> Iterator[Part]:
    if node.timeout != 30.0:
        yield f"timeout={node.timeout!r}"
    if node.retry is not None:
        yield Pair("retry=", call(words.use("Retry"), *_retry(node.retry)))
    if node.credentials:
        yield Pair("credentials=", literal(node.credentials))
    if node.on_unknown != "fail":
        yield f'on_unknown="{node.on_unknown}"'


def _retry(retry: Retry) -> Iterator[Part]:
    for field in structs.fields(retry):
        value = getattr(retry, field.name)
        if value != field.default:
            yield Pair(f"{field.name}=", _tuple(value) if isinstance(value, tuple) else literal(value))


def _tuple(values: tuple[str, ...]) -> Part:
    return Group("(", tuple(literal(each) for each in values), ",)" if len(values) == 1 else ")")


def _switch(words: Vocabulary, node: PlanNode) -> Iterator[str]:
    cases: Sequence[Mapping[str, Any]] = node.config["cases"]
    every = node.config.get("mode", "first") == "all"
    if every:
        yield "        ports: Ports = {}"
    for index, case in enumerate(cases):
        when = words.constant(case["when"], f"{words.method(node.id)}_{case['port']}")
        yield f'        if step.holds({when}, "cases[{index}].when"):'
        port = quoted(case["port"])
        yield f"            ports[{port}] = step.input" if every else f"            return {{{port}: step.input}}"
    yield f'        return {"ports or " if every else ""}{{"default": step.input}}'
    words.count("PLR0912", len(cases))
    words.count("PLR0911", 1 if every else len(cases) + 1)


def _loop(words: Vocabulary, node: PlanNode) -> Iterator[str]:
    each = "item" if node.plugin == "foreach" else "round"
    body = words.body(words.method(node.id), each)
    act = _for_each if node.plugin == "foreach" else _repeat_while
    yield lay_out(act(words, node, body), depth=2, before="return ")
    result = _template(words, node, "result") if "result" in node.config else None
    graph = node.body or PlanGraph(nodes=(), edges=())
    yield from write_walk(words, graph, body, f"One {each} of `{node.id}`.", result)
    for inner in graph.nodes:
        yield from write_node(words, inner)


def _for_each(words: Vocabulary, node: PlanNode, body: str) -> Group:
    concurrency = node.config.get("concurrency", DEFAULT_CONCURRENCY)
    parts: list[Part] = [_template(words, node, "items"), f"self.{body}", f"concurrency={concurrency}"]
    if node.config.get("continueOnItemError", False):
        parts.append("collect_errors=True")
    return _action(words, "for_each", *parts, awaited=True)


def _repeat_while(words: Vocabulary, node: PlanNode, body: str) -> Group:
    limit = f"limit={node.config.get('maxIterations', DEFAULT_MAX_ITERATIONS)}"
    condition = _template(words, node, "condition")
    return _action(words, "repeat_while", condition, f"self.{body}", limit, awaited=True)


def _template(words: Vocabulary, node: PlanNode, *path: str) -> str:
    """Hold a part of a node's config as a constant, and return its name; without a path, the whole of it."""
    value: Any = node.config
    for part in path:
        value = value[part]
    return words.constant(value, "_".join((words.method(node.id), *path)))
