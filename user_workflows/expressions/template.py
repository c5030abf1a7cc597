"""Templates: config values in which any string may hold ``{{ expressions }}``.

A string that is one expression and nothing else keeps the type of its value; otherwise values are rendered into the
text around them, null as nothing, lists and maps as JSON. A literal ``{{`` is written ``{{ "{{" }}``; ``}}`` outside of
an expression is plain text.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from msgspec import Struct

from user_workflows.expressions.budget import (
    MAX_EXPRESSIONS,
    MAX_SOURCE,
    MAX_TEMPLATE_SOURCE,
    MAX_VALUE_DEPTH,
    Meter,
)
from user_workflows.expressions.errors import (
    ExpressionError,
    ExpressionSyntaxError,
    SourceTooLong,
    TemplateError,
    TooDeep,
    TooManyExpressions,
)
from user_workflows.expressions.expression import Expression, check_source
from user_workflows.expressions.lexer import tokenize
from user_workflows.expressions.references import ROOTS, Reference
from user_workflows.expressions.text import render_text

_Render = Callable[[Mapping[str, Any], Meter], Any]


class Placed(Struct, frozen=True, gc=False):
    """One expression of a template."""

    #: of its string
    pointer: str
    expression: Expression
    #: it is all of its string, and keeps the type of its value
    is_whole: bool


class Template:
    """A config value that can be rendered any number of times."""

    __slots__ = ("_render", "is_literal", "placed", "references")

    def __init__(self, render: _Render, placed: tuple[Placed, ...], *, is_literal: bool) -> None:
        self._render = render
        #: its expressions, in the order written
        self.placed = placed
        self.references: tuple[Reference, ...] = tuple(
            [reference for each in placed for reference in each.expression.references]
        )
        #: it holds no expression: rendering gives the value as it was
        self.is_literal = is_literal

    def render(self, scope: Mapping[str, Any], meter: Meter | None = None) -> Any:
        """Return the value with every expression evaluated in `scope`; all of them share one budget.

        Args:
            scope: as `Expression.evaluate`.
            meter: shares its steps among several renderings; each has memory and output of its own.

        Raises:
            EvaluationError, BudgetExceeded: as `Expression.evaluate`, with the `pointer` of the string.
        """
        if meter is None:
            meter = Meter()
        else:
            meter.renew()
        return self._render(scope, meter)


def compile_template(value: Any) -> Template:
    """Compile a whole config value: a string, or lists and maps of them. The keys of maps are plain text.

    Raises:
        TemplateError: at least one expression is wrong, names an unknown function or an unknown root; with every
            fault and its JSON Pointer (RFC 6901).
    """
    return _Compilation().template(value)


class _Compilation:
    def __init__(self) -> None:
        self._placed: list[Placed] = []
        self._faults: list[tuple[str, ExpressionError]] = []
        self._expressions = 0
        self._source = 0

    def template(self, value: Any) -> Template:
        render = self._value(value, "", 0)
        if self._faults:
            raise TemplateError(tuple(self._faults))
        if render is None:
            return Template(lambda _scope, _meter: value, (), is_literal=True)
        return Template(render, tuple(self._placed), is_literal=False)

    def _value(self, value: Any, pointer: str, depth: int) -> _Render | None:
        """Return how to render `value`; ``None`` when it holds no expression."""
        if isinstance(value, str):
            return self._string(value, pointer) if "{{" in value else None
        items: Iterable[tuple[Any, Any]]
        if isinstance(value, dict):
            items = value.items()
        elif isinstance(value, (list, tuple)):
            items = enumerate(value)
        else:
            return None
        if depth > MAX_VALUE_DEPTH:
            self._faults.append((pointer, TooDeep(f"the value is nested more than {MAX_VALUE_DEPTH} levels deep")))
            return None
        changing: list[tuple[Any, _Render]] = []
        for key, item in items:
            render = self._value(item, f"{pointer}/{_escape(key)}", depth + 1)
            if render is not None:
                changing.append((key, render))
        if not changing:
            return None
        return partial(_render_members, value if isinstance(value, dict) else list(value), changing)

    def _string(self, text: str, pointer: str) -> _Render | None:
        try:
            parts = list(self._parts(text, pointer))
        except ExpressionSyntaxError as error:
            error.pointer = pointer
            self._faults.append((pointer, error))
            return None
        for part in parts:
            if isinstance(part, Expression):
                self._placed.append(Placed(pointer, part, len(parts) == 1))
        if len(parts) == 1 and isinstance(parts[0], Expression):
            return partial(_render_whole, parts[0], pointer)
        return partial(_render_text, parts, pointer)

    def _parts(self, text: str, pointer: str) -> Iterator[str | Expression]:
        position = 0
        while (start := text.find("{{", position)) >= 0:
            if start > position:
                yield text[position:start]
            # A window, so that what is not closed is not scanned to the end of a large text.
            window = text[: start + 2 + MAX_SOURCE + 2]
            try:
                tokens, end = tokenize(window, start + 2, inside_template=True)
            except ExpressionSyntaxError:
                check_source(window, start + 2, len(window) - 1)
                raise
            check_source(text, start + 2, end)
            self._count(start, end - start)
            expression = Expression(tokens, pointer)
            self._check(expression, pointer)
            yield expression
            position = end + 2
        if position < len(text):
            yield text[position:]

    def _check(self, expression: Expression, pointer: str) -> None:
        faults = list(expression.faults)
        for reference in expression.references:
            if reference.root not in ROOTS:
                message = f"there is no {reference.root[:80]!r}; an expression begins with {', '.join(ROOTS)}"
                faults.append(ExpressionSyntaxError(message, reference.position))
        for fault in faults:
            fault.pointer = pointer
            self._faults.append((pointer, fault))

    def _count(self, position: int, length: int) -> None:
        self._expressions += 1
        self._source += length
        if self._expressions > MAX_EXPRESSIONS:
            raise TooManyExpressions(f"the value holds more than {MAX_EXPRESSIONS:,} expressions", position)
        if self._source > MAX_TEMPLATE_SOURCE:
            limit = MAX_TEMPLATE_SOURCE // 1024
            raise SourceTooLong(f"the expressions of the value are longer than {limit} KiB together", position)


def _escape(key: Any) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")


def _render_whole(expression: Expression, pointer: str, scope: Mapping[str, Any], meter: Meter) -> Any:
    try:
        return expression.evaluate(scope, meter)
    except ExpressionError as error:
        error.pointer = pointer
        raise


def _render_text(parts: list[str | Expression], pointer: str, scope: Mapping[str, Any], meter: Meter) -> str:
    pieces = []
    try:
        for part in parts:
            pieces.append(part if isinstance(part, str) else render_text(part.evaluate(scope, meter)))
    except ExpressionError as error:
        error.pointer = pointer
        raise
    return "".join(pieces)


def _render_members(
    value: dict[Any, Any] | list[Any], changing: list[tuple[Any, _Render]], scope: Mapping[str, Any], meter: Meter
) -> dict[Any, Any] | list[Any]:
    made = value.copy()
    for key, render in changing:
        made[key] = render(scope, meter)
    return made
