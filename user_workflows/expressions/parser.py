"""Tokens to syntax tree.

The grammar is CEL's (cel-spec doc/langdef.md, Syntax), with ``?.`` and ``?.[`` for selections that may find nothing.
Operators are gathered into flat chains, so that only brackets nest.
"""

from collections.abc import Container, Sequence
from itertools import chain, repeat
from typing import NoReturn

from user_workflows.expressions.budget import MAX_CHAIN, MAX_DEPTH, MAX_NODES
from user_workflows.expressions.chain import Chain
from user_workflows.expressions.errors import ChainTooLong, ExpressionSyntaxError, TooDeep, TooManyNodes
from user_workflows.expressions.lexer import Token
from user_workflows.expressions.macros import MACROS, make_loop, variable_name
from user_workflows.expressions.syntax import (
    Bind,
    Branch,
    Call,
    Conditional,
    Constant,
    Default,
    Has,
    Index,
    ListOf,
    Loop,
    MapOf,
    Method,
    Name,
    Node,
    Path,
    Select,
    Unary,
)

_PRECEDENCE = {
    "||": 1, "&&": 2,
    "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "in": 3,
    "+": 4, "-": 4, "*": 5, "/": 5, "%": 5,
}  # fmt: skip
_CONSTANTS = {"true": True, "false": False, "null": None}
_RESERVED = frozenset(
    (
        "as", "break", "const", "continue", "else", "for", "function", "if", "import", "in", "let", "loop",
        "package", "namespace", "return", "var", "void", "while",
    )
)  # fmt: skip
_INT_MAX = 2**63 - 1
#: what people write who know another language
_HINTS = {"and": "; write &&", "or": "; write ||", "not": "; write !", "u": "; there are no unsigned numbers"}


