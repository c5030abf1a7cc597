"""What an expression comes to, and where it surely fails, found from the kinds of what it reads.

Only what fails for every value of its kinds is told. What an expression asks for first, by ``has()``, ``type()``,
``in`` or a comparison with null, it may take for granted: such parts are not looked at.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from types import MappingProxyType
from typing import ClassVar, Literal

from msgspec import Struct

from user_workflows.expressions.asking import asks
from user_workflows.expressions.kinds import (
    BOOL,
    INT,
    MAP,
    NULL,
    STRING,
    TYPE,
    Kind,
    Kinds,
    describe,
    either,
    kinds_of,
    list_of,
    map_of,
    open_map,
)
from user_workflows.expressions.overloads import binary, is_negatable, refusal, result_of
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

_MAX_SHOWN = 8
_BOOLEAN_LOOPS = ("all", "exists", "exists_one", "existsOne")
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "in")

Bound = Mapping[str, Kinds]


class Finding(Struct, frozen=True):
    """A place where an expression surely has no value."""

    reason: Literal["unknownField", "noSuchOverload"]
    message: str
    #: as in `ExpressionError.position`
    position: int


class Inference:
    """Looks at the expressions of one scope.

    Args:
        scope: root → the kinds that it may be of.
    """

    def __init__(self, scope: Mapping[str, Kinds]) -> None:
        self._scope = scope
        self.findings: list[Finding] = []
        #: whether the expression bears what is absent here, and whether it has asked before
        self._bears = False
        self._has_asked = False

    def kinds(self, node: Node, bound: Bound = MappingProxyType({})) -> Kinds:
        """Return the kinds of what a tree comes to, as far as they are known."""
        return self._LOOKS[type(node)](self, node, bound)

    def _add(self, reason: Literal["unknownField", "noSuchOverload"], message: str, position: int) -> None:
        if not self._has_asked and not (self._bears and reason == "unknownField"):
            self.findings.append(Finding(reason, message, position))

    @contextmanager
    def _bearing(self) -> Iterator[None]:
        before, self._bears = self._bears, True
        yield
        self._bears = before

    @contextmanager
    def _asked(self, has_asked: bool) -> Iterator[None]:
        before, self._has_asked = self._has_asked, self._has_asked or has_asked
        yield
        self._has_asked = before

    def _constant(self, node: Constant, bound: Bound) -> Kinds:
        return kinds_of(node.value)

    def _name(self, node: Name, bound: Bound) -> Kinds:
        if not node.absolute and node.name in bound:
            return bound[node.name]
        return TYPE if node.name in TYPES_BY_NAME else self._scope.get(node.name)

    def _path(self, node: Path, bound: Bound) -> Kinds:
        label = node.base.name if isinstance(node.base, Name) else ""
        if ".".join([label, *[link.field for link in node.links if isinstance(link, Select)]]) in TYPES_BY_NAME:
            return TYPE
        kinds = self.kinds(node.base, bound)
        optional = [link for link in node.links if link.optional]
        if not optional:
            return self._follow(node.links, kinds, label, bound)
        with self._bearing():
            return either((self._follow(node.links, kinds, label, bound), NULL))

    def _follow(self, links: Sequence[Select | Index | Method | Loop], kinds: Kinds, label: str, bound: Bound) -> Kinds:
        for link in links:
            match link:
                case Select(field=field) | Index(key=Constant(value=str(field))):
                    kinds = self._select(kinds, field, label, link.position)
                    label = f"{label}.{field}" if label else ""
                case Index():
                    kinds = self._element(kinds, self.kinds(link.key, bound), label, link.position)
                    label = ""
                case Method():
                    arguments = [kinds, *(self.kinds(each, bound) for each in link.arguments)]
                    kinds, label = self._called(link.name, arguments, link, method=True), ""
                case Loop():
                    kinds, label = self._loop(link, kinds, bound), ""
        return kinds

    def _select(self, kinds: Kinds, field: str, label: str, position: int) -> Kinds:
        if kinds is None:
            return None
        found = [_field(kind, field) for kind in kinds if kind.name == "map" and (kind.is_open or field in kind.fields)]
        if found:
            return either(found)
        maps = [kind for kind in kinds if kind.name == "map"]
        what = label or "the value"
        if maps:
            known = list(dict.fromkeys(name for kind in maps for name in kind.fields))
            message = f"{what} has no field {field!r}{_hint(field, known)}"
        else:
            message = f"{what} is {describe(kinds)} and has no field {field!r}"
        # That null has none is borne like absence; a string has none whatever is borne.
        is_absent = any(kind.name in ("map", "null") for kind in kinds)
        self._add("unknownField" if is_absent else "noSuchOverload", message, position)
        return None

    def _element(self, kinds: Kinds, key: Kinds, label: str, position: int) -> Kinds:
        if kinds is None:
            return None
        options: list[Kinds] = []
        for kind in kinds:
            if kind.name == "list" and (key is None or any(each.name in ("int", "double") for each in key)):
                options.append(kind.element)
            elif kind.name == "map":
                options.append(
                    None if kind.is_open and not kind.others else either((*kind.fields.values(), kind.others))
                )
            elif kind.name == "null":
                options.append(None)  # absent, which may be borne
        if not options:
            indexed = "" if key is None else f" by {describe(key)}"
            self._add("noSuchOverload", f"{label or 'the value'} is {describe(kinds)}, not indexed{indexed}", position)
            return None
        return either(options)

    def _called(self, name: str, arguments: Sequence[Kinds], node: Call | Method, *, method: bool) -> Kinds:
        if method and self._bears and any(kind.name == "null" for kind in arguments[0] or ()):
            return None
        if (message := refusal(name, arguments, method=method)) is not None:
            self._add("noSuchOverload", message, node.position)
            return None
        return result_of(name, method=method)

    def _call(self, node: Call, bound: Bound) -> Kinds:
        return self._called(node.name, [self.kinds(each, bound) for each in node.arguments], node, method=False)

    def _operation(self, node: Operation, bound: Bound) -> Kinds:
        kinds = self.kinds(node.first, bound)
        for term in node.terms:
            kinds = self._applied(term.operator, kinds, self.kinds(term.operand, bound), term.position)
        return kinds

    def _applied(self, operator: str, left: Kinds, right: Kinds, position: int) -> Kinds:
        if operator == "in" and left is None:
            left = STRING  # what is looked for does not matter
        if left is None or right is None:
            return BOOL if operator in _COMPARISONS else None
        options: list[Kinds] = []
        for one in left:
            for other in right:
                if (made := binary(operator, one.name, other.name)) is not None:
                    options.append(list_of(either((one.element, other.element))) if made == "list" else (Kind(made),))
        if options:
            return either(options)
        hint = ""
        if operator == "+" and "string" in {kind.name for kind in (*left, *right)}:
            hint = "; convert with string(…), or write the text around {{ … }}"
        message = f"there is no {operator!r} between {describe(left)} and {describe(right)}{hint}"
        self._add("noSuchOverload", message, position)
        return None

    def _logic(self, node: Logic, bound: Bound) -> Kinds:
        with self._asked(any(asks(operand) for operand in node.operands)):
            for operand in node.operands:
                self._must_hold(self.kinds(operand, bound), f"{node.operator!r}", operand.position)
        return BOOL

    def _unary(self, node: Unary, bound: Bound) -> Kinds:
        kinds = self.kinds(node.operand, bound)
        if node.operator == "!":
            self._must_hold(kinds, "'!'", node.position)
            return BOOL
        if kinds is None:
            return None
        options = [(kind,) for kind in kinds if is_negatable(kind.name)]
        if not options:
            self._add("noSuchOverload", f"there is no '-' of {describe(kinds)}", node.position)
            return None
        return either(options)

    def _conditional(self, node: Conditional, bound: Bound) -> Kinds:
        options = []
        has_asked = False
        for branch in node.branches:
            with self._asked(has_asked):
                self._must_hold(self.kinds(branch.condition, bound), "a condition", branch.condition.position)
            has_asked = has_asked or asks(branch.condition)
            with self._asked(has_asked):
                options.append(self.kinds(branch.value, bound))
        with self._asked(has_asked):
            return either((*options, self.kinds(node.otherwise, bound)))

    def _has(self, node: Has, bound: Bound) -> Kinds:
        with self._bearing():
            self._path(node.operand, bound)
        return BOOL

    def _default(self, node: Default, bound: Bound) -> Kinds:
        *candidates, last = node.arguments
        with self._bearing():
            found = [self.kinds(candidate, bound) for candidate in candidates]
        options = [None if kinds is None else tuple(kind for kind in kinds if kind.name != "null") for kinds in found]
        return either((*options, self.kinds(last, bound)))

    def _bind(self, node: Bind, bound: Bound) -> Kinds:
        return self.kinds(node.body, {**bound, node.variable: self.kinds(node.value, bound)})

    def _list(self, node: ListOf, bound: Bound) -> Kinds:
        return list_of(either(self.kinds(item, bound) for item in node.items))

    def _map(self, node: MapOf, bound: Bound) -> Kinds:
        fields: dict[str, Kinds] = {}
        is_open = False
        for key, value in node.entries:
            self.kinds(key, bound)
            kinds = self.kinds(value, bound)
            if isinstance(key, Constant) and isinstance(key.value, str):
                fields[key.value] = kinds
            else:
                is_open = True
        return (Kind("map", fields=fields),) if is_open else map_of(fields)

    def _loop(self, node: Loop, receiver: Kinds, bound: Bound) -> Kinds:  # noqa: PLR0911 - one a macro
        looped = None if receiver is None else [kind for kind in receiver if kind.name in ("list", "map")]
        if receiver is not None and not looped:
            if not (self._bears and any(kind.name == "null" for kind in receiver)):
                message = f"a list or a map is needed to loop over, not {describe(receiver)}"
                self._add("noSuchOverload", message, node.position)
            return None
        first, second = _round(looped, len(node.variables))
        inside = {**bound, **dict(zip(node.variables, (first, second), strict=False))}
        bodies = [self.kinds(body, inside) for body in node.bodies]
        decides = node.macro in (*_BOOLEAN_LOOPS, "filter", "find") or len(bodies) > 1
        if decides:
            self._must_hold(bodies[0], f"the condition of {node.macro}()", node.bodies[0].position)
        if node.macro in _BOOLEAN_LOOPS:
            return BOOL
        match node.macro:
            case "filter" | "sortBy" | "distinctBy":
                return list_of(first)
            case "find":
                return either((first, NULL))
            case "map" | "transformList":
                return list_of(bodies[-1])
            case "transformMap":
                return open_map(bodies[-1])
            case "groupBy":
                return open_map(list_of(first))
        return MAP

    def _must_hold(self, kinds: Kinds, what: str, position: int) -> None:
        if kinds is not None and not any(kind.name == "bool" for kind in kinds):
            self._add("noSuchOverload", f"{what} needs true or false, not {describe(kinds)}", position)

    _LOOKS: ClassVar[Mapping[type[Node], Callable[..., Kinds]]] = {
        Constant: _constant,
        Name: _name,
        Path: _path,
        Call: _call,
        Operation: _operation,
        Logic: _logic,
        Unary: _unary,
        Conditional: _conditional,
        Has: _has,
        Default: _default,
        Bind: _bind,
        ListOf: _list,
        MapOf: _map,
    }


def _field(kind: Kind, field: str) -> Kinds:
    return kind.fields.get(field, kind.others)


def _round(looped: Sequence[Kind] | None, variables: int) -> tuple[Kinds, Kinds]:
    """Return the kinds of the variables of a loop over lists and maps."""
    if looped is None:
        return None, None
    values = either(
        kind.element
        if kind.name == "list"
        else None
        if kind.is_open and kind.others is None
        else either((*kind.fields.values(), *((kind.others,) if kind.is_open else ())))
        for kind in looped
    )
    # A map that an expression makes may have other keys than strings.
    keys = either(INT if kind.name == "list" else None if kind.is_open else STRING for kind in looped)
    if variables == 2:
        return keys, values
    return either(kind.element if kind.name == "list" else None if kind.is_open else STRING for kind in looped), None


def _hint(field: str, known: Sequence[str]) -> str:
    close = get_close_matches(field, known, 1) if len(field) <= 100 else []
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; it has {', '.join(known)}" if 0 < len(known) <= _MAX_SHOWN else ""
