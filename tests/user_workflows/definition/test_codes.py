"""The codes of faults are part of the API."""

from collections.abc import Iterator

from user_workflows.definition.codes import CODES
from user_workflows.expressions.errors import ExpressionSyntaxError


def syntax_errors(kind: type[ExpressionSyntaxError] = ExpressionSyntaxError) -> Iterator[type[ExpressionSyntaxError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from syntax_errors(narrower)


def test_whatever_keeps_an_expression_from_compiling_has_a_code() -> None:
    assert {kind.type for kind in syntax_errors()} <= CODES.keys()
