"""What an expression refers to and calls, found without evaluating it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, Final

from msgspec import Struct

from user_workflows.expressions.syntax import (
    Bind,
    Call,
    Constant,
    Default,
    Has,
    Index,
    Loop,
    Method,
    Name,
    Node,
    Path,
    Select,
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
        self._walk(tree, frozenset(), 1, False)

    def _walk(self, node: Node, bound: frozenset[str], depth: int, optional: bool) -> None:
        self.depth = max(self.depth, depth)
        look = self._LOOKS.get(type(node))
        if look is not None:
            look(self, node, bound, depth, optional)
        else:
            for child in node.children():
                self._walk(child, bound, depth + 1, optional)

    def _all(self, nodes: Iterable[Node], bound: frozenset[str], depth: int, optional: bool) -> None:
        for node in nodes:
            self._walk(node, bound, depth + 1, optional)

    def _name(self, node: Name, bound: frozenset[str], depth: int, optional: bool) -> None:
        if node.absolute or (node.name not in bound and node.name not in TYPES_BY_NAME):
            self._refer(node, (), optional)

    def _path(self, node: Path, bound: frozenset[str], depth: int, optional: bool) -> None:
        base = node.base
        self.depth = max(self.depth, depth + 1)
        if isinstance(base, Name) and (base.absolute or base.name not in bound):
            self._read(base, node.links, optional)
        else:
            self._walk(base, bound, depth + 1, optional)
        for link in node.links:
            match link:
                case Select():
                    pass
                case Index():
                    self._walk(link.key, bound, depth + 1, optional)
                case Method():
                    self.calls.append(link)
                    self._all(link.arguments, bound, depth, optional)
                case Loop():
                    self._all(link.bodies, bound | {*link.variables}, depth, optional)

    def _read(self, root: Name, links: Sequence[Select | Index | Method | Loop], optional: bool) -> None:
        fields: list[str] = []
        for link in links:
            optional = optional or link.optional
            field = _static_field(link)
            if field is None:
                break
            fields.append(field)
        if ".".join((root.name, *fields)) not in TYPES_BY_NAME:
            self._refer(root, tuple(fields), optional)

    def _has(self, node: Has, bound: frozenset[str], depth: int, optional: bool) -> None:
        self._path(node.operand, bound, depth + 1, True)

    def _default(self, node: Default, bound: frozenset[str], depth: int, optional: bool) -> None:
        *candidates, last = node.arguments
        self._all(candidates, bound, depth, True)
        self._walk(last, bound, depth + 1, optional)

    def _bind(self, node: Bind, bound: frozenset[str], depth: int, optional: bool) -> None:
        self._walk(node.value, bound, depth + 1, optional)
        self._walk(node.body, bound | {node.variable}, depth + 1, optional)

    def _call(self, node: Call, bound: frozenset[str], depth: int, optional: bool) -> None:
        self.calls.append(node)
        self._all(node.arguments, bound, depth, optional)

    def _refer(self, name: Name, path: tuple[str, ...], optional: bool) -> None:
        self.references.append(
            Reference(root=name.name, path=path, position=name.position, pointer=self._pointer, optional=optional)
        )

    # By type: most nodes have nothing to be asked for, and to find that out case by case takes longer than the rest.
    _LOOKS: ClassVar[Mapping[type[Node], Callable[..., None]]] = {
        Name: _name,
        Path: _path,
        Has: _has,
        Default: _default,
        Bind: _bind,
        Call: _call,
    }


def _static_field(link: Node) -> str | None:
    match link:
        case Select(field=field) | Index(key=Constant(value=str(field))):
            return field
    return None
