"""What an expression refers to, found without evaluating it."""

from collections.abc import Iterator
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


class Reference(Struct, frozen=True, kw_only=True):
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


def find_references(tree: Node, pointer: str = "") -> tuple[Reference, ...]:
    """Return every reference in `tree`, in the order written. Loop variables are none, and hide roots."""
    return tuple(_walk(tree, frozenset(), pointer, False))


def _walk(node: Node, bound: frozenset[str], pointer: str, optional: bool) -> Iterator[Reference]:
    match node:
        case Name() if node.absolute or (node.name not in bound and node.name not in TYPES_BY_NAME):
            yield Reference(root=node.name, position=node.position, pointer=pointer, optional=optional)
        case Path():
            yield from _walk_path(node, bound, pointer, optional)
        case Has():
            yield from _walk_path(node.operand, bound, pointer, True)
        case Default():
            for number, argument in enumerate(node.arguments, 1):
                yield from _walk(argument, bound, pointer, optional or number < len(node.arguments))
        case Bind():
            yield from _walk(node.value, bound, pointer, optional)
            yield from _walk(node.body, bound | {node.variable}, pointer, optional)
        case _:
            for child in children(node):
                yield from _walk(child, bound, pointer, optional)


def _walk_path(node: Path, bound: frozenset[str], pointer: str, optional: bool) -> Iterator[Reference]:
    base = node.base
    if isinstance(base, Name) and (base.absolute or base.name not in bound):
        fields: list[str] = []
        for link in node.links:
            field = _static_field(link)
            if field is None:
                break
            fields.append(field)
        if ".".join((base.name, *fields)) not in TYPES_BY_NAME:
            yield Reference(
                root=base.name,
                path=tuple(fields),
                position=base.position,
                pointer=pointer,
                optional=optional or any(link.optional for link in node.links[: len(fields) + 1]),
            )
    else:
        yield from _walk(base, bound, pointer, optional)
    for link in node.links:
        match link:
            case Index():
                yield from _walk(link.key, bound, pointer, optional)
            case Method():
                for argument in link.arguments:
                    yield from _walk(argument, bound, pointer, optional)
            case Loop():
                for body in link.bodies:
                    yield from _walk(body, bound | {*link.variables}, pointer, optional)


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