class Parser:
    """Parses one expression.

    Args:
        functions: names of the global functions that have a namespace, e.g. ``math.abs``.
    """

    def __init__(self, tokens: Sequence[Token], functions: Container[str]) -> None:
        # After the end there are only more ends.
        self._tokens = chain(tokens, repeat(tokens[-1]))
        #: the one to look at next
        self._token = next(self._tokens)
        self._functions = functions
        self._depth = 0
        self._nodes = 0

    def parse(self) -> Node:
        """Return the tree; raises ExpressionSyntaxError."""
        if self._token.kind == "end":
            raise ExpressionSyntaxError("the expression is empty", self._token.position)
        tree = self._expression()
        if self._token.kind != "end":
            self._unexpected(self._token)
        return tree

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooDeep(f"the expression is nested more than {MAX_DEPTH} levels deep", self._token.position)
        branches: list[Branch] = []
        value = self._operators()
        while self._token.kind == "?":
            position = self._count().position
            then = self._expression()
            self._expect(":")
            branches.append(Branch(position=position, condition=value, value=then))
            self._check_chain(branches, position)
            value = self._operators()
        self._depth -= 1
        if branches:
            return Conditional(position=branches[0].position, branches=tuple(branches), otherwise=value)
        return value

    def _operators(self) -> Node:
        chains: list[Chain] = []
        operand = self._unary()
        while True:
            token = self._token
            precedence = _PRECEDENCE.get(token.value if token.kind == "name" else token.kind, 0)
            while chains and chains[-1].precedence > precedence:
                operand = chains.pop().close(operand)
            if not precedence:
                return operand
            if not chains or chains[-1].precedence < precedence:
                chains.append(Chain(precedence))
            chains[-1].add(operand, self._count())
            self._check_chain(chains[-1].operands, token.position)
            operand = self._unary()

    def _unary(self) -> Node:
        first = self._token
        if first.kind not in ("!", "-"):
            return self._path()
        count = 0
        while self._token.kind == first.kind:
            self._count()
            count += 1
        if count > MAX_CHAIN:
            raise ChainTooLong(f"more than {MAX_CHAIN} operators in a row", first.position)
        if first.kind == "-" and self._token.kind in ("int", "double"):
            # The last sign belongs to the number: -9223372036854775808 is an int64, its positive is none.
            count -= 1
            operand = self._path(negative=True)
        else:
            operand = self._unary_operand(first)
        if not count:
            return operand
        return Unary(position=first.position, operator=first.value, count=count, operand=operand)

    def _unary_operand(self, first: Token) -> Node:
        if self._token.kind in ("!", "-"):
            # !-x and -!x: rare, and each such change of sign nests.
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise TooDeep(f"the expression is nested more than {MAX_DEPTH} levels deep", first.position)
            operand = self._unary()
            self._depth -= 1
            return operand
        return self._path()

    def _path(self, *, negative: bool = False) -> Node:
        base = self._primary(negative=negative)
        links: list[Select | Index | Method | Loop] = []
        while True:
            token = self._token
            if token.kind not in (".", "?.", "["):
                break
            self._count()
            optional = token.kind == "?."
            if token.kind == "[" or (optional and self._accept("[")):
                key = self._expression()
                self._expect("]")
                links.append(Index(position=token.position, key=key, optional=optional))
            else:
                member = self._member(base, links, optional=optional)
                if not isinstance(member, (Select, Method, Loop)):
                    base = member
                    continue
                links.append(member)
            self._check_chain(links, token.position)
        return Path(position=base.position, base=base, links=tuple(links)) if links else base

    def _member(self, base: Node, links: Sequence[Node], *, optional: bool) -> Select | Method | Loop | Call | Bind:
        token = self._take()
        if token.kind not in ("name", "quoted"):
            hint = 'a field name is needed after the dot; write ["…"] for one that is no plain name'
            raise ExpressionSyntaxError(hint, token.position)
        name: str = token.value
        if token.kind == "quoted" or not self._accept("("):
            return Select(position=token.position, field=name, optional=optional)
        arguments = self._arguments(")")
        if isinstance(base, Name) and not links:
            if f"{base.name}.{name}" in self._functions:
                return Call(position=base.position, name=f"{base.name}.{name}", arguments=arguments)
            if (base.name, name) == ("cel", "bind"):
                return self._bind(token.position, arguments)
        if name in MACROS:
            return make_loop(name, arguments, token.position, optional=optional)
        return Method(position=token.position, name=name, arguments=arguments, optional=optional)

    def _bind(self, position: int, arguments: tuple[Node, ...]) -> Bind:
        if len(arguments) != 3:
            raise ExpressionSyntaxError("write cel.bind(variable, value, expression)", position)
        variable, value, body = arguments
        return Bind(position=position, variable=variable_name(variable), value=value, body=body)

    def _primary(self, *, negative: bool) -> Node:
        token = self._count()
        position = token.position
        match token.kind:
            case "int":
                number = -token.value if negative else token.value
                if not -_INT_MAX - 1 <= number <= _INT_MAX:
                    raise ExpressionSyntaxError("the number does not fit 64 bits", position)
                return Constant(position=position, value=number)
            case "double":
                return Constant(position=position, value=-token.value if negative else token.value)
            case "string":
                return Constant(position=position, value=token.value)
            case "name":
                return self._name(token)
        return self._bracket(token)

    def _name(self, token: Token) -> Node:
        name, position = token.value, token.position
        if name in _CONSTANTS:
            return Constant(position=position, value=_CONSTANTS[name])
        if name in _RESERVED:
            raise ExpressionSyntaxError(f"{name!r} is a reserved word", position)
        if not self._accept("("):
            return Name(position=position, name=name)
        arguments = self._arguments(")")
        if name == "has":
            return self._has(position, arguments)
        if name in ("default", "coalesce"):
            if len(arguments) < 2:
                raise ExpressionSyntaxError(f"write {name}(value, otherwise)", position)
            return Default(position=position, arguments=arguments)
        return Call(position=position, name=name, arguments=arguments)

    def _has(self, position: int, arguments: tuple[Node, ...]) -> Has:
        operand = arguments[0] if len(arguments) == 1 else None
        if isinstance(operand, Path) and isinstance(operand.links[-1], Select | Index):
            return Has(position=position, operand=operand)
        raise ExpressionSyntaxError("has() takes one selection, like has(nodes.price.output)", position)

    def _bracket(self, token: Token) -> Node:
        match token.kind:
            case "(":
                inner = self._expression()
                self._expect(")")
                return inner
            case "[":
                return ListOf(position=token.position, items=self._arguments("]"))
            case "{":
                return MapOf(position=token.position, entries=self._entries())
            case ".":
                name = self._take()
                if name.kind == "name" and name.value not in _RESERVED and name.value not in _CONSTANTS:
                    if self._accept("("):
                        return Call(position=token.position, name=name.value, arguments=self._arguments(")"))
                    return Name(position=token.position, name=name.value, absolute=True)
        self._unexpected(token)

    def _arguments(self, closing: str) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self._accept(closing):
            if items:
                self._expect(",")
                # CEL allows a comma after the last element of a list, not of a call.
                if closing == "]" and self._accept(closing):
                    break
            items.append(self._expression())
        return tuple(items)

    def _entries(self) -> tuple[tuple[Node, Node], ...]:
        entries: list[tuple[Node, Node]] = []
        while not self._accept("}"):
            if entries:
                self._expect(",")
                if self._accept("}"):
                    break
            key = self._expression()
            self._expect(":")
            entries.append((key, self._expression()))
        return tuple(entries)

    def _take(self) -> Token:
        token = self._token
        self._token = next(self._tokens)
        return token

    def _count(self) -> Token:
        """Take a token that makes a node."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise TooManyNodes(f"the expression has more than {MAX_NODES:,} parts", self._token.position)
        token = self._token
        self._token = next(self._tokens)
        return token

    def _accept(self, symbol: str) -> bool:
        if self._token.kind == symbol:
            self._token = next(self._tokens)
            return True
        return False

    def _expect(self, symbol: str) -> None:
        if not self._accept(symbol):
            self._unexpected(self._token, f"; {symbol!r} is needed here")

    def _check_chain(self, chain: Sequence[object], position: int) -> None:
        if len(chain) > MAX_CHAIN:
            raise ChainTooLong(f"more than {MAX_CHAIN} operators or selections in a row", position)

    def _unexpected(self, token: Token, hint: str = "") -> NoReturn:
        if token.kind == "end":
            raise ExpressionSyntaxError(f"the expression ends too early{hint}", token.position)
        hint = hint or _HINTS.get(token.value, "")
        name = "string" if token.kind == "string" else repr(token.value)
        raise ExpressionSyntaxError(f"unexpected {name}{hint}", token.position)
