"""Syntax tree to closures.

Each node becomes a function of the evaluation under way. What can be decided once is decided here: functions are
looked up, loop variables get fixed places, constant work is added up so that the meter is asked once.
"""

from collections.abc import Sequence
from typing import Any

from user_workflows.expressions.budget import CALL, MAX_DEPTH, ROUND
from user_workflows.expressions.closures import (
    bind,
    call_function,
    call_method,
    conditional,
    default,
    has,
    list_of,
    logic,
    map_of,
    operation,
    positioned,
    unary,
)
from user_workflows.expressions.errors import Absent, ExpressionError, TooDeep
from user_workflows.expressions.evaluation import Evaluation, Run
from user_workflows.expressions.functions.function import Function
from user_workflows.expressions.lookup import find_function
from user_workflows.expressions.loops import LOOPS, bind_each
from user_workflows.expressions.operators import OPERATORS
from user_workflows.expressions.paths import (
    Follow,
    absent_node,
    bear_absence,
    element,
    follow_links,
    lookup_root,
    select,
    static_path,
)
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


class Compiler:
    """Compiles one tree. Afterwards `cost` and `slots` say what the whole needs."""

    def __init__(self) -> None:
        #: steps to charge when the expression is entered
        self.cost = 0
        #: places for loop variables
        self.slots = 0
        self._faults: list[ExpressionError] = []
        self._bound: dict[str, int] = {}

    def compile(self, node: Node, depth: int = 1) -> Run:  # noqa: PLR0911, PLR0912 - one case a kind of node
        """Return the closure of `node`; raises TooDeep."""
        if depth > MAX_DEPTH:
            raise TooDeep(f"the expression is nested more than {MAX_DEPTH} levels deep", node.position)
        self.cost += 1
        match node:
            case Constant(value=value):
                return lambda _: value
            case Name():
                return self._name(node)
            case Path():
                return self._path(node, depth, bear=True)
            case Call():
                arguments = self._all(node.arguments, depth)
                return call_function(self._find(node, method=False), arguments, node.position)
            case Operation():
                return self._operation(node, depth)
            case Logic():
                return logic(self._all(node.operands, depth), decisive=node.operator == "||", position=node.position)
            case Unary():
                return unary(self.compile(node.operand, depth + 1), node)
            case Conditional():
                return self._conditional(node, depth)
            case Has():
                positions = frozenset(part.position for part in (node.operand.base, *node.operand.links))
                return has(self._path(node.operand, depth + 1, bear=False), positions)
            case Default():
                return default(self._all(node.arguments, depth))
            case Bind():
                return self._bind(node, depth)
            case ListOf():
                return list_of(self._all(node.items, depth))
            case MapOf():
                pairs = [(self.compile(key, depth + 1), self.compile(value, depth + 1)) for key, value in node.entries]
                return map_of(pairs, node.position)
        raise AssertionError(f"no closure for {type(node).__name__}")

    def _all(self, nodes: Sequence[Node], depth: int) -> list[Run]:
        return [self.compile(node, depth + 1) for node in nodes]

    def _name(self, node: Name) -> Run:
        name, position = node.name, node.position
        slot = None if node.absolute else self._bound.get(name)
        if slot is not None:
            return lambda evaluation: evaluation.variables[slot]
        named_type = TYPES_BY_NAME.get(name)
        if named_type is not None:
            return lambda evaluation: evaluation.scope.get(name, named_type)
        return lambda evaluation: lookup_root(evaluation.scope, name, position)

    def _path(self, node: Path, depth: int, *, bear: bool) -> Run:
        self.cost += len(node.links)
        base, links = node.base, node.links
        root = base.name if isinstance(base, Name) and (base.absolute or base.name not in self._bound) else None
        keys = [root, *map(_static_key, links)]
        named_type = TYPES_BY_NAME.get(".".join(map(str, keys)))
        if named_type is not None:
            return lambda _: named_type
        first_optional = next((number for number, link in enumerate(links) if link.optional), None) if bear else None
        if root is not None and first_optional is None and all(isinstance(link, Select) for link in links):
            return static_path([str(key) for key in keys], [base.position, *(link.position for link in links)])
        follows = [self._link(link, depth) for link in links]
        if root == "nodes":
            follows = [_naming_node(follow, keys, number) for number, follow in enumerate(follows, 1)]
        run = self.compile(base, depth + 1)
        if first_optional is None:
            return follow_links(run, follows)
        # nodes.<id>.<port> stands and falls as one: a skipped node lacks all of it.
        first = 0 if root == "nodes" and first_optional <= 2 else first_optional - 1
        positions = frozenset(link.position for number, link in enumerate((base, *links), -1) if number >= first)
        return bear_absence(run, follows, first, positions)

    def _link(self, link: Select | Index | Method | Loop, depth: int) -> Follow:
        position = link.position
        match link:
            case Select(field=field):
                return lambda _, value: select(value, field, position)
            case Index():
                key = self.compile(link.key, depth + 1)
                return lambda evaluation, value: element(value, key(evaluation), position)
            case Method():
                arguments = self._all(link.arguments, depth)
                return call_method(self._find(link, method=True), arguments, position)
            case Loop():
                return self._loop(link, depth)

    def _loop(self, node: Loop, depth: int) -> Follow:
        outer_cost, outer_bound = self.cost, self._bound
        slots = [self.slots + number for number in range(len(node.variables))]
        self.slots += len(slots)
        self.cost = ROUND
        self._bound = {**outer_bound, **dict(zip(node.variables, slots, strict=True))}
        bodies = self._all(node.bodies, depth)
        each = bind_each(slots, self.cost)
        self.cost, self._bound = outer_cost + CALL, outer_bound
        return positioned(LOOPS[node.macro](each, bodies), node.position)

    def _bind(self, node: Bind, depth: int) -> Run:
        value = self.compile(node.value, depth + 1)
        outer, slot = self._bound, self.slots
        self.slots += 1
        self._bound = {**outer, node.variable: slot}
        body = self.compile(node.body, depth + 1)
        self._bound = outer
        return bind(slot, value, body)

    def _find(self, node: Call | Method, *, method: bool) -> Function:
        self.cost += CALL - 1
        return find_function(node.name, node.arguments, node.position, self._faults, method=method)

    def _operation(self, node: Operation, depth: int) -> Run:
        first = self.compile(node.first, depth + 1)
        self.cost += len(node.terms) - 1
        operands = self._all([term.operand for term in node.terms], depth)
        terms = [
            (OPERATORS[term.operator], operand, term.position)
            for term, operand in zip(node.terms, operands, strict=True)
        ]
        return operation(first, terms)

    def _conditional(self, node: Conditional, depth: int) -> Run:
        branches = [
            (
                self.compile(branch.condition, depth + 1),
                self.compile(branch.value, depth + 1),
                branch.condition.position,
            )
            for branch in node.branches
        ]
        return conditional(branches, self.compile(node.otherwise, depth + 1))


def _static_key(link: Select | Index | Method | Loop) -> Any:
    match link:
        case Select(field=field):
            return field
        case Index(key=Constant(value=value)):
            return value
    return None


def _naming_node(follow: Follow, keys: Sequence[Any], number: int) -> Follow:
    def run(evaluation: Evaluation, value: Any) -> Any:
        try:
            return follow(evaluation, value)
        except Absent as error:
            raise absent_node(error, keys, number) or error from None

    return run if number <= 2 else follow
