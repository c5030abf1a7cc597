"""What an expression refers to and calls, found without evaluating it."""

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from user_workflows.expressions.syntax import (
    Bind,
    Call,
    Conditional,
    Constant,
    Default,
    Has,
    Index,
    ListOf,
    Logic,
    Loop,
    MapOf,
    Method,
    Name,
    Node,
    Operation,
    Path,
    Select,
    Unary,
)
from user_workflows.expressions.values import TYPES_BY_NAME

#: the names that an expression of a definition can begin with
ROOTS: Final = ("nodes", "input", "vars", "trigger", "execution", "item", "index", "last")


class Reference(Struct, frozen=True, kw_only=True, gc=False):
    """One place where an expression reads its scope."""

    root: str
    #: the fields selected after the root, as far as they are written out: ``nodes[x].output`` has none
    path: tuple[str, ...] = ()
    #: offset of the root, as in `ExpressionError.position`
    position: int
    #: JSON Pointer of the config string within its template; empty in an expression of its own
    pointer: str = ""
    #: the expression bears its absence: inside ``has()``, ``default()``, or before ``?.``
    optional: bool = False


class Survey:
    """One look at a whole tree. Loop variables are no references, and hide roots.

    Args:
        tree: of an expression.
        pointer: of the string that it stands in.
    """

    def __init__(self, tree: Node, pointer: str = "") -> None:
        self._pointer = pointer
        #: in the order written, as the calls
        self.references: list[Reference] = []
        self.calls: list[Call | Method] = []
        #: levels of nodes in one another
        self.depth = 0
        self._walk(tree, frozenset(), 1, optional=False)

    def _walk(self, node: Node, bound: frozenset[str], depth: int, *, optional: bool) -> None:
        self.depth = max(self.depth, depth)
        match node:
            case Constant():
                pass
            case Path():
                self._path(node, bound, depth, optional=optional)
            case Name():
                if node.absolute or (node.name not in bound and node.name not in TYPES_BY_NAME):
                    self._refer(node, (), optional=optional)
            case Has():
                self._path(node.operand, bound, depth + 1, optional=True)
            case Default():
                *candidates, last = node.arguments
                self._all(candidates, bound, depth, optional=True)
                self._walk(last, bound, depth + 1, optional=optional)
            case Bind():
                self._walk(node.value, bound, depth + 1, optional=optional)
                self._walk(node.body, bound | {node.variable}, depth + 1, optional=optional)
            case Call():
                self.calls.append(node)
                self._all(node.arguments, bound, depth, optional=optional)
            case _:
                self._all(children(node), bound, depth, optional=optional)

    def _all(self, nodes: Iterable[Node], bound: frozenset[str], depth: int, *, optional: bool) -> None:
        for node in nodes:
            self._walk(node, bound, depth + 1, optional=optional)

    def _path(self, node: Path, bound: frozenset[str], depth: int, *, optional: bool) -> None:
        base = node.base
        self.depth = max(self.depth, depth + 1)
        if isinstance(base, Name) and (base.absolute or base.name not in bound):
            fields: list[str] = []
            for link in node.links:
                field = _static_field(link)
                if field is None:
                    break
                fields.append(field)
            if ".".join((base.name, *fields)) not in TYPES_BY_NAME:
                bears = optional or any(link.optional for link in node.links[: len(fields) + 1])
                self._refer(base, tuple(fields), optional=bears)
        else:
            self._walk(base, bound, depth + 1, optional=optional)
        for link in node.links:
            match link:
                case Index():
                    self._walk(link.key, bound, depth + 1, optional=optional)
                case Method():
                    self.calls.append(link)
                    self._all(link.arguments, bound, depth, optional=optional)
                case Loop():
                    self._all(link.bodies, bound | {*link.variables}, depth, optional=optional)

    def _refer(self, name: Name, path: tuple[str, ...], *, optional: bool) -> None:
        self.references.append(
            Reference(root=name.name, path=path, position=name.position, pointer=self._pointer, optional=optional)
        )


def _static_field(link: Node) -> str | None:
    match link:
        case Select(field=field):
            return field
        case Index(key=Constant(value=str(field))):
            return field
    return None


def children(node: Node) -> Iterator[Node]:
    match node:
        case Call(arguments=nodes) | ListOf(items=nodes) | Logic(operands=nodes):
            yield from nodes
        case Unary(operand=operand):
            yield operand
        case Operation():
            yield node.first
            yield from (term.operand for term in node.terms)
        case Conditional():
            for branch in node.branches:
                yield branch.condition
                yield branch.value
            yield node.otherwise
        case MapOf():
            for key, value in node.entries:
                yield key
                yield value
