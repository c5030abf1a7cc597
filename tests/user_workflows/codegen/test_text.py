"""What is written: it passes the checks that the repository's own code passes, and says the same for the same plan."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from plugins.builtin import builtins
from plugins.host.registry import Registry
from tests.replay.cases import CASES
from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Gates, make_plugins
from tests.user_workflows.reference.drawings import definitions
from tests.user_workflows.reference.plugins import PLUGINS
from user_workflows.codegen.export import export_python
from user_workflows.codegen.layout import lay_out, literal
from user_workflows.codegen.load import ModuleFault, load_modules
from user_workflows.codegen.refusals import NotWritable, refuse
from user_workflows.definition.validate import validate
from user_workflows.errors import Conflict
from user_workflows.plan.compile import compile_plan
from user_workflows.plan.model import PLAN_FORMAT, Plan, PlanEdge, PlanNode

ROOT = Path(__file__).parents[3]
REGISTRY = Registry([*make_plugins(Gates(), []), *PLUGINS, *builtins(smtp=None, quotes={})])

#: names that mean something else in Python, or in the module, or that only differ in ways that Python does not keep
AWKWARD = {
    "name": 'A "name"\\ with\nlines, and a very long text ' + "that goes on " * 12,
    "variables": {"class": {"a b": [1.5, True, None, "it's", 'say "it"', "\u2028\u200b\U0001f600\x07"]}, "empty": {}},
    "timeout": "1h",
    "errorWorkflow": "wf_other",
    "nodes": [
        node("sendMail", "test.echo", value={"text": "word " * 60, "lines": "one\ntwo\n" * 20, "x" * 130: ["y" * 200]}),
        node("send_mail", "test.echo", value="{{ vars.empty }} {{ 'x' }} " * 12, label='The "second"\\ one?'),
        node("SEND_MAIL", "test.flaky", retry={"maxAttempts": 2, "nonRetryable": ["a.b", "c"]}, timeout="2m"),
        node("class", "if", condition="{{ true }}"),
        node("graph", "switch", cases=[{"port": f"p{n}", "when": "{{ true }}"} for n in range(14)]),
        node("self", "merge", onError="continue"),
        node("results", "merge", disabled=True, join={"count": 2}),
        node("compile_template", "set", values={}),
        node("__init__", "set", values={"n": 1}),
        node("_", "wait", signal="go", timeout="1d"),
        node("walk", "approval", timeout="3d", title="Pay?", form={"type": "object", "required": ["n"]}),
        node("l", "stop", message="it's over"),
        node(
            "each",
            "foreach",
            items=[1, 2],
            nodes=[node("Any", "respond", body="{{ item }}"), node("each_item", "workflow.call", workflowId="wf_x")],
            edges=edges("Any>each_item"),
            result="{{ index }}",
        ),
        *(node(f"many{n}", "test.echo", value=n) for n in range(60)),
    ],
    "edges": [
        *edges("class.true>self", "class.false>self", "class>results", "self>results", "walk.approved>results"),
        {"source": "graph", "sourceHandle": "p1", "target": "results", "targetHandle": "a very odd key"},
    ],
}  # fmt: skip


def written(definition: dict[str, Any], workflow_id: str = "wf_01ABC") -> str:
    return export_python(planned(definition), workflow_id=workflow_id, version=1, name=definition.get("name", ""))


def planned(definition: dict[str, Any]) -> Plan:
    checked = validate(definition, plugins=REGISTRY)
    assert checked.definition is not None, checked.faults
    return compile_plan(checked.definition, plugins=REGISTRY)


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of modules written for awkward, known and random definitions."""
    folder = tmp_path_factory.mktemp("modules")
    drawn = [AWKWARD, *(case.definition for case in CASES)]

    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(definition=definitions())
    def draw(definition: dict[str, Any]) -> None:
        drawn.append(definition)

    draw()
    for number, definition in enumerate(drawn):
        (folder / f"module_{number}.py").write_text(written(definition, f"wf_{number}"), encoding="utf-8")
    return folder


