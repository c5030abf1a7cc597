"""The names of one generated module, and what it uses: given out while it is written."""

from collections.abc import Iterator
from typing import Any

from user_workflows.codegen.layout import call, lay_out, literal
from user_workflows.codegen.names import Names, pascal, snake
from user_workflows.plan.model import Plan

#: names that a module imports, as far as it needs them
IMPORTS = (
    "Flow", "Graph", "Ports", "Retry", "StartExecution", "Step", "all_of", "any_of", "ask", "call_plugin",
    "call_workflow", "compile_template", "count_of", "first_of", "for_each", "keep", "repeat_while", "respond",
    "results", "stop", "wait",
)  # fmt: skip

#: what a linter counts, and a graph may have more of than a person would write: rule → the most that it lets pass
_LIMITS = {"PLR0911": 6, "PLR0912": 12, "PLR0915": 50}

#: what the methods' names must not be: local variables are called the same
_TAKEN = ("Any", "workflow", "flow", "graph", "run", "start", "step", "ports", "walk")


class Vocabulary:
    """The names of one module.

    Args:
        plan: that is written.
        name: of the workflow.
    """

    def __init__(self, plan: Plan, name: str) -> None:
        self.class_name = Names(("Any", "TYPE", "VARIABLES", *IMPORTS)).take(pascal(name))
        self.constants: list[str] = []
        self._used = {"Flow", "Graph", "StartExecution"}
        self._counted = dict.fromkeys(_LIMITS, 0)
        self._methods = Names((*_TAKEN, *IMPORTS, self.class_name))
        self._constants = Names(("TYPE", "VARIABLES", self.class_name, *IMPORTS))
        # Ids are unique over all graphs.
        self._method_of = {
            node.id: self._methods.take(snake(node.id)) for graph in plan.graphs() for node in graph.nodes
        }
        self._undo_of = {
            node.id: self._methods.take(f"undo_{self._method_of[node.id]}")
            for node in plan.nodes
            if node.compensate is not None
        }

    def method(self, node_id: str) -> str:
        """Return the name of a node's method; the variable that holds the node has the same."""
        return self._method_of[node_id]

    def undo(self, node_id: str) -> str:
        """Return the name of the method that undoes a node."""
        return self._undo_of[node_id]

    def body(self, method: str, each: str) -> str:
        """Return the name of a new method, that walks the body of a loop."""
        return self._methods.take(f"{method}_{each}")

    def constant(self, value: Any, called: str) -> str:
        """Hold a part of a config as a template, and return the constant's name."""
        name = self._constants.take(snake(called).upper())
        template = call(self.use("compile_template"), literal(value))
        self.constants.append(lay_out(template, depth=0, before=f"{name} = "))
        return name

    def use(self, name: str) -> str:
        """Import a name, and return it."""
        self._used.add(name)
        return name

    def imports(self) -> list[str]:
        return [name for name in IMPORTS if name in self._used]

    def count(self, rule: str, number: int) -> None:
        """Note how many of what a linter counts a method has."""
        self._counted[rule] = max(self._counted[rule], number)

    def exceeded(self) -> Iterator[str]:
        """Yield the rules that a method goes beyond."""
        yield from (rule for rule, most in _LIMITS.items() if self._counted[rule] > most)
