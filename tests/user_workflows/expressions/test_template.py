from typing import Any

import pytest

from user_workflows.expressions import EvaluationError, Meter, TemplateError, compile_template
from user_workflows.expressions.budget import MAX_EXPRESSIONS
from user_workflows.expressions.errors import TooManySteps

SCOPE: dict[str, Any] = {
    "vars": {"n": 5, "x": 2.5, "name": "Ada", "none": None, "yes": True, "list": [1, "a"], "map": {"k": None}},
    "nodes": {},
}


def render(value: Any) -> Any:
    return compile_template(value).render(SCOPE)


@pytest.mark.parametrize("name", ["n", "x", "name", "none", "yes", "list", "map"])
def test_a_string_that_is_one_expression_keeps_the_type(name: str) -> None:
    result = render(f"{{{{ vars.{name} }}}}")
    assert (result, type(result)) == (SCOPE["vars"][name], type(SCOPE["vars"][name]))


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("AAPL is down {{ vars.n }} %", "AAPL is down 5 %"),
        ("{{ vars.name }}{{ vars.n }}", "Ada5"),
        (" {{ vars.n }}", " 5"),
        ("<{{ vars.none }}>", "<>"),
        ("<{{ vars.yes }}>", "<true>"),
        ("<{{ vars.x }}> <{{ 5.0 }}> <{{ 1e300 }}>", "<2.5> <5> <1e+300>"),
        ("<{{ vars.list }}> <{{ vars.map }}>", '<[1,"a"]> <{"k":null}>'),
        ("<{{ timestamp('2026-05-01T09:00:00Z') }}>", "<2026-05-01T09:00:00Z>"),
        ("{{ '}}' + \"}}\" }}", "}}}}"),
        ("{{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ("{{{'a': {'b': 1}}}}", {"a": {"b": 1}}),
        ("{{ [1].map(x, {'a': x}) }}.", '[{"a":1}].'),
        ("{{ r'}}\\' }}", "}}\\"),
        ("{{ 'it''s' == '' // }} \n || true }}", None),
        ('{{ "{{" }} name }}', "{{ name }}"),
        ("plain }} text { } {", "plain }} text { } {"),
        ("", ""),
    ],
)
def test_text_is_rendered_around_expressions(text: str, rendered: Any) -> None:
    if rendered is None:
        with pytest.raises(TemplateError):
            render(text)
    else:
        assert render(text) == rendered


def test_any_string_of_a_config_may_hold_expressions() -> None:
    value = {"to": "{{ vars.name }}", "list": ["a", "{{ vars.n }}", {"deep": "{{ vars.n + 1 }}"}], "n": 3, "{{ k }}": 1}
    assert render(value) == {"to": "Ada", "list": ["a", 5, {"deep": 6}], "n": 3, "{{ k }}": 1}
    assert value["to"] == "{{ vars.name }}"


def test_a_value_without_expressions_is_literal() -> None:
    value = {"a": ["b", None, 1.5, {"c": "}}"}]}
    template = compile_template(value)
    assert (template.is_literal, template.references, template.render({})) == (True, (), value)
    assert not compile_template(["{{ 1 }}"]).is_literal


def test_every_fault_is_reported_with_its_pointer() -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(
            {
                "a": "{{ 1 + }}",
                "b/c": ["ok {{ vars.n }}", "{{ frobnicate(1) }} {{ nope.x }}"],
                "d~": "{{ unclosed",
                "e": "{{ }}",
                "f": "{{ 'a'.matches('[') }}",
            }
        )
    found = [(pointer, error.type, error.position, error.pointer) for pointer, error in caught.value.faults]
    assert found == [
        ("/a", "expression.syntax", 7, "/a"),
        ("/b~1c/1", "expression.noSuchFunction", 3, "/b~1c/1"),
        ("/b~1c/1", "expression.syntax", 23, "/b~1c/1"),
        ("/d~0", "expression.syntax", 0, "/d~0"),
        ("/e", "expression.syntax", 3, "/e"),
        ("/f", "expression.invalidPattern", 15, "/f"),
    ]
    assert "/b~1c/1: there is no function 'frobnicate'" in str(caught.value)
    assert "an expression begins with nodes, input, vars" in str(caught.value)


def test_a_failing_expression_says_in_which_string_it_is() -> None:
    for value, pointer in [
        ({"a": ["{{ 1 }}", "x {{ nodes.skipped.output }}"]}, "/a/1"),
        ({"b": "{{ nodes.skipped.output }}"}, "/b"),
        ("{{ nodes.skipped.output }}", ""),
    ]:
        with pytest.raises(EvaluationError, match="skipped") as caught:
            render(value)
        assert caught.value.pointer == pointer


def test_all_expressions_of_a_template_share_one_budget() -> None:
    loop = "{{ range(15000).map(x, x + 1).size() }}"
    assert render(loop) == 15_000
    with pytest.raises(TooManySteps) as caught:
        render([loop, loop, loop])
    assert caught.value.pointer == "/2"


def test_renderings_may_share_one_budget() -> None:
    template = compile_template("{{ range(1000).all(x, x >= 0) }}")
    meter = Meter(steps=10_000)
    assert template.render({}, meter) is True
    with pytest.raises(TooManySteps):
        template.render({}, meter)
    assert template.render({}) is True
    shared = Meter()
    for _ in range(10):
        assert compile_template("{{ 'a'.repeat(1000000).size() }}").render({}, shared) == 1_000_000


def test_a_template_has_bounds_of_its_own() -> None:
    assert render(["{{ 1 }}"] * MAX_EXPRESSIONS) == [1] * MAX_EXPRESSIONS
    for value in (["{{ 1 }}"] * (MAX_EXPRESSIONS + 1), "{{1}}" * 200_000):
        with pytest.raises(TemplateError, match="more than 1,000 expressions"):
            compile_template(value)
    with pytest.raises(TemplateError, match="64 KiB together"):
        compile_template(["{{ '" + "a" * 8_000 + "' }}"] * 9)
    with pytest.raises(TemplateError, match="longer than 8 KiB"):
        compile_template("{{ '" + "a" * 10_000 + "' }}")
    with pytest.raises(TemplateError, match="longer than 8 KiB"):
        compile_template("{{ '" + "a" * 1_000_000)
    deep: Any = "{{ 1 }}"
    for _ in range(300):
        deep = [deep]
    with pytest.raises(TemplateError, match="128 levels"):
        compile_template(deep)
