"""The method that walks a graph: a statement for each node says what it waits for, in topological order."""

from collections.abc import Iterator

from user_workflows.codegen.layout import Group, Pair, Part, Text, call, lay_out, quoted
from user_workflows.codegen.vocabulary import Vocabulary
from user_workflows.plan.model import PlanEdge, PlanGraph, PlanNode

_JOINS = {"any": "any_of", "all": "all_of", "first": "first_of"}


def write_walk(words: Vocabulary, graph: PlanGraph, method: str, told: str, result: str | None = None) -> Iterator[str]:
    """Yield the lines of a method.

    Args:
        words: of the module.
        graph: that it walks.
        method: its name.
        told: its docstring.
        result: the constant that says what the body of a loop comes to; without, what its last nodes come to.
    """
    yield ""
    yield f"    async def {method}(self, graph: Graph) -> Any:"
    yield f'        """{told}"""'
    ends = [node for node in graph.nodes if not node.outgoing and node.plugin != "stop"]
    named = {graph.edges[index].source for node in graph.nodes for index in node.incoming}
    if result is None:
        named |= {node.id for node in ends}
    for node in graph.nodes:
        before = f"{words.method(node.id)} = " if node.id in named else ""
        yield lay_out(_wiring(words, graph, node), depth=2, before=before)
    yield "        await graph.settled()"
    words.count("PLR0915", len(graph.nodes) + 2)
    if result is not None:
        yield f"        return graph.render({result})"
    else:
        last = call(words.use("results"), *(words.method(node.id) for node in ends))
        yield lay_out(last, depth=2, before="return ")


def _wiring(words: Vocabulary, graph: PlanGraph, node: PlanNode) -> Group:
    parts: list[Part] = [quoted(node.id), f"self.{words.method(node.id)}"]
    if node.incoming:
        parts.append(_join(words, node, [_edge(words, graph.edges[index]) for index in node.incoming]))
    if node.compensate is not None:
        parts.append(f"undo=self.{words.undo(node.id)}")
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


def _join(words: Vocabulary, node: PlanNode, edges: list[Group]) -> Group:
    if isinstance(node.join, str):
        return call(words.use(_JOINS[node.join]), *edges)
    return call(words.use("count_of"), str(node.join), *edges)


def _edge(words: Vocabulary, edge: PlanEdge) -> Group:
    parts: list[Part] = [] if edge.port is None else [Text(edge.port)]
    if edge.key != edge.source:
        parts.append(Pair("to=", Text(edge.key)))
    return call(f"{words.method(edge.source)}.port", *parts)
