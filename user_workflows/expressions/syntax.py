"""The syntax tree. Chains are flat, so that no node is nested by an operator that repeats."""

from collections.abc import Iterable
from typing import Any, Literal

from msgspec import Struct


# Trees hold no cycles: the garbage collector need not look at their nodes, of which a definition makes thousands.
class Node(Struct, frozen=True, kw_only=True, gc=False):
    #: offset of the token that names it
    position: int

    def children(self) -> "Iterable[Node]":
        """What is evaluated whenever it is, in the order written; nothing where more than that is to be said of it."""
        return ()


class Constant(Node, frozen=True):
    value: Any


class Name(Node, frozen=True):
    """A variable: a root of the scope, or the variable of a loop."""

    name: str
    #: written ``.name``: never the variable of a loop
    absolute: bool = False


class Select(Node, frozen=True):
    field: str
    optional: bool = False


class Index(Node, frozen=True):
    key: Node
    optional: bool = False


class Method(Node, frozen=True):
    name: str
    arguments: tuple[Node, ...]
    optional: bool = False


class Loop(Node, frozen=True):
    """A macro over the elements of its receiver, e.g. ``all``, ``map``, ``sortBy``."""

    macro: str
    variables: tuple[str, ...]
    #: evaluated per element, the variables bound
    bodies: tuple[Node, ...]
    optional: bool = False


class Path(Node, frozen=True):
    """A value and what is selected from it, called on it or looped over it, in a row."""

    base: Node
    links: tuple[Select | Index | Method | Loop, ...]


class Call(Node, frozen=True):
    """A global function, possibly in a namespace: ``size``, ``math.abs``."""

    name: str
    arguments: tuple[Node, ...]

    def children(self) -> Iterable[Node]:
        return self.arguments


class Has(Node, frozen=True):
    operand: Path


class Default(Node, frozen=True):
    """The first of its arguments that is there and not null."""

    arguments: tuple[Node, ...]


class Bind(Node, frozen=True):
    variable: str
    value: Node
    body: Node


class Unary(Node, frozen=True):
    operator: Literal["!", "-"]
    count: int
    operand: Node

    def children(self) -> Iterable[Node]:
        return (self.operand,)


class Term(Node, frozen=True):
    operator: str
    operand: Node


class Operation(Node, frozen=True):
    """Operators of one precedence, from left to right: ``a + b - c``, ``a < b``."""

    first: Node
    terms: tuple[Term, ...]

    def children(self) -> Iterable[Node]:
        return (self.first, *[term.operand for term in self.terms])


class Logic(Node, frozen=True):
    operator: Literal["&&", "||"]
    operands: tuple[Node, ...]

    def children(self) -> Iterable[Node]:
        return self.operands


class Branch(Node, frozen=True):
    condition: Node
    value: Node


class Conditional(Node, frozen=True):
    branches: tuple[Branch, ...]
    otherwise: Node

    def children(self) -> Iterable[Node]:
        for branch in self.branches:
            yield branch.condition
            yield branch.value
        yield self.otherwise


class ListOf(Node, frozen=True):
    items: tuple[Node, ...]

    def children(self) -> Iterable[Node]:
        return self.items


class MapOf(Node, frozen=True):
    entries: tuple[tuple[Node, Node], ...]

    def children(self) -> Iterable[Node]:
        return (each for entry in self.entries for each in entry)
