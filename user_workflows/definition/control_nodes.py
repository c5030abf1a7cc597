"""Control nodes: the part of the vocabulary that the engine itself carries out."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from plugins.host.retry import Duration
from user_workflows.definition.approvals import check_approval
from user_workflows.definition.durations import is_moment, range_fault
from user_workflows.definition.model import Identifier
from user_workflows.definition.shape import Path, is_template
from user_workflows.interpreter.approvals import MOST_LINKS
from user_workflows.interpreter.responses import answer_faults

#: a string that is one expression, ``{{ … }}``; the format travels into the JSON Schema, for forms
Expression = Annotated[str, Meta(extra_json_schema={"format": "expression"})]


#: the keys of a loop's config that hold its body
BODY_KEYS = frozenset({"nodes", "edges"})

#: items of a `foreach` under way at a time
DEFAULT_CONCURRENCY = 10

_ITEM = frozenset({"item", "index"})
_ROUND = frozenset({"index", "last"})


class Config(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """What the user sets on a control node. Any string may hold expressions instead of a literal."""


class IfConfig(Config, frozen=True, kw_only=True):
    condition: Expression


class Case(Config, frozen=True, kw_only=True):
    #: what an edge names as ``sourceHandle``
    port: Identifier
    when: Expression


class SwitchConfig(Config, frozen=True, kw_only=True):
    cases: Annotated[tuple[Case, ...], Meta(min_length=1)]
    #: leave by the first matching port, or by every one
    mode: Literal["first", "all"] = "first"


class SetConfig(Config, frozen=True, kw_only=True):
    values: dict[str, Any]


class MergeConfig(Config, frozen=True, kw_only=True):
    pass


class FilterConfig(Config, frozen=True, kw_only=True):
    items: list[Any] | Expression
    #: sees ``item`` and ``index``
    where: Expression


class LoopConfig(Config, frozen=True, kw_only=True):
    """What is walked again and again: a graph of its own, checked and compiled like the definition's."""

    nodes: list[Any]
    edges: list[Any] = []
    #: what one item or round comes to; sees the nodes of the body. Without it: the values of those that lead nowhere
    result: Expression | dict[str, Any] | list[Any] | None = None


class ForeachConfig(LoopConfig, frozen=True, kw_only=True):
    items: list[Any] | Expression
    #: items under way at a time
    concurrency: Annotated[int, Meta(ge=1, le=100)] = DEFAULT_CONCURRENCY
    #: items carried together
    batch_size: Annotated[int, Meta(ge=1, le=1_000)] | None = None
    #: go on after a failed item; the errors leave by ``error``
    continue_on_item_error: bool = False


class WhileConfig(LoopConfig, frozen=True, kw_only=True):
    #: tested before each round; sees ``index``, the rounds done, and ``last``, the result of the one before
    condition: Expression
    max_iterations: Annotated[int, Meta(ge=1, le=10_000)] = 1_000


class WaitConfig(Config, frozen=True, kw_only=True):
    """Exactly one of `duration`, `until` and `signal`."""

    duration: Duration | None = None
    #: RFC 3339, with an offset
    until: str | None = None
    #: the name of the signal that ends the wait
    signal: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    #: the longest wait for the signal; then the node leaves by ``timeout``
    timeout: Duration | None = None


class ApprovalConfig(Config, frozen=True, kw_only=True):
    """What people are asked, and how many of them must agree."""

    title: Annotated[str, Meta(min_length=1, max_length=1_000)]
    message: str | None = None
    #: JSON Schema (2020-12), as drawn: what the data of an approving decision must fit
    form: dict[str, Any] | None = None
    #: e-mail addresses, each with a link of its own; without them whoever may run executions finds the links
    approvers: Annotated[list[str], Meta(min_length=1, max_length=MOST_LINKS)] | Expression | None = None
    #: approvals that are needed
    required: Annotated[int, Meta(ge=1, le=MOST_LINKS)] = 1
    #: a duration from now, or a moment as RFC 3339
    deadline: str | None = None
    #: the port to leave by when the deadline has passed
    on_deadline: Literal["approved", "rejected", "expired"] = "expired"


class RespondConfig(Config, frozen=True, kw_only=True):
    """The answer to the webhook that started the execution, if its trigger says ``respond: workflow``."""

    status: Annotated[int, Meta(ge=200, le=599)] = 200
    headers: dict[str, str] = {}
    #: a text goes out as it is, anything else as JSON
    body: Any = None


class CallConfig(Config, frozen=True, kw_only=True):
    workflow_id: Annotated[str, Meta(min_length=1, max_length=100)]
    #: instead of the published one
    version: Annotated[int, Meta(ge=1)] | None = None
    #: what the called workflow sees as `trigger`, and as `input` at its roots
    input: Any = None
    #: wait for its output, or go on with its id
    mode: Literal["wait", "detach"] = "wait"


class StopConfig(Config, frozen=True, kw_only=True):
    status: Literal["completed", "failed"] = "completed"
    message: str | None = None
    output: Any = None


