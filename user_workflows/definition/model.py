"""The definition: what the user drew, as it travels on the wire (design §4)."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from plugins.host.retry import Duration, Retry

#: in Python alone `$` would let a final newline through
IDENTIFIER_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$(?!\n)"
#: ids of nodes and triggers, names of variables: what an expression can write as ``nodes.<id>``
Identifier = Annotated[str, Meta(pattern=IDENTIFIER_PATTERN)]
OnError = Literal["fail", "continue", "port"]


class JoinCount(Struct, frozen=True, forbid_unknown_fields=True):
    count: Annotated[int, Meta(ge=1)]


Join = Literal["any", "all", "first"] | JoinCount


class Compensate(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """What undoes a completed node when its execution fails: a plugin call that sees what the node came to."""

    plugin_id: str
    config: dict[str, Any] = field(default_factory=dict)
    #: slot → credential id
    credentials: dict[str, str] = field(default_factory=dict)
    retry: Retry | None = None
    timeout: Duration = "30s"


class Node(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    id: Identifier
    plugin_id: str
    config: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    #: where the editor draws it; kept, not read
    position: dict[str, Any] | None = None
    disabled: bool = False
    retry: Retry | None = None
    #: of a plugin: for one attempt, 30 s where nothing is said; of a control node that takes time: for the whole of it
    timeout: Duration | UnsetType = UNSET
    on_error: OnError = "fail"
    on_unknown: Literal["fail", "retry"] = "fail"
    join: Join = "any"
    #: slot → credential id
    credentials: dict[str, str] = field(default_factory=dict)
    compensate: Compensate | None = None
    isolate: bool = False
    pinned_output: Any = None


class Edge(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    source: str
    target: str
    #: the editor's name for it; kept, not read
    id: str | None = None
    #: the port it leaves by; ``None`` is the default port, on a node with several whichever fires
    source_handle: str | None = None
    #: the key under which the value arrives at a node with several incoming edges
    target_handle: str | None = None


class SubGraph(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is drawn inside a loop, in its config: the body that is walked for each item or round."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = ()


class Trigger(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    id: Identifier
    type: Literal["manual", "cron", "webhook", "event"]
    config: dict[str, Any] = field(default_factory=dict)


class Concurrency(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Caps of one workflow, beside those of its tenant, and what becomes of starts over any of them."""

    #: executions that are under way at a time
    limit: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    starts_per_minute: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    #: of one input, as JSON
    payload_bytes: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    #: since the first of the month, in UTC
    monthly_executions: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    policy: Literal["queue", "reject", "replaceOldest", "skip"] = "queue"


class Definition(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    nodes: tuple[Node, ...]
    name: str = ""
    variables: dict[Identifier, Any] = field(default_factory=dict)
    triggers: tuple[Trigger, ...] = ()
    edges: tuple[Edge, ...] = ()
    timeout: Duration | None = None
    #: the id of the workflow that is started when an execution fails
    error_workflow: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    concurrency: Concurrency | None = None


class Fault(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One thing wrong with a definition."""

    #: stable, ``noun.reason``, e.g. ``edge.unknownTarget``; all are in `user_workflows.definition.codes`
    code: str
    severity: Literal["error", "warning"] = "error"
    #: JSON Pointer (RFC 6901) into the definition
    pointer: str
    #: what is wrong and how to mend it, for the person who drew it
    message: str
    node_id: str | None = None
    #: within the string at `pointer`, in characters from its start, where one place in it is meant
    position: int | None = None


MAX_NODES = 1_000
MAX_TRIGGERS = 100
MAX_BYTES = 1024 * 1024
#: loops within loops
MAX_DEPTH = 8
