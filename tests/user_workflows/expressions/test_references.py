import pytest

from user_workflows.expressions import Reference, compile_expression, compile_template


def references(source: str) -> list[str]:
    """Return references as `root.path`, with a `?` behind the optional ones."""
    return [
        ".".join((found.root, *found.path)) + ("?" if found.optional else "")
        for found in compile_expression(source).references
    ]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("nodes.price.output.changePercent <= -vars.threshold", ["nodes.price.output.changePercent", "vars.threshold"]),
        ("nodes['a']['output'].x", ["nodes.a.output.x"]),
        ("nodes[vars.which].output", ["nodes", "vars.which"]),
        ("input", ["input"]),
        ("input.list[0].name", ["input.list"]),
        ("nodes.a.output.upper()", ["nodes.a.output"]),
        ("input.items.map(item, item.x + vars.y)", ["input.items", "vars.y"]),
        ("input.map(x, [x].map(vars, vars.z)) + vars.z", ["input", "vars.z"]),
        ("item.list.filter(i, i > index)", ["item.list", "index"]),
        ("cel.bind(vars, input.a, vars.b)", ["input.a"]),
        ("input.map(item, .item)", ["input", "item"]),
        ("has(nodes.a.output) ? nodes.a.output : 0", ["nodes.a.output?", "nodes.a.output"]),
        ("nodes.a?.output.x", ["nodes.a.output.x?"]),
        ("nodes.a.output?.[vars.key]", ["nodes.a.output?", "vars.key"]),
        ("default(nodes.a.output.x, default(vars.y, vars.z))", ["nodes.a.output.x?", "vars.y?", "vars.z"]),
        ("default(last, index)", ["last?", "index"]),
        ("{'a': trigger.body, vars.k: [execution.id]}", ["trigger.body", "vars.k", "execution.id"]),
        ("type(input) == google.protobuf.Timestamp || type(1) == int", ["input"]),
        ("true ? nodes.a.output : nodes.b.output", ["nodes.a.output", "nodes.b.output"]),
        ("!input.a && (input.b || -input.c == size(input.d))", ["input.a", "input.b", "input.c", "input.d"]),
    ],
)
def test_references_are_found_without_evaluating(source: str, found: list[str]) -> None:
    assert references(source) == found


def test_references_of_a_template_say_where_they_are() -> None:
    template = compile_template({"to": "Hi {{ vars.name }}", "rows": ["{{ has(nodes.a.output) }}"]})
    assert template.references == (
        Reference(root="vars", path=("name",), position=6, pointer="/to"),
        Reference(root="nodes", path=("a", "output"), position=7, pointer="/rows/0", optional=True),
    )
