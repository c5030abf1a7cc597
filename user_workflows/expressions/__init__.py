"""Expressions: a bounded profile of CEL, for conditions and for mapping data (design §5).

The language is CEL's (cel.dev) over JSON's types, timestamps and durations, with every evaluation metered. What is
different from CEL, all of it on purpose:

- arithmetic between int and double gives a double; there are no uint, bytes, messages or enums;
- ``a?.b`` and ``a?.[b]`` give null where CEL has optionals: from one selection before the first ``?.`` on, whatever is
  absent or null makes the whole path null. ``nodes.<id>.<port>`` stands and falls as one;
- ``has()`` is false when any part of its path is absent or null, not only the last;
- ``default(a, b)`` is the first of its arguments that is there and not null;
- ``1d`` is a duration of 24 hours; base64 functions work on text;
- NaN and infinity are refused in results, and there is no ``now()`` and no random: the same input gives the same
  output in any process, so expressions are safe inside a Temporal workflow;
- the keys of maps are strings in results.

Time zones come from the system's tz database. LANGUAGE.md, beside this file, is for those who write expressions.
"""

from user_workflows.expressions.budget import Meter
from user_workflows.expressions.errors import (
    Absent,
    BudgetExceeded,
    EvaluationError,
    ExpressionError,
    ExpressionSyntaxError,
    TemplateError,
)
from user_workflows.expressions.expression import Expression, compile_expression
from user_workflows.expressions.inference import Finding, Inference
from user_workflows.expressions.references import ROOTS, Reference
from user_workflows.expressions.template import Placed, Template, compile_template

#: Stamped into plans. Rises whenever an expression can give another value than before for the same input.
EVALUATOR_VERSION = 1

__all__ = [
    "EVALUATOR_VERSION",
    "ROOTS",
    "Absent",
    "BudgetExceeded",
    "EvaluationError",
    "Expression",
    "ExpressionError",
    "ExpressionSyntaxError",
    "Finding",
    "Inference",
    "Meter",
    "Placed",
    "Reference",
    "Template",
    "TemplateError",
    "compile_expression",
    "compile_template",
]