class ControlNode(Struct, frozen=True, kw_only=True):
    """One kind of control node."""

    id: str
    description: str
    config: type[Config]
    #: the ports that a node with this config (as drawn, perhaps faulty) may leave by, the default first
    ports: Callable[[Mapping[str, Any]], tuple[str, ...]] = lambda config: ("output",)
    #: whether it may leave by several ports at once
    leaves_by_several: Callable[[Mapping[str, Any]], bool] = lambda config: False
    #: config key → what its expressions see besides the usual: ``item``, ``index``, ``last``
    sees: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: of a loop: what the expressions in its body see besides the usual
    body_sees: frozenset[str] = frozenset()
    #: config keys that are read as drawn, before there is anything to evaluate
    literal: frozenset[str] = frozenset()
    #: whether it may take a while, and so has a `timeout`: the others are evaluated at once
    takes_time: bool = False
    #: what the types cannot say: pairs of a path within the config and what is wrong there
    check: Callable[[Mapping[str, Any]], Iterator[tuple[Path, str]]] = lambda config: iter(())

    @property
    def is_loop(self) -> bool:
        """Whether its config holds a graph that is walked again and again."""
        return bool(self.body_sees)


def _switch_ports(config: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*(port for _, port in _named_ports(config)), "default"]))


def _named_ports(config: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    cases = config.get("cases")
    for index, case in enumerate(cases if isinstance(cases, list) else ()):
        if isinstance(case, dict) and isinstance(case.get("port"), str):
            yield index, case["port"]


def _check_switch(config: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    for index, port in _named_ports(config):
        if port in ("default", "error"):
            yield ("cases", index, "port"), "must not be default or error: these ports have a meaning of their own"


def _foreach_ports(config: Mapping[str, Any]) -> tuple[str, ...]:
    return ("output", "error") if config.get("continueOnItemError") is True else ("output",)


def _wait_ports(config: Mapping[str, Any]) -> tuple[str, ...]:
    return ("output", "timeout") if config.get("timeout") is not None else ("output",)


def _check_wait(config: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    given = [key for key in ("duration", "until", "signal") if config.get(key) is not None]
    if not given:
        yield (), "must say what to wait for: duration, until or signal"
    elif len(given) > 1:
        yield (), f"must have one of duration, until and signal, not {' and '.join(given)}"
    if config.get("timeout") is not None and "signal" not in given:
        yield ("timeout",), "belongs to a wait for a signal; remove it"
    for key in ("duration", "timeout"):
        if fault := range_fault(config.get(key)):
            yield (key,), fault
    until = config.get("until")
    if isinstance(until, str) and not is_template(until) and not is_moment(until):
        yield ("until",), 'must be a moment with an offset, like "2030-01-31T09:00:00Z"'


def _check_respond(config: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    if is_template(config.get("headers")):
        return
    headers = config.get("headers")
    # A value that has yet to be rendered is checked then; what is no text the type has told of.
    written = {
        name: "" if is_template(value) or not isinstance(value, str) else value
        for name, value in (headers.items() if isinstance(headers, dict) else ())
    }
    status = config.get("status", 200)
    known = status if isinstance(status, int) and 200 <= status <= 599 else 200
    yield from answer_faults({"status": known, "headers": written, "body": config.get("body")})


CONTROL_NODES: Mapping[str, ControlNode] = {
    node.id: node
    for node in (
        ControlNode(
            id="if",
            description="Leave by true or false, carrying the input",
            config=IfConfig,
            ports=lambda config: ("true", "false"),
        ),
        ControlNode(
            id="switch",
            description="Leave by the port of the first case that matches, or of every one; else by default",
            config=SwitchConfig,
            ports=_switch_ports,
            leaves_by_several=lambda config: config.get("mode") == "all",
            literal=frozenset({"mode"}),
            check=_check_switch,
        ),
        ControlNode(id="set", description="Make values for later nodes", config=SetConfig),
        ControlNode(
            id="filter",
            description="Keep the items for which a condition holds",
            config=FilterConfig,
            sees={"where": _ITEM},
        ),
        ControlNode(id="merge", description="Join branches into a map of what arrived, by source", config=MergeConfig),
        ControlNode(
            id="foreach",
            description="Walk a graph for every item of a list, and make a list of the results",
            config=ForeachConfig,
            takes_time=True,
            ports=_foreach_ports,
            leaves_by_several=lambda config: config.get("continueOnItemError") is True,
            sees={"result": _ITEM},
            body_sees=_ITEM,
            literal=BODY_KEYS | {"concurrency", "batchSize", "continueOnItemError"},
        ),
        ControlNode(
            id="while",
            description="Walk a graph as long as a condition holds, and leave with the last result",
            config=WhileConfig,
            takes_time=True,
            sees={"condition": _ROUND, "result": _ROUND},
            body_sees=_ROUND,
            literal=BODY_KEYS | {"maxIterations"},
        ),
        ControlNode(
            id="wait",
            description="Wait for a time to pass, a moment to come or a signal to arrive",
            config=WaitConfig,
            takes_time=True,
            ports=_wait_ports,
            check=_check_wait,
        ),
        ControlNode(
            id="approval",
            description="Ask people, each by a link that works once, and go on when enough of them have decided",
            config=ApprovalConfig,
            takes_time=True,
            ports=lambda config: ("approved", "rejected", "expired"),
            literal=frozenset({"form", "required", "onDeadline"}),
            check=check_approval,
        ),
        ControlNode(
            id="respond",
            description="Answer the webhook that started the execution; the execution goes on",
            config=RespondConfig,
            check=_check_respond,
        ),
        ControlNode(
            id="workflow.call",
            description="Start another workflow, and wait for its output or go on with the execution's id",
            config=CallConfig,
            takes_time=True,
            literal=frozenset({"mode"}),
        ),
        ControlNode(id="stop", description="End the execution here", config=StopConfig, ports=lambda config: ()),
    )
}
