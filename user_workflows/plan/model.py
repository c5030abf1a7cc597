"""The plan: a definition compiled and checked, what the interpreter walks.

Plans travel in workflow inputs and outlive releases: fields are only added, each with a default, and `PLAN_FORMAT`
rises when an older interpreter could not walk a newer plan.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from msgspec import Struct, field, structs

from plugins.host.retry import Retry

PLAN_FORMAT = 1

#: inline    evaluated inside the workflow, at no cost in history events
#: segment   one step of several that share an activity; at most the last of them acts
#: activity  one plugin call in an activity of its own
#: child     an execution of another workflow
#: batch     a loop whose items are walked by activities, many at a time
Home = Literal["inline", "segment", "activity", "child", "batch"]

#: the most items of a loop that one activity is given, where the loop does not say
BATCH_ITEMS = 250


class PlanEdge(Struct, frozen=True, kw_only=True, omit_defaults=True):
    source: str
    target: str
    #: the port it leaves by; ``None``: whichever port fires, except ``error``
    port: str | None = None
    #: the key under which its value arrives: targetHandle, else the source's id
    key: str


class PlanNode(Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    #: the plugin's or control node's id, e.g. ``http.request``, ``if``
    plugin: str
    home: Home
    #: as drawn, with its expressions
    config: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    #: the port a plain result leaves by
    default_port: str = "output"
    #: indices into `Plan.edges`, in the order drawn
    incoming: tuple[int, ...] = ()
    outgoing: tuple[int, ...] = ()
    join: Literal["any", "all", "first"] | int = "any"
    on_error: Literal["fail", "continue", "port"] = "fail"
    on_unknown: Literal["fail", "retry"] = "fail"
    retry: Retry | None = None
    #: seconds for one attempt
    timeout: float = 30.0
    #: of a control node: seconds for the whole of it; ``None``: as long as it takes
    limit: float | None = None
    #: slot → credential id
    credentials: dict[str, str] = field(default_factory=dict)
    disabled: bool = False
    #: the step of a segment that is effectful, its last
    acts: bool = False
    #: of a loop: what is walked for each item or round
    body: "PlanGraph | None" = None
    #: the step that its idempotency keys name, where that is not its id: what another engine began goes on
    acts_as: str | None = None
    #: what undoes it when the execution fails after it has completed; a node without edges
    compensate: "PlanNode | None" = None


class PlanGraph(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is walked: a whole plan, or the body of a loop."""

    #: in topological order
    nodes: tuple[PlanNode, ...]
    edges: tuple[PlanEdge, ...]
    #: chains of nodes that one activity runs
    segments: tuple[tuple[str, ...], ...] = ()

    @property
    def acting(self) -> PlanNode | None:
        """The step by which this graph, cut out as a segment, ends and acts."""
        return self.nodes[-1] if self.nodes and self.nodes[-1].acts else None

    def graphs(self) -> "Iterator[PlanGraph]":
        """Yield this graph and the bodies of all loops in it, each after the graph that it is drawn in."""
        yield self
        for node in self.nodes:
            if node.body is not None:
                yield from node.body.graphs()

    def cut_out(self, chain: Sequence[str]) -> "PlanGraph":
        """Return a chain of nodes and the edges between them, renumbered: a graph of its own."""
        by_id = {node.id: node for node in self.nodes}
        last = len(chain) - 1
        return PlanGraph(
            nodes=tuple(
                structs.replace(
                    by_id[id],
                    incoming=(index - 1,) if index > 0 else (),
                    outgoing=(index,) if index < last else (),
                )
                for index, id in enumerate(chain)
            ),
            edges=tuple(self.edges[by_id[id].outgoing[0]] for id in chain[:-1]),
        )


class Plan(PlanGraph, frozen=True, kw_only=True, omit_defaults=True):
    format: int = PLAN_FORMAT
    #: the version of the expression evaluator it was checked with
    evaluator: int
    variables: dict[str, Any] = field(default_factory=dict)
    #: seconds for the whole execution; ``None``: no limit
    timeout: float | None = None
    #: the workflow that is started when an execution fails
    error_workflow: str | None = None


class Forecast(Struct, frozen=True, kw_only=True, rename="camel"):
    """What one execution of a plan costs when every step succeeds at once."""

    history_events: int
    billable_actions: int
