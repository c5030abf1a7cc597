"""What a generated workflow is made of: the names that its module imports, kept for as long as modules use them.

`user_workflows.codegen` writes such modules; people read them, and may go on by hand.
"""

from plugins.host.retry import Retry
from user_workflows.expressions import compile_template
from user_workflows.generated.actions import ask, call_plugin, call_workflow, keep, respond, stop, wait
from user_workflows.generated.flow import Flow
from user_workflows.generated.graph import Graph, Step, results
from user_workflows.generated.loops import for_each, repeat_while
from user_workflows.generated.node import all_of, any_of, count_of, first_of
from user_workflows.interpreter.control import Ports
from user_workflows.interpreter.messages import StartExecution

__all__ = [
    "Flow",
    "Graph",
    "Ports",
    "Retry",
    "StartExecution",
    "Step",
    "all_of",
    "any_of",
    "ask",
    "call_plugin",
    "call_workflow",
    "compile_template",
    "count_of",
    "first_of",
    "for_each",
    "keep",
    "repeat_while",
    "respond",
    "results",
    "stop",
    "wait",
]
