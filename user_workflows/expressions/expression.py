"""One expression, compiled."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from user_workflows.expressions.budget import MAX_DEPTH, MAX_SOURCE, Meter
from user_workflows.expressions.compile import Compiler
from user_workflows.expressions.errors import ExpressionError, SourceTooLong
from user_workflows.expressions.evaluation import Evaluation, Run
from user_workflows.expressions.functions import FUNCTIONS
from user_workflows.expressions.lexer import Token, tokenize
from user_workflows.expressions.lookup import find_faults
from user_workflows.expressions.output import to_json
from user_workflows.expressions.parser import Parser
from user_workflows.expressions.references import Reference, Survey
from user_workflows.expressions.syntax import Node


class _Code(NamedTuple):
    """An expression as closures."""

    run: Run
    #: steps to charge when it is entered
    cost: int
    #: places for loop variables
    slots: int


class Expression:
    """An expression that can be evaluated any number of times, in any process, with the same results.

    It becomes code when it is first evaluated: most are only checked where they are made.
    """

    __slots__ = ("_code", "faults", "references", "start", "tree")

    def __init__(self, tokens: Sequence[Token], pointer: str = "") -> None:
        #: as it was parsed
        self.tree = Parser(tokens, FUNCTIONS).parse()
        #: offset of its first token, as in `ExpressionError.position`
        self.start = tokens[0].position
        survey = Survey(self.tree, pointer)
        self.references: tuple[Reference, ...] = tuple(survey.references)
        #: what fails whenever it is evaluated: unknown functions, wrong numbers of arguments
        self.faults: tuple[ExpressionError, ...] = find_faults(survey.calls)
        # The compiler decides whether what is about as deep as may be is too deep.
        self._code = _compile(self.tree) if survey.depth >= MAX_DEPTH else None

    def evaluate(self, scope: Mapping[str, Any], meter: Meter | None = None) -> Any:
        """Return the value in `scope`, in JSON's types.

        Args:
            scope: what the roots stand for, e.g. ``{"nodes": {"price": {"output": …}}, "vars": …}``; JSON's types
                as Python has them. It is not changed.
            meter: shares a budget among several evaluations.

        Raises:
            EvaluationError: there is no value; the message says why, for the person who wrote the expression.
            BudgetExceeded: it asked for too much.
        """
        meter = meter or Meter()
        if self._code is None:
            self._code = _compile(self.tree)
        run, cost, slots = self._code
        try:
            meter.work(cost)
            return to_json(meter, run(Evaluation(scope, meter, slots)))
        except ExpressionError as error:
            if error.position is None:
                error.position = self.start
            raise


def compile_expression(source: str) -> Expression:
    """Compile one expression, without the ``{{ }}`` of templates.

    A name or function that is unknown fails when it is evaluated, as in CEL; see `Expression.faults`.

    Raises:
        ExpressionSyntaxError: it is no expression, or larger than one may be.
    """
    check_source(source, 0, len(source))
    tokens, _ = tokenize(source)
    return Expression(tokens)


def _compile(tree: Node) -> _Code:
    compiler = Compiler()
    run = compiler.compile(tree)
    return _Code(run, compiler.cost, compiler.slots)


def check_source(source: str, start: int, end: int) -> None:
    """Raise SourceTooLong when ``source[start:end]`` is more than an expression may be."""
    length = end - start
    if 4 * length <= MAX_SOURCE:
        return  # no character takes more bytes
    if length > MAX_SOURCE or len(source[start:end].encode("utf-8", "surrogatepass")) > MAX_SOURCE:
        raise SourceTooLong(f"the expression is longer than {MAX_SOURCE // 1024} KiB", start)