@pytest.mark.parametrize("command", [("check",), ("format", "--diff")], ids=lambda command: command[0])
def test_every_module_passes_ruff(modules: Path, command: tuple[str, ...]) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", "--config", str(ROOT / "pyproject.toml"), str(modules)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout[:5_000]


def test_every_module_passes_mypy_strict(modules: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "", str(modules)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert checked.returncode == 0, checked.stdout[:5_000]


def test_every_module_loads(modules: Path) -> None:
    files = sorted(modules.glob("*.py"))
    assert len(load_modules(files)) == len(files) > 80


def test_equal_plans_give_equal_texts() -> None:
    assert written(AWKWARD) == written(msgspec.json.decode(msgspec.json.encode(AWKWARD)))


@settings(derandomize=True, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_a_value_reads_back_as_it_was(value: Any) -> None:
    scope: dict[str, Any] = {}
    exec(lay_out(literal(value), depth=0, before="value = "), scope)
    assert scope["value"] == value


def test_what_only_the_interpreter_knows_is_refused_with_all_its_nodes() -> None:
    """A control node of a later release, in a plan that this one reads."""
    drawn = {"nodes": [node("a", values={}), node("each", "foreach", items=[1], nodes=[node("b", "wait", signal="s")])]}
    plan = planned(drawn)
    known = frozenset({"set", "foreach", "wait"})
    refuse(plan, known)
    later = replace(plan, nodes=(replace(plan.nodes[0], plugin="teleport"), *plan.nodes[1:]))
    body = later.nodes[1].body
    assert body is not None
    inside = replace(later.nodes[1], body=replace(body, nodes=(PlanNode(id="b", plugin="teleport", home="inline"),)))
    with pytest.raises(NotWritable, match=r"node a is of the kind teleport, .*; node b is of the kind") as refused:
        refuse(replace(later, nodes=(later.nodes[0], inside)), known | {"teleport"})
    assert [*refused.value.reasons] == ["a", "b"]


def test_a_loop_that_is_surely_too_long_for_one_history_is_refused_by_name() -> None:
    long, short = (
        node(name, "foreach", items=[0] * items, nodes=[node(f"call{name}", "http.request", url="https://example.com")])
        for name, items in (("long", 15_000), ("short", 10_000))
    )
    with pytest.raises(NotWritable, match=r"node long takes 45,000 events of history at least") as refused:
        refuse(planned({"nodes": [long, short]}), frozenset({"set", "foreach"}))
    assert [*refused.value.reasons] == ["long"]


def test_everything_in_a_plan_is_written_or_left_out_on_purpose() -> None:
    """Who adds a field to the plan is asked here what generated code does about it."""
    written = {
        "id", "plugin", "config", "label", "default_port", "incoming", "outgoing", "join", "on_error", "on_unknown",
        "retry", "timeout", "limit", "credentials", "disabled", "body", "compensate",
    }  # fmt: skip
    # Where a step runs: in an activity of its own. As what it acts: of promoted jobs alone, which nobody exports.
    left_out = {"home", "acts", "acts_as"}
    assert {*PlanNode.__struct_fields__} == written | left_out
    assert {*Plan.__struct_fields__} == {
        "nodes", "edges", "variables", "timeout", "error_workflow",
        # of the interpreter: how steps share activities, and what it must be able to read
        "segments", "format", "evaluator",
    }  # fmt: skip
    assert {*PlanEdge.__struct_fields__} == {"source", "target", "port", "key"}


def test_a_plan_of_a_later_release_is_refused() -> None:
    plan = planned({"nodes": [node("a", values={})]})
    with pytest.raises(Conflict, match="published by a later release"):
        refuse(replace(plan, format=PLAN_FORMAT + 1), frozenset())


def test_a_file_that_holds_no_generated_workflow_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("x = 1\n")
    with pytest.raises(ModuleFault, match="was not written by"):
        load_modules([tmp_path / "other.py"])
    (tmp_path / "broken.py").write_text("x = (\n")
    with pytest.raises(ModuleFault, match="cannot be loaded"):
        load_modules([tmp_path / "broken.py"])
    with pytest.raises(ModuleFault, match="cannot be loaded"):
        load_modules([tmp_path / "absent.py"])
