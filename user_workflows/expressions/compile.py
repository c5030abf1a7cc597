"""Syntax tree to closures.

Each node becomes a function of the evaluation under way. What can be decided once is decided here: functions are
looked up, loop variables get fixed places, constant work is added up so that the meter is asked once.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from user_workflows.expressions.budget import ABSORBED, CALL, CONTAINER, ELEMENT, MAX_DEPTH, ROUND
from user_workflows.expressions.errors import Absent, EvaluationError, ExpressionError, TooDeep
from user_workflows.expressions.evaluation import Evaluation, Run
from user_workflows.expressions.functions import FUNCTIONS, METHODS
from user_workflows.expressions.functions.function import Function
from user_workflows.expressions.loops import LOOPS, bind_each
from user_workflows.expressions.operators import OPERATORS, negate
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
from user_workflows.expressions.values import TYPES_BY_NAME, as_key, type_name

#: unknown functions that get a hint at what may be meant; more than that is no typing error
_MAX_HINTS = 3


class Compiler:
    """Compiles one tree. Afterwards `cost`, `slots` and `faults` say what the whole needs and what is wrong."""

    def __init__(self) -> None:
        #: steps to charge when the expression is entered
        self.cost = 0
        #: places for loop variables
        self.slots = 0
        #: what fails whenever it is evaluated, e.g. calls of unknown functions
        self.faults: list[ExpressionError] = []
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
                return self._call(node, depth)
            case Operation():
                return self._operation(node, depth)
            case Logic():
                return _logic(self._all(node.operands, depth), decisive=node.operator == "||", position=node.position)
            case Unary():
                return _unary(self.compile(node.operand, depth + 1), node)
            case Conditional():
                return self._conditional(node, depth)
            case Has():
                positions = frozenset(part.position for part in (node.operand.base, *node.operand.links))
                return _has(self._path(node.operand, depth + 1, bear=False), positions)
            case Default():
                return _default(self._all(node.arguments, depth))
            case Bind():
                return self._bind(node, depth)
            case ListOf():
                return _list(self._all(node.items, depth))
            case MapOf():
                pairs = [(self.compile(key, depth + 1), self.compile(value, depth + 1)) for key, value in node.entries]
                return _map(pairs, node.position)
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
        is_root = isinstance(base, Name) and (base.absolute or base.name not in self._bound)
        first_optional = next((number for number, link in enumerate(links) if link.optional), None) if bear else None
        if is_root and isinstance(base, Name):
            keys = [base.name, *(_static_key(link) for link in links)]
            if ".".join(str(key) for key in keys) in TYPES_BY_NAME:
                named_type = TYPES_BY_NAME[".".join(str(key) for key in keys)]
                return lambda _: named_type
            if first_optional is None and all(isinstance(link, Select) for link in links):
                return static_path([str(key) for key in keys], [base.position, *(link.position for link in links)])
        follows = [self._link(link, depth) for link in links]
        if isinstance(base, Name) and is_root and base.name == "nodes":
            follows = [_naming_node(follow, keys, number) for number, follow in enumerate(follows, 1)]
        run = self.compile(base, depth + 1)
        if first_optional is None:
            return follow_links(run, follows)
        # nodes.<id>.<port> stands and falls as one: a skipped node lacks all of it.
        unit = is_root and isinstance(base, Name) and base.name == "nodes" and first_optional <= 2
        first = 0 if unit else first_optional - 1
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
                function = self._find(link.name, link.arguments, position, method=True)
                return _method(function, arguments, position)
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
        self.cost, self._bound = outer_cost, outer_bound
        return _positioned(LOOPS[node.macro](each, bodies), node.position)

    def _bind(self, node: Bind, depth: int) -> Run:
        value = self.compile(node.value, depth + 1)
        outer, slot = self._bound, self.slots
        self.slots += 1
        self._bound = {**outer, node.variable: slot}
        body = self.compile(node.body, depth + 1)
        self._bound = outer

        def run(evaluation: Evaluation) -> Any:
            evaluation.variables[slot] = value(evaluation)
            return body(evaluation)

        return run

    def _call(self, node: Call, depth: int) -> Run:
        arguments = self._all(node.arguments, depth)
        function = self._find(node.name, node.arguments, node.position, method=False)
        position = node.position

        def run(evaluation: Evaluation) -> Any:
            values = [argument(evaluation) for argument in arguments]
            try:
                return function.call(evaluation.meter, *values)
            except ExpressionError as error:
                if error.position is None:
                    error.position = position
                raise

        return run

    def _find(self, name: str, nodes: Sequence[Node], position: int, *, method: bool) -> Function:
        """Return the function; for one that is not there, one that always fails."""
        self.cost += CALL - 1
        table, others = (METHODS, FUNCTIONS) if method else (FUNCTIONS, METHODS)
        function, arguments = table.get(name), len(nodes)
        if function is not None and function.least <= arguments <= function.most:
            self._check_literals(function, nodes)
            return function
        if function is not None:
            message = f"{name}() takes {function.takes()}, not {arguments}"
        elif name in others:
            message = f"write {name}(value, …)" if method else f"write value.{name}(…)"
        else:
            message = f"there is no function {name[:80]!r}{self._hint(name, list(table))}"
        self.faults.append(EvaluationError(message, position, reason="noSuchFunction"))

        def fail(*_: Any) -> Any:
            raise EvaluationError(message, position, reason="noSuchFunction")

        return Function(call=fail, least=0, most=arguments)

    def _check_literals(self, function: Function, nodes: Sequence[Node]) -> None:
        for number, check in function.checks:
            node = nodes[number]
            if isinstance(node, Constant):
                try:
                    check(node.value)
                except EvaluationError as error:
                    error.position = node.position
                    self.faults.append(error)

    def _hint(self, name: str, known: list[str]) -> str:
        if len(self.faults) >= _MAX_HINTS or len(name) > 40:
            return ""
        close = get_close_matches(name, known, 1)
        return f"; {close[0]!r} is near" if close else ""

    def _operation(self, node: Operation, depth: int) -> Run:
        first = self.compile(node.first, depth + 1)
        self.cost += len(node.terms) - 1
        terms = [
            (OPERATORS[term.operator], self.compile(term.operand, depth + 1), term.position) for term in node.terms
        ]
        if len(terms) == 1:
            ((apply, second, position),) = terms

            def run_one(evaluation: Evaluation) -> Any:
                left, right = first(evaluation), second(evaluation)
                try:
                    return apply(evaluation.meter, left, right)
                except ExpressionError as error:
                    error.position = position
                    raise

            return run_one

        def run(evaluation: Evaluation) -> Any:
            value = first(evaluation)
            for apply, operand, position in terms:
                right = operand(evaluation)
                try:
                    value = apply(evaluation.meter, value, right)
                except ExpressionError as error:
                    error.position = position
                    raise
            return value

        return run

    def _conditional(self, node: Conditional, depth: int) -> Run:
        branches = [
            (
                self.compile(branch.condition, depth + 1),
                self.compile(branch.value, depth + 1),
                branch.condition.position,
            )
            for branch in node.branches
        ]
        otherwise = self.compile(node.otherwise, depth + 1)

        def run(evaluation: Evaluation) -> Any:
            for condition, value, position in branches:
                chosen = condition(evaluation)
                if chosen is True:
                    return value(evaluation)
                if chosen is not False:
                    raise EvaluationError(f"a condition must be true or false, not {type_name(chosen)}", position)
            return otherwise(evaluation)

        return run


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


def _positioned(follow: Follow, position: int) -> Follow:
    def run(evaluation: Evaluation, value: Any) -> Any:
        try:
            return follow(evaluation, value)
        except ExpressionError as error:
            if error.position is None:
                error.position = position
            raise

    return run


def _method(function: Function, arguments: list[Run], position: int) -> Follow:
    def follow(evaluation: Evaluation, value: Any) -> Any:
        return function.call(evaluation.meter, value, *[argument(evaluation) for argument in arguments])

    return _positioned(follow, position)


def _logic(operands: list[Run], *, decisive: bool, position: int) -> Run:
    """``&&`` or ``||``: an operand that fails counts only if no other decides (cel-spec, Logical Operators)."""
    symbol = "||" if decisive else "&&"

    def run(evaluation: Evaluation) -> bool:
        failure: EvaluationError | None = None
        for operand in operands:
            try:
                value = operand(evaluation)
                if type(value) is not bool:
                    raise EvaluationError(f"{symbol!r} needs true or false, not {type_name(value)}", position)
            except EvaluationError as error:
                evaluation.meter.work(ABSORBED)
                failure = failure or error.with_traceback(None)
                continue
            if value is decisive:
                return decisive
        if failure is not None:
            raise failure
        return not decisive

    return run


def _unary(operand: Run, node: Unary) -> Run:
    position, count = node.position, node.count

    def invert(evaluation: Evaluation) -> bool:
        value = operand(evaluation)
        if type(value) is not bool:
            raise EvaluationError(f"'!' needs true or false, not {type_name(value)}", position)
        return value if count % 2 == 0 else not value

    def minus(evaluation: Evaluation) -> Any:
        value = operand(evaluation)
        try:
            for _ in range(count):
                value = negate(value)
        except EvaluationError as error:
            error.position = position
            raise
        return value

    return invert if node.operator == "!" else minus


def _has(path: Run, positions: frozenset[int]) -> Run:
    def run(evaluation: Evaluation) -> bool:
        try:
            path(evaluation)
        except Absent as error:
            if error.position in positions:
                return False
            raise
        return True

    return run


def _default(arguments: list[Run]) -> Run:
    *candidates, last = arguments

    def run(evaluation: Evaluation) -> Any:
        for candidate in candidates:
            try:
                value = candidate(evaluation)
            except Absent:
                evaluation.meter.work(ABSORBED)
                continue
            if value is not None:
                return value
        return last(evaluation)

    return run


def _list(items: list[Run]) -> Run:
    def run(evaluation: Evaluation) -> list[Any]:
        evaluation.meter.allocate_list(len(items))
        return [item(evaluation) for item in items]

    return run


def _map(pairs: list[tuple[Run, Run]], position: int) -> Run:
    def run(evaluation: Evaluation) -> dict[Any, Any]:
        evaluation.meter.allocate(CONTAINER + 6 * ELEMENT * len(pairs))
        made: dict[Any, Any] = {}
        for key_of, value_of in pairs:
            value = key_of(evaluation)
            key = as_key(value)
            if key is None or type(key) is float:
                raise EvaluationError(f"a map's key is a string, int or bool, not {type_name(value)}", position)
            if key in made:
                raise EvaluationError("the map has one key twice", position, reason="duplicateKey")
            made[key] = value_of(evaluation)
        return made

    return run
