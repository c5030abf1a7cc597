"""A published version as one Python module with a plain Temporal workflow.

Expressions stay what they are, compiled templates that the module holds as constants: CEL compares, divides and fails
otherwise than Python, and a translation that is nearly the same is a silent change. What the nodes do, what follows
what, which joins hold and which loops turn is Python, in the order of the graph.
"""

from collections.abc import Iterator

from user_workflows.codegen.layout import WIDTH, Pair, Part, Text, call, lay_out, literal, quoted
from user_workflows.codegen.methods import write_node
from user_workflows.codegen.names import prose
from user_workflows.codegen.refusals import refuse
from user_workflows.codegen.vocabulary import Vocabulary
from user_workflows.codegen.walks import write_walk
from user_workflows.definition.control_nodes import CONTROL_NODES
from user_workflows.generated.types import generated_type
from user_workflows.plan.model import Plan


def export_python(plan: Plan, *, workflow_id: str, version: int, name: str = "") -> str:
    """Return the module's text: the same for the same plan.

    Args:
        plan: of the version.
        workflow_id: of the workflow.
        version: its number.
        name: of the workflow, for people.

    Raises:
        NotWritable: a node can only be interpreted.
        Conflict: the plan is of a later release.
    """
    refuse(plan, frozenset(CONTROL_NODES))
    words = Vocabulary(plan, name)
    title = prose(name, 40) or "A workflow"
    methods = [*write_walk(words, plan, "walk", "What runs after what.")]
    for node in plan.nodes:
        methods += write_node(words, node)
    constants = ["", *words.constants] if words.constants else []
    values = "\n".join([*_values(plan, generated_type(workflow_id, version)), *constants])
    code = "\n".join([values, "", "", *_opening(plan, words.class_name, title), *methods, ""])
    told = f"{title}: version {version} of workflow {workflow_id}, as a Temporal workflow."
    return "\n".join([*_head(words, told, is_wide=max(map(len, code.split("\n"))) > WIDTH), code])


def _head(words: Vocabulary, told: str, *, is_wide: bool) -> Iterator[str]:
    yield f'"""{told}'
    yield ""
    yield "Written by `gateway workflow export`; the same version gives the same text. It is served by"
    yield "`gateway worker user-workflows --module FILE`. Nodes are methods, in topological order; `walk` says what"
    yield "runs after what. Expressions are templates, whose language is the editor's, not Python."
    yield '"""'
    yield ""
    if exceeded := [*(["E501"] if is_wide else []), *words.exceeded()]:
        yield f"# ruff: noqa: {', '.join(exceeded)}"
        yield ""
    yield "from typing import Any"
    yield ""
    yield "from temporalio import workflow"
    yield ""
    yield _import(words.imports())
    yield ""


def _import(names: list[str]) -> str:
    line = f"from user_workflows.generated import {', '.join(names)}"
    if len(line) <= WIDTH:
        return line
    return "\n".join(["from user_workflows.generated import (", *(f"    {name}," for name in names), ")"])


def _values(plan: Plan, type_name: str) -> Iterator[str]:
    yield "#: the workflow's type on Temporal, and its task queue"
    yield f"TYPE = {quoted(type_name)}"
    yield ""
    yield "#: what expressions see as `vars`"
    yield lay_out(literal(plan.variables), depth=0, before="VARIABLES: dict[str, Any] = ")


def _opening(plan: Plan, class_name: str, title: str) -> Iterator[str]:
    options: list[Part] = ["start", "variables=VARIABLES"]
    if plan.timeout is not None:
        options.append(f"timeout={plan.timeout!r}")
    if plan.error_workflow is not None:
        options.append(Pair("error_workflow=", Text(plan.error_workflow)))
    yield "@workflow.defn(name=TYPE)"
    yield f"class {class_name}:"
    yield f'    """{title}."""'
    yield ""
    yield "    @workflow.init"
    yield "    def __init__(self, start: StartExecution) -> None:"
    yield lay_out(call("Flow", *options), depth=2, before="self.flow = ")
    yield ""
    yield "    @workflow.run"
    yield "    async def run(self, start: StartExecution) -> Any:"
    yield '        """Run it to its end and return its output."""'
    yield "        return await self.flow.run(self.walk)"
