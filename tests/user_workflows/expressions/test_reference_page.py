import re
from pathlib import Path

from user_workflows import expressions
from user_workflows.expressions import budget
from user_workflows.expressions.functions import FUNCTIONS, METHODS
from user_workflows.expressions.macros import MACROS

PAGE = (Path(expressions.__file__).parent / "LANGUAGE.md").read_text()


def test_every_function_and_macro_is_on_the_page() -> None:
    written = set(re.findall(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*", PAGE))
    written |= {name.rpartition(".")[2] for name in written}
    assert [name for name in (*FUNCTIONS, *METHODS, *MACROS) if name not in written] == []


def test_the_limits_on_the_page_are_those_that_hold() -> None:
    assert (budget.MAX_SOURCE, budget.MAX_NODES, budget.MAX_DEPTH, budget.MAX_CHAIN) == (8 * 1024, 2_000, 48, 200)
    assert (budget.MAX_STEPS, budget.MAX_MEMORY, budget.MAX_OUTPUT) == (200_000, 4 * 2**20, 2**20)
    assert (budget.MAX_PATTERN, budget.MAX_EXPRESSIONS, budget.MAX_TEMPLATE_SOURCE) == (512, 1_000, 64 * 1024)
    assert budget.MAX_VALUE_DEPTH == 128


def test_the_public_names_are_pinned() -> None:
    assert sorted(expressions.__all__) == [
        "Absent",
        "BudgetExceeded",
        "EVALUATOR_VERSION",
        "EvaluationError",
        "Expression",
        "ExpressionError",
        "ExpressionSyntaxError",
        "Finding",
        "Inference",
        "Meter",
        "Placed",
        "ROOTS",
        "Reference",
        "Template",
        "TemplateError",
        "compile_expression",
        "compile_template",
    ]
